//! Learning rates: constant, or following the count of steps.

use std::f64::consts::PI;

use super::count::{OfCount, count, steps};
use crate::compile::Plan;
use crate::error::{Error, Result};
use crate::graph::setting::{COUNT, FINITE};
use crate::graph::{Attributes, Graph, Init, Var};
use crate::run::Store;
use dagrad_kernels::real::Real;

/// The learning rate of an optimizer. A number is a constant rate: `Sgd::new(0.1)`.
///
/// A schedule follows the count of steps in the store. It is computed in `f64`, whatever the plan's precision. All schedules
/// over one store share that count. A step counts once, however many optimizers or groups it has. The steps of two plans that
/// take turns are counted together. A new schedule over a used store goes on at its count; after
/// [`Store::reset_optimizer`] it begins at 0.
///
/// The count t is the state `learning_rate.step`, `[t mod 2²⁴, ⌊t / 2²⁴⌋]`. It is exact in either precision for t < 2⁴⁸. A
/// count that is set is gone on from.
///
/// ```
/// use dagrad::optim::{LearningRate, Optimizer, Sgd};
///
/// let (epochs, batches) = (20, 600);
/// let sgd = Sgd::new(LearningRate::cosine(0.1, epochs * batches).warmup(batches));
/// # let _: &dyn Optimizer = &sgd;
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearningRate {
    peak: f64,
    schedule: Schedule,
    warmup: u32,
    adjustable: bool,
}

/// The name of the count of steps in the store.
const STEP: &str = "learning_rate.step";

#[derive(Debug, Clone, Copy, PartialEq)]
enum Schedule {
    Constant,
    /// Half a cosine over as many steps.
    Cosine(u32),
    /// A power of what is left of as many steps.
    Polynomial(u32, f64),
    /// A factor for each step.
    Exponential(f64),
    /// A factor after every so many steps.
    Staircase {
        every: u32,
        factor: f64,
    },
}

impl From<f64> for LearningRate {
    fn from(rate: f64) -> Self {
        Self { peak: rate, schedule: Schedule::Constant, warmup: 0, adjustable: false }
    }
}

impl LearningRate {
    /// The name in the store of what [`adjustable`](Self::adjustable) rates are multiplied by.
    pub const FACTOR: &str = "learning_rate.factor";

    /// Half a cosine from `peak` down to 0: peak · (1 + cos(π t / steps)) / 2 at step t, counted from 0, and 0 after that
    /// many steps (Loshchilov and Hutter, *SGDR*, 2017). There is at least one step.
    pub fn cosine(peak: f64, steps: u32) -> Self {
        Self { schedule: Schedule::Cosine(steps), ..peak.into() }
    }

    /// A power of the share of steps that is left: `first` · (1 − t / `steps`)^`power` at step t, counted from 0, and 0 after
    /// that many steps. With a power of 1 it falls along a line; 0.9 is usual for segmentation (Chen et al., *DeepLab*, 2018).
    pub fn polynomial(first: f64, steps: u32, power: f64) -> Self {
        Self { schedule: Schedule::Polynomial(steps, power), ..first.into() }
    }

    /// A factor for each step: `first` · `factor`ᵗ at step t, counted from 0.
    pub fn exponential(first: f64, factor: f64) -> Self {
        Self { schedule: Schedule::Exponential(factor), ..first.into() }
    }

    /// A factor after every so many steps: `first` · `factor`^⌊t / `every`⌋ at step t, counted from 0. `every` is at least 1.
    pub fn staircase(first: f64, every: u32, factor: f64) -> Self {
        Self { schedule: Schedule::Staircase { every, factor }, ..first.into() }
    }

    /// The same rate times (t + 1) / `steps` in the first steps (Goyal et al. 2017). The schedule itself begins at step 0 all
    /// the same.
    pub fn warmup(self, steps: u32) -> Self {
        Self { warmup: steps, ..self }
    }

    /// The same rate times [`FACTOR`](Self::FACTOR), a number in the store that is 1 until it is set. It changes the rate
    /// while training, for example when a loss no longer falls. One factor serves all rates over a store. An observer of a
    /// training finds it by `training.store_mut().get_mut(LearningRate::FACTOR)`, which is `None` if no rate is adjustable. A
    /// factor other than 1 is an error of a training step of which no rate is adjustable.
    ///
    /// ```
    /// use dagrad::optim::{LearningRate, Sgd};
    /// use dagrad::{Graph, Init, Trainer};
    /// use ndarray::arr0;
    ///
    /// let graph = Graph::new();
    /// let loss = graph.param("w", [], Init::ZEROS) * 1.0; // its gradient is 1
    /// let mut trainer = Trainer::new(loss, &Sgd::new(LearningRate::from(0.5).adjustable()))?;
    /// trainer.step(&[])?; // to −0.5
    /// trainer.parts().0.set(LearningRate::FACTOR, &arr0(0.5).into_dyn())?;
    /// trainer.step(&[])?; // by 0.25 further
    /// assert_eq!(trainer.store().get("w").unwrap()[[]], -0.75);
    /// # Ok::<(), dagrad::Error>(())
    /// ```
    pub fn adjustable(self) -> Self {
        Self { adjustable: true, ..self }
    }

