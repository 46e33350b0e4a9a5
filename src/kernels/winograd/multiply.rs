//! The multiplications: at every point a small product of matrices, its sums held in registers.

use crate::kernels::real::Real;
use crate::kernels::simd::{Isa, Kernel, Vector};

/// Sums over channels, for some tiles (rows) and one or two registers of filters:
/// out\[register, tile\] = ∑ left\[channel, tile\] · right\[channel, register\].
#[derive(Clone, Copy)]
pub struct Forward<T> {
    /// The tiles: \[register of channels, tile, lane\].
    pub left: *const T,
    /// From one register of channels to the next.
    pub left_register: usize,
    /// How many channels there are.
    pub channels: usize,
    /// The weights: \[channel, filter\], as wide as the registers.
    pub right: *const T,
    /// The sums: \[register of filters, tile, lane\].
    pub out: *mut T,
    /// From one register of filters to the next.
    pub out_register: usize,
}

/// How many tiles [`Forward`] can take at a time.
pub fn most_tiles<T: Real>(isa: Isa, registers: usize) -> usize {
    if registers == 1 { 2 * isa.tile_rows::<T>() } else { isa.tile_rows::<T>() }
}

impl<T: Real> Forward<T> {
    /// Computes the sums.
    ///
    /// # Safety
    /// All that the fields promise must be there; the instruction set must allow as many tiles.
    pub unsafe fn run(self, isa: Isa, tiles: usize, registers: usize) {
        debug_assert!((1..=most_tiles::<T>(isa, registers)).contains(&tiles) && (1..=2).contains(&registers));
        macro_rules! by_size {
            ($($size:literal)*; $($more:literal)*) => {
                match (tiles, registers) {
                    $(($size, 2) => isa.dispatch(ForwardTile::<T, $size, 2>(self)),)*
                    $(($size, _) => isa.dispatch(ForwardTile::<T, $size, 1>(self)),)*
                    $(($more, _) => isa.dispatch(ForwardTile::<T, $more, 1>(self)),)*
                    _ => {}
                }
            };
        }
        by_size!(1 2 3 4 5 6 7 8 9 10 11 12 13 14; 15 16 17 18 19 20 21 22 23 24 25 26 27 28);
    }
}

/// As many accumulators as the registers allow. Nothing else may live here.
struct ForwardTile<T, const TILES: usize, const REGISTERS: usize>(Forward<T>);

impl<T: Real, const TILES: usize, const REGISTERS: usize> Kernel<T> for ForwardTile<T, TILES, REGISTERS> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        if TILES * REGISTERS > 2 * V::TILE_ROWS {
            return; // never asked for; saves compiling it
        }
        let Forward { mut left, mut right, out, .. } = self.0;
        let mut remaining = self.0.channels;
        // SAFETY: `dispatch` vouches for the instruction set, the caller of `Forward::run` for the operands.
        unsafe {
            let mut sums = [[V::splat(T::zero()); REGISTERS]; TILES];
            while remaining > 0 {
                let steps = remaining.min(V::LANES);
                for step in 0..steps {
                    let weights: [V; REGISTERS] = std::array::from_fn(|i| V::load(right.add(i * V::LANES)));
                    for (tile, sums) in sums.iter_mut().enumerate() {
                        let number = V::splat(*left.add(tile * V::LANES + step));
                        for (sum, weight) in sums.iter_mut().zip(weights) {
                            *sum = number.mul_add(weight, *sum);
                        }
                    }
                    right = right.add(REGISTERS * V::LANES);
                }
                left = left.wrapping_add(self.0.left_register);
                remaining -= steps;
            }
            for (tile, sums) in sums.iter().enumerate() {
                for (i, sum) in sums.iter().enumerate() {
                    sum.store(out.add(i * self.0.out_register + tile * V::LANES));
                }
            }
        }
    }
}

/// Sums over tiles, for one register of channels (rows) and one or two registers of filters:
/// out\[channel, filter\] += ∑ left\[tile, channel\] · right\[register, tile\].
#[derive(Clone, Copy)]
pub struct Weight<T> {
    /// The image: \[tile, lane\].
    pub left: *const T,
    /// The upstream: \[register of filters, tile, lane\].
    pub right: *const T,
    /// From one register of filters to the next.
    pub right_register: usize,
    /// How many tiles there are.
    pub tiles: usize,
    /// The sums: \[channel, filter\], as wide as the registers.
    pub out: *mut T,
}

impl<T: Real> Weight<T> {
    /// Adds to the sums.
    ///
    /// # Safety
    /// All that the fields promise must be there.
    pub unsafe fn run(self, isa: Isa, registers: usize) {
        match (isa.lanes::<T>(), registers) {
            (16, 1) => isa.dispatch(WeightTile::<T, 16, 1>(self)),
            (16, _) => isa.dispatch(WeightTile::<T, 8, 2>(self)),
            (8, 1) => isa.dispatch(WeightTile::<T, 8, 1>(self)),
            (8, _) => isa.dispatch(WeightTile::<T, 4, 2>(self)),
            (_, 1) => isa.dispatch(WeightTile::<T, 4, 1>(self)),
            _ => isa.dispatch(WeightTile::<T, 4, 2>(self)),
        }
    }
}

/// Some of the channels at a time.
struct WeightTile<T, const CHANNELS: usize, const REGISTERS: usize>(Weight<T>);

impl<T: Real, const CHANNELS: usize, const REGISTERS: usize> Kernel<T>
    for WeightTile<T, CHANNELS, REGISTERS>
{
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        if V::LANES % CHANNELS != 0 || CHANNELS * REGISTERS > 2 * V::TILE_ROWS {
            return; // never asked for; saves compiling it
        }
        let Weight { left, right, right_register, tiles, out } = self.0;
        for first in (0..V::LANES).step_by(CHANNELS) {
            // SAFETY: as for `ForwardTile`.
            unsafe {
                let at = |channel: usize, i: usize| out.add(((first + channel) * REGISTERS + i) * V::LANES);
                let mut sums: [[V; REGISTERS]; CHANNELS] =
                    std::array::from_fn(|channel| std::array::from_fn(|i| V::load(at(channel, i))));
                for tile in 0..tiles {
                    let upstream: [V; REGISTERS] =
                        std::array::from_fn(|i| V::load(right.add(i * right_register + tile * V::LANES)));
                    for (channel, sums) in sums.iter_mut().enumerate() {
                        let number = V::splat(*left.add(tile * V::LANES + first + channel));
                        for (sum, upstream) in sums.iter_mut().zip(upstream) {
                            *sum = number.mul_add(upstream, *sum);
                        }
                    }
                }
                for (channel, sums) in sums.iter().enumerate() {
                    for (i, sum) in sums.iter().enumerate() {
                        sum.store(at(channel, i));
                    }
                }
            }
        }
    }
}
