//! The loop of a training run: shuffled mini-batches, an evaluation after each epoch.

use std::collections::{BTreeSet, HashMap};
use std::mem::{replace, take};
use std::time::Instant;

use super::batch::{Batch, read_ahead};
use super::evaluate::{Evaluation, check};
use super::fit::{Epoch, FitOptions};
use super::learner::Trainable;
use super::metric::Measured;
use super::objective::Inputs;
use super::observer::{Observer, TrainStep, Training};
use super::progress::Reporter;
use crate::compile::Plan;
use crate::data::{Draw, Samples, reserved, shuffle};
use crate::error::{Error, Result, SourceLine};
use crate::graph::{Graph, Mode};
use crate::optim::{LearningRate, Optimizer, minimize};
use crate::run::{EpochPosition, Store};

/// A training run: a plan for each size of its batches, with buffers that are used again.
pub(super) struct Run<'a> {
    pub(super) learner: &'a mut dyn Trainable,
    train: &'a dyn Samples,
    test: &'a dyn Samples,
    options: FitOptions,
    plans: HashMap<usize, Plan<f32>>,
    /// Of test samples, and of training samples if their fields are others.
    evaluations: Vec<Evaluation>,
    rate: Option<LearningRate>,
    order: Vec<usize>,
    /// Of the epoch so far.
    measured: Measured,
    reporter: Reporter,
    pub(super) is_stopped: bool,
    has_diverged: bool,
}

