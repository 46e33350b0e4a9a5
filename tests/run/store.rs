//! Stores and workspaces: what outlives a run, and who shares it.

use crate::common::network::{batch, network};
use crate::common::{array, assert_mentions, message, numbers, run_plan, try_run};
use dagrad::optim::{Adam, Momentum, minimize};
use dagrad::{Graph, Init, Mode, Options, Plan, Store, Trainer, Workspace};
use ndarray::{ArrayD, array, s};

#[test]
fn a_store_gives_takes_and_starts_parameters() {
    let graph = Graph::new();
    let w = graph.param("w", [2], Init::Constant(2.0));
    let m = graph.state("m", [2], Init::ONES);
    let plan = Plan::<f64>::compile(&graph, &[w * m]).unwrap();
    let mut store = Store::new(9);
    assert_eq!((store.seed(), store.step(), store.names().count()), (9, 0, 0));
    store.set("w", &array(&[2], &[5.0, 6.0])).unwrap();
    store.prepare(&plan).unwrap();
    store.prepare(&plan).unwrap();
    assert_eq!(store.names().collect::<Vec<_>>(), ["w", "m"]);
    assert_eq!(store.trainable().collect::<Vec<_>>(), ["w"]);
    store.get_mut("m").unwrap()[[1]] = 10.0;
    assert_eq!(run_plan(&plan, &mut store, &[]).unwrap(), [array(&[2], &[5.0, 60.0])]);
    assert_eq!(store.step(), 0, "a run that assigns nothing is no step");
    assert!(store.get("x").is_none());
}

/// The plan of a layer with parameters of this name.
fn layer_plan(mode: Mode, name: &str) -> Plan<f64> {
    let graph = Graph::with_mode(mode);
    let w = graph.param(&format!("{name}.weight"), [2], Init::he(2));
    let b = graph.param(&format!("{name}.bias"), [2], Init::ZEROS);
    Plan::compile(&graph, &[w + b]).unwrap()
}

#[test]
fn a_misspelt_parameter_is_not_started_afresh() {
    let mut store = Store::new(0);
    run_plan(&layer_plan(Mode::Train, "conv1"), &mut store, &[]).unwrap(); // the first plan starts them
    for mode in [Mode::Train, Mode::Evaluate] {
        run_plan(&layer_plan(mode, "conv1"), &mut store, &[]).unwrap();
        let misspelt = layer_plan(mode, "conv_1");
        let text = message(run_plan(&misspelt, &mut store, &[]));
        assert_mentions(&text, &["conv_1.weight", "does not have it", "\"conv1.weight\"", "Store::prepare"]);
        assert_eq!(store.names().count(), 2, "nothing is added");
        let mut other = store.copy().unwrap();
        other.prepare(&misspelt).unwrap(); // on purpose
        run_plan(&misspelt, &mut other, &[]).unwrap();
    }
    // Of weights that are set by hand, all are.
    let mut by_hand = Store::new(0);
    by_hand.set("conv1.wieght", &numbers(&[2], 1)).unwrap();
    let text = message(run_plan(&layer_plan(Mode::Train, "conv1"), &mut by_hand, &[]));
    assert_mentions(&text, &["parameter conv1.weight", "\"conv1.wieght\""]);
}

#[test]
fn an_empty_store_answers_nothing() {
    let plan = layer_plan(Mode::Evaluate, "conv1");
    let text = message(run_plan(&plan, &mut Store::new(0), &[]));
    assert_mentions(&text, &["parameter conv1.weight", "does not have it", "Store::prepare"]);
    let mut store = Store::new(0);
    store.prepare(&plan).unwrap();
    run_plan(&plan, &mut store, &[]).unwrap();
}

