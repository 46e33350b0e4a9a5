//! Layers that are used several times in one step.

use crate::common::{assert_close, numbers};
use dagrad::nn::{self, BatchNorm};
use dagrad::optim::{Adam, Sgd, minimize};
use dagrad::{Feed, Graph, Init, Mode, Plan, Precision, Store, Trainer, Var, Workspace};
use ndarray::{ArrayD, Axis};

const STATISTICS: [&str; 2] = ["bn.running_mean", "bn.running_var"];

fn batches() -> Vec<ArrayD<f64>> {
    [(4, 1), (6, 2), (3, 3)].map(|(rows, seed)| numbers(&[rows, 2, 3], seed) * (seed as f64)).to_vec()
}

/// The running statistics after steps in which one batch normalisation sees all batches.
fn statistics<T: Precision>(
    batches: &[ArrayD<f64>],
    steps: usize,
    apply: impl for<'g> Fn(Var<'g>) -> Var<'g>,
) -> Vec<ArrayD<f64>> {
    let graph = Graph::new();
    let name = |number: usize| format!("x{number}");
    let losses = batches.iter().enumerate().map(|(number, batch)| {
        let x = graph.input(&name(number), batch.shape());
        apply(x).powi(3).sum_all()
    });
    let loss = losses.reduce(|a, b| a + b).unwrap();
    let (store, workspace) = (Store::<T>::new(0), Workspace::new(2).unwrap());
    let mut trainer = Trainer::with(loss, &Adam::new(0.01), store, workspace).unwrap();
    let names: Vec<String> = (0..batches.len()).map(name).collect();
    let feeds: Vec<Feed<'_>> =
        names.iter().zip(batches).map(|(name, batch)| Feed::new(name, batch)).collect();
    for _ in 0..steps {
        trainer.step(&feeds).unwrap();
    }
    STATISTICS.map(|name| trainer.store().get(name).unwrap().mapv(dagrad::Real::into_f64)).to_vec()
}

fn norm<'g>(x: Var<'g>) -> Var<'g> {
    nn::batch_norm(x, "bn", BatchNorm::default())
}

/// The running statistics after one batch after the other, by PyTorch's formula.
fn expected(batches: &[ArrayD<f64>], steps: usize) -> Vec<ArrayD<f64>> {
    let (mut mean, mut variance) = (ArrayD::zeros(vec![2]), ArrayD::ones(vec![2]));
    for batch in (0..steps).flat_map(|_| batches) {
        let count = (batch.len() / 2) as f64;
        let average = |x: &ArrayD<f64>| x.sum_axis(Axis(2)).sum_axis(Axis(0)) / count;
        let of_batch = average(batch);
        let centred = batch - &of_batch.clone().into_shape_with_order(vec![1, 2, 1]).unwrap();
        let unbiased = average(&(&centred * &centred)) * (count / (count - 1.0));
        mean = mean * 0.9 + of_batch * 0.1;
        variance = variance * 0.9 + unbiased * 0.1;
    }
    vec![mean, variance]
}

#[test]
fn a_batch_norm_that_sees_several_batches_takes_in_one_after_the_other() {
    let batches = batches();
    for count in 1..=3 {
        for steps in [1, 4] {
            let expected = expected(&batches[..count], steps);
            for (found, expected) in statistics::<f64>(&batches[..count], steps, norm).iter().zip(&expected) {
                assert_close(found, expected, 1e-14);
            }
            for (found, expected) in statistics::<f32>(&batches[..count], steps, norm).iter().zip(&expected) {
                assert_close(found, expected, 1e-6);
            }
        }
    }
    let reversed: Vec<_> = batches.iter().rev().cloned().collect();
    assert_ne!(
        statistics::<f64>(&batches, 1, norm),
        statistics::<f64>(&reversed, 1, norm),
        "the order counts"
    );
}

