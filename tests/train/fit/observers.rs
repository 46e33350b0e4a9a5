//! Whoever watches a training can stop it, but nothing that only watches can end it.

use std::fs::OpenOptions;
use std::io::Read;
use std::process::Stdio;

use super::{NETWORK, digits, model, options};
use crate::common::{alone, assert_mentions, message};
use dagrad::data::Split;
use dagrad::error::SourceLine;
use dagrad::optim::{Adam, Groups, LearningRate, Optimizer, Sgd};
use dagrad::train::{
    EarlyStopping, Epoch, FitOptions, Observer, Progress, TrainStep, Training, evaluate, fit, fit_observed,
};
use dagrad::{Error, Result};

/// Stops after so many epochs.
struct Enough(usize);

impl Observer for Enough {
    fn epoch(&mut self, epoch: &Epoch, training: &mut Training<'_>) -> Result<()> {
        if epoch.number == self.0 {
            training.stop();
        }
        Ok(())
    }
}

/// Fails whenever it is told of something.
struct Broken;

fn broken(what: &str) -> Result<()> {
    Err(Error::Setting { setting: what.into(), message: "no space left".into(), site: SourceLine::caller() })
}

impl Observer for Broken {
    fn step(&mut self, _: &TrainStep, _: &mut Training<'_>) -> Result<()> {
        broken("step")
    }

    fn epoch(&mut self, _: &Epoch, _: &mut Training<'_>) -> Result<()> {
        broken("epoch")
    }
}

#[test]
fn a_stop_keeps_the_history_however_many_epochs_were_asked_for() {
    let Split { train, test } = digits(20, 10);
    for epochs in [3, 1_000_000_000_000, usize::MAX] {
        for progress in [Progress::Quiet, Progress::Auto] {
            let mut model = model(NETWORK, 0, 1);
            let with = FitOptions { progress, ..options(epochs, 10, 0) };
            let found =
                fit_observed(&mut model, &Sgd::new(0.1), &train, &test, with, &mut Enough(2)).unwrap();
            assert_eq!(found.iter().map(|epoch| epoch.number).collect::<Vec<_>>(), [1, 2]);
            assert_eq!(model.store().step(), 4);
        }
    }
}

#[test]
fn several_observers_are_one() {
    let Split { train, test } = digits(20, 10);
    let (mut history, mut none): (Vec<Epoch>, Option<Enough>) = (Vec::new(), None);
    let mut all = (&mut none, ((Broken, &mut history), Some(Enough(2))));
    let found =
        fit_observed(&mut model(NETWORK, 0, 1), &Sgd::new(0.1), &train, &test, options(9, 10, 0), &mut all);
    assert_eq!(found.unwrap(), history);
    assert_eq!(history.len(), 2, "the one that fails keeps nothing from the others");
}

/// Sets the weights of the last layer to 0 after each step.
struct Eraser;

impl Observer for Eraser {
    fn step(&mut self, _: &TrainStep, training: &mut Training<'_>) -> Result<()> {
        for name in ["W3", "b3"] {
            training.store_mut().get_mut(name).unwrap().fill(0.0);
        }
        Ok(())
    }
}

#[test]
fn an_observer_may_change_the_store() {
    let Split { train, test } = digits(20, 10);
    let mut model = model(NETWORK, 0, 1);
    let found =
        fit_observed(&mut model, &Sgd::new(0.1), &train, &test, options(1, 10, 0), &mut Eraser).unwrap();
    assert!((found[0].test.loss - 10f64.ln()).abs() < 1e-6, "{found:?}");
}

#[test]
#[ignore = "it is a part of the next tests"]
fn a_run_that_is_watched_badly() {
    let Split { train, test } = digits(20, 10);
    let progress =
        if std::env::var("DAGRAD_TEST_PROGRESS").is_ok() { Progress::Lines } else { Progress::Quiet };
    let mut model = model(NETWORK, 0, 1);
    let with = FitOptions { progress, ..options(2, 10, 0) };
    let mut twice = (Broken, Broken);
    let found = fit_observed(&mut model, &Sgd::new(0.1), &train, &test, with, &mut twice).unwrap();
    assert_eq!((found.len(), model.store().step()), (2, 4));
    fit(&mut model, &Sgd::new(0.1), &train, &test, with).unwrap();
}

const WATCHED: &str = "fit::observers::a_run_that_is_watched_badly";

