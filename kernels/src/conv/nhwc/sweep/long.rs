//! Long sums. What is added to a large sum loses its last digits, so a chain of a million products is less exact than one of
//! a thousand. Sums of so many are computed in parts, which are added up in double precision.

use super::{Rectangle, StripRead};
use crate::real::Real;
use crate::simd::{Isa, MAX_LANES, flush};
use crate::tuning::LONG_SUM;

/// How many positions of a row are done at a time.
const COLUMNS: usize = 16;
/// How many filters a rectangle has at most.
const FILTERS: usize = 2 * MAX_LANES;

impl<T: Real> Rectangle<'_, T> {
    /// Whether its sums are computed in parts.
    pub fn is_long(&self) -> bool {
        steps(self.runs) > LONG_SUM
    }

    /// As [`compute`](Self::compute), or as [`compute_dots`](Self::compute_dots), in parts.
    ///
    /// # Safety
    /// As for these.
    pub unsafe fn compute_long(&self, isa: Isa, source: StripRead, is_dots: bool) {
        let step = if let StripRead::Numbers { block } = source { block } else { MAX_LANES };
        for row in 0..self.size[0] {
            for first in (0..self.size[1]).step_by(COLUMNS) {
                let size = [1, COLUMNS.min(self.size[1] - first)];
                // SAFETY: the positions are inside the rectangle.
                unsafe {
                    let source_start = self.source.add(row * self.source_row + first * step);
                    let target = self.target.add(row * self.target_step[0] + first * self.target_step[1]);
                    let some = Rectangle { size, source: source_start, target, ..*self };
                    some.add_parts(isa, source, is_dots);
                }
            }
        }
    }

    /// The sums of a few positions of a row: those of each part of the steps, added up.
    ///
    /// # Safety
    /// As above.
    unsafe fn add_parts(&self, isa: Isa, source: StripRead, is_dots: bool) {
        let mut part_sums = [T::zero(); COLUMNS * FILTERS];
        let mut totals = [0.0; COLUMNS * FILTERS];
        let (zeros, target_step) = ([T::zero(); FILTERS], [0, FILTERS]);
        let (mut runs, mut weights) = (self.runs, self.weights);
        while !runs.is_empty() {
            let mut sum = 0;
            let count = runs.iter().take_while(|run| {
                sum += run[1];
                sum <= LONG_SUM
            });
            let (part, later) = runs.split_at(count.count().max(1));
            let (bias, target) = (zeros.as_ptr(), part_sums.as_mut_ptr());
            let floor = T::neg_infinity();
            let part = Rectangle { runs: part, weights, bias, floor, target, target_step, ..*self };
            // SAFETY: the caller's contract; the partial sums have room for all filters of `COLUMNS` positions.
            unsafe { if is_dots { part.compute_dots(isa) } else { part.compute(isa, source) } };
            let numbers = if is_dots { self.filters } else { self.weight_step };
            weights = weights.wrapping_add(steps(part.runs) * numbers);
            runs = later;
            totals.iter_mut().zip(&part_sums).for_each(|(total, &sum)| *total += sum.into_f64());
        }
        for position in 0..self.size[1] {
            for filter in 0..self.filters {
                // SAFETY: the position and the filter are the rectangle's.
                unsafe {
                    let total = totals[position * FILTERS + filter] + (*self.bias.add(filter)).into_f64();
                    let sum = flush(T::of(total));
                    let target = self.target.add(position * self.target_step[1] + filter);
                    *target = if sum < self.floor { self.floor } else { sum };
                }
            }
        }
    }
}

/// How many steps runs have.
fn steps(runs: &[[usize; 2]]) -> usize {
    runs.iter().map(|run| run[1]).sum()
}
