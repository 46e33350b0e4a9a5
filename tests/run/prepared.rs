//! What follows from parameters alone is computed once and kept: never longer than it is true.

use crate::common::network::{batch, network};
use crate::common::{array, numbers, run_plan};
use dagrad::{Conv2dOptions, Graph, Init, Mode, Options, Plan, Store, Var, Workspace};
use ndarray::ArrayD;

/// A convolution and a layer of classes, whose weights kernels want in their own order.
fn logits(x: Var<'_>) -> Var<'_> {
    let graph = x.graph();
    let w = graph.param("w", [9, x.shape()[1], 3, 3], Init::he(18));
    let h = x.conv2d(w, Conv2dOptions::new()).relu().mean(&[2, 3]);
    h.matmul(graph.param("v", [9, 4], Init::he(9)).exp()) + graph.param("b", [4], Init::Constant(0.5))
}

/// Plans of those for batches of a size: as they are compiled, and without what is kept.
fn plans(size: usize) -> [Plan<f64>; 2] {
    let graph = Graph::with_mode(Mode::Evaluate);
    let y = logits(graph.input("x", [size, 2, 6, 5]));
    let kept = Plan::compile(&graph, &[y]).unwrap();
    assert!(kept.to_string().contains("once, until a parameter changes:"), "{kept}");
    [kept, Options::new().without("hoist").compile(&graph, &[y]).unwrap()]
}

/// Runs both over a store.
#[track_caller]
fn assert_same(plans: &[Plan<f64>; 2], store: &mut Store<f64>, workspace: &mut Workspace) -> ArrayD<f64> {
    let x = numbers(plans[0].inputs()[0].source.ty.shape.as_ref(), 1);
    let feeds = [dagrad::Feed::new("x", &x)];
    let [kept, anew] =
        [0, 1].map(|i| plans[i].run(store, workspace, &feeds).unwrap().at(0).unwrap().to_owned());
    assert_eq!(kept, anew);
    kept
}

/// A store with the parameters of a plan.
fn store_for(plan: &Plan<f64>, seed: u64) -> Store<f64> {
    let mut store = Store::new(seed);
    store.prepare(plan).unwrap();
    store
}

#[test]
fn a_changed_parameter_is_seen() {
    let plans = plans(3);
    let (mut store, mut workspace) = (store_for(&plans[0], 1), Workspace::new(2).unwrap());
    let first = assert_same(&plans, &mut store, &mut workspace);
    assert_eq!(assert_same(&plans, &mut store, &mut workspace), first);
    store.get_mut("w").unwrap()[[0, 0, 0, 0]] += 1.0;
    let second = assert_same(&plans, &mut store, &mut workspace);
    store.set("v", &numbers(&[9, 4], 7)).unwrap();
    let third = assert_same(&plans, &mut store, &mut workspace);
    assert!(first != second && second != third);
}

#[test]
fn plans_and_stores_keep_their_own() {
    let (small, large, other) = (plans(1), plans(4), plans(2));
    let [mut a, mut b] = [1, 2].map(|seed| store_for(&small[0], seed));
    let mut workspace = Workspace::new(1).unwrap();
    for _ in 0..2 {
        for plans in [&small, &large, &small, &other, &large] {
            let of_a = assert_same(plans, &mut a, &mut workspace);
            assert_ne!(assert_same(plans, &mut b, &mut workspace), of_a);
            let mut copy = a.copy().unwrap();
            assert_eq!(assert_same(plans, &mut copy, &mut workspace), of_a);
            a.get_mut("b").unwrap()[[0]] += 1.0;
        }
    }
    let copies = [small[0].clone(), small[1].clone()];
    assert_same(&copies, &mut a, &mut Workspace::new(2).unwrap());
}

/// A graph of one size of batch trains, one of another evaluates, over one store.
#[test]
fn a_training_step_is_seen() {
    let [graph, evaluating] = [Graph::new(), Graph::with_mode(Mode::Evaluate)];
    let (net, same) = (network(&graph, 4), network(&evaluating, 3));
    let step = Plan::<f64>::compile(&graph, &[net.loss]).unwrap();
    let [kept, anew] = [Options::new(), Options::new().without("hoist")]
        .map(|options| options.without_assignments().compile::<f64>(&evaluating, &[same.loss]).unwrap());
    let (mut store, mut workspace) = (store_for(&step, 0), Workspace::new(2).unwrap());
    let ((images, classes), (few, their_classes)) = (batch(4), batch(3));
    let mut seen = Vec::new();
    for _ in 0..4 {
        let feeds = [same.image.feed(&few), same.classes.feed(&their_classes)];
        let [loss, expected] = [&kept, &anew]
            .map(|plan| plan.run(&mut store, &mut workspace, &feeds).unwrap().scalar(0).unwrap());
        assert_eq!(loss, expected);
        assert!(!seen.contains(&loss), "each step changes the loss");
        seen.push(loss);
        let feeds = [net.image.feed(&images), net.classes.feed(&classes)];
        step.run(&mut store, &mut workspace, &feeds).unwrap();
    }
}

#[test]
fn random_numbers_of_parameters_follow_the_count_of_steps() {
    let graph = Graph::new();
    let x = graph.input("x", [40]);
    let y = x * (graph.param("w", [40], Init::ONES).dropout(0.5) + 1.0);
    let plan = Plan::<f64>::compile(&graph, &[y]).unwrap();
    let anew = Options::new().without("hoist").compile::<f64>(&graph, &[y]).unwrap();
    let (mut store, ones) = (store_for(&plan, 3), ArrayD::<f64>::ones(vec![40]));
    let mut seen: Vec<ArrayD<f64>> = Vec::new();
    for step in 0..4 {
        store.set_step(step);
        let [drawn, again, expected] =
            [&plan, &plan, &anew].map(|plan| run_plan(plan, &mut store, &[x.feed(&ones)]).unwrap().remove(0));
        assert_eq!((&drawn, &drawn), (&again, &expected));
        assert!(!seen.contains(&drawn), "every step draws anew");
        seen.push(drawn);
    }
}

#[test]
fn results_that_are_kept_or_lie_on_parameters_are_handed_out() {
    let graph = Graph::with_mode(Mode::Evaluate);
    let (x, w) = (graph.input("x", [2, 3]), graph.param("w", [2, 3], Init::Constant(2.0)));
    let root = (w + 1.0).sqrt();
    let plan =
        Plan::<f64>::compile(&graph, &[x * root, root, root.reshape([3, 2]), w, (root * 2.0).exp()]).unwrap();
    let given = numbers(&[2, 3], 2);
    let mut store = store_for(&plan, 0);
    for value in [2.0, 7.0] {
        store.set("w", &ArrayD::from_elem(vec![2, 3], value)).unwrap();
        for _ in 0..2 {
            let found = run_plan(&plan, &mut store, &[x.feed(&given)]).unwrap();
            let root = (value + 1.0f64).sqrt();
            assert_eq!(found[0], &given * root);
            assert_eq!(found[1], ArrayD::from_elem(vec![2, 3], root));
            assert_eq!(found[2], ArrayD::from_elem(vec![3, 2], root));
            assert_eq!(found[3], ArrayD::from_elem(vec![2, 3], value));
            assert_eq!(found[4], ArrayD::from_elem(vec![2, 3], (root * 2.0).exp()));
        }
    }
}

#[test]
fn a_graph_without_inputs_and_one_that_trains_keep_nothing() {
    let graph = Graph::new();
    let w = graph.param("w", [2], Init::ONES);
    let y = (w.exp() + 1.0).sum_all();
    let plan = Plan::<f64>::compile(&graph, &[y]).unwrap();
    assert!(!plan.to_string().contains("once"), "{plan}");
    let mut store = store_for(&plan, 0);
    store.set("w", &array(&[2], &[0.0, 0.0])).unwrap();
    assert_eq!(run_plan(&plan, &mut store, &[]).unwrap(), [array(&[], &[4.0])]);
    let graph = Graph::new();
    let plan = Plan::<f64>::compile(&graph, &[network(&graph, 2).loss]).unwrap();
    assert!(!plan.to_string().contains("once"), "{plan}");
}
