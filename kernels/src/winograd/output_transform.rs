//! The output transform: from points to images.

use std::ops::Range;

use super::blank::bit;
use super::tiles::{TileBuffer, Tiles};
use super::transforms::{OUTPUTS, output_axis};
use crate::gemm::Epilogue;
use crate::real::Real;
use crate::simd::{Kernel, Vector, prefetch_line};

/// What is done to outputs before they are written: bias and ReLU, or a gate.
pub trait OutputEpilogue<T>: Copy + Sync {
    /// What is the same for all pixels of some channels, `count` from `channel` on.
    ///
    /// # Safety
    /// The channels and numbers must exist, and so must the instruction set of `V`, in both methods.
    unsafe fn prepare<V: Vector<T>>(self, channel: usize, count: usize) -> V;

    /// Applies it to `count` numbers that will lie at `at` in the output.
    ///
    /// # Safety
    /// As above.
    unsafe fn apply<V: Vector<T>>(self, value: V, prepared: V, at: usize, count: usize) -> V;
}

impl<T: Real> OutputEpilogue<T> for Epilogue<'_, T> {
    #[inline(always)]
    unsafe fn prepare<V: Vector<T>>(self, channel: usize, count: usize) -> V {
        // SAFETY: there is a bias for every channel.
        unsafe {
            self.bias.map_or(V::splat(T::zero()), |bias| V::load_first(bias.as_ptr().add(channel), count))
        }
    }

    #[inline(always)]
    unsafe fn apply<V: Vector<T>>(self, value: V, bias: V, _: usize, _: usize) -> V {
        // SAFETY: the caller vouches for the instruction set.
        unsafe {
            let value = value.add(bias);
            if self.relu { value.relu() } else { value }
        }
    }
}

/// Lets pass what lies where the gate is open; without numbers everything passes.
#[derive(Clone, Copy)]
pub struct Gate<'a, T>(pub Option<&'a [T]>);

impl<T: Real> OutputEpilogue<T> for Gate<'_, T> {
    #[inline(always)]
    unsafe fn prepare<V: Vector<T>>(self, _: usize, _: usize) -> V {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { V::splat(T::zero()) }
    }

    #[inline(always)]
    unsafe fn apply<V: Vector<T>>(self, value: V, _: V, at: usize, count: usize) -> V {
        // SAFETY: the gate has the shape of the output.
        unsafe {
            match self.0 {
                Some(gate) => value.gate(V::load_first(gate.as_ptr().add(at), count)),
                None => value,
            }
        }
    }
}

/// Transforms some channels of a block of tiles back, and writes them.
pub struct OutputTransform<'a, T, F, const N: usize> {
    /// The points.
    pub from: &'a [T],
    /// How they lie.
    pub buffer: TileBuffer,
    /// The channels.
    pub channels: Range<usize>,
    /// How the images are cut up.
    pub tiles: Tiles,
    /// Which tiles.
    pub block: Range<usize>,
    /// For each tile the outputs that are set to 0, as found by [`Blank`](super::blank::Blank).
    pub blank: &'a [u32],
    /// What is done before they are written.
    pub epilogue: F,
    /// The images, \[image, row, column, channel\].
    pub to: *mut T,
    /// Their height and width.
    pub size: [usize; 2],
    /// How many channels they have.
    pub pitch: usize,
}

impl<T: Real, F: OutputEpilogue<T>, const N: usize> Kernel<T> for OutputTransform<'_, T, F, N> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let [height, width] = self.size;
        assert!(self.from.len() >= self.channels.len().div_ceil(V::LANES) * self.buffer.register);
        for segment in self.tiles.segments(self.block.clone()) {
            for (register, channel) in self.channels.clone().step_by(V::LANES).enumerate() {
                let count = V::LANES.min(self.channels.end - channel);
                // SAFETY: the bias has all channels; tiles begin inside the image; the assertion and the
                // caller vouch for points and images.
                unsafe {
                    let prepared = self.epilogue.prepare::<V>(channel, count);
                    for tile in 0..segment.tiles {
                        let at = register * self.buffer.register + (segment.before + tile) * V::LANES;
                        let [y, x] = [segment.row * OUTPUTS, (segment.column + tile) * OUTPUTS];
                        let inside = [(height - y).min(OUTPUTS), (width - x).min(OUTPUTS)];
                        let to = ((segment.image * height + y) * width + x) * self.pitch + channel;
                        let blank = self.blank[segment.before + tile];
                        if inside == [OUTPUTS; 2] && count == V::LANES && blank == 0 {
                            self.tile::<V>(at, prepared, to, [OUTPUTS; 2], V::LANES, 0);
                        } else {
                            self.tile::<V>(at, prepared, to, inside, count, blank);
                        }
                    }
                }
            }
        }
    }
}

impl<T: Real, F: OutputEpilogue<T>, const N: usize> OutputTransform<'_, T, F, N> {
    /// Transforms one tile and writes what is inside the image.
    ///
    /// # Safety
    /// Points and pixels must be there, and the instruction set of `V` exist.
    #[inline(always)]
    unsafe fn tile<V: Vector<T>>(
        &self,
        at: usize,
        prepared: V,
        to: usize,
        inside: [usize; 2],
        count: usize,
        blank: u32,
    ) {
        // SAFETY: the caller vouches for points and pixels.
        unsafe {
            let mut lines = [[V::splat(T::zero()); N]; OUTPUTS];
            for i in 0..N {
                let from = self.from.as_ptr().add(at + i * N * self.buffer.point);
                let mut values = [V::splat(T::zero()); N];
                for x in 0..N {
                    values[x] = V::load(from.add(x * self.buffer.point));
                    prefetch_line(from.wrapping_add(x * self.buffer.point + V::LANES)); // the next tile
                }
                let values: [V; OUTPUTS] = output_axis(values);
                for x in 0..OUTPUTS {
                    lines[x][i] = values[x];
                }
            }
            for x in 0..OUTPUTS {
                if x >= inside[1] {
                    break;
                }
                let values: [V; OUTPUTS] = output_axis(lines[x]);
                for y in 0..OUTPUTS {
                    let mut value = values[y];
                    if y < inside[0] {
                        if blank & bit([y, x]) != 0 {
                            value = V::splat(T::zero());
                        }
                        let at = to + (y * self.size[1] + x) * self.pitch;
                        let value = self.epilogue.apply(value, prepared, at, count).flush();
                        value.store_first(self.to.add(at), count);
                    }
                }
            }
        }
    }
}
