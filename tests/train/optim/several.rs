//! Steps of several batches, and averages over steps.

use super::{adam_of_the_tests, gradients, trainer};
use crate::common::{assert_close, numbers};
use dagrad::graph::ParameterKind;
use dagrad::optim::{Adam, AdamW, LearningRate, Momentum, Optimizer, Sgd, averages};
use dagrad::{Feed, Graph, Store, Trainer, Workspace, nn};
use ndarray::{Array1, ArrayD, Axis, Slice, s};

#[test]
fn gradients_of_several_batches_make_the_step_of_their_mean() {
    let shape = [2, 3];
    let start = numbers(&shape, 99);
    let each = gradients(&shape, 12);
    let rate = LearningRate::cosine(0.2, 4);
    let clipped = |batches| Momentum::new(rate).weight_decay(0.01).clip_norm(0.5).accumulate(batches);
    let adam = |batches| Adam { learning_rate: rate, ..adam_of_the_tests() }.accumulate(batches);
    let rules: [&dyn Fn(usize) -> Box<dyn Optimizer>; 2] =
        [&|batches| Box::new(clipped(batches)), &|batches| Box::new(adam(batches))];
    for rule in rules {
        let (mut small, mut large) = (trainer(&rule(3), &start), trainer(&rule(1), &start));
        for batches in each.chunks(3) {
            let before = small.store().get("p").unwrap().to_owned();
            for (number, gradient) in batches.iter().enumerate() {
                assert_eq!(small.store().get("p").unwrap(), before, "it stays until batch 3, not {number}");
                small.step(&[Feed::new("g", gradient)]).unwrap();
            }
            let mean =
                batches.iter().fold(ArrayD::<f64>::zeros(&shape[..]), |sum, gradient| sum + gradient) / 3.0;
            large.step(&[Feed::new("g", &mean)]).unwrap();
            let [found, expected] = [&small, &large].map(|t| t.store().get("p").unwrap().to_owned());
            assert_close(&found, &expected, 1e-14);
        }
    }
}

#[test]
fn a_large_batch_in_parts_is_the_large_batch() {
    let make = |batch: usize, rule: &dyn Optimizer| {
        let graph = Graph::new();
        let x = graph.input("x", [batch, 4]);
        let logits = nn::linear(nn::linear(x, "fc1", 6).tanh(), "fc2", 3);
        let loss = logits.softmax_cross_entropy(graph.labels("y", [batch]));
        Trainer::<f64>::with(loss, rule, Store::new(4), Workspace::new(2).unwrap()).unwrap()
    };
    let rule = AdamW::new(0.05);
    let (mut parts, mut whole) = (make(5, &rule.accumulate(4)), make(20, &rule));
    for step in 0..6 {
        let x = numbers(&[20, 4], step);
        let y = Array1::from_shape_fn(20, |sample| (sample as u32 * 7 + step as u32) % 3);
        for part in 0..4 {
            let range = s![5 * part..5 * part + 5];
            let (x, y) = (x.slice_axis(Axis(0), Slice::from(5 * part..5 * part + 5)), y.slice(range));
            parts.step(&[Feed::new("x", &x), Feed::new("y", &y)]).unwrap();
        }
        whole.step(&[Feed::new("x", &x), Feed::new("y", &y)]).unwrap();
        for name in ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"] {
            let [found, expected] = [&parts, &whole].map(|t| t.store().get(name).unwrap().to_owned());
            assert_close(&found, &expected, 1e-12);
        }
    }
}

#[test]
fn an_average_begins_with_the_first_step_and_decays() {
    let shape = [2, 3];
    let start = numbers(&shape, 99);
    let mut trainer = trainer(&Sgd::new(0.3).averaged(0.9), &start);
    let (mut expected, mut p): (Option<ArrayD<f64>>, ArrayD<f64>) = (None, start.clone());
    for gradient in gradients(&shape, 9) {
        trainer.step(&[Feed::new("g", &gradient)]).unwrap();
        p = p - &gradient * 0.3;
        expected = Some(expected.map_or(p.clone(), |average| average * 0.9 + &p * 0.1));
        let averaged = averages(trainer.store()).unwrap();
        assert_close(&averaged.get("p").unwrap().to_owned(), expected.as_ref().unwrap(), 1e-14);
        assert_close(&trainer.store().get("p").unwrap().to_owned(), &p, 1e-14);
    }
    assert_eq!(trainer.store().kind("p.average"), Some(ParameterKind::Optimizer));
    // A store without averages is copied as it is.
    let plain = super::trainer(&Adam::new(0.1), &start).into_store();
    assert_eq!(averages(&plain).unwrap().get("p"), plain.get("p"));
}

#[test]
fn averages_of_accumulated_steps_move_with_the_steps() {
    let start = numbers(&[2], 5);
    let mut trainer = trainer(&Sgd::new(0.3).averaged(0.5).accumulate(2), &start);
    let zero = |trainer: &Trainer<f64>| trainer.store().get("p.average").unwrap().iter().all(|x| *x == 0.0);
    for step in 0..2 {
        assert!(zero(&trainer), "{step}");
        trainer.step(&[Feed::new("g", &numbers(&[2], step))]).unwrap();
    }
    assert_eq!(trainer.store().get("p.average"), trainer.store().get("p"));
}
