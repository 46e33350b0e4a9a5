//! Plans: what passes do and do not change, how memory is used, and what a run reads and writes.

use crate::common::network::{batch, network};
use crate::common::{array, assert_close, assert_mentions, message, numbers, run_plan, value};
use dagrad::error::NotFinite;
use dagrad::{Conv2dOptions, Error, Feed, Graph, Init, Options, Plan, Store, Var, Workspace, gradients};
use ndarray::{ArrayD, array};

/// Losses and gradients of three training steps of the small network, and all parameters after them.
fn train(options: &Options) -> Vec<ArrayD<f64>> {
    let graph = Graph::new();
    let net = network(&graph, 6);
    let outputs: Vec<Var<'_>> = [net.loss].into_iter().chain(net.gradients).collect();
    let plan = options.compile::<f64>(&graph, &outputs).unwrap();
    let mut store = Store::new(3);
    let (images, labels) = batch(6);
    let feeds = [net.image.feed(&images), net.classes.feed(&labels)];
    let mut all: Vec<_> = (0..3).flat_map(|_| run_plan(&plan, &mut store, &feeds).unwrap()).collect();
    let names: Vec<String> = store.names().map(String::from).collect();
    assert_eq!(names.len(), 6);
    all.extend(names.iter().map(|name| store.get(name).unwrap().to_owned()));
    all
}

#[test]
fn every_pass_can_be_switched_off_and_changes_nothing() {
    let all = train(&Options::new());
    assert!(all[0].sum() > 0.1 && all[1].iter().any(|&gradient| gradient.abs() > 1e-3), "nothing is learned");
    let passes = Options::new().names();
    for name in ["prune", "dedup", "simplify", "absorb", "fuse", "memory"] {
        assert!(passes.contains(&name), "{passes:?}");
    }
    for name in passes {
        let options = Options::new().without(name);
        assert!(!options.names().contains(&name), "{name} is still there");
        for (found, expected) in train(&options).iter().zip(&all) {
            assert_close(found, expected, 1e-12);
        }
    }
    assert!(Options::plain().names().is_empty());
    for (found, expected) in train(&Options::plain()).iter().zip(&all) {
        assert_close(found, expected, 1e-12);
    }
}

#[test]
fn a_plan_prints_its_parameters_inputs_steps_and_results() {
    let graph = Graph::new();
    let x = graph.input("x", [4, 3]);
    let w = graph.param("w", [3, 2], Init::ZEROS);
    let line = line!() + 1;
    let loss = x.matmul(w).powi(2).sum_all().named("loss");
    w.assign(w - gradients(loss, &[w]).unwrap()[0]);
    let plan = Plan::<f32>::compile(&graph, &[loss, w]).unwrap();
    let text = plan.to_string();
    let here = format!("# {}:{line}", file!());
    assert_mentions(
        &text,
        &[
            "plan in f32: ",
            "p0 = \"w\" [3, 2]\n",
            " = input \"x\" [4, 3]\n",
            "matmul @",
            " p0",
            "result loss = @",
            &here,
        ],
    );
    assert_mentions(&text, &[&format!("{here}, gradient\n"), "result w = @"]);
    assert!(text.starts_with(&format!("plan in f32: {} steps", plan.steps().len())), "{text}");
    let program = Options::new().program(&graph, &[loss]).unwrap().to_string();
    assert_mentions(&program, &["%0 = ", "output %", "update %"]);
}

/// How often the plan computes an operation of this name.
fn count(plan: &Plan<f64>, name: &str) -> usize {
    plan.steps().iter().filter(|step| step.name() == name).count()
}

#[test]
fn equal_values_are_computed_once() {
    let graph = Graph::new();
    let (a, b) = (graph.input("a", [3, 3]), graph.input("b", [3, 3]));
    let outputs = [a.matmul(b) + 1.0, a.matmul(b) + 2.0, b.matmul(a)];
    let compile = |options: Options| options.compile::<f64>(&graph, &outputs).unwrap();
    assert_eq!(count(&compile(Options::new().without("dedup")), "matmul"), 3);
    assert_eq!(count(&compile(Options::new()), "matmul"), 2);
}

