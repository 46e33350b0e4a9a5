//! The multiplications: at every point a small product of matrices, its sums held in registers.

use super::tiles::TileBuffer;
use crate::real::Real;
use crate::simd::{Isa, Kernel, Vector, prefetch_line};
use crate::tuning::WINOGRAD_PREFETCH;

/// How many tiles are done at a time at most, which is enough to keep every machine's multipliers busy.
const MAX_TILES: usize = 12;

/// Sums over channels, for a block of tiles and one or two registers of filters:
/// out\[register, point, tile\] = ∑ left\[channel, point, tile\] · right\[point, channel, register\].
#[derive(Clone, Copy)]
pub struct ForwardProducts<T> {
    /// The image at the points.
    pub left: *const T,
    /// The weights at the points.
    pub right: *const T,
    /// How far it is from point to point in the weights.
    pub right_point: usize,
    /// The sums.
    pub out: *mut T,
    /// How image and sums lie.
    pub buffer: TileBuffer,
    /// How many points there are.
    pub points: usize,
    /// How many channels.
    pub channels: usize,
    /// How many tiles.
    pub tiles: usize,
}

impl<T: Real> ForwardProducts<T> {
    /// Computes the sums, for a few tiles at a time: as many as there are registers for, or slightly fewer so that the parts
    /// are even. The last part may overlap the one before.
    ///
    /// # Safety
    /// All that the fields promise must be there.
    pub unsafe fn run(self, isa: Isa, registers: usize) {
        let most =
            if registers == 1 { MAX_TILES.min(2 * isa.tile_rows::<T>()) } else { isa.tile_rows::<T>() };
        let size = self.tiles.div_ceil(self.tiles.div_ceil(most).max(1));
        macro_rules! by_size {
            ($($size:literal)*; $($more:literal)*) => {
                match (size, registers) {
                    $(($size, 2) => isa.dispatch(ForwardTiles::<T, $size, 2>(self)),)*
                    $(($size, _) => isa.dispatch(ForwardTiles::<T, $size, 1>(self)),)*
                    $(($more, _) => isa.dispatch(ForwardTiles::<T, $more, 1>(self)),)*
                    _ => unreachable!("there are no {size} tiles at a time"),
                }
            };
        }
        by_size!(1 2 3 4 5 6 7 8; 9 10 11 12);
    }
}

/// So many tiles at a time, by so many registers of filters.
struct ForwardTiles<T, const TILES: usize, const REGISTERS: usize>(ForwardProducts<T>);

impl<T: Real, const TILES: usize, const REGISTERS: usize> Kernel<T> for ForwardTiles<T, TILES, REGISTERS> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        if const { TILES * REGISTERS > 2 * V::TILE_ROWS } {
            unreachable!("never asked for; saves compiling it");
        }
        let ForwardProducts { left, right, right_point, out, buffer, points, tiles, .. } = self.0;
        for point in 0..points {
            for start in (0..tiles).step_by(TILES) {
                let at = point * buffer.point + start.min(tiles - TILES) * V::LANES;
                // SAFETY: `dispatch` vouches for the instruction set, the caller of `ForwardProducts::run` for the rest.
                unsafe { self.sum::<V>(left.add(at), right.add(point * right_point), out.add(at)) };
            }
        }
    }
}

impl<T: Real, const TILES: usize, const REGISTERS: usize> ForwardTiles<T, TILES, REGISTERS> {
    /// Has as many accumulators as the registers allow. Nothing else may be alive here.
    ///
    /// # Safety
    /// The operands must be there, and the instruction set of `V`.
    #[inline(always)]
    unsafe fn sum<V: Vector<T>>(&self, mut left: *const T, mut right: *const T, out: *mut T) {
        let ForwardProducts { buffer, mut channels, .. } = self.0;
        // SAFETY: the caller vouches for the instruction set and the operands.
        unsafe {
            let zero = V::splat(T::zero());
            let mut sums = [[zero; REGISTERS]; TILES];
            while channels > 0 {
                let steps = channels.min(V::LANES);
                for step in 0..steps {
                    prefetch_line(left.wrapping_add(buffer.register + step * V::LANES));
                    let mut weights = [zero; REGISTERS];
                    for i in 0..REGISTERS {
                        prefetch_line(right.wrapping_add((WINOGRAD_PREFETCH * REGISTERS + i) * V::LANES));
                        weights[i] = V::load(right.add(i * V::LANES));
                    }
                    for tile in 0..TILES {
                        let number = V::splat(*left.add(tile * V::LANES + step));
                        for i in 0..REGISTERS {
                            sums[tile][i] = number.mul_add(weights[i], sums[tile][i]);
                        }
                    }
                    right = right.add(REGISTERS * V::LANES);
                }
                left = left.wrapping_add(buffer.register);
                channels -= steps;
            }
            for tile in 0..TILES {
                for i in 0..REGISTERS {
                    sums[tile][i].store(out.add(i * buffer.register + tile * V::LANES));
                }
            }
        }
    }
}

