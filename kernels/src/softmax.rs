//! Softmax and its logarithm along one axis, stable for logits of any size.

use super::elementwise::Function;
use super::real::Real;
use super::simd::{Isa, MAX_LANES};
use super::workers::Workers;
use crate::tuning::SOFTMAX_TASK;

/// Elements whose exponentials are computed at once.
const PIECE: usize = 4 * MAX_LANES;

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
                (0..self.inner)
                    .for_each(|lane| self.one(&data[lane..], logarithm, &mut out[lane..], workers.isa()));
            }
        });
    }

    /// One distribution, whose elements lie `inner` apart.
    fn one<T: Real>(&self, data: &[T], logarithm: bool, out: &mut [T], isa: Isa) {
        let values = || data.iter().step_by(self.inner).copied();
        let maximum = values().fold(T::neg_infinity(), |a, b| if b > a { b } else { a });
        let mut total = 0.0;
        for start in (0..self.classes).step_by(PIECE) {
            let mut piece = [[T::zero(); MAX_LANES]; PIECE / MAX_LANES];
            let count = PIECE.min(self.classes - start);
            let shifted = values().skip(start).map(|value| value - maximum);
            piece.as_flattened_mut().iter_mut().zip(shifted).for_each(|(to, shifted)| *to = shifted);
            T::transcendental(Function::Exp, &mut piece[..count.div_ceil(MAX_LANES)], isa);
            let powers = &piece.as_flattened()[..count];
            let outputs = out.iter_mut().step_by(self.inner).skip(start);
            for (out, &power) in outputs.zip(powers) {
                *out = power;
                total += power.into_f64();
            }
        }
        let outputs = out.iter_mut().step_by(self.inner).zip(values());
        if logarithm {
            let log_total = T::of(total.ln());
            outputs.for_each(|(out, value)| *out = value - maximum - log_total);
        } else {
            outputs.for_each(|(out, _)| *out = T::of(out.into_f64() / total));
        }
    }
}