#[test]
fn zeros_of_both_signs_are_not_equal() {
    let graph = Graph::new();
    let x = graph.input("x", [1]);
    let given = array(&[1], &[1.0]);
    let outputs = [
        x / graph.fill([1], 0.0),
        x / graph.fill([1], -0.0),
        x / graph.constant(array![0.0]),
        x / graph.constant(array![-0.0]),
    ];
    let found: Vec<f64> =
        crate::common::run(&outputs, &[x.feed(&given)]).iter().map(|array| array.sum()).collect();
    assert_eq!(found, [f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY, f64::NEG_INFINITY]);
}

#[test]
fn values_that_nobody_asks_for_are_not_computed() {
    let graph = Graph::new();
    let x = graph.input("x", [2]);
    graph.input("unused", [1000]).exp();
    graph.param("lost", [1000], Init::ZEROS).exp();
    let plan = Plan::<f64>::compile(&graph, &[x * 2.0]).unwrap();
    assert_eq!((plan.steps().len(), plan.inputs().len(), plan.parameters().len()), (1, 1, 0));
}

#[test]
fn bias_and_relu_are_taken_into_the_convolution_and_the_product() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 1, 6, 6]);
    let (w, b) = (graph.param("w", [3, 1, 3, 3], Init::he(9)), graph.param("b", [3], Init::ONES));
    let (v, c) = (graph.param("v", [48, 4], Init::he(48)), graph.param("c", [4], Init::ONES));
    let h = (x.conv2d(w, Conv2dOptions::new()) + b.reshape([3, 1, 1])).relu();
    let y = (h.flatten().matmul(v) + c).relu();
    let plan = Plan::<f64>::compile(&graph, &[y]).unwrap();
    let text = plan.to_string();
    // Images are brought into the kernel's order and back; weights too, but once.
    assert_eq!(plan.steps().len(), 3, "{text}");
    assert_mentions(
        &text,
        &["conv2d @", "+ bias, relu) : [2, 4, 4, 3]", "matmul @", "(+ bias, relu) : [2, 4]"],
    );
    let apart = Options::new().without("absorb").compile::<f64>(&graph, &[y]).unwrap();
    assert!(!apart.to_string().contains("+ bias"), "{apart}");
    // A result that somebody else reads stays where it is.
    let plain = x.conv2d(w, Conv2dOptions::new());
    let both = Plan::<f64>::compile(&graph, &[plain, plain.relu()]).unwrap();
    assert!(!both.to_string().contains(", relu)"), "{both}");
}

#[test]
fn chains_of_functions_become_one_step() {
    let graph = Graph::new();
    let (x, b) = (graph.input("x", [4, 3]), graph.input("b", [3]));
    let y = ((x + b).exp() * 2.0 - x).tanh();
    let plan = Plan::<f64>::compile(&graph, &[y]).unwrap();
    assert_eq!(plan.steps().len(), 1, "{plan}");
    assert_mentions(&plan.to_string(), &["elementwise", "add", "exp", "tanh"]);
}

#[test]
fn steps_that_read_each_other_become_one_with_several_results() {
    let graph = Graph::new();
    let g = graph.input("g", [4, 3]);
    let [p, m, v] = ["p", "m", "v"].map(|name| graph.param(name, [4, 3], Init::ONES));
    let (next_m, next_v) = (m * 0.9 + g * 0.1, v * 0.5 + g * g);
    let next_p = p - next_m / next_v.sqrt();
    m.assign(next_m);
    v.assign(next_v);
    p.assign(next_p);
    let plan = Plan::<f64>::compile(&graph, &[]).unwrap();
    // Each parameter moves where it lies.
    assert_eq!((plan.steps().len(), plan.copies().len()), (1, 0), "{plan}");
    assert_mentions(&plan.to_string(), &["p0, p1, p2 = elementwise"]);
    let apart = Options::new().without("join").compile::<f64>(&graph, &[]).unwrap();
    assert_eq!(apart.steps().len(), 3, "{apart}");
    // What somebody needs between is not put off.
    let y = (g.exp() + 1.0).softmax(1) * g.exp();
    let plan = Plan::<f64>::compile(&graph, &[y, g.exp()]).unwrap();
    assert_eq!(count(&plan, "softmax"), 1, "{plan}");
}

