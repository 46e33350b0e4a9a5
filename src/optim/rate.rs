//! Learning rates: constant, or following the count of steps.

use std::f64::consts::PI;

use crate::graph::setting::FINITE;
use crate::graph::{Graph, Init, Var};

/// The learning rate of an optimizer. A number is a constant rate: `Sgd::new(0.1)`.
///
/// A schedule counts the steps in the store, in the state `learning_rate.step`, and is computed in the graph.
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
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Schedule {
    Constant,
    /// Half a cosine over as many steps.
    Cosine(u32),
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
        Self { peak: rate, schedule: Schedule::Constant, warmup: 0 }
    }
}

impl LearningRate {
    /// From `peak` down to 0 along half a cosine: peak · (1 + cos(π t / steps)) / 2 at step t, counted from 0, and 0
    /// from then on (Loshchilov and Hutter, *SGDR*, 2017).
    pub fn cosine(peak: f64, steps: u32) -> Self {
        Self { schedule: Schedule::Cosine(steps), ..peak.into() }
    }

    /// `first` · `factor`ᵗ at step t, counted from 0.
    pub fn exponential(first: f64, factor: f64) -> Self {
        Self { schedule: Schedule::Exponential(factor), ..first.into() }
    }

    /// Times `factor` after every `every` steps. `every` = 0 counts as 1.
    pub fn staircase(first: f64, every: u32, factor: f64) -> Self {
        Self { schedule: Schedule::Staircase { every: every.max(1), factor }, ..first.into() }
    }

    /// Times (t + 1) / `steps` in the first steps (Goyal et al. 2017). The schedule itself begins at step 0 all the same.
    pub fn warmup(self, steps: u32) -> Self {
        Self { warmup: steps, ..self }
    }

    /// The rate of the present step, which it counts, as a value of the graph.
    pub fn record(self, graph: &Graph) -> Var<'_> {
        graph.require("learning_rate", "the rate", self.peak, FINITE);
        if let Schedule::Exponential(factor) | Schedule::Staircase { factor, .. } = self.schedule {
            graph.require("learning_rate", "the factor", factor, FINITE);
        }
        let peak = graph.fill([], self.peak);
        if self.schedule == Schedule::Constant && self.warmup == 0 {
            return peak;
        }
        let step = graph.state("learning_rate.step", [], Init::ZEROS);
        step.assign(step + 1.0);
        let rate = match self.schedule {
            Schedule::Constant => peak,
            Schedule::Cosine(steps) => {
                let share = (step / f64::from(steps.max(1))).at_most(1.0);
                ((share * PI).cos() + 1.0) * (self.peak / 2.0)
            }
            Schedule::Exponential(factor) => graph.fill([], factor).pow(step) * peak,
            Schedule::Staircase { every, factor } => {
                // How many steps down is a whole number that has to be kept: 1 is not always three thirds.
                let [since, down] = ["since", "down"]
                    .map(|name| graph.state(&format!("learning_rate.{name}"), [], Init::ZEROS));
                let is_over = (since + 1.0).greater_equal(f64::from(every));
                since.assign(is_over.choose(0.0, since + 1.0));
                down.assign(down + is_over);
                graph.fill([], factor).pow(down) * peak
            }
        };
        match self.warmup {
            0 => rate,
            steps => rate * ((step + 1.0) / f64::from(steps)).at_most(1.0),
        }
    }
}
