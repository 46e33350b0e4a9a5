//! Memory over a long time: neither training nor recording keeps anything.

use crate::allocation::live;
use crate::common::network::{batch, network};
use crate::common::run_alone;
use dagrad::nn::{self, Filters, Model};
use dagrad::optim::{Adam, minimize};
use dagrad::{Graph, Plan, Store, Workspace};
use ndarray::{Array1, Array2, Array4};

/// Fails if the heap holds more after all rounds than after the first tenth. Pages would be no measure: the system
/// gives and takes some for reasons of its own.
fn assert_flat(rounds: usize, mut round: impl FnMut()) {
    (0..rounds / 10).for_each(|_| round());
    let early = live();
    (rounds / 10..rounds).for_each(|_| round());
    assert_eq!(live(), early, "bytes after all rounds and after the first tenth");
}

#[test]
fn memory_stays_flat() {
    run_alone("memory::the_whole_process_stays_flat");
}

#[test]
#[ignore = "the heap is that of the whole process: the test above runs it in one of its own"]
fn the_whole_process_stays_flat() {
    // Training steps.
    let graph = Graph::new();
    let (x, labels) = (graph.input("x", [4, 3]), graph.labels("labels", [4]));
    let loss = nn::linear(x, "layer", 2).tanh().softmax_cross_entropy(labels);
    minimize(loss, &Adam::new(1e-3)).unwrap();
    let plan = Plan::<f32>::compile(&graph, &[loss]).unwrap();
    let (mut store, mut workspace) = (Store::new(0), Workspace::new(2).unwrap());
    let (rows, classes) = (Array2::<f32>::ones([4, 3]), ndarray::array![0, 1, 0, 1]);
    assert_flat(1000, || {
        let outputs = plan.run(&mut store, &mut workspace, &[x.feed(&rows), labels.feed(&classes)]).unwrap();
        assert!(outputs.scalar(0).is_some_and(f32::is_finite));
    });

    // Networks that are recorded, differentiated, compiled, run and dropped, each of them of hundreds of nodes.
    let (images, classes) = batch(3);
    assert_flat(50, || {
        let graph = Graph::new();
        let network = network(&graph, 3);
        let plan = Plan::<f64>::compile(&graph, &[network.loss]).unwrap();
        let feeds = [network.image.feed(&images), network.classes.feed(&classes)];
        plan.run(&mut Store::new(0), &mut workspace, &feeds).unwrap();
    });
}

#[test]
fn a_model_keeps_few_plans() {
    run_alone("memory::the_plans_of_many_batch_sizes_are_not_kept");
}

#[test]
#[ignore = "the heap is that of the whole process: the test above runs it in one of its own"]
fn the_plans_of_many_batch_sizes_are_not_kept() {
    let network = nn::network(|images| {
        let maps = nn::conv2d(images, "conv", Filters::new(4, 3)).relu().max_pool2d(2);
        nn::linear(maps.flatten(), "classes", 10)
    });
    let mut model = Model::with_workspace(network, [1, 6, 6], 0, Workspace::new(1).unwrap()).unwrap();
    let images =
        |count: usize| Array4::from_shape_fn((count, 1, 6, 6), |(n, _, y, x)| (n * 7 + y * x) as f32);
    let labels = |count: usize| Array1::from_shape_fn(count, |number| number as u32 % 10);
    let mut gradient = |count| model.gradient(&images(count), &labels(count)).unwrap();
    let (alone, few) = (live(), gradient(500));
    (1..=20).for_each(|count| drop(gradient(count)));
    let early = live() - alone;
    (21..500).for_each(|count| drop(gradient(count)));
    let late = live() - alone;
    // Tilings differ from size to size, and so do plans, a little.
    assert!(late < early + early / 2, "{early} bytes after 20 batch sizes and {late} after 500");
    assert_eq!(gradient(500), few, "a plan that is compiled again computes the same");
}
