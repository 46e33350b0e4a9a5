//! Few filters of many channels. A register of filters would be mostly empty, so registers hold channels: what a position
//! gets from a filter is a dot product, of sixteen interleaved sums like those of the [matrix product](crate::gemm::dots).

use super::Rectangle;
use crate::gemm::dots::{MAX_GROUPS, SUMS, total};
use crate::real::Real;
use crate::simd::{Isa, Kernel, MAX_LANES, Vector};

/// How many filters a rectangle of dot products has at most.
pub const MAX_FILTERS: usize = 4;

impl<T: Real> Rectangle<'_, T> {
    /// As [`compute`](Self::compute). The weights are [`MAX_LANES`] channels of each filter after the other, and blocks of
    /// the strip hold 0 where they lack channels.
    ///
    /// # Safety
    /// As for `compute`.
    pub unsafe fn compute_dots(&self, isa: Isa) {
        match self.filters {
            1 => isa.dispatch(DotSweep::<T, 1>(self)),
            2 => isa.dispatch(DotSweep::<T, 2>(self)),
            3 => isa.dispatch(DotSweep::<T, 3>(self)),
            MAX_FILTERS => isa.dispatch(DotSweep::<T, MAX_FILTERS>(self)),
            _ => unreachable!("there are 1 to {MAX_FILTERS} filters"),
        }
    }
}

/// All positions of a rectangle, by `FILTERS` filters.
struct DotSweep<'a, T, const FILTERS: usize>(&'a Rectangle<'a, T>);

/// The sums of a filter at as many positions as a register has lanes: the first registers of all, then the second ones.
type Sums<V> = [V; SUMS];

/// How many positions are done at a time: so many that their sums stay in registers, a power of two.
const fn at_once<T, V: Vector<T>>(filters: usize) -> usize {
    let most = 2 * V::TILE_ROWS / (filters * (SUMS / V::LANES));
    match most {
        0 | 1 => 1,
        2 | 3 => 2,
        4..=7 => 4,
        _ => 8,
    }
}

impl<T: Real, const FILTERS: usize> Kernel<T> for DotSweep<'_, T, FILTERS> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let all = *self.0;
        for row in 0..all.size[0] {
            for first in (0..all.size[1]).step_by(V::LANES) {
                let count = V::LANES.min(all.size[1] - first);
                // SAFETY: the positions are inside the rectangle; the rest is the contract of `compute_dots`.
                unsafe {
                    let source = all.source.add(row * all.source_row + first * MAX_LANES);
                    let mut sums = [[V::splat(T::zero()); SUMS]; FILTERS];
                    if const { at_once::<T, V>(FILTERS) == 8 } {
                        Self::multiply::<V, 8>(&all, source, count, &mut sums);
                    } else if const { at_once::<T, V>(FILTERS) == 4 } {
                        Self::multiply::<V, 4>(&all, source, count, &mut sums);
                    } else if const { at_once::<T, V>(FILTERS) == 2 } {
                        Self::multiply::<V, 2>(&all, source, count, &mut sums);
                    } else {
                        Self::multiply::<V, 1>(&all, source, count, &mut sums);
                    }
                    for filter in 0..FILTERS {
                        let sum = total::<T, V>(&mut sums[filter]);
                        let mut results = [T::zero(); MAX_LANES];
                        all.finished(sum, V::splat(*all.bias.add(filter))).store(results.as_mut_ptr());
                        let target = all.target.add(row * all.target_step[0] + filter);
                        for position in 0..count {
                            *target.add((first + position) * all.target_step[1]) = results[position];
                        }
                    }
                }
            }
        }
    }
}

impl<T: Real, const FILTERS: usize> DotSweep<'_, T, FILTERS> {
    /// The sums of `count` neighbouring positions, `POSITIONS` at a time.
    ///
    /// # Safety
    /// Source and weights must hold all runs, in whole registers; the instruction set of `V` must exist.
    #[inline(always)]
    unsafe fn multiply<V: Vector<T>, const POSITIONS: usize>(
        all: &Rectangle<T>,
        source: *const T,
        count: usize,
        results: &mut [Sums<V>; FILTERS],
    ) {
        // SAFETY: the caller's contract. Positions beyond the last read what the last one reads.
        unsafe {
            let zero = V::splat(T::zero());
            for first in (0..count).step_by(POSITIONS) {
                let mut sums = [[[zero; MAX_GROUPS]; FILTERS]; POSITIONS];
                let mut weights = all.weights;
                for &[offset, steps] in all.runs {
                    for step in (0..steps).step_by(MAX_LANES) {
                        for group in 0..SUMS / V::LANES {
                            let lane = group * V::LANES;
                            let mut right = [zero; FILTERS];
                            for filter in 0..FILTERS {
                                right[filter] = V::load(weights.add(filter * MAX_LANES + lane));
                            }
                            for position in 0..POSITIONS {
                                let pixel = (first + position).min(count - 1) * MAX_LANES;
                                let left = V::load(source.add(pixel + offset + step + lane));
                                for filter in 0..FILTERS {
                                    let sum = &mut sums[position][filter][group];
                                    *sum = left.mul_add(right[filter], *sum);
                                }
                            }
                        }
                        weights = weights.add(FILTERS * MAX_LANES);
                    }
                }
                // All of them: with a bound that the compiler does not know, sums would live in memory.
                for position in 0..POSITIONS {
                    for filter in 0..FILTERS {
                        for group in 0..SUMS / V::LANES {
                            results[filter][group * V::LANES + first + position] =
                                sums[position][filter][group];
                        }
                    }
                }
            }
        }
    }
}
