//! The innermost loop of the gradient in the weights of a depthwise convolution.

use super::tile::Positions;
use crate::real::Real;
use crate::simd::{Isa, Kernel, Vector};

/// The most taps that a tile takes.
pub const MAX_TAPS: usize = 9;

/// The sums of some taps, by one register of channels.
#[derive(Debug, Clone, Copy)]
pub struct DepthwiseTile<T> {
    /// What is summed over.
    pub positions: Positions,
    /// The first channel as each tap sees it from the first position. A register is read, of whatever lies there.
    pub source: [*const T; MAX_TAPS],
    /// The first channel of the upstream at the first position. It is read in whole registers.
    pub upstream: *const T,
    /// How many channels there are; at most lanes.
    pub channels: usize,
    /// The first sum.
    pub sums: *mut T,
    /// From tap to tap of the sums.
    pub pitch: usize,
    /// Whether there are no sums yet, and whether these are the last positions.
    pub ends: [bool; 2],
}

impl<T: Real> DepthwiseTile<T> {
    /// Adds all positions to the sums of the first `taps` taps.
    ///
    /// # Safety
    /// Everything pointed to must be there, and the sums of no other thread's interest.
    pub unsafe fn add(&self, isa: Isa, taps: usize) {
        match taps {
            1 => isa.dispatch(MultiplyTaps::<T, 1> { tile: self, taps }),
            2 | 3 => isa.dispatch(MultiplyTaps::<T, 3> { tile: self, taps }),
            4..=6 => isa.dispatch(MultiplyTaps::<T, 6> { tile: self, taps }),
            7..=MAX_TAPS => isa.dispatch(MultiplyTaps::<T, MAX_TAPS> { tile: self, taps }),
            _ => unreachable!("a tile has 1 to {MAX_TAPS} taps"),
        }
    }
}

/// Adds the products of a tile of `taps` taps, of which there may be fewer than have registers.
struct MultiplyTaps<'a, T, const TAPS: usize> {
    tile: &'a DepthwiseTile<T>,
    taps: usize,
}

impl<T: Real, const TAPS: usize> Kernel<T> for MultiplyTaps<'_, T, TAPS> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let DepthwiseTile { positions, source, upstream, channels, sums: target, pitch, ends } = *self.tile;
        // SAFETY: the contract of `DepthwiseTile::add`. Taps beyond the tile read what the last one reads.
        unsafe {
            let mut sums = [V::splat(T::zero()); TAPS];
            for tap in 0..TAPS {
                if tap < self.taps && !ends[0] {
                    sums[tap] = V::load_first(target.add(tap * pitch), channels);
                }
            }
            for line in 0..positions.count[0] * positions.count[1] {
                let (image, line) = (line / positions.count[1], line % positions.count[1]);
                let mut pixel = image * positions.source[0] + line * positions.source[1];
                let mut upstream = upstream.add(image * positions.upstream[0] + line * positions.upstream[1]);
                for _ in 0..positions.count[2] {
                    let right = V::load(upstream);
                    for tap in 0..TAPS {
                        sums[tap] = V::load(source[tap].add(pixel)).mul_add(right, sums[tap]);
                    }
                    pixel += positions.source[2];
                    upstream = upstream.wrapping_add(positions.upstream[2]);
                }
            }
            for tap in 0..TAPS {
                if tap < self.taps {
                    let sum = if ends[1] { sums[tap].flush() } else { sums[tap] };
                    sum.store_first(target.add(tap * pitch), channels);
                }
            }
        }
    }
}