#[test]
fn a_trainer_takes_all_of_its_parameters_from_a_store_or_none() {
    let graph = Graph::new();
    let loss = graph.param("w", [2], Init::ONES).powi(2).sum_all();
    let mut store = Store::<f64>::new(0);
    store.set("v", &numbers(&[2], 1)).unwrap();
    let trainer = Trainer::with(loss, &Momentum::new(0.1), store, Workspace::new(1).unwrap());
    assert_mentions(&message(trainer), &["parameter w", "\"v\""]);
    let graph = Graph::new();
    let loss = graph.param("w", [2], Init::ONES).powi(2).sum_all();
    let mut store = Store::<f64>::new(0);
    store.set("w", &numbers(&[2], 1)).unwrap();
    let mut trainer = Trainer::with(loss, &Momentum::new(0.1), store, Workspace::new(1).unwrap()).unwrap();
    trainer.step(&[]).unwrap(); // the optimizer's state is new
    assert_eq!(trainer.store().names().count(), 2);
}

#[test]
fn state_that_is_set_before_its_plan_is_known_is_not_trainable() {
    let graph = Graph::new();
    let m = graph.state("m", [2], Init::ONES);
    let plan = Plan::<f64>::compile(&graph, &[m * 2.0]).unwrap();
    let mut store = Store::new(0);
    store.set("m", &array(&[2], &[1.0, 2.0])).unwrap();
    store.prepare(&plan).unwrap();
    assert_eq!(store.trainable().count(), 0);
}

#[test]
fn steps_are_counted_by_runs_that_assign() {
    let graph = Graph::new();
    let w = graph.param("w", [], Init::ZEROS);
    w.assign(w + 1.0);
    let (plan, idle) = (
        Plan::<f32>::compile(&graph, &[]).unwrap(),
        Options::new().without_assignments().compile(&graph, &[w]).unwrap(),
    );
    let mut store = Store::new(0);
    for _ in 0..3 {
        run_plan(&plan, &mut store, &[]).unwrap();
        run_plan(&idle, &mut store, &[]).unwrap();
    }
    assert_eq!((store.step(), store.get("w").unwrap().sum()), (3, 3.0));
}

/// What parameters of these names start from.
fn starts(names: &[&str], seed: u64) -> Vec<ArrayD<f64>> {
    let graph = Graph::new();
    let parameters: Vec<_> = names.iter().map(|name| graph.param(name, [50], Init::he(2))).collect();
    let plan = Plan::<f64>::compile(&graph, &parameters).unwrap();
    let mut store = Store::new(seed);
    store.prepare(&plan).unwrap();
    names.iter().map(|name| store.get(name).unwrap().to_owned()).collect()
}

#[test]
fn a_parameter_starts_from_its_name_and_the_seed_alone() {
    let (one, two) = (starts(&["a", "b", "c"], 7), starts(&["c", "a"], 7));
    assert_eq!((&one[0], &one[2]), (&two[1], &two[0]));
    assert_ne!(one[0], one[1]);
    assert_ne!(one, starts(&["a", "b", "c"], 8));
    // Another precision rounds the same numbers.
    let graph = Graph::new();
    let a = graph.param("a", [50], Init::he(2));
    let plan = Plan::<f32>::compile(&graph, &[a]).unwrap();
    let mut store = Store::new(7);
    store.prepare(&plan).unwrap();
    assert_eq!(store.get("a").unwrap(), one[0].mapv(|value| value as f32));
}

#[test]
fn starts_have_the_spread_they_promise() {
    let graph = Graph::new();
    let spread = |name: &str, init: Init| {
        let values = crate::common::value(graph.param(name, [20_000], init), &[]);
        let mean = values.mean().unwrap();
        (
            mean,
            values.mapv(|x| (x - mean).powi(2)).mean().unwrap().sqrt(),
            values.fold(0.0f64, |m, x| m.max(x.abs())),
        )
    };
    for (name, init, std) in [
        ("he", Init::he(50), 0.2),
        ("xavier", Init::xavier(30, 20), 0.2),
        ("normal", Init::Normal { std: 3.0 }, 3.0),
        ("uniform", Init::Uniform { limit: 0.5 }, 0.5 / 3f64.sqrt()),
    ] {
        let (mean, found, largest) = spread(name, init);
        assert!(mean.abs() < 0.03 * std && (found / std - 1.0).abs() < 0.03, "{name}: {mean} ± {found}");
        assert!(name != "uniform" || largest <= 0.5);
    }
    assert_eq!(spread("constant", Init::Constant(4.0)).1, 0.0);
}

