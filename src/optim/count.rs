//! Counts of steps, and the numbers that follow from them: exact whole numbers, and formulas in `f64`.

use super::LearningRate;
use crate::error::Problem;
use crate::graph::{Attributes, Call, Gradient, Graph, Init, Op, TensorType, Var, VjpInputs};
use dagrad_kernels::real::Real;

/// A count n is kept as the two numbers n mod 2²⁴ and ⌊n / 2²⁴⌋, which `f32` holds exactly for n < 2⁴⁸.
const LOW: u64 = 1 << 24;

/// The count of this name in the store before the present step, and after it. Whoever asks for it in one step gets the same
/// one: a step counts once.
pub(super) fn count<'g>(graph: &'g Graph, name: &str) -> [Var<'g>; 2] {
    let _optimizing = graph.optimizing();
    let before = graph.state(name, [2], Init::ZEROS);
    let after = before.next_update().map(|update| graph.var(update.value)).unwrap_or_else(|| {
        let after = graph.record(CountOn, &[before]);
        before.assign(after);
        after
    });
    [before, after]
}

/// The number that a count stands for.
pub(super) fn steps<T: Real>(count: &[T]) -> u64 {
    let [low, high] = [0, 1].map(|part| count[part].into_f64() as u64); // NaN and what is negative count as 0
    high.saturating_mul(LOW).saturating_add(low)
}

/// One more than a count.
#[derive(Debug, Clone, PartialEq)]
struct CountOn;

impl Op for CountOn {
    fn name(&self) -> &'static str {
        "count_on"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        Ok(operands[0].clone())
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let next = steps(call.real(0)).saturating_add(1);
        call.output[0] = T::of((next % LOW) as f64);
        call.output[1] = T::of((next / LOW) as f64);
    }

    fn vjp<'g>(&self, _: usize, _: VjpInputs<'g>) -> Gradient<'g> {
        Gradient::Constant
    }

    fn roles(&self) -> &'static [&'static str] {
        &["count"]
    }
}

/// A number that follows from a count t, times the operands after the count. It is computed in `f64` and rounded once.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum OfCount {
    /// A learning rate at step t.
    Rate(LearningRate),
    /// 1 / (1 − βᵗ), what an average of t values from 0 is multiplied by to be one of these values alone.
    Debias {
        /// The decay of the average.
        beta: f64,
    },
    /// The root of that.
    RootDebias {
        /// The decay of the average.
        beta: f64,
    },
    /// 1 at every step whose number is a multiple of this, else 0.
    Every(u64),
    /// The decay of an average that begins with the first value: 0 at step 0.
    Decay {
        /// The decay at all others.
        decay: f64,
    },
}

impl OfCount {
    fn at(&self, step: u64) -> f64 {
        // 1 − βᵗ = −expm1(t ln β), which does not cancel where βᵗ is near 1.
        let debias = |beta: f64| -1.0 / (step as f64 * beta.ln()).exp_m1();
        match *self {
            Self::Rate(rate) => rate.at(step),
            Self::Debias { beta } => debias(beta),
            Self::RootDebias { beta } => debias(beta).sqrt(),
            Self::Every(steps) => f64::from(u8::from(step.is_multiple_of(steps))),
            Self::Decay { decay } => {
                if step == 0 {
                    0.0
                } else {
                    decay
                }
            }
        }
    }
}

impl Op for OfCount {
    fn name(&self) -> &'static str {
        match self {
            Self::Rate(_) => "learning_rate",
            Self::Debias { .. } => "debias",
            Self::RootDebias { .. } => "root_debias",
            Self::Every(_) => "every",
            Self::Decay { .. } => "decay",
        }
    }

    fn infer(&self, _: &[&TensorType]) -> Result<TensorType, Problem> {
        Ok(TensorType::real([]))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let times: f64 = (1..call.operands().len()).map(|i| call.real(i)[0].into_f64()).product();
        call.output[0] = T::of(self.at(steps(call.real(0))) * times);
    }

    fn vjp<'g>(&self, _: usize, _: VjpInputs<'g>) -> Gradient<'g> {
        Gradient::Constant
    }

    fn attributes(&self) -> Attributes {
        match *self {
            Self::Rate(rate) => rate.attributes(),
            Self::Debias { beta } | Self::RootDebias { beta } => Attributes::new().with("beta", beta),
            Self::Every(steps) => Attributes::new().with("steps", steps),
            Self::Decay { decay } => Attributes::new().with("decay", decay),
        }
    }
}
