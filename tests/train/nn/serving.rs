//! One network answers several threads.

use std::sync::Arc;
use std::thread;

use crate::common::{assert_mentions, message};
use dagrad::nn::{self, BatchNorm, Filters, Model, Predictor};
use dagrad::optim::Adam;
use dagrad::train::{FitOptions, Progress, fit};
use dagrad::{Var, Workspace};
use ndarray::{Array2, Array4, s};

fn network(images: Var<'_>) -> Var<'_> {
    let h = nn::conv2d(images, "conv1", Filters::new(16, 3).padding(1));
    let h = nn::batch_norm(h, "norm", BatchNorm::default()).relu();
    let h = nn::conv2d(h, "conv2", Filters::new(16, 3).padding(1)).relu().max_pool2d(2);
    nn::linear(h.flatten().dropout(0.5), "fc", 10)
}

type Digits = Model<fn(Var<'_>) -> Var<'_>>;

/// A network that has been trained a little, twice the same.
fn model() -> Digits {
    let network: fn(Var<'_>) -> Var<'_> = network;
    let mut model = Model::with_workspace(network, [1, 28, 28], 2, Workspace::new(2).unwrap()).unwrap();
    let digits = dagrad::data::mnist_5k().unwrap();
    let (train, test) = (digits.train.take(100), digits.test.take(20));
    let options = FitOptions { epochs: 1, batch: 50, progress: Progress::Quiet, ..FitOptions::default() };
    fit(&mut model, &Adam::new(1e-3), &train, &test, options).unwrap();
    model
}

fn images(count: usize) -> Array4<f32> {
    dagrad::data::mnist_5k().unwrap().test.batch(&(0..count).collect::<Vec<_>>()).unwrap().0
}

/// What a model answers in batches of these sizes, one after the other.
fn in_batches(model: &mut Digits, images: &Array4<f32>, sizes: &[usize]) -> Array2<f32> {
    let mut rows = Vec::new();
    let mut start = 0;
    for size in sizes {
        rows.push(model.predict(&images.slice(s![start..start + size, .., .., ..]).to_owned()).unwrap());
        start += size;
    }
    ndarray::concatenate(ndarray::Axis(0), &rows.iter().map(|rows| rows.view()).collect::<Vec<_>>()).unwrap()
}

#[test]
fn many_threads_get_the_bits_that_one_gets() {
    let (mut alone, shared) = (model(), model());
    let predictor = Arc::new(shared.into_predictor(&[8, 1, 3], 1).unwrap());
    assert_eq!(predictor.batches(), [1, 3, 8]);
    // How a number of images is divided.
    let divided: [(usize, &[usize]); 5] = [(1, &[1]), (4, &[8]), (8, &[8]), (11, &[8, 3]), (17, &[8, 8, 1])];
    let expected: Vec<(Array4<f32>, Array2<f32>)> = divided
        .iter()
        .map(|&(count, sizes)| {
            let images = images(count);
            let whole: usize = sizes.iter().sum();
            let mut padded = Array4::zeros((whole, 1, 28, 28));
            padded.slice_mut(s![..count, .., .., ..]).assign(&images);
            let logits = in_batches(&mut alone, &padded, sizes);
            (images, logits.slice(s![..count, ..]).to_owned())
        })
        .collect();
    let ask = |predictor: Arc<Predictor>, expected: Vec<(Array4<f32>, Array2<f32>)>, first: usize| {
        for round in 0..20 {
            let (images, logits) = &expected[(first + round) % expected.len()];
            let found = predictor.predict(images).unwrap();
            assert!(
                found.iter().zip(logits).all(|(a, b)| a.to_bits() == b.to_bits()),
                "{} images",
                images.dim().0
            );
        }
    };
    let threads: Vec<_> = (0..6)
        .map(|first| {
            let (predictor, expected) = (predictor.clone(), expected.clone());
            thread::spawn(move || ask(predictor, expected, first))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(predictor.store().step(), 2);
}

#[test]
fn what_does_not_fit_is_refused_and_the_next_is_answered() {
    let predictor = model().into_predictor(&[2], 2).unwrap();
    assert_mentions(
        &message(predictor.predict(&Array4::zeros((2, 1, 28, 27)))),
        &["[2, 1, 28, 27]", "[1, 28, 28]"],
    );
    assert_eq!(predictor.predict(&images(3)).unwrap().dim(), (3, 10));
    assert_eq!(predictor.predict(&images(0)).unwrap().dim(), (0, 10));
    assert_mentions(&message(model().into_predictor(&[], 1)), &["batches", "0"]);
    assert_mentions(&message(model().into_predictor(&[4, 0], 1)), &["batches", "0"]);
    assert_mentions(&message(model().into_predictor(&[1], 0)), &["threads", "0"]);
    let mut emptied = model();
    *emptied.store_mut() = dagrad::Store::new(0);
    assert_mentions(&message(emptied.into_predictor(&[1], 1)), &["parameter", "does not have it"]);
}
