//! Misuse of plans: values that do not fit, stores that disagree, memory that does not exist.

use crate::common::{array, assert_mentions, message, numbers, run_plan, try_run};
use dagrad::{
    Conv2dOptions, Error, Feed, Graph, Init, Options, Plan, Pool2dOptions, Store, Workspace, gradients,
};
use ndarray::{Array1, ArrayD, array};

/// The loss of two rows of three logits, and its plan.
fn loss_plan(graph: &Graph) -> Plan<f64> {
    let logits = graph.input("logits", [2, 3]);
    let classes = graph.labels("classes", [2]);
    Plan::compile(graph, &[logits.softmax_cross_entropy(classes)]).unwrap()
}

/// The error of a run of that plan with these feeds.
fn refusal(feeds: &[Feed<'_>]) -> String {
    let graph = Graph::new();
    message(run_plan(&loss_plan(&graph), &mut Store::new(0), feeds))
}

#[test]
fn values_that_do_not_fit_their_inputs_are_refused() {
    let (logits, classes) = (numbers(&[2, 3], 1), array![0u32, 2]);
    let (given, right) = (Feed::new("logits", &logits), Feed::new("classes", &classes));
    assert_mentions(&refusal(&[]), &["input logits", "no value is given"]);
    assert_mentions(&refusal(std::slice::from_ref(&given)), &["input classes", "no value is given"]);
    assert_mentions(
        &refusal(&[given.clone(), given.clone(), right.clone()]),
        &["input logits", "two values"],
    );
    assert_mentions(
        &refusal(&[given.clone(), right.clone(), right.clone()]),
        &["input classes", "two values"],
    );

    let (turned, flat) = (numbers(&[3, 2], 1), numbers(&[6], 1));
    assert_mentions(&refusal(&[Feed::new("logits", &turned), right.clone()]), &["[3, 2] is given", "[2, 3]"]);
    assert_mentions(&refusal(&[Feed::new("logits", &flat), right.clone()]), &["[6] is given", "[2, 3]"]);
    let (column, long) = (array![[0u32], [2]], array![0u32, 1, 2]);
    assert_mentions(&refusal(&[given.clone(), Feed::new("classes", &column)]), &["[2, 1] is given", "[2]"]);
    assert_mentions(&refusal(&[given.clone(), Feed::new("classes", &long)]), &["[3] is given", "[2]"]);

    let (whole, floats) = (array![[0u32, 1, 2], [2, 1, 0]], array![0.0f32, 2.0]);
    assert_mentions(&refusal(&[Feed::new("logits", &whole), right]), &["input logits", "indices are given"]);
    let text = refusal(&[given, Feed::new("classes", &floats)]);
    assert_mentions(&text, &["input classes", "real numbers are given", "u32"]);
}

#[test]
fn a_class_out_of_range_names_the_sample_and_the_number_of_classes() {
    let logits = numbers(&[2, 3], 1);
    for (classes, parts) in [
        (array![0u32, 3], ["index 3", "position 1", "3 classes"]),
        (array![7u32, 9], ["index 7", "position 0", "0 to 2"]),
        (array![u32::MAX, 0], ["4294967295", "position 0", "input classes"]),
    ] {
        let text = refusal(&[Feed::new("logits", &logits), Feed::new("classes", &classes)]);
        assert_mentions(&text, &parts);
    }
}

#[test]
fn a_class_out_of_range_is_found_behind_a_reshape() {
    let graph = Graph::new();
    let logits = graph.input("logits", [2, 3]);
    let classes = graph.labels("classes", [1, 2]);
    let loss = logits.softmax_cross_entropy(classes.reshape([2]));
    let values = numbers(&[2, 3], 1);
    let text = message(try_run::<f64>(&[loss], &[logits.feed(&values), classes.feed(&array![[0u32, 3]])]));
    assert_mentions(&text, &["input classes", "index 3", "3 classes"]);
}

#[test]
fn labels_of_no_classes_are_out_of_range() {
    let graph = Graph::new();
    let logits = graph.input("logits", [1, 0]);
    let classes = graph.labels("classes", [1]);
    let (values, zero) = (numbers(&[1, 0], 1), array![0u32]);
    let feeds = [logits.feed(&values), classes.feed(&zero)];
    assert_mentions(
        &message(try_run::<f64>(&[logits.softmax_cross_entropy(classes)], &feeds)),
        &["0 classes"],
    );
}

#[test]
fn an_index_out_of_range_names_the_method_that_was_called() {
    use dagrad::{CrossEntropy, Reduction, Var, gradients};
    type Taker = for<'g> fn(Var<'g>, Var<'g>) -> Var<'g>;
    let takers: [(&str, u32, Taker); 11] = [
        ("softmax_cross_entropy", line!(), |x, at| x.softmax_cross_entropy(at)),
        ("cross_entropy", line!(), |x, at| x.cross_entropy(at, CrossEntropy::new())),
        ("cross_entropy", line!(), |x, at| x.cross_entropy(at, CrossEntropy::new().ignore(255))),
        ("nll_loss", line!(), |x, at| x.nll_loss(at, CrossEntropy::new().ignore(255))),
        ("multi_margin_loss", line!(), |x, at| x.multi_margin_loss(at, 1.0, Reduction::Mean)),
        ("pick", line!(), |x, at| x.pick(at)),
        ("one_hot", line!(), |x, at| x * at.one_hot(3)),
        ("gather", line!(), |x, at| x.gather(1, at.reshape([2, 1]))),
        ("index_select", line!(), |x, at| x.index_select(1, at)),
        ("scatter_add", line!(), |x, at| x.slice(1, ..1).scatter_add(1, at.reshape([2, 1]), 3)),
        // Of two, the one that takes less.
        ("one_hot", line!(), |x, at| x * at.one_hot(3) * at.one_hot(9).sum_all() * x.sum_all()),
    ];
    for (name, line, take) in takers {
        let graph = Graph::new();
        let (x, at) = (graph.input("x", [2, 3]), graph.labels("at", [2]));
        let loss = take(x, at).sum_all();
        let gradient = gradients(loss, &[x]).unwrap()[0];
        let (values, wrong) = (numbers(&[2, 3], 1), array![2u32, 3]);
        for outputs in [&[loss][..], &[loss, gradient], &[gradient]] {
            let text = message(try_run::<f64>(outputs, &[x.feed(&values), at.feed(&wrong)]));
            let wanted = format!("index 3 at position 1 is out of range: {name} takes 0 to 2 (3 classes)");
            let site = format!("\n  it was called at {}:{line}", file!());
            assert_mentions(&text, &["input at at ", &wanted, &site]);
        }
    }
}

#[test]
fn values_are_given_to_inputs_of_the_graph_alone() {
    let graph = Graph::new();
    let (images, masks) = (graph.input("images", [2]), graph.input("masks", [2]));
    let scale = graph.param("scale", [2], Init::ONES);
    let doubled = images * 2.0;
    let (named, y) = (doubled.named("doubled"), (images * 3.0) * scale);
    let _ = masks.relu(); // nobody asks for it
    let values = array(&[2], &[1.0, 2.0]);
    let (long, whole) = (numbers(&[3], 1), array![1u32, 2]);
    let refusal = |stray| message(try_run::<f64>(&[y], &[images.feed(&values), stray]));
    assert_mentions(&refusal(Feed::new("image", &values)), &["input image", "no input", "\"images\""]);
    assert_mentions(&refusal(scale.feed(&values)), &["input scale", "is a parameter", "Store::set"]);
    assert_mentions(
        &refusal(named.feed(&values)),
        &["input doubled", "the result of mul at ", file!(), "not an input", "images, masks"],
    );
    dagrad::nn::linear(images.reshape([1, 2]), "fc", 3);
    let weight = graph.parameters()[1];
    assert_mentions(&refusal(weight.feed(&values)), &["input fc.weight", "is a parameter", "Store::set"]);
    assert_mentions(&refusal(y.feed(&values)), &["input mul", "the result of mul at ", "not an input"]);
    assert_mentions(&refusal(Feed::new("doubled", &values)), &["input doubled", "the result of mul at "]);
    assert_mentions(
        &refusal(Feed::new("sounds", &values)),
        &["no input", "; there are \"images\", \"masks\""],
    );
    let norm = images.layer_norm(1, 1e-5);
    assert_mentions(&refusal(norm.feed(&values)), &["the result of layer_norm at "]);
    // A value that is called as an input is.
    let same = (images * 4.0).named("masks");
    assert_mentions(&refusal(same.feed(&values)), &["input masks", "not an input"]);
    // Twice, whether somebody reads it or not.
    assert_mentions(&refusal(images.feed(&values)), &["input images", "two values are given"]);
    let twice = [images.feed(&values), masks.feed(&values), masks.feed(&values)];
    assert_mentions(&message(try_run::<f64>(&[y], &twice)), &["input masks", "two values are given"]);
    // What the plan does not need must fit all the same.
    assert_mentions(&refusal(masks.feed(&long)), &["input masks", "[3] is given", "[2]"]);
    assert_mentions(&refusal(masks.feed(&whole)), &["input masks", "indices are given"]);
    let found = try_run::<f64>(&[y], &[images.feed(&values), masks.feed(&values)]).unwrap();
    assert_eq!(found[0], &values * 3.0);
    // A value that comes from a graph without inputs.
    let constant = Graph::new();
    let two = constant.fill([], 2.0);
    let text = message(try_run::<f64>(&[two], &[Feed::new("x", &values)]));
    assert_mentions(&text, &["input x at ", ": the graph has no input of this name"]);
}

#[test]
fn a_store_refuses_another_shape_and_names_the_parameter() {
    let graph = Graph::new();
    let w = graph.param("layer.weight", [2, 3], Init::ZEROS);
    let plan = Plan::<f64>::compile(&graph, &[w.sum_all()]).unwrap();
    let mut store = Store::new(0);
    store.set("layer.weight", &numbers(&[3, 2], 1)).unwrap();
    let parts = ["parameter layer.weight", "[3, 2]", "[2, 3]"];
    assert_mentions(&message(store.prepare(&plan)), &parts);
    assert_mentions(&message(run_plan(&plan, &mut store, &[])), &parts);
    assert_mentions(
        &message(store.set("layer.weight", &numbers(&[6], 1))),
        &["layer.weight", "[3, 2]", "[6]"],
    );
    assert_eq!(store.get("layer.weight").unwrap(), numbers(&[3, 2], 1), "a refused value changes nothing");
    assert!(store.get("layer").is_none() && store.get_mut("").is_none());
}

#[test]
fn a_workspace_has_between_1_and_1024_threads() {
    for threads in [0, 1025, 1 << 40, usize::MAX] {
        assert_mentions(&message(Workspace::new(threads)), &["threads", &threads.to_string(), "1024"]);
    }
    assert_eq!(Workspace::new(3).unwrap().threads(), 3);
}

#[test]
fn memory_that_does_not_exist_is_an_error() {
    // One array is larger than any address space of today, yet small enough to be counted.
    let graph = Graph::new();
    let sum = graph.fill([1 << 50], 1.0).relu().sum_all();
    assert!(matches!(try_run::<f64>(&[sum], &[]), Err(Error::Memory { .. })));
    let graph = Graph::new();
    let w = graph.param("w", [1 << 50], Init::ZEROS);
    assert!(matches!(try_run::<f32>(&[w.sum_all()], &[]), Err(Error::Memory { .. })));
    // Each array can be counted, all of them together cannot.
    let graph = Graph::new();
    let inputs: Vec<_> = (0..9).map(|i| graph.input(&i.to_string(), [1 << 58])).collect();
    let sum = inputs.into_iter().reduce(|a, b| a + b).unwrap().sum_all();
    assert!(matches!(Plan::<f64>::compile(&graph, &[sum]), Err(Error::Memory { .. })));
}

#[test]
fn huge_products_and_convolutions_compile_or_are_refused_without_arithmetic_overflow() {
    let compile = |record: fn(&Graph)| {
        let graph = Graph::new();
        record(&graph);
        graph.check().unwrap();
        for options in [Options::new(), Options::plain()] {
            // Whether it compiles depends on how much memory it needs; it must not panic.
            let _ = options.compile::<f64>(&graph, &graph.parameters());
        }
    };
    compile(|g| {
        let a = g.param("a", [1 << 29, 1 << 29], Init::ZEROS);
        let b = g.param("b", [1 << 29, 1 << 29], Init::ZEROS);
        a.assign(gradients((a.matmul(b)).sum_all(), &[a]).unwrap()[0]);
    });
    compile(|g| {
        let x = g.param("x", [1, 1 << 20, 1 << 19, 1 << 18], Init::ZEROS);
        let w = g.param("w", [1, 1 << 20, 1 << 10, 1 << 10], Init::ZEROS);
        let options = Conv2dOptions::new().stride(1 << 9).padding(1 << 9);
        let found = gradients(x.conv2d(w, options).sum_all(), &[x, w]).unwrap();
        x.assign(found[0]);
        w.assign(found[1]);
    });
    compile(|g| {
        let x = g.param("x", [1 << 30, 1 << 10, 1 << 10, 1 << 8], Init::ZEROS);
        let w = g.param("w", [1, 1 << 10, 1 << 10, 1 << 8], Init::ZEROS);
        w.assign(gradients(x.conv2d(w, Conv2dOptions::new()).sum_all(), &[w]).unwrap()[0]);
    });
}

#[test]
fn padding_far_beyond_the_image_runs() {
    let graph = Graph::new();
    let x = graph.input("x", [1, 1, 2, 2]);
    let w = graph.input("w", [1, 1, 2, 2]);
    let options = Conv2dOptions::new().padding(1 << 40).stride(1 << 40);
    let y = x.conv2d(w, options);
    assert_eq!(y.shape(), [1, 1, 3, 3].into());
    let given = array(&[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let outputs = [y].into_iter().chain(gradients(y.sum_all(), &[x, w]).unwrap()).collect::<Vec<_>>();
    let found = try_run::<f64>(&outputs, &[x.feed(&given), w.feed(&given)]).unwrap();
    let mut expected = ArrayD::zeros(vec![1, 1, 3, 3]);
    expected[[0, 0, 1, 1]] = 30.0;
    assert_eq!(found[0], expected);
    assert_eq!((&found[1], &found[2]), (&given, &given));
}

#[test]
fn arrays_without_elements_run_through_every_operation() {
    for shape in [[0, 3, 4, 4], [2, 0, 4, 4]] {
        let graph = Graph::new();
        let x = graph.input("x", shape);
        let w = graph.param("w", [5, shape[1], 3, 3], Init::he(9));
        let pooled = x.conv2d(w, Conv2dOptions::new().padding(1)).relu().max_pool2d(2).avg_pool2d(2);
        let patches = x.im2col(Pool2dOptions::new(2)).col2im(shape, 2);
        let all = pooled.sum_all() + patches.sigmoid().sum_all() + x.transpose().softmax(-1).sum_all();
        let found = gradients(all, &[x, w]).unwrap();
        let given = numbers(&shape, 1);
        let results = try_run::<f64>(&[all, found[0], found[1]], &[x.feed(&given)]).unwrap();
        assert!(results.iter().flatten().all(|value| *value == 0.0), "{results:?}");
    }
}

#[test]
fn axes_without_elements_run_through_softmax_sums_and_products() {
    for (shape, axis) in [([3, 0], 1), ([3, 0], 0), ([0, 3], 0), ([0, 0], 1)] {
        let graph = Graph::new();
        let x = graph.input("x", shape);
        let rows = x.softmax(axis) + x.log_softmax(axis);
        let y = (rows.sum(&[axis]).sum_all() + x.matmul(x.transpose()).sum_all()) * 1.0;
        let gradient = gradients(y, &[x]).unwrap()[0];
        let given = ArrayD::<f64>::zeros(&shape[..]);
        let found = try_run::<f64>(&[y, gradient], &[x.feed(&given)]).unwrap();
        assert_eq!(found[0].sum(), 0.0, "{shape:?}");
        assert_eq!(found[1].shape(), shape);
    }
    let graph = Graph::new();
    let none = graph.param("none", [0], Init::he(1));
    let given: Array1<f64> = Array1::zeros(0);
    let x = graph.input("x", [0]);
    assert_eq!(try_run::<f32>(&[(none * x).sum_all()], &[x.feed(&given)]).unwrap()[0].sum(), 0.0);
}

#[test]
fn indices_are_no_real_result() {
    let graph = Graph::new();
    let classes = graph.labels("classes", [2]);
    assert_mentions(&message(classes.eval::<f64>(&[classes.feed(&array![1u32, 0])])), &["indices"]);
    let plan = Plan::<f64>::compile(&graph, &[classes]).unwrap();
    let (mut store, mut workspace) = (Store::new(0), Workspace::new(1).unwrap());
    let given = array![1u32, 0];
    let outputs = plan.run(&mut store, &mut workspace, &[classes.feed(&given)]).unwrap();
    assert!(outputs.at(0).is_none() && outputs.at(1).is_none() && outputs.scalar(0).is_none());
    assert_eq!(outputs.indices(0).unwrap(), given.into_dyn());
}