#[test]
fn one_store_serves_plans_of_different_batches() {
    let (large, small) = (Graph::new(), Graph::new());
    let (train, test) = (network(&large, 8), network(&small, 2));
    let plan = Plan::<f64>::compile(&large, &[train.loss]).unwrap();
    let evaluate = Options::new().without_assignments().compile::<f64>(&small, &[test.loss]).unwrap();
    let (mut store, mut workspace) = (Store::new(1), Workspace::new(2).unwrap());
    store.prepare(&evaluate).unwrap();
    let ((images, labels), (few, classes)) = (batch(8), batch(2));
    let mut loss = || {
        let feeds = [test.image.feed(&few), test.classes.feed(&classes)];
        let before = evaluate.run(&mut store, &mut workspace, &feeds).unwrap().scalar(0).unwrap();
        let feeds = [train.image.feed(&images), train.classes.feed(&labels)];
        plan.run(&mut store, &mut workspace, &feeds).unwrap();
        before
    };
    let losses = [loss(), loss(), loss()];
    assert!(losses[0] != losses[1] && losses[1] != losses[2], "{losses:?}");
    assert_eq!((store.step(), store.names().count()), (3, 6));
}

#[test]
fn one_workspace_serves_plans_of_any_size_and_precision() {
    let mut workspace = Workspace::new(2).unwrap();
    for size in [10usize, 100_000, 100, 200_000] {
        let graph = Graph::new();
        let x = graph.input("x", [size]);
        let given = numbers(&[size], 1);
        let plan = Plan::<f64>::compile(&graph, &[x * 2.0]).unwrap();
        let found = plan
            .run(&mut Store::new(0), &mut workspace, &[x.feed(&given)])
            .unwrap()
            .at(0)
            .unwrap()
            .to_owned();
        assert_eq!(found, &given * 2.0);
        let plan = Plan::<f32>::compile(&graph, &[x * 2.0]).unwrap();
        let found = plan
            .run(&mut Store::new(0), &mut workspace, &[x.feed(&given)])
            .unwrap()
            .at(0)
            .unwrap()
            .to_owned();
        assert_eq!(found, given.mapv(|x| x as f32 * 2.0));
    }
}

#[test]
fn values_of_any_layout_and_precision_are_taken() {
    let graph = Graph::new();
    let (x, classes) = (graph.input("x", [3, 2]), graph.labels("classes", [3]));
    let whole = numbers(&[4, 6], 1);
    let part = whole.slice(s![..;2, 1..;2]);
    let turned = part.t().into_dyn();
    let backwards = array![9u32, 1, 9, 0, 9, 1];
    let labels = backwards.slice(s![1..;2]);
    let feeds = [x.feed(&turned), classes.feed(&labels)];
    let found = try_run::<f64>(&[x, x.pick(classes)], &feeds).unwrap();
    assert_eq!(found[0], turned.as_standard_layout());
    let picked: Vec<f64> = [1, 0, 1].iter().enumerate().map(|(row, &column)| turned[[row, column]]).collect();
    assert_eq!(found[1], array(&[3], &picked));
    let single = turned.mapv(|value| value as f32);
    assert_eq!(try_run::<f32>(&[x], &[x.feed(&single)]).unwrap()[0], single);
    assert_eq!(try_run::<f64>(&[x], &[x.feed(&single)]).unwrap()[0], single.mapv(f64::from));
}

