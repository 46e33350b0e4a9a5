//! What cannot be trained is found before the first step, and a training that diverges says so.

use std::process::Stdio;

use super::{NETWORK, digits, model, options};
use crate::common::{alone, assert_mentions, assert_setting_error, message};
use dagrad::data::{Dataset, Split};
use dagrad::nn::{self, BatchNorm, Filters, Model, SimpleConvNet};
use dagrad::optim::{Adam, Sgd};
use dagrad::train::{Epoch, FitOptions, evaluate, fit, fit_observed};
use dagrad::{Error, Mode, Store, Var, Workspace};

/// Statistics over the rows of a batch, of which one alone has none.
fn normalised(images: Var<'_>) -> Var<'_> {
    let h = nn::batch_norm(nn::linear(images.flatten(), "fc1", 6), "norm", BatchNorm::default());
    nn::linear(h.relu(), "fc2", 10)
}

fn numbers(store: &Store<f32>) -> Vec<(String, Vec<u32>)> {
    let bits = |name: &str| store.get(name).unwrap().iter().map(|x| x.to_bits()).collect();
    store.names().map(|name| (name.to_string(), bits(name))).collect()
}

#[test]
fn a_last_batch_that_cannot_be_trained_is_found_before_the_first_step() {
    let Split { train, test } = digits(41, 10);
    let mut model = model(normalised as fn(Var<'_>) -> Var<'_>, 0, 1);
    let before = numbers(model.store());
    let error = fit(&mut model, &Adam::new(0.01), &train, &test, options(1, 20, 0)).unwrap_err();
    assert!(matches!(error, Error::Op(_)));
    let text = error.to_string();
    assert_mentions(&text, &["batch_norm", "checks.rs", "[1, 6]", "last batch", "`drop_last`", "`batch`"]);
    assert_eq!((model.store().step(), numbers(model.store())), (0, before));

    let dropping = FitOptions { drop_last: true, ..options(2, 20, 0) };
    let epochs = fit(&mut model, &Adam::new(0.01), &train, &test, dropping).unwrap();
    assert_eq!((epochs.len(), model.store().step()), (2, 4), "two batches of an epoch");

    // If all batches are too small, the last one is not to blame.
    let text = message(fit(&mut model, &Adam::new(0.01), &train, &test, options(1, 1, 0)));
    assert_mentions(&text, &["batch_norm", "larger batches"]);
    assert!(!text.contains("drop_last"), "{text}");
}

#[test]
fn dropping_the_last_batch_leaves_whole_batches_alone() {
    let split = digits(12, 10);
    let steps = |batch, drop_last| {
        let mut model = model(NETWORK, 0, 1);
        let with = FitOptions { drop_last, ..options(1, batch, 0) };
        fit(&mut model, &Sgd::new(0.1), &split.train, &split.test, with).map(|_| model.store().step())
    };
    for (batch, all, whole) in [(4, 3, 3), (5, 3, 2), (11, 2, 1), (12, 1, 1)] {
        assert_eq!((steps(batch, false), steps(batch, true)), (Ok(all), Ok(whole)), "batches of {batch}");
    }
    assert_eq!(steps(usize::MAX, false), Ok(1));
    assert_setting_error(steps(13, true), "drop_last", &["12 training samples", "batch of 13"]);
}

#[test]
fn labels_beyond_the_classes_are_found_before_the_first_step() {
    let Split { train, test } = digits(20, 10);
    let mut few = model(SimpleConvNet { output: 4, ..NETWORK }, 0, 1);
    let labelled = |labels: Vec<u32>| {
        let pixels = (0..labels.len()).flat_map(|i| train.pixels(i).unwrap().to_vec()).collect();
        Dataset::new(pixels, [1, 28, 28], labels, 10).unwrap()
    };
    let fine = labelled(vec![3, 2, 1, 0]); // of ten classes only four occur
    let rule = Sgd::new(0.1);
    for (train, test, which, sample) in [(&train, &fine, "training data", 4), (&fine, &test, "test data", 4)]
    {
        let outcome = fit(&mut few, &rule, train, test, options(1, 2, 0));
        assert_setting_error(
            outcome,
            which,
            &[&format!("sample {sample} has label {sample}"), "4 classes, 0 to 3"],
        );
    }
    assert_setting_error(evaluate(&mut few, &test), "evaluation data", &["sample 4 has label 4"]);
    assert_eq!(few.store().step(), 0);
    assert!(fit(&mut few, &rule, &fine, &fine, options(1, 2, 0)).unwrap()[0].test.loss.is_finite());
}

#[test]
fn a_loss_that_is_no_number_ends_the_training() {
    let Split { train, test } = digits(40, 10);
    let run = |rate, allow_nan| {
        let mut model = model(NETWORK, 0, 1);
        let mut history: Vec<Epoch> = Vec::new();
        let with = FitOptions { allow_nan, ..options(2, 10, 0) };
        let outcome = fit_observed(&mut model, &Sgd::new(rate), &train, &test, with, &mut history);
        (outcome, history, model.store().step())
    };
    // The first step throws the weights far away, and the loss of the second is beyond all numbers.
    let (outcome, history, steps) = run(1e38, false);
    let Err(Error::Diverged { what: "loss", loss, step: 2, epoch: 1, .. }) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(!loss.is_finite());
    assert_eq!((history.len(), steps), (0, 2));
    assert_mentions(&message(outcome), &["step 2", "epoch 1", "learning rate", "check_values"]);

    // After the only step, the test samples tell. The epoch is not lost to an observer.
    let mut model = model(NETWORK, 0, 1);
    let mut history: Vec<Epoch> = Vec::new();
    let rule = Sgd::new(1e38);
    let outcome = fit_observed(&mut model, &rule, &train, &test, options(3, 40, 0), &mut history);
    assert!(
        matches!(outcome, Err(Error::Diverged { what: "test loss", step: 1, epoch: 1, .. })),
        "{outcome:?}"
    );
    assert!(history.len() == 1 && history[0].loss.is_finite() && !history[0].test.loss.is_finite());

    let (outcome, history, steps) = run(1e38, true);
    assert_eq!((outcome.unwrap().len(), history.len(), steps), (2, 2, 8), "it goes on if it is told to");
}

#[test]
#[ignore = "it is a part of the next test"]
fn a_run_that_diverges_and_goes_on() {
    let Split { train, test } = digits(40, 10);
    let with = FitOptions { allow_nan: true, ..options(2, 10, 0) };
    fit(&mut model(NETWORK, 0, 1), &Sgd::new(1e38), &train, &test, with).unwrap();
}

#[test]
fn a_run_that_is_allowed_to_diverge_warns_once() {
    let mut command = alone("fit::checks::a_run_that_diverges_and_goes_on");
    let output = command.stdout(Stdio::piped()).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.matches("warning:").count(), 1, "{text}");
    assert_mentions(&text, &["warning: training at ", ": the loss is", "at step 2, in epoch 1"]);
}

#[test]
fn the_batches_of_an_evaluation_are_no_matter_of_the_result() {
    let split = digits(60, 45);
    let by = |batch| {
        let mut model = model(SimpleConvNet { weight_init_std: 0.3, ..NETWORK }, 0, 2);
        let with = options(1, batch, 0);
        let epoch = fit(&mut model, &Sgd::new(0.0), &split.train, &split.test, with).unwrap().remove(0);
        assert_eq!(epoch.test.accuracy(), evaluate(&mut model, &split.test).unwrap().accuracy());
        epoch
    };
    let expected = by(60);
    for batch in [1, 7, 44] {
        let found = by(batch);
        assert!((found.test.loss - expected.test.loss).abs() < 1e-5 * expected.test.loss, "{found:?}");
        assert_eq!(found.test.accuracy(), expected.test.accuracy());
        assert_eq!(found.train.accuracy(), expected.train.accuracy());
    }
}

/// How much memory this process has had at most, in bytes.
#[cfg(target_os = "linux")]
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
#[ignore = "the memory is that of the whole process: the next test runs it in one of its own"]
#[cfg(target_os = "linux")]
fn evaluating_large_images_takes_little_memory() {
    // 64 images of 1024×1024 are 256 MiB as numbers, and the network's layers more.
    let network = nn::network(|images| {
        let h = nn::conv2d(images, "conv", Filters::new(2, 4).stride(4)).relu();
        nn::linear(h.global_avg_pool2d().flatten(), "fc", 3)
    });
    let data = Dataset::new(vec![7; 64 << 20], [1, 1024, 1024], vec![1; 64], 3).unwrap();
    let workspace = Workspace::new(1).unwrap();
    let mut model = Model::with_workspace(network, [1, 1024, 1024], 0, workspace).unwrap();
    let before = peak();
    evaluate(&mut model, &data).unwrap();
    assert!(peak() < before + (64 << 20), "{} MiB more", (peak() - before) >> 20);
}

#[test]
#[cfg(target_os = "linux")]
fn evaluations_follow_the_size_of_an_image() {
    crate::common::run_alone("fit::checks::evaluating_large_images_takes_little_memory");
}

/// Cannot evaluate four images.
fn not_four(images: Var<'_>) -> Var<'_> {
    let four = images.graph().mode() == Mode::Evaluate && images.shape()[0] == 4;
    nn::linear(if four { images.reshape([7]) } else { images.flatten() }, "fc", 10)
}

#[test]
fn what_cannot_be_evaluated_is_found_before_the_first_step() {
    for (train, test) in [(20, 14), (4, 20)] {
        let Split { train, test } = digits(train, test);
        let mut model = model(not_four as fn(Var<'_>) -> Var<'_>, 0, 1);
        let before = numbers(model.store());
        let text = message(fit(&mut model, &Adam::new(0.01), &train, &test, options(1, 10, 0)));
        assert_mentions(&text, &["reshape", "checks.rs"]);
        assert_eq!((model.store().step(), numbers(model.store())), (0, before));
    }
}