#[test]
fn blocks_that_are_computed_again_do_not_count_twice() {
    let batches = batches();
    let plain = statistics::<f64>(&batches, 3, norm);
    assert_eq!(statistics::<f64>(&batches, 3, |x| x.recompute(norm)), plain);
    assert_eq!(statistics::<f64>(&batches, 3, |x| x.recompute(|x| x.recompute(norm) * 1.0)), plain);
    // Twice within one block.
    let deep = statistics::<f64>(&batches, 3, |x| norm(norm(x).tanh()));
    assert_eq!(statistics::<f64>(&batches, 3, |x| x.recompute(|x| norm(norm(x).tanh()))), deep);
    assert_ne!(deep, plain);
}

#[test]
fn a_step_on_two_batches_moves_statistics_as_a_step_on_each() {
    let batches = batches();
    let alone = |store: &mut Store<f64>, batch: &ArrayD<f64>| {
        let graph = Graph::new();
        let y = norm(graph.input("x", batch.shape())).sum_all();
        let plan = Plan::compile(&graph, &[y]).unwrap();
        plan.run(store, &mut Workspace::new(1).unwrap(), &[Feed::new("x", batch)]).unwrap();
    };
    let mut store = Store::new(0);
    batches.iter().for_each(|batch| alone(&mut store, batch));
    let found = statistics::<f64>(&batches, 1, norm);
    for (name, found) in STATISTICS.iter().zip(&found) {
        assert_close(found, &store.get(name).unwrap().to_owned(), 1e-15);
    }
}

#[test]
fn a_frozen_use_between_two_others_changes_no_statistics() {
    let batches = batches();
    let with = |frozen: bool| {
        let graph = Graph::new();
        let [a, b] = [0, 1].map(|number| graph.input(&format!("x{number}"), batches[number].shape()));
        let mut loss = norm(a).powi(3).sum_all();
        if frozen {
            let _frozen = graph.in_mode(Mode::Evaluate);
            loss = loss + norm(b).sum_all();
        }
        let loss = loss + norm(b).powi(3).sum_all();
        minimize(loss, &Sgd::new(0.0)).unwrap();
        let plan = Plan::<f64>::compile(&graph, &[loss]).unwrap();
        let mut store = Store::new(0);
        let feeds = [Feed::new("x0", &batches[0]), Feed::new("x1", &batches[1])];
        plan.run(&mut store, &mut Workspace::new(1).unwrap(), &feeds).unwrap();
        STATISTICS.map(|name| store.get(name).unwrap().to_owned())
    };
    assert_eq!(with(true), with(false));
}

#[test]
fn state_of_ones_own_moves_as_often_as_it_is_used() {
    // An average over the values of a network, and the average of a parameter after its step.
    let graph = Graph::new();
    let w = graph.param("w", [], Init::ONES);
    let seen = graph.state("seen", [], Init::ZEROS);
    for value in [1.0, 2.0, 3.0] {
        seen.update(|seen| seen * 10.0 + value);
    }
    minimize(w * 1.0, &Sgd::new(0.25)).unwrap();
    let next = w.update(|w| w);
    graph.state("average", [], Init::ZEROS).update(|average| average * 0.5 + next * 0.5);
    assert_eq!(graph.updates().len(), 3);
    let plan = Plan::<f64>::compile(&graph, &[seen, next]).unwrap();
    let mut store = Store::new(0);
    let mut workspace = Workspace::new(1).unwrap();
    {
        let outputs = plan.run(&mut store, &mut workspace, &[]).unwrap();
        assert_eq!([0, 1].map(|output| outputs.scalar(output).unwrap()), [0.0, 0.75]);
    }
    assert_eq!(["seen", "average", "w"].map(|name| store.get(name).unwrap()[[]]), [123.0, 0.375, 0.75]);
    plan.run(&mut store, &mut workspace, &[]).unwrap();
    assert_eq!(["seen", "average", "w"].map(|name| store.get(name).unwrap()[[]]), [123_123.0, 0.4375, 0.5]);
}
