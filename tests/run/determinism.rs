//! The same seed gives the same bits, whatever the number of threads and however often it runs.

use crate::common::network::{batch, network};
use dagrad::{Graph, Plan, Precision, Store, Var, Workspace};

/// The bits of all losses and gradients of some training steps, then of all parameters.
fn train<T: Precision>(threads: usize, seed: u64, steps: usize) -> Vec<Vec<u64>> {
    let graph = Graph::new();
    let net = network(&graph, 24);
    let outputs: Vec<Var<'_>> = [net.loss].into_iter().chain(net.gradients).collect();
    let plan = Plan::<T>::compile(&graph, &outputs).unwrap();
    let (mut store, mut workspace) = (Store::new(seed), Workspace::new(threads).unwrap());
    let (images, labels) = batch(24);
    let feeds = [net.image.feed(&images), net.classes.feed(&labels)];
    let mut all = Vec::new();
    for _ in 0..steps {
        let found = plan.run(&mut store, &mut workspace, &feeds).unwrap();
        all.extend((0..found.len()).map(|i| bits(found.at(i).unwrap())));
    }
    let names: Vec<String> = store.names().map(String::from).collect();
    all.extend(names.iter().map(|name| bits(store.get(name).unwrap())));
    all
}

/// Widening to `f64` keeps every bit apart.
fn bits<T: Precision>(array: ndarray::ArrayViewD<'_, T>) -> Vec<u64> {
    array.iter().map(|value| value.into_f64().to_bits()).collect()
}

fn check<T: Precision>() {
    let once = train::<T>(1, 11, 5);
    let losses: Vec<f64> = once.iter().take(35).step_by(7).map(|loss| f64::from_bits(loss[0])).collect();
    assert!(losses.iter().all(|loss| loss.is_finite()) && losses[4] < losses[0], "{losses:?}");
    for threads in [1, 2, 3, 1, 2, 3] {
        let again = train::<T>(threads, 11, 5);
        assert_eq!(again.len(), once.len());
        for (result, (found, expected)) in again.iter().zip(&once).enumerate() {
            assert!(found == expected, "{threads} threads differ in result {result} of 7 each step");
        }
    }
    assert_ne!(train::<T>(2, 12, 1), train::<T>(2, 11, 1), "the seed does not matter");
}

#[test]
fn single_precision_is_the_same_to_the_bit_for_1_2_and_3_threads() {
    check::<f32>();
}

#[test]
fn double_precision_is_the_same_to_the_bit_for_1_2_and_3_threads() {
    check::<f64>();
}

#[test]
fn threads_may_change_between_steps() {
    let steps = |threads: [usize; 4]| {
        let graph = Graph::new();
        let net = network(&graph, 8);
        let plan = Plan::<f32>::compile(&graph, &[net.loss]).unwrap();
        let mut store = Store::new(2);
        let (images, labels) = batch(8);
        let feeds = [net.image.feed(&images), net.classes.feed(&labels)];
        threads.map(|threads| {
            let mut workspace = Workspace::new(threads).unwrap();
            plan.run(&mut store, &mut workspace, &feeds).unwrap().scalar(0).unwrap().to_bits()
        })
    };
    assert_eq!(steps([1, 1, 1, 1]), steps([3, 1, 2, 4]));
}
