//! Training goes on where the store is, to the last bit.

use super::{NETWORK, digits, model, options};
use dagrad::data::Split;
use dagrad::nn::{self, BatchNorm, Filters, Model, Network};
use dagrad::optim::{Adam, LearningRate, Momentum, Sgd};
use dagrad::train::{Epoch, FitOptions, Observer, TrainStep, Training, evaluate, fit, fit_observed};
use dagrad::{Graph, Mode, Result, Store, Trainer, Var, Workspace};

/// A network in which everything depends on how far the training is: masks, running statistics.
fn network(images: Var<'_>) -> Var<'_> {
    let h = nn::conv2d(images, "conv", Filters::new(3, 7).stride(3));
    let h = nn::batch_norm(h, "norm", BatchNorm::default()).relu().max_pool2d(2);
    nn::linear(h.flatten().dropout(0.3), "fc", 10)
}

/// A rule that does, too.
fn rule() -> Adam {
    Adam::new(LearningRate::cosine(0.02, 12).warmup(4))
}

fn fresh() -> Model<fn(Var<'_>) -> Var<'_>> {
    model(network as fn(Var<'_>) -> Var<'_>, 3, 1)
}

/// Epoch, number and loss.
type Step = (usize, u64, u64);

/// Notes every step, and stops after one of them.
struct Log {
    steps: Vec<Step>,
    stop_after: u64,
}

impl Log {
    fn until(stop_after: u64) -> Self {
        Self { steps: Vec::new(), stop_after }
    }
}

impl Observer for Log {
    fn step(&mut self, step: &TrainStep, training: &mut Training<'_>) -> Result<()> {
        self.steps.push((step.epoch, step.number, step.loss.to_bits()));
        if step.number == self.stop_after {
            training.stop();
        }
        Ok(())
    }
}

/// Every name with its numbers, and the counts.
type State = (Vec<(String, Vec<u32>)>, u64, u64);

fn state(store: &Store<f32>) -> State {
    let bits = |name: &str| store.get(name).unwrap().iter().map(|x| x.to_bits()).collect();
    let values = store.names().map(|name| (name.to_string(), bits(name))).collect();
    (values, store.step(), store.epochs())
}

/// What an epoch has found, without its time.
type Figures = (usize, [u64; 4]);

fn figures(epoch: &Epoch) -> Figures {
    let Epoch { number, loss, train, test, .. } = epoch;
    (*number, [*loss, test.loss, train.accuracy(), test.accuracy()].map(f64::to_bits))
}

/// Runs `epochs`, at most to step `stop_after`.
fn run<N: Network>(
    model: &mut Model<N>,
    split: &Split,
    options: FitOptions,
    stop_after: u64,
) -> (Vec<Figures>, Vec<Step>) {
    let mut log = Log::until(stop_after);
    let epochs = fit_observed(model, &rule(), &split.train, &split.test, options, &mut log).unwrap();
    (epochs.iter().map(figures).collect(), log.steps)
}

#[test]
fn several_calls_are_one_longer_one() {
    let split = digits(50, 20);
    for drop_last in [false, true] {
        let with = |epochs| FitOptions { drop_last, ..options(epochs, 12, 7) };
        let mut whole = fresh();
        let expected = run(&mut whole, &split, with(4), u64::MAX);
        for parts in [&[1, 1, 1, 1][..], &[3, 1], &[0, 2, 2]] {
            let mut model = fresh();
            let mut found = (Vec::new(), Vec::new());
            for &epochs in parts {
                let (figures, steps) = run(&mut model, &split, with(epochs), u64::MAX);
                found.0.extend(figures);
                found.1.extend(steps);
                evaluate(&mut model, &split.test).unwrap().accuracy();
            }
            assert!(found == expected, "{parts:?}: {found:?}\ninstead of\n{expected:?}");
            assert!(state(model.store()) == state(whole.store()), "{parts:?}");
        }
    }
}

#[test]
fn a_run_that_stopped_after_any_step_goes_on_with_the_next() {
    let split = digits(50, 20);
    let mut whole = fresh();
    let (figures, steps) = run(&mut whole, &split, options(3, 12, 7), u64::MAX);
    assert_eq!(steps.len(), 15); // batches of 12, 12, 12, 12 and 2
    for stop_after in 1..15 {
        let mut model = fresh();
        let (before, first) = run(&mut model, &split, options(3, 12, 7), stop_after);
        let complete = stop_after as usize / 5;
        assert_eq!(before, figures[..complete], "the epochs that are complete are kept");
        assert_eq!((model.store().step(), model.store().epochs()), (stop_after, complete as u64));

        // Another process would read the store from a file.
        let mut resumed = fresh();
        *resumed.store_mut() = model.store().copy().unwrap();
        let (after, second) = run(&mut resumed, &split, options(3 - complete, 12, 7), u64::MAX);
        assert_eq!([first, second].concat(), steps, "stopped after {stop_after}");
        assert!(state(resumed.store()) == state(whole.store()), "stopped after {stop_after}");
        assert_eq!(after, figures[complete..], "also of the epoch that had begun");
    }
}

#[test]
fn the_rest_of_an_epoch_may_have_another_batch_size() {
    let split = digits(10, 10);
    let go = |model: &mut Model<_>, options, stop_after| {
        let mut log = Log::until(stop_after);
        let rule = Sgd::new(0.0);
        fit_observed(model, &rule, &split.train, &split.test, options, &mut log).unwrap();
        log.steps.iter().map(|&(epoch, ..)| epoch).collect::<Vec<_>>()
    };
    let started = || {
        let mut model = model(NETWORK, 0, 1);
        assert_eq!(go(&mut model, options(1, 4, 0), 1), [1]);
        model
    };
    // Six samples are left.
    assert_eq!(go(&mut started(), options(2, 5, 0), 0), [1, 1, 2, 2]);
    assert_eq!(go(&mut started(), options(1, 100, 0), 0), [1]);
    assert_eq!(go(&mut started(), FitOptions { drop_last: true, ..options(2, 5, 0) }, 0), [1, 2, 2]);
    // Of which none is a whole batch: the epoch is over.
    let mut model = started();
    assert_eq!(go(&mut model, FitOptions { drop_last: true, ..options(2, 7, 0) }, 0), [2, 3]);
    assert_eq!((model.store().epochs(), model.store().step()), (3, 3));
    // Another order has no position to go on from.
    assert_eq!(go(&mut started(), options(1, 4, 1), 0), [1, 1, 1]);
    let other = digits(11, 10);
    let mut log = Log::until(0);
    let rule = Sgd::new(0.0);
    fit_observed(&mut started(), &rule, &other.train, &other.test, options(1, 4, 0), &mut log).unwrap();
    assert_eq!(log.steps.len(), 3);
}

#[test]
fn steps_of_another_trainer_do_not_shift_the_epochs() {
    let split = digits(30, 10);
    let optimizer = Momentum::new(0.0);
    let losses = |steps_between: usize| {
        let mut model = model(NETWORK, 0, 1);
        fit(&mut model, &optimizer, &split.train, &split.test, options(1, 10, 0)).unwrap();
        let graph = Graph::with_mode(Mode::Train);
        let (images, logits) = model.record(&graph, 5);
        let labels = graph.labels("labels", [5]);
        let store = std::mem::replace(model.store_mut(), Store::new(0));
        let loss = logits.softmax_cross_entropy(labels);
        let mut trainer = Trainer::with(loss, &optimizer, store, Workspace::new(1).unwrap()).unwrap();
        let (xs, ys) = split.train.batch(&[0, 1, 2, 3, 4]).unwrap();
        for _ in 0..steps_between {
            trainer.step(&[images.feed(&xs), labels.feed(&ys)]).unwrap();
        }
        *model.store_mut() = trainer.into_store();
        let mut log = Log::until(0);
        let epochs =
            fit_observed(&mut model, &optimizer, &split.train, &split.test, options(1, 10, 0), &mut log);
        assert_eq!(epochs.unwrap()[0].number, 2);
        let first = log.steps[0].1;
        (first, log.steps.iter().map(|step| step.2).collect::<Vec<_>>())
    };
    let ((first, with), (later, without)) = (losses(0), losses(7));
    assert_eq!((first, later), (4, 11));
    assert_eq!(with, without, "the same batches in the same order");
}