#[test]
fn a_parameter_that_is_read_after_its_next_value_is_there_is_not_overwritten() {
    let results = assign(|a, b| {
        let next = a * 2.0 + b;
        a.assign(next); // 12, 24
        b.assign(next.relu() * a - b); // 12·1 − 10, 24·2 − 20
        vec![next + a]
    });
    assert_eq!(results, [vec![13.0, 26.0], vec![12.0, 24.0], vec![2.0, 28.0]]);
}

#[test]
fn a_pooling_is_taken_into_the_convolution_with_its_positions() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 1, 7, 8]);
    let w = graph.param("w", [3, 1, 3, 3], Init::he(9));
    let h = x.conv2d(w, Conv2dOptions::new()).relu();
    let loss = h.max_pool2d(2).sum_all();
    let gradient = gradients(loss, &[w]).unwrap();
    let plan = Plan::<f64>::compile(&graph, &[loss, gradient[0]]).unwrap();
    assert_mentions(&plan.to_string(), &["relu, max_pool2d 2×2) : [2, 2, 3, 3]"]);
    assert_eq!(count(&plan, "max_pool2d_argmax"), 0, "{plan}");
    let conv = plan.steps().iter().find(|step| step.name() == "conv2d").unwrap();
    assert_eq!(conv.outputs().count(), 2);
    // Without a gradient nobody asks where the maxima are.
    let plan = Plan::<f64>::compile(&graph, &[loss]).unwrap();
    let conv = plan.steps().iter().find(|step| step.name() == "conv2d").unwrap();
    assert_eq!(conv.outputs().count(), 1);
    // What somebody else reads is written, and pooled where it lies.
    let plan = Plan::<f64>::compile(&graph, &[loss, h]).unwrap();
    assert_eq!(count(&plan, "max_pool2d"), 1, "{plan}");
}

#[test]
fn memory_is_used_again_as_soon_as_nobody_reads_it() {
    let graph = Graph::new();
    let x = graph.input("x", [1000, 10]);
    let y = (0..20).fold(x, |y, _| y.softmax(1));
    let bytes = 8 * 10_000;
    let reused = Plan::<f64>::compile(&graph, &[y]).unwrap();
    let apart = Options::new().without("memory").compile::<f64>(&graph, &[y]).unwrap();
    assert!(reused.arena_bytes() < 3 * bytes, "{}", reused.arena_bytes());
    assert!(apart.arena_bytes() >= 21 * bytes, "{}", apart.arena_bytes());
}

/// Runs a graph's assignments once over a store in which `a` is [1, 2] and `b` is [10, 20], and returns the
/// outputs and then both parameters.
fn assign(record: impl for<'g> Fn(Var<'g>, Var<'g>) -> Vec<Var<'g>>) -> Vec<Vec<f64>> {
    let all = [
        Options::new(),
        Options::plain(),
        Options::new().without("memory"),
        Options::new().without("simplify"),
    ];
    let results = all.map(|options| {
        let graph = Graph::new();
        let (a, b) = (graph.param("a", [2], Init::ZEROS), graph.param("b", [2], Init::ZEROS));
        let outputs = record(a, b);
        let plan = options.compile::<f64>(&graph, &outputs).unwrap();
        let mut store = Store::new(0);
        store.set("a", &array(&[2], &[1.0, 2.0])).unwrap();
        store.set("b", &array(&[2], &[10.0, 20.0])).unwrap();
        let mut workspace = Workspace::new(1).unwrap();
        let found = plan.run(&mut store, &mut workspace, &[]).unwrap();
        let found: Vec<_> = (0..outputs.len()).map(|i| found.at(i).map(|view| view.to_owned())).collect();
        let stored = ["a", "b"].map(|name| store.get(name).map(|view| view.to_owned()));
        let values = |array: Option<ArrayD<f64>>| array.map_or(vec![], |array| array.into_iter().collect());
        found.into_iter().chain(stored).map(values).collect::<Vec<_>>()
    });
    results.iter().for_each(|other| assert_eq!(other, &results[0], "passes change the result"));
    results.into_iter().next().unwrap()
}

