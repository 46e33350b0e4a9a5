//! Memory over a long time: neither training nor recording keeps anything.

use crate::allocation::live;
use crate::common::network::{batch, network};
use crate::common::run_alone;
use dagrad::nn;
use dagrad::optim::{Adam, minimize};
use dagrad::{Graph, Plan, Store, Workspace};
use ndarray::Array2;

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
