//! Arranging weights in the order in which they are read.

use std::ops::Range;

use super::StripCorrelation;
use crate::conv::nhwc::PANEL;
use crate::gemm::pack::Transpose;
use crate::real::Real;
use crate::simd::MAX_LANES;
use crate::tuning::PACKED_TAPS;
use crate::workers::{Local, Parts, Split, Workers};

impl StripCorrelation {
    /// How many numbers the prepared weights have.
    pub fn prepared(&self) -> usize {
        self.groups.saturating_mul(self.prepared_group())
    }

    /// How many those of a group have.
    pub(super) fn prepared_group(&self) -> usize {
        let [kernel_h, kernel_w] = self.sizes.window.kernel;
        kernel_h * kernel_w * self.depth * self.padded_filters()
    }

    pub(super) fn padded_filters(&self) -> usize {
        self.filters.next_multiple_of(MAX_LANES)
    }

    /// The panels of filters whose weights lie together, as filters and width.
    pub(super) fn panels(&self) -> impl Iterator<Item = (Range<usize>, usize)> {
        (0..self.padded_filters().div_ceil(self.panel_width())).map(|panel| self.panel(panel))
    }

    /// A panel of filters, and its width.
    fn panel(&self, panel: usize) -> (Range<usize>, usize) {
        let (start, padded) = (panel * self.panel_width(), self.padded_filters());
        let end = padded.min(start + self.panel_width());
        (start..self.filters.min(end), end - start)
    }

    /// A depthwise filter meets one block of the strip.
    fn panel_width(&self) -> usize {
        if self.is_depthwise { MAX_LANES } else { PANEL }
    }

    /// Arranges weights [groups · filters, C, kh, kw] as [group, phase, panel, block, tap, channel of the source, filter
    /// of the panel], as they are read.
    pub fn prepare<T: Real>(&self, weight: &[T], out: &mut [T], workers: &Workers) {
        debug_assert_eq!(out.len(), self.prepared());
        let parts = Parts::new(out);
        let (panels, depth) = (self.padded_filters().div_ceil(self.panel_width()), self.depth);
        let group_weights = weight.len() / self.groups;
        workers.run(self.groups * panels * depth, &|task, local| {
            let (group, panel, channel) = (task / (panels * depth), task / depth % panels, task % depth);
            let weight = &weight[group * group_weights..][..group_weights];
            let parts = parts.part(group * self.prepared_group(), self.prepared_group());
            self.prepare_channel(weight, self.panel(panel), channel, (&parts, local), workers);
        });
    }

    /// Arranges the weights of one channel of the source and one panel of filters.
    fn prepare_channel<T: Real>(
        &self,
        weight: &[T],
        (filters, width): (Range<usize>, usize),
        channel: usize,
        (parts, local): (&Parts<T>, &mut Local),
        workers: &Workers,
    ) {
        let window = self.sizes.window.kernel;
        let kernel = window[0] * window[1];
        let (filter_step, channel_step) = if self.is_input_grad && !self.is_depthwise {
            (kernel, self.filters * kernel)
        } else {
            (self.depth * kernel, kernel)
        };
        let from = &weight[filters.start * filter_step + channel * channel_step..];
        for first in (0..kernel).step_by(PACKED_TAPS) {
            let count = PACKED_TAPS.min(kernel - first);
            local.reserve(Split::bytes::<T>(count * width));
            let to = local.slice::<T>(count * width);
            let (columns, from) = (filters.len(), &from[first..]);
            workers.isa().dispatch(Transpose { from, stride: filter_step, columns, width, to });
            for (tap, start) in self.rows_of(channel, filters.start, width) {
                if (first..first + count).contains(&tap) {
                    // SAFETY: the rows of this panel and channel are no other task's.
                    unsafe { parts.slice(start, width) }
                        .copy_from_slice(&to[(tap - first) * width..][..width]);
                }
            }
        }
    }

    /// For every tap of every phase, where the prepared weights of a channel and a panel start.
    fn rows_of(&self, channel: usize, panel: usize, width: usize) -> impl Iterator<Item = (usize, usize)> {
        let block_start = channel / self.strip.block * self.strip.block;
        let block = self.strip.block.min(self.depth - block_start);
        self.phases().flat_map(move |phase| {
            let start = phase.weights + panel * self.steps(&phase);
            let before = block_start * phase.taps() + channel - block_start;
            (0..phase.taps()).map(move |index| {
                let across = phase.columns.taps.count;
                let tap = [phase.rows.taps.tap(index / across), phase.columns.taps.tap(index % across)];
                (tap[0] * self.sizes.window.kernel[1] + tap[1], start + (before + index * block) * width)
            })
        })
    }
}