impl<'a> Run<'a> {
    /// Finds whatever is wrong with the settings, the data and the network, for each batch size.
    #[track_caller]
    pub(super) fn new(
        learner: &'a mut dyn Trainable,
        optimizer: &dyn Optimizer,
        [train, test]: [&'a dyn Samples; 2],
        options: FitOptions,
    ) -> Result<Self> {
        if options.batch == 0 {
            return Err(Error::setting("batch", "a batch holds at least one sample"));
        }
        for (name, data) in [("training data", train), ("test data", test)] {
            check(learner, name, data)?;
        }
        let mut order = reserved(train.len(), "the order of samples")?;
        order.resize(train.len(), 0);
        let whole = || options.batches(0, train.len());
        let Some(largest) = whole().next().map(|samples| samples.len()) else {
            let (samples, batch) = (train.len(), options.batch);
            let message = format!(
                "{samples} training samples make no batch of {batch}, so nothing is left to train on"
            );
            return Err(Error::setting("drop_last", message));
        };
        let position = position(learner.store(), train, options);
        let rest = || options.batches(position.samples, train.len());
        let sizes: BTreeSet<usize> = whole().chain(rest()).map(|samples| samples.len()).collect();
        let (mut plans, mut measured) = (HashMap::new(), Measured::default());
        for &size in sizes.iter().rev() {
            match training_plan(learner, train, optimizer, size) {
                Ok((plan, metrics)) => (_, measured) = (plans.insert(size, plan), metrics),
                Err(error) if size < largest => return Err(of_last_batch(error, size)),
                Err(error) => return Err(error),
            }
        }
        let counts = [test.len(), test.len().min(train.len())];
        let mut evaluations = vec![Evaluation::new(learner, test, &counts, options.batch)?];
        if train.fields() != test.fields() {
            evaluations.push(Evaluation::new(learner, train, &counts[1..], options.batch)?);
        }
        let steps = whole().count().saturating_mul(options.epochs.saturating_sub(1));
        let last_epoch = number(&position).saturating_add(options.epochs.saturating_sub(1));
        let reporter = Reporter::new(options.progress, last_epoch, steps.saturating_add(rest().count()));
        Ok(Self {
            learner,
            train,
            test,
            options,
            plans,
            evaluations,
            rate: optimizer.learning_rate(),
            order,
            measured,
            reporter,
            is_stopped: false,
            has_diverged: false,
        })
    }

    /// An epoch, or what is left of it. None if it is stopped on the way.
    #[track_caller]
    pub(super) fn epoch(&mut self, observer: &mut dyn Observer) -> Result<Option<Epoch>> {
        let (site, start) = (SourceLine::caller(), Instant::now());
        let position = position(self.learner.store(), self.train, self.options);
        let number = number(&position);
        self.measured.restart(&position.sums);
        self.learner.parts().0.epoch_position.clone_from(&position);
        let before = self.measured.samples();
        let is_complete = self.steps(&position, start, observer, site)?;
        let (time, seen) = (start.elapsed(), self.measured.samples() - before);
        if !is_complete {
            return Ok(None);
        }
        let most = self.test.len();
        let of_train = self.evaluations.len() - 1;
        let train = self.evaluations[of_train].measure(self.learner, self.train, most)?;
        let test = self.evaluations[0].measure(self.learner, self.test, most)?;
        let (loss, test_loss) = (self.measured.figures().loss, test.loss);
        let epoch = Epoch { number, loss, train, test, time };
        self.learner.parts().0.epoch_position.finish(position.epochs.saturating_add(1));
        self.reporter.epoch(&epoch, seen);
        self.watch(|training| observer.epoch(&epoch, training));
        self.check_loss("test loss", test_loss, number, site)?;
        Ok(Some(epoch))
    }

    /// The steps that are left of an epoch, and whether all were taken.
    fn steps(
        &mut self,
        position: &EpochPosition,
        start: Instant,
        observer: &mut dyn Observer,
        site: SourceLine,
    ) -> Result<bool> {
        let (train, options, before) = (self.train, self.options, self.measured.samples());
        let (number, next) = (number(position), position.epochs.saturating_add(1));
        let mut order = take(&mut self.order);
        shuffle(options.seed, next, &mut order);
        let ranges: Vec<_> = options.batches(position.samples, train.len()).collect();
        let batches: Vec<_> = ranges.iter().map(|range| &order[range.clone()]).collect();
        let draw = Some(Draw { seed: options.seed, epoch: next });
        let mut is_complete = ranges.is_empty(); // only its evaluation is left
        let outcome = read_ahead(train, &batches, draw, |batch, taken| {
            let learning_rate = self.rate.map(|rate| rate.now(self.learner.store()));
            let loss = self.step(batch).map_err(|error| error.at(site))?;
            let rest = ranges.get(taken + 1);
            is_complete = rest.is_none();
            let (done, sums) = (rest.map_or(train.len(), |rest| rest.start), &self.measured.sums);
            self.learner.parts().0.epoch_position.move_to(done, position.order, sums);
            let samples_per_second = (self.measured.samples() - before) / start.elapsed().as_secs_f64();
            let step = TrainStep {
                epoch: number,
                number: self.learner.store().step(),
                loss,
                learning_rate,
                so_far: self.measured.figures(),
                samples_per_second,
            };
            self.reporter.step(&step);
            self.watch(|training| observer.step(&step, training));
            self.check_loss("loss", loss, number, site)?;
            Ok(!self.is_stopped)
        });
        self.order = order;
        outcome.map_err(|error| error.at(site)).map(|()| is_complete)
    }

    /// One step on a batch. Returns the loss before it.
    #[track_caller]
    fn step(&mut self, batch: &Batch) -> Result<f64> {
        let plan = &self.plans[&batch.samples()];
        let (store, workspace) = self.learner.parts();
        LearningRate::check_factor(store, plan)?;
        let outputs = plan.run(store, workspace, &batch.feeds()?)?;
        Ok(self.measured.add(batch.samples(), &outputs))
    }

    /// Tells an observer of something. Its errors end nothing.
    pub(super) fn watch(&mut self, tell: impl FnOnce(&mut Training<'_>) -> Result<()>) {
        let mut training = self.training();
        tell(&mut training).unwrap_or_else(|error| training.warn(&error));
    }

    pub(super) fn training(&mut self) -> Training<'_> {
        let (reporter, is_stopped) = (&mut self.reporter, &mut self.is_stopped);
        Training { store: self.learner.parts().0, reporter, is_stopped }
    }

    fn check_loss(&mut self, what: &'static str, loss: f64, epoch: usize, site: SourceLine) -> Result<()> {
        if loss.is_finite() {
            return Ok(());
        }
        let error = Error::Diverged { what, loss, step: self.learner.store().step(), epoch, site };
        if !self.options.allow_nan {
            return Err(error);
        }
        if !replace(&mut self.has_diverged, true) {
            self.reporter.warn(&error);
        }
        Ok(())
    }
}

/// The number of the epoch at a position.
fn number(position: &EpochPosition) -> usize {
    usize::try_from(position.epochs).unwrap_or(usize::MAX).saturating_add(1)
}

/// Where a run goes on. An epoch in another order begins anew; one whose rest makes no batch is over. One that lacks only its
/// evaluation is at the last sample.
fn position(store: &Store<f32>, data: &dyn Samples, options: FitOptions) -> EpochPosition {
    let (known, order) = (&store.epoch_position, (options.seed, data.len()));
    let known = if known.order == order {
        known.clone()
    } else {
        EpochPosition { epochs: known.epochs, order, ..EpochPosition::default() }
    };
    if known.samples == data.len() || options.batches(known.samples, data.len()).next().is_some() {
        return known;
    }
    EpochPosition { epochs: known.epochs.saturating_add(1), order, ..EpochPosition::default() }
}

/// The loss and metrics on a batch and the optimizer's step, compiled.
#[track_caller]
fn training_plan(
    learner: &dyn Trainable,
    data: &dyn Samples,
    optimizer: &dyn Optimizer,
    batch: usize,
) -> Result<(Plan<f32>, Measured)> {
    let graph = Graph::with_mode(Mode::Train);
    let _at = graph.at_caller();
    let goal = learner.record(&Inputs::record(&graph, &data.fields(), batch));
    minimize(goal.loss, optimizer)?;
    Ok((Plan::compile(&graph, &goal.measured())?, Measured::new(&goal.metrics)))
}

/// A misuse that the smaller last batch alone is.
fn of_last_batch(mut error: Error, size: usize) -> Error {
    if let Error::Op(error) = &mut error {
        error.problem.hint = Some(format!(
            "the last batch of an epoch has {size} of the training samples: `drop_last` in `FitOptions` leaves it out, \
             and another `batch` divides them differently"
        ));
    }
    error
}
