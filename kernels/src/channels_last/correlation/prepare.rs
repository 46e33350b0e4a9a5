//! Arranging weights in the order in which they are read.

use std::ops::Range;

use super::Correlation;
use crate::channels_last::PANEL;
use crate::gemm::pack::Transpose;
use crate::real::Real;
use crate::simd::{Isa, MAX_LANES};
use crate::workers::{Local, Parts, Split, Workers};

/// How many taps are packed at a time.
const PACKED_TAPS: usize = 1 << 12;

impl Correlation {
    /// How many numbers the prepared weights have.
    pub fn prepared(&self) -> usize {
        let [tall, wide] = self.sizes.window.kernel;
        tall * wide * self.strip.channels * self.padded_filters()
    }

    pub(super) fn padded_filters(&self) -> usize {
        self.filters.next_multiple_of(MAX_LANES)
    }

    /// The panels of filters whose weights lie together, as filters and width.
    pub(super) fn panels(&self) -> impl Iterator<Item = (Range<usize>, usize)> {
        let (filters, padded) = (self.filters, self.padded_filters());
        (0..padded).step_by(PANEL).map(move |start| {
            let end = padded.min(start + PANEL);
            (start..filters.min(end), end - start)
        })
    }

    /// Arranges weights [F, C, kh, kw] as [phase, panel, block, tap, channel of the source, filter of the panel],
    /// as they are read.
    pub fn prepare<T: Real>(&self, isa: Isa, weight: &[T], out: &mut [T], workers: &Workers) {
        debug_assert_eq!(out.len(), self.prepared());
        let parts = Parts::new(out);
        let panels = self.padded_filters().div_ceil(PANEL);
        workers.run(panels * self.strip.channels, &|task, local| {
            let Some((filters, width)) = self.panels().nth(task / self.strip.channels) else { return };
            self.prepare_channel(isa, weight, (filters, width), task % self.strip.channels, &parts, local);
        });
    }

    /// Arranges the weights of one channel of the source and one panel of filters.
    fn prepare_channel<T: Real>(
        &self,
        isa: Isa,
        weight: &[T],
        (filters, width): (Range<usize>, usize),
        channel: usize,
        parts: &Parts<T>,
        local: &mut Local,
    ) {
        let window = self.sizes.window.kernel;
        let kernel = window[0] * window[1];
        let (filter_step, channel_step) = if self.adjoint {
            (kernel, self.filters * kernel)
        } else {
            (self.strip.channels * kernel, kernel)
        };
        let from = &weight[filters.start * filter_step + channel * channel_step..];
        for first in (0..kernel).step_by(PACKED_TAPS) {
            let count = PACKED_TAPS.min(kernel - first);
            local.reserve(Split::bytes::<T>(count * width));
            let to = local.slice::<T>(count * width);
            let (columns, from) = (filters.len(), &from[first..]);
            isa.dispatch(Transpose { from, stride: filter_step, columns, width, to });
            for (tap, start) in self.rows_of(channel, filters.start, width) {
                if let Some(row) = tap.checked_sub(first).filter(|&row| row < count) {
                    // SAFETY: the rows of this panel and channel are no other task's.
                    unsafe { parts.slice(start, width) }.copy_from_slice(&to[row * width..][..width]);
                }
            }
        }
    }

    /// For every tap of every phase, where the prepared weights of a channel and a panel start.
    fn rows_of(&self, channel: usize, panel: usize, width: usize) -> impl Iterator<Item = (usize, usize)> {
        let block = self.strip.channels_of(channel / self.strip.block);
        self.phases().flat_map(move |phase| {
            let [down, across] = self.taps(&phase);
            let start = phase.weights + panel * self.steps(&phase);
            let before = block.start * down.count * across.count + channel - block.start;
            let block = block.len();
            (0..down.count * across.count).map(move |index| {
                let tap = [down.tap(index / across.count), across.tap(index % across.count)];
                (tap[0] * self.sizes.window.kernel[1] + tap[1], start + (before + index * block) * width)
            })
        })
    }
}
