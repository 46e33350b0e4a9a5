//! Softmax and its logarithm along one axis, stable for logits of any size.

use super::real::Real;
use super::workers::Workers;
use crate::tuning::SOFTMAX_TASK;

/// An array seen as `[outer, classes, inner]`.
#[derive(Debug, Clone, Copy)]
pub struct Classes {
    /// Elements along the axis.
    pub classes: usize,
    /// Elements of all later axes together.
    pub inner: usize,
}

impl Classes {
    /// `exp(x − m) / Σ exp(x − m)` with m the maximum, or its logarithm `x − m − ln Σ exp(x − m)`.
    #[inline(never)]
    pub fn softmax<T: Real>(&self, data: &[T], logarithm: bool, out: &mut [T], workers: &Workers) {
        let block = self.classes * self.inner;
        let blocks_per_task = (SOFTMAX_TASK / block.max(1)).max(1);
        workers.chunks(out, block * blocks_per_task, &|task, out, _| {
            let start = task * block * blocks_per_task;
            let blocks = data[start..start + out.len()].chunks_exact(block).zip(out.chunks_exact_mut(block));
            for (data, out) in blocks {
                (0..self.inner).for_each(|lane| self.one(&data[lane..], logarithm, &mut out[lane..]));
            }
        });
    }

    /// One distribution, whose elements lie `inner` apart.
    fn one<T: Real>(&self, data: &[T], logarithm: bool, out: &mut [T]) {
        let values = || data.iter().step_by(self.inner).copied();
        let maximum = values().fold(T::neg_infinity(), |a, b| if b > a { b } else { a });
        let total: f64 = values().map(|value| (value - maximum).exp().into_f64()).sum();
        let outputs = out.iter_mut().step_by(self.inner).zip(values());
        if logarithm {
            let log_total = T::of(total.ln());
            outputs.for_each(|(out, value)| *out = value - maximum - log_total);
        } else {
            outputs.for_each(|(out, value)| *out = T::of((value - maximum).exp().into_f64() / total));
        }
    }
}
