//! Samples are read on another thread while a step runs, and the bits are the same.

use std::collections::HashSet;
use std::sync::Mutex;
use std::thread::{self, ThreadId};

use super::{Table, learner, noise, options};
use crate::common::{assert_mentions, message};
use dagrad::data::{Dataset, Draw, Field, Samples, Slot, mnist_5k};
use dagrad::nn::{Model, SimpleConvNet};
use dagrad::optim::{Adam, Sgd};
use dagrad::train::{FitOptions, Goal, Inputs, Observer, TrainStep, Training, evaluate, fit, fit_observed};
use dagrad::{Error, Result, Workspace, nn};

/// Digits that note how they are read.
struct Noted<'a> {
    digits: &'a Dataset,
    reads: Mutex<(HashSet<ThreadId>, Vec<Option<Draw>>)>,
    /// The sample that cannot be read.
    missing: Option<usize>,
}

impl<'a> Noted<'a> {
    fn new(digits: &'a Dataset, missing: Option<usize>) -> Self {
        Self { digits, reads: Mutex::default(), missing }
    }
}

impl Samples for Noted<'_> {
    fn len(&self) -> usize {
        self.digits.len()
    }

    fn fields(&self) -> Vec<Field> {
        self.digits.fields()
    }

    fn describe(&self) -> Result<String> {
        self.digits.describe()
    }

    fn write(&self, sample: usize, field: usize, draw: Option<Draw>, out: Slot<'_>) -> Result<()> {
        if field == 0 && Some(sample) == self.missing {
            return Err(Error::Data { path: "lost.png".into(), message: "it is gone".into() });
        }
        let mut reads = self.reads.lock().unwrap();
        reads.0.insert(thread::current().id());
        reads.1.push(draw);
        self.digits.write(sample, field, draw, out)
    }
}

fn model() -> Model<SimpleConvNet> {
    let network = SimpleConvNet { filters: 4, hidden: 8, ..SimpleConvNet::default() };
    Model::with_workspace(network, [1, 28, 28], 1, Workspace::new(1).unwrap()).unwrap()
}

fn bits<N: nn::Network>(model: &Model<N>) -> Vec<u32> {
    let store = model.store();
    store
        .names()
        .flat_map(|name| store.get(name).unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>())
        .collect()
}

#[test]
fn a_sample_is_drawn_by_seed_and_epoch_for_training_and_plain_for_evaluation() {
    let digits = mnist_5k().unwrap();
    let (train, test) = (digits.train.take(70), digits.test.take(30));
    let noted = Noted::new(&train, None);
    let with = FitOptions { seed: 9, ..options(2, 20) };
    let mut other = model();
    fit(&mut other, &Adam::new(1e-3), &noted, &test, with).unwrap();
    let (threads, draws) = noted.reads.into_inner().unwrap();
    assert!(threads.len() > 1 || !threads.contains(&thread::current().id()));
    for epoch in [1, 2] {
        let draw = Some(Draw { seed: 9, epoch });
        assert_eq!(draws.iter().filter(|own| **own == draw).count(), 2 * 70, "{epoch}");
    }
    // The labels are looked at once before the first step, and 30 samples after each epoch.
    assert_eq!(draws.iter().filter(|draw| draw.is_none()).count(), 70 + 2 * 2 * 30);

    let mut plain = model();
    fit(&mut plain, &Adam::new(1e-3), &train, &test, with).unwrap();
    assert_eq!(bits(&other), bits(&plain));
}

#[test]
fn a_sample_that_cannot_be_read_ends_the_training_and_loses_nothing() {
    let digits = mnist_5k().unwrap();
    let (train, test) = (digits.train.take(70), digits.test.take(30));
    let mut order = Vec::new();
    train.epoch_order(0, 1, &mut order);
    let noted = Noted::new(&train, Some(order[45]));
    let mut stopped = model();
    let outcome = fit(&mut stopped, &Adam::new(1e-3), &noted, &test, options(1, 20));
    assert_mentions(&message(outcome), &["lost.png", "it is gone"]);
    assert_eq!(stopped.store().step(), 2);
    // Once it can be read, training goes on with the batch that was not.
    fit(&mut stopped, &Adam::new(1e-3), &train, &test, options(1, 20)).unwrap();
    let mut whole = model();
    fit(&mut whole, &Adam::new(1e-3), &train, &test, options(1, 20)).unwrap();
    assert_eq!(bits(&stopped), bits(&whole));
}

/// Stops after some steps.
struct After(usize);

impl Observer for After {
    fn step(&mut self, _: &TrainStep, training: &mut Training<'_>) -> Result<()> {
        self.0 = self.0.saturating_sub(1);
        if self.0 == 0 {
            training.stop();
        }
        Ok(())
    }
}

#[test]
fn an_epoch_with_a_pause_has_the_figures_of_one_without() {
    let data = Table::default()
        .real("x", 90, &[3], |sample, element| noise(3 * sample + element) - 0.5)
        .index("y", 90, &[], |sample, _| u32::from(noise(3 * sample) > 0.5));
    fn classes<'g>(inputs: &Inputs<'g>) -> Goal<'g> {
        let logits = nn::linear(inputs.get("x"), "fc", 2);
        let labels = inputs.get("y");
        Goal::new(logits.softmax_cross_entropy(labels)).judge(dagrad::train::Metric::f1(logits, labels))
    }
    let rule = Sgd::new(0.3);
    let whole = fit(&mut learner(classes, &data), &rule, &data, &data, options(2, 20)).unwrap();
    for steps in 1..=5 {
        let mut learner = learner(classes, &data);
        let first =
            fit_observed(&mut learner, &rule, &data, &data, options(1, 20), &mut After(steps)).unwrap();
        let rest = fit(&mut learner, &rule, &data, &data, options(2 - first.len(), 20)).unwrap();
        for (found, expected) in first.iter().chain(&rest).zip(&whole) {
            let figures = |epoch: &dagrad::train::Epoch| {
                (epoch.number, epoch.loss.to_bits(), epoch.train.clone(), epoch.test.clone())
            };
            assert_eq!(figures(found), figures(expected), "after {steps} steps");
        }
    }
}

/// As many samples as a number can say.
struct Endless;

impl Samples for Endless {
    fn len(&self) -> usize {
        usize::MAX / 2
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::real("images", [1, 28, 28]), Field::index("labels", [])]
    }

    fn write(&self, _: usize, _: usize, _: Option<Draw>, _: Slot<'_>) -> Result<()> {
        Ok(())
    }
}

#[test]
fn samples_that_no_memory_has_an_order_for_are_refused() {
    let test = mnist_5k().unwrap().test.take(10);
    let rule = Adam::new(1e-3);
    assert_mentions(
        &message(fit(&mut model(), &rule, &Endless, &test, options(1, 20))),
        &["bytes", "the labels"],
    );
    fn classes<'g>(inputs: &Inputs<'g>) -> Goal<'g> {
        let logits = nn::linear(inputs.get("images").flatten(), "fc", 10);
        Goal::new(logits.softmax_cross_entropy(inputs.get("labels")))
    }
    let mut learner = learner(classes, &test);
    let refused = message(fit(&mut learner, &rule, &Endless, &test, options(1, 20)));
    assert_mentions(&refused, &["bytes", "the order of samples"]);
    assert_mentions(&message(evaluate(&mut learner, &Endless)), &["bytes", "the order of samples"]);
}
