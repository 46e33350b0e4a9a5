//! Memory over a long time: neither training nor recording keeps anything.

use std::fs;

use crate::common::network::{batch, network};
use crate::common::run_alone;
use dagrad::nn;
use dagrad::optim::{Adam, minimize};
use dagrad::{Graph, Plan, Store, Workspace};
use ndarray::Array2;

/// The resident memory of this process in pages, where the system tells.
fn resident() -> Option<usize> {
    fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()
}

/// Fails if the memory after all rounds is more than some pages above that after the first tenth.
fn assert_flat(rounds: usize, spare: usize, mut round: impl FnMut()) {
    (0..rounds / 10).for_each(|_| round());
    let early = resident();
    (rounds / 10..rounds).for_each(|_| round());
    match (early, resident()) {
        (Some(early), Some(late)) => assert!(late <= early + spare, "{early} pages grew to {late}"),
        _ => eprintln!("not checked: this system has no /proc/self/statm"),
    }
}

#[test]
fn memory_stays_flat() {
    run_alone("memory::the_whole_process_stays_flat");
}

#[test]
#[ignore = "the memory is that of the whole process: the test above runs it in one of its own"]
fn the_whole_process_stays_flat() {
    // 10,000 training steps. Eight bytes kept from each would be 18 pages of 4 KiB.
    let graph = Graph::new();
    let (x, labels) = (graph.input("x", [4, 3]), graph.labels("labels", [4]));
    let loss = nn::linear(x, "layer", 2).tanh().softmax_cross_entropy(labels);
    minimize(loss, &Adam::new(1e-3)).unwrap();
    let plan = Plan::<f32>::compile(&graph, &[loss]).unwrap();
    let (mut store, mut workspace) = (Store::new(0), Workspace::new(2).unwrap());
    let (rows, classes) = (Array2::<f32>::ones([4, 3]), ndarray::array![0, 1, 0, 1]);
    assert_flat(10_000, 8, || {
        let outputs = plan.run(&mut store, &mut workspace, &[x.feed(&rows), labels.feed(&classes)]).unwrap();
        assert!(outputs.scalar(0).is_some_and(f32::is_finite));
    });

    // Networks that are recorded, differentiated, compiled, run and dropped, each of them of hundreds of nodes.
    let (images, classes) = batch(3);
    assert_flat(300, 64, || {
        let graph = Graph::new();
        let network = network(&graph, 3);
        let plan = Plan::<f64>::compile(&graph, &[network.loss]).unwrap();
        let feeds = [network.image.feed(&images), network.classes.feed(&classes)];
        plan.run(&mut Store::new(0), &mut workspace, &feeds).unwrap();
    });
}