    /// The rate at a step, counted from 0, without the factor of an [`adjustable`](Self::adjustable) one.
    ///
    /// ```
    /// use dagrad::optim::LearningRate;
    ///
    /// let rate = LearningRate::staircase(0.1, 30, 0.5).warmup(2);
    /// assert_eq!([0, 1, 30].map(|step| rate.at(step)), [0.05, 0.1, 0.05]);
    /// ```
    pub fn at(self, step: u64) -> f64 {
        let scheduled = match self.schedule {
            Schedule::Constant => self.peak,
            Schedule::Cosine(steps) => {
                // (1 + cos(π t / n)) / 2 = sin²(π (n − t) / 2n), which is exact at both ends and cancels nowhere.
                let steps = u64::from(steps.max(1));
                let left = steps.saturating_sub(step) as f64 / steps as f64;
                self.peak * (left * PI / 2.0).sin().powi(2)
            }
            Schedule::Polynomial(steps, power) => {
                let steps = u64::from(steps.max(1));
                let left = steps.saturating_sub(step);
                if left == 0 { 0.0 } else { self.peak * (left as f64 / steps as f64).powf(power) }
            }
            Schedule::Exponential(factor) => self.peak * factor.powf(step as f64),
            Schedule::Staircase { every, factor } => {
                self.peak * factor.powf((step / u64::from(every.max(1))) as f64)
            }
        };
        match self.warmup {
            0 => scheduled,
            steps => scheduled * ((step as f64 + 1.0) / f64::from(steps)).min(1.0),
        }
    }

    /// The rate of the present step as a value of the graph, which counts the step.
    ///
    /// # Errors
    /// Recorded on the graph: a rate or a factor that is negative, infinite or NaN; a schedule of no steps.
    pub fn record(self, graph: &Graph) -> Var<'_> {
        graph.require("learning_rate", "the rate", self.peak, FINITE);
        if let Schedule::Exponential(factor) | Schedule::Staircase { factor, .. } = self.schedule {
            graph.require("learning_rate", "the factor", factor, FINITE);
        }
        if let Schedule::Polynomial(_, power) = self.schedule {
            graph.require("learning_rate", "the power", power, FINITE);
        }
        if let Schedule::Cosine(steps)
        | Schedule::Polynomial(steps, _)
        | Schedule::Staircase { every: steps, .. } = self.schedule
        {
            graph.require("learning_rate", "the number of steps", steps, COUNT);
        }
        let _optimizing = graph.optimizing();
        let factor = self.adjustable.then(|| graph.state(Self::FACTOR, [], Init::ONES));
        if self.schedule == Schedule::Constant && self.warmup == 0 {
            let rate = graph.fill([], self.peak);
            return factor.map_or(rate, |factor| rate * factor);
        }
        let [step, _] = count(graph, STEP);
        let operands: Vec<_> = [step].into_iter().chain(factor).collect();
        graph.record(OfCount::Rate(self), &operands)
    }

    /// The rate of the next step over a store, with the factor of an adjustable one.
    pub(crate) fn now<T: Real>(self, store: &Store<T>) -> f64 {
        let count = store.get(STEP);
        let step = count.as_ref().and_then(|count| count.as_slice()).map_or(0, steps);
        self.at(step) * if self.adjustable { factor(store) } else { 1.0 }
    }

    /// Refuses a factor in the store that the plan does not read, for nothing would follow from it.
    #[track_caller]
    pub(crate) fn check_factor<T: Real>(store: &Store<T>, plan: &Plan<T>) -> Result<()> {
        let is_read = || plan.parameters().iter().any(|parameter| &*parameter.name == Self::FACTOR);
        if factor(store) == 1.0 || is_read() {
            return Ok(());
        }
        let hint = "`LearningRate::adjustable` makes a rate follow it; as 1 it changes nothing";
        let message = format!("it is set, but no learning rate of this training reads it\n  hint: {hint}");
        Err(Error::parameter(Self::FACTOR, message))
    }

    /// What tells it from others.
    pub(super) fn attributes(self) -> Attributes {
        let rate = Attributes::new().with("peak", self.peak);
        let scheduled = match self.schedule {
            Schedule::Constant => rate,
            Schedule::Cosine(steps) => rate.with("cosine", steps),
            Schedule::Polynomial(steps, power) => rate.with("polynomial", steps).with("power", power),
            Schedule::Exponential(factor) => rate.with("factor", factor),
            Schedule::Staircase { every, factor } => rate.with("factor", factor).with("every", every),
        };
        scheduled.unless("warmup", self.warmup, 0u32)
    }
}

/// The factor in a store.
fn factor<T: Real>(store: &Store<T>) -> f64 {
    let factor = store.get(LearningRate::FACTOR);
    factor.and_then(|factor| factor.first().map(|factor| factor.into_f64())).unwrap_or(1.0)
}