#[test]
fn a_plan_is_shared_between_threads() {
    let graph = Graph::new();
    let net = network(&graph, 3);
    let plan = Plan::<f64>::compile(&graph, &[net.loss]).unwrap();
    let (images, labels) = batch(3);
    let feeds = [net.image.feed(&images), net.classes.feed(&labels)];
    let run = || {
        let (mut store, mut workspace) = (Store::new(4), Workspace::new(2).unwrap());
        (0..5)
            .map(|_| plan.run(&mut store, &mut workspace, &feeds).unwrap().scalar(0).unwrap())
            .collect::<Vec<_>>()
    };
    let expected = run();
    std::thread::scope(|scope| {
        let threads = [(); 3].map(|()| scope.spawn(run));
        threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), expected));
    });
}

#[test]
fn a_run_that_fails_starts_nothing() {
    let graph = Graph::new();
    let net = network(&graph, 3);
    let plan = Plan::<f64>::compile(&graph, &[net.loss]).unwrap();
    let (images, labels) = batch(3);
    let (few, strange, holes) = (batch(2).0, labels.mapv(|_| 1000), images.mapv(|_| f64::NAN));
    let (mut store, mut workspace) = (Store::new(1), Workspace::new(1).unwrap());
    workspace.check_values(true);
    for feeds in [
        &[net.image.feed(&images)][..],
        &[net.image.feed(&few), net.classes.feed(&labels)],
        &[net.image.feed(&images), net.classes.feed(&strange)],
        &[net.image.feed(&holes), net.classes.feed(&labels)],
    ] {
        assert!(plan.run(&mut store, &mut workspace, feeds).is_err());
        assert_eq!((store.names().count(), store.step()), (0, 0));
    }
    // The last parameter has another shape.
    let last = plan.parameters().last().unwrap().name.to_string();
    store.set(&last, &numbers(&[7, 7, 7], 1)).unwrap();
    assert!(store.prepare(&plan).is_err());
    assert_eq!(store.names().collect::<Vec<_>>(), [last]);
    let mut store = Store::new(1);
    plan.run(&mut store, &mut workspace, &[net.image.feed(&images), net.classes.feed(&labels)]).unwrap();
    assert_eq!((store.names().count(), store.step()), (plan.parameters().len(), 1));
}

#[test]
fn a_plan_that_only_looks_starts_nothing() {
    let graph = Graph::new();
    let w = graph.param("w", [2], Init::ONES);
    let plan = Options::new().without_assignments().compile::<f64>(&graph, &[w]).unwrap();
    let mut store = Store::new(0);
    let text = message(run_plan(&plan, &mut store, &[]));
    assert_mentions(&text, &["parameter w", "does not have it", "Store::prepare"]);
    assert_eq!(store.names().count(), 0);
}

#[test]
fn an_optimizer_that_is_reset_begins_anew_and_all_else_stays() {
    let run = |store: &mut Store<f64>| {
        let graph = Graph::new();
        let w = graph.param("layer.w", [2], Init::ONES);
        let mean = graph.state("layer.running_mean", [2], Init::ZEROS);
        mean.assign(mean + 1.0);
        minimize(w.powi(2).sum_all(), &Adam::new(0.1)).unwrap();
        run_plan(&Plan::compile(&graph, &[]).unwrap(), store, &[]).unwrap();
    };
    let mut store = Store::new(0);
    (0..3).for_each(|_| run(&mut store));
    let before = store.get("layer.w").unwrap().to_owned();
    store.reset_optimizer();
    assert_eq!(
        store.names().collect::<std::collections::BTreeSet<_>>(),
        ["layer.running_mean", "layer.w"].into()
    );
    assert_eq!((store.step(), store.get("layer.running_mean").unwrap().sum()), (3, 6.0));
    assert_eq!(store.get("layer.w").unwrap(), before);
    run(&mut store); // a first step of Adam has the size of the rate
    let moved = &before - &store.get("layer.w").unwrap();
    assert!(moved.iter().all(|moved| (moved - 0.1).abs() < 1e-6), "{moved}");
    assert_eq!((store.get("layer.w.adam.step").unwrap()[[0]], store.step()), (1.0, 4));
}