#[test]
fn assignments_see_the_old_values() {
    let (a, b, none) = (vec![1.0, 2.0], vec![10.0, 20.0], Vec::<Vec<f64>>::new());
    let swap = assign(|a, b| {
        a.assign(b);
        b.assign(a);
        vec![]
    });
    assert_eq!(swap, [b.clone(), a.clone()]);
    let swap_of_equals = assign(|a, b| {
        a.assign(b * 1.0);
        b.assign(a + 0.0);
        vec![a + 0.0, b.reshape([2, 1]).reshape([2])]
    });
    assert_eq!(swap_of_equals, [a.clone(), b.clone(), b.clone(), a.clone()]);
    let step = assign(|a, b| {
        a.assign(a - b * 0.1);
        b.assign(a + b);
        vec![]
    });
    assert_eq!(step, [vec![0.0, 0.0], vec![11.0, 22.0]]);
    let both = assign(|a, b| {
        let sum = a + b;
        a.assign(sum);
        b.assign(sum);
        vec![sum * 2.0]
    });
    assert_eq!(both, [vec![22.0, 44.0], vec![11.0, 22.0], vec![11.0, 22.0]]);
    assert!(none.is_empty());
}

#[test]
fn results_are_what_was_there_before_the_assignments() {
    let output = assign(|a, b| {
        a.assign(a + 1.0);
        vec![a, a + 0.0, a.reshape([2, 1]).reshape([2]), b]
    });
    let a = vec![1.0, 2.0];
    assert_eq!(output, [a.clone(), a.clone(), a, vec![10.0, 20.0], vec![2.0, 3.0], vec![10.0, 20.0]]);
    // The next value is used elsewhere, as a result and in another parameter.
    let used = assign(|a, b| {
        let next = a * 3.0;
        a.assign(next);
        b.assign(next.exp().ln() - a);
        vec![next, next + a]
    });
    assert_eq!(used[..3], [vec![3.0, 6.0], vec![4.0, 8.0], vec![3.0, 6.0]]);
    assert!((used[3][0] - 2.0).abs() < 1e-14 && (used[3][1] - 4.0).abs() < 1e-14);
    // A reader that comes late in the graph still finds the old value.
    let late = assign(|a, b| {
        a.assign(a * 0.0 + b);
        let late = (0..5).fold(a, |sum, _| sum + a);
        b.assign(late);
        vec![late]
    });
    assert_eq!(late, [vec![6.0, 12.0], vec![10.0, 20.0], vec![6.0, 12.0]]);
}

#[test]
fn results_are_found_by_value_and_by_position() {
    let (graph, other) = (Graph::new(), Graph::new());
    let x = graph.input("x", [2]);
    let (double, unasked) = (x * 2.0, x * 3.0);
    other.input("x", [2]);
    let stranger = other.input("y", [2]) * 2.0;
    let plan = Plan::<f32>::compile(&graph, &[double, x, double]).unwrap();
    let (mut store, mut workspace) = (Store::new(0), Workspace::new(1).unwrap());
    let given = array![1.0f32, -2.0];
    let outputs = plan.run(&mut store, &mut workspace, &[x.feed(&given)]).unwrap();
    assert_eq!((outputs.len(), outputs.is_empty()), (3, false));
    assert_eq!(outputs.get(double).unwrap(), array![2.0, -4.0].into_dyn());
    assert_eq!(outputs.get(x).unwrap(), given.into_dyn());
    assert_eq!(outputs.at(2), outputs.at(0));
    assert_eq!(outputs.scalar(1), Some(1.0));
    assert!(outputs.get(unasked).is_none() && outputs.at(3).is_none() && outputs.scalar(9).is_none());
    assert!(outputs.get(stranger).is_none(), "a value of another graph with the same number");
}