/// Sums over tiles, for one register of channels and one or two registers of filters:
/// out\[point, channel, register\] += ∑ left\[point, tile, channel\] · right\[register, point, tile\].
#[derive(Clone, Copy)]
pub struct WeightGradProducts<T> {
    /// The image at the points.
    pub left: *const T,
    /// The upstream at the points.
    pub right: *const T,
    /// How both lie.
    pub buffer: TileBuffer,
    /// The sums.
    pub out: *mut T,
    /// How far it is from point to point in the sums.
    pub out_point: usize,
    /// How many points there are.
    pub points: usize,
    /// How many tiles.
    pub tiles: usize,
    /// Whether there are no sums yet to add to.
    pub is_first: bool,
}

impl<T: Real> WeightGradProducts<T> {
    /// Adds to the sums.
    ///
    /// # Safety
    /// All that the fields promise must be there.
    pub unsafe fn run(self, isa: Isa, registers: usize) {
        let most = isa.lanes::<T>().min(2 * isa.tile_rows::<T>() / registers);
        let channels = most.next_power_of_two() / if most.is_power_of_two() { 1 } else { 2 };
        macro_rules! by_size {
            ($($channels:literal * $registers:literal)*) => {
                match (channels, registers) {
                    $(($channels, $registers) if self.is_first => {
                        isa.dispatch(WeightGradTile::<T, false, $channels, $registers>(self));
                    }
                    ($channels, $registers) => {
                        isa.dispatch(WeightGradTile::<T, true, $channels, $registers>(self));
                    })*
                    _ => unreachable!("there is no tile of {channels} × {registers}"),
                }
            };
        }
        by_size!(16*1 8*1 8*2 4*1 4*2 2*1 2*2);
    }
}

/// So many channels at a time, by so many registers of filters, added to what is there or not.
struct WeightGradTile<T, const ADDS: bool, const CHANNELS: usize, const REGISTERS: usize>(
    WeightGradProducts<T>,
);

impl<T: Real, const ADDS: bool, const CHANNELS: usize, const REGISTERS: usize> Kernel<T>
    for WeightGradTile<T, ADDS, CHANNELS, REGISTERS>
{
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        if const { V::LANES % CHANNELS != 0 || CHANNELS * REGISTERS > 2 * V::TILE_ROWS } {
            unreachable!("never asked for; saves compiling it");
        }
        let WeightGradProducts { left, right, buffer, out, out_point, points, .. } = self.0;
        for point in 0..points {
            for first in (0..V::LANES).step_by(CHANNELS) {
                let at = point * buffer.point;
                // SAFETY: `dispatch` vouches for the instruction set, the caller of `WeightGradProducts::run` for the rest.
                unsafe {
                    let out = out.add(point * out_point + first * REGISTERS * V::LANES);
                    self.sum::<V>(left.add(at + first), right.add(at), out);
                }
            }
        }
    }
}

impl<T: Real, const ADDS: bool, const CHANNELS: usize, const REGISTERS: usize>
    WeightGradTile<T, ADDS, CHANNELS, REGISTERS>
{
    /// As `ForwardTiles::sum`, but adds to what is there. That the block is summed by itself first keeps more
    /// digits than one long chain would.
    ///
    /// # Safety
    /// The operands must be there, and the instruction set of `V`.
    #[inline(always)]
    unsafe fn sum<V: Vector<T>>(&self, left: *const T, right: *const T, out: *mut T) {
        // SAFETY: the caller vouches for the instruction set and the operands.
        unsafe {
            let at = |channel: usize, i: usize| out.add((channel * REGISTERS + i) * V::LANES);
            let zero = V::splat(T::zero());
            let mut sums = [[zero; REGISTERS]; CHANNELS];
            for tile in 0..self.0.tiles {
                prefetch_line(left.wrapping_add((tile + WINOGRAD_PREFETCH) * V::LANES));
                prefetch_line(out.wrapping_add(tile * V::LANES));
                let mut upstream = [zero; REGISTERS];
                for i in 0..REGISTERS {
                    let right = right.wrapping_add(i * self.0.buffer.register + tile * V::LANES);
                    prefetch_line(right.wrapping_add(WINOGRAD_PREFETCH * V::LANES));
                    upstream[i] = V::load(right);
                }
                for channel in 0..CHANNELS {
                    let number = V::splat(*left.add(tile * V::LANES + channel));
                    for i in 0..REGISTERS {
                        sums[channel][i] = number.mul_add(upstream[i], sums[channel][i]);
                    }
                }
            }
            for channel in 0..CHANNELS {
                for i in 0..REGISTERS {
                    let sum = sums[channel][i];
                    let sum = if ADDS { sum.add(V::load(at(channel, i))) } else { sum };
                    sum.store(at(channel, i));
                }
            }
        }
    }
}
