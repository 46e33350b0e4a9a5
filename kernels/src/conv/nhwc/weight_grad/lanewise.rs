//! The innermost loop of the gradient in the weights where registers of channels meet registers of the upstream.

use super::tile::Positions;
use crate::real::Real;
use crate::simd::{Isa, Kernel, Vector};

/// The most rows that a tile takes.
pub const MAX_ROWS: usize = 9;

/// The sums of some rows, each a tap and a channel of every group, by one register of filters.
#[derive(Debug, Clone, Copy)]
pub struct LanewiseTile<T> {
    /// What is summed over.
    pub positions: Positions,
    /// What the first filter sees in each row from the first position. A register is read, of whatever lies there.
    pub source: [*const T; MAX_ROWS],
    /// The first filter of the upstream at the first position. It is read in whole registers.
    pub upstream: *const T,
    /// How many filters there are; at most lanes.
    pub filters: usize,
    /// The first sum.
    pub sums: *mut T,
    /// From row to row of the sums.
    pub pitch: usize,
    /// Whether there are no sums yet, and whether these are the last positions.
    pub ends: [bool; 2],
}

impl<T: Real> LanewiseTile<T> {
    /// Adds all positions to the sums of the first `rows` rows.
    ///
    /// # Safety
    /// Everything pointed to must be there, and the sums of no other thread's interest.
    pub unsafe fn add(&self, isa: Isa, rows: usize) {
        match rows {
            1 => isa.dispatch(MultiplyRows::<T, 1> { tile: self, rows }),
            2 | 3 => isa.dispatch(MultiplyRows::<T, 3> { tile: self, rows }),
            4..=6 => isa.dispatch(MultiplyRows::<T, 6> { tile: self, rows }),
            7..=MAX_ROWS => isa.dispatch(MultiplyRows::<T, MAX_ROWS> { tile: self, rows }),
            _ => unreachable!("a tile has 1 to {MAX_ROWS} rows"),
        }
    }
}

/// Adds the products of a tile of `rows` rows, of which there may be fewer than have registers.
struct MultiplyRows<'a, T, const ROWS: usize> {
    tile: &'a LanewiseTile<T>,
    rows: usize,
}

impl<T: Real, const ROWS: usize> Kernel<T> for MultiplyRows<'_, T, ROWS> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let LanewiseTile { positions, source, upstream, filters, sums: target, pitch, ends } = *self.tile;
        // SAFETY: the contract of `LanewiseTile::add`. Rows beyond the tile read what the last one reads.
        unsafe {
            let mut sums = [V::splat(T::zero()); ROWS];
            for line in 0..positions.count[0] * positions.count[1] {
                let (image, line) = (line / positions.count[1], line % positions.count[1]);
                let mut pixel = image * positions.source[0] + line * positions.source[1];
                let mut upstream = upstream.add(image * positions.upstream[0] + line * positions.upstream[1]);
                for _ in 0..positions.count[2] {
                    let right = V::load(upstream);
                    for row in 0..ROWS {
                        sums[row] = V::load(source[row].add(pixel)).mul_add(right, sums[row]);
                    }
                    pixel += positions.source[2];
                    upstream = upstream.wrapping_add(positions.upstream[2]);
                }
            }
            for row in 0..ROWS {
                if row < self.rows {
                    let (target, sum) = (target.add(row * pitch), sums[row]);
                    let sum = if ends[0] { sum } else { V::load_first(target, filters).add(sum) };
                    if ends[1] { sum.flush() } else { sum }.store_first(target, filters);
                }
            }
        }
    }
}