/// The error of a run that checks its values, for one of these outputs.
fn checked_run(options: &Options, output: Var<'_>, input: Var<'_>, values: [f64; 4]) -> dagrad::Result<()> {
    let plan = options.compile::<f64>(output.graph(), &[output])?;
    let mut workspace = Workspace::new(1)?;
    workspace.check_values(true);
    plan.run(&mut Store::new(0), &mut workspace, &[input.feed(&array(&[2, 2], &values))]).map(drop)
}

#[test]
fn a_checked_run_names_the_operation_its_line_and_whether_it_is_a_gradient() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 2]);
    let line = line!() + 1;
    let root = x.sqrt();
    let loss = root.sum_all();
    let gradient = gradients(loss, &[x]).unwrap()[0];
    for options in [Options::new().without("fuse"), Options::plain()] {
        checked_run(&options, gradient, x, [1.0, 4.0, 9.0, 2.0]).unwrap();
        let Err(Error::NotFinite(found)) = checked_run(&options, root, x, [1.0, 4.0, -1.0, 2.0]) else {
            panic!("a NaN went unseen");
        };
        let NotFinite { op, site, is_gradient, position, shape, .. } = *found;
        assert_eq!((site.file, site.line, is_gradient, position), (file!(), line, false, 2));
        assert_eq!((op.as_str(), shape), ("sqrt", [2, 2].into()));
        let text = message(checked_run(&options, gradient, x, [1.0, 0.0, 1.0, 1.0]));
        assert_mentions(
            &text,
            &[&format!("div at {}:{line}", file!()), "its gradient", "inf at position 1 of [2, 2]"],
        );
    }
}

#[test]
fn a_checked_run_names_the_operations_of_a_chain_and_without_fusing_the_very_one() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 2]);
    let line = line!() + 1;
    let logarithm = x.ln();
    let chain = (logarithm * 2.0).exp() + 1.0;
    let text = message(checked_run(&Options::new(), chain, x, [1.0, -1.0, 1.0, 1.0]));
    assert_mentions(&text, &["elementwise (ln scaled exp add) at", "NaN at position 1"]);
    let text = message(checked_run(&Options::new().without("fuse"), chain, x, [1.0, -1.0, 1.0, 1.0]));
    assert_mentions(&text, &["ln at", &format!("{}:{line}", file!()), "NaN at position 1"]);
}

#[test]
fn a_value_is_computed_on_the_spot_and_changes_nothing() {
    let graph = Graph::new();
    let (x, w) = (graph.input("x", [2]), graph.param("w", [2], Init::Constant(3.0)));
    w.assign(w - x);
    assert_eq!((w * 2.0).eval::<f32>(&[]).unwrap(), array![6.0, 6.0].into_dyn());
    assert_eq!(value(w * 2.0, &[]), array(&[2], &[6.0, 6.0]));
    assert_mentions(&message((x * w).eval::<f64>(&[])), &["input x", "no value"]);
    let normal = graph.param("n", [5], Init::he(2));
    assert_eq!(normal.eval::<f64>(&[]).unwrap(), normal.eval::<f64>(&[]).unwrap());
    assert!(normal.eval::<f64>(&[]).unwrap() != numbers(&[5], 0));
}

#[test]
fn plans_are_shared_between_threads_and_run_in_workspaces_of_their_own() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 2]);
    let plan = Plan::<f64>::compile(&graph, &[(x * x).sum_all()]).unwrap();
    let run = |scale: f64| {
        let (mut store, mut workspace) = (Store::new(0), Workspace::new(1).unwrap());
        let given = array(&[2, 2], &[scale; 4]);
        plan.run(&mut store, &mut workspace, &[Feed::new("x", &given)]).unwrap().scalar(0)
    };
    let found: Vec<Option<f64>> = std::thread::scope(|scope| {
        let threads: Vec<_> = [1.0, 2.0, 3.0].map(|scale| scope.spawn(move || run(scale))).into();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(found, [Some(4.0), Some(16.0), Some(36.0)]);
}