#[test]
fn errors_of_observers_are_warnings_that_are_printed_once() {
    let output = alone(WATCHED).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert_mentions(&text, &["warning: step at ", "warning: epoch at ", ": no space left\n"]);
}

#[test]
#[cfg(unix)]
fn a_full_or_closed_standard_error_ends_no_training() {
    let full = OpenOptions::new().write(true).open("/dev/full");
    let (read, closed) = std::io::pipe().unwrap();
    drop(read);
    for stderr in full.map(Stdio::from).into_iter().chain([Stdio::from(closed)]) {
        let mut child = alone(WATCHED);
        child.env("DAGRAD_TEST_PROGRESS", "lines").stderr(stderr).stdout(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(child.wait().unwrap().success(), "{text}");
        assert_mentions(&text, &["1 passed"]);
    }
}

/// Notes the rate of each step, and halves it after the second.
struct Rates(Vec<f64>);

impl Observer for Rates {
    fn step(&mut self, step: &TrainStep, training: &mut Training<'_>) -> Result<()> {
        self.0.extend(step.learning_rate);
        if step.number == 2 {
            training.store_mut().set(LearningRate::FACTOR, &ndarray::arr0(0.5).into_dyn())?;
        }
        Ok(())
    }
}

#[test]
fn observers_see_the_rate_that_a_step_used() {
    let Split { train, test } = digits(40, 10);
    let rate = LearningRate::cosine(0.1, 4).warmup(3);
    let run = |rule: &dyn Optimizer| {
        let mut rates = Rates(Vec::new());
        let found =
            fit_observed(&mut model(NETWORK, 0, 1), rule, &train, &test, options(1, 10, 0), &mut rates);
        (rates.0, found)
    };
    let adjustable = rate.adjustable();
    let rules: [&dyn Optimizer; 3] = [
        &Sgd::new(adjustable),
        &Adam::new(adjustable).clip_norm(1.0),
        &Groups::new(Adam::new(adjustable)).group("b*", Sgd::new(0.3)),
    ];
    for rule in rules {
        let (rates, found) = run(rule);
        assert_eq!(rates, [rate.at(0), rate.at(1), 0.5 * rate.at(2), 0.5 * rate.at(3)]);
        found.unwrap();
    }
    // A factor that no rate reads is no factor.
    let (rates, found) = run(&Sgd::new(rate));
    assert_eq!(rates.len(), 2);
    assert_mentions(&message(found), &["parameter learning_rate.factor", "no learning rate", "adjustable"]);
}

#[test]
fn training_stops_when_nothing_gets_better_and_the_best_is_kept() {
    let split = digits(200, 60);
    // So large a rate that the loss on others soon rises.
    let mut stopped = model(NETWORK, 0, 1);
    let mut stopping = EarlyStopping::least_loss(2);
    let rule = Adam::new(0.02);
    let epochs =
        fit_observed(&mut stopped, &rule, &split.train, &split.test, options(40, 20, 0), &mut stopping)
            .unwrap();
    let losses: Vec<f64> = epochs.iter().map(|epoch| epoch.test.loss).collect();
    let best = losses.iter().enumerate().min_by(|(_, a), (_, b)| a.total_cmp(b)).unwrap().0;
    assert!(epochs.len() < 40 && best + 3 == epochs.len(), "{losses:?}");
    assert_eq!(stopping.best_epoch(), Some(best + 1));
    let (number, store) = stopping.into_best().unwrap();
    *stopped.store_mut() = store;
    assert_eq!(number, best + 1);
    let found = evaluate(&mut stopped, &split.test).unwrap(); // in other batches
    assert!((found.loss - epochs[best].test.loss).abs() < 1e-5 * found.loss, "{found}");
    assert_eq!(found.accuracy(), epochs[best].test.accuracy());
    // From there training goes on as it did.
    let again = fit(&mut stopped, &rule, &split.train, &split.test, options(1, 20, 0)).unwrap();
    assert_eq!(again[0].test, epochs[best + 1].test);

    let mut by_accuracy = EarlyStopping::most("accuracy", 1);
    let mut other = model(NETWORK, 0, 1);
    let epochs =
        fit_observed(&mut other, &rule, &split.train, &split.test, options(40, 20, 0), &mut by_accuracy)
            .unwrap();
    let accuracies: Vec<f64> = epochs.iter().map(|epoch| epoch.test.accuracy()).collect();
    assert!(accuracies.len() < 40, "{accuracies:?}");
    assert_eq!(by_accuracy.best_epoch(), Some(epochs.len() - 1));
}
