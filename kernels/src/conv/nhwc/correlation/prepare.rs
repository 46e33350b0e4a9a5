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
        self.strips().saturating_mul(self.prepared_strip())
    }

    /// How many those of a strip have.
    pub(super) fn prepared_strip(&self) -> usize {
        let [kernel_h, kernel_w] = self.sizes.window.kernel;
        self.weights(kernel_h * kernel_w)
    }

    /// How many those of a strip and so many taps have.
    pub(super) fn weights(&self, taps: usize) -> usize {
        if self.is_dots {
            return taps * self.depth.next_multiple_of(MAX_LANES) * self.filters;
        }
        taps * self.depth * self.padded_filters()
    }

    pub(super) fn padded_filters(&self) -> usize {
        self.filters.next_multiple_of(MAX_LANES)
    }

    /// The panels of a strip's filters whose weights lie together: their filters, counted from the strip's first, and their
    /// width.
    pub(super) fn panels(&self, strip: usize) -> impl Iterator<Item = (Range<usize>, usize)> {
        let (filters, padded) = (self.filters_of(strip).len(), self.padded_filters());
        let width = if self.strip.spread.is_some() { MAX_LANES } else { PANEL };
        (0..padded).step_by(width).map(move |start| {
            let end = padded.min(start + width);
            (start..filters.min(end), end - start)
        })
    }

    /// Arranges weights [groups · filters, C, kh, kw] as [strip, phase, panel, block, tap, channel of the source, filter
    /// of the panel], as they are read.
    pub fn prepare<T: Real>(&self, weight: &[T], out: &mut [T], workers: &Workers) {
        debug_assert_eq!(out.len(), self.prepared());
        if self.is_dots {
            return self.prepare_dots(weight, out, workers);
        }
        let parts = Parts::new(out);
        let depth = self.depth;
        workers.run(self.strips() * depth, &|task, local| {
            let (strip, channel) = (task / depth, task % depth);
            let parts = parts.part(strip * self.prepared_strip(), self.prepared_strip());
            for panel in self.panels(strip) {
                self.prepare_channel(weight, strip, panel, channel, (&parts, local), workers);
            }
        });
    }

    /// Arranges them as [strip, phase, block, tap, filter, channel of the block], with 0 for channels that a block lacks.
    fn prepare_dots<T: Real>(&self, weight: &[T], out: &mut [T], workers: &Workers) {
        let [kernel_h, kernel_w] = self.sizes.window.kernel;
        workers.chunks(out, self.prepared_strip(), &|strip, out, _| {
            let mut registers = out.chunks_exact_mut(MAX_LANES);
            for phase in self.phases() {
                for channels in (0..self.strip.blocks()).map(|block| self.strip.channels_of(block)) {
                    for [row, column] in (0..phase.taps()).map(|index| phase.tap(index)) {
                        for (filter, register) in self.filters_of(strip).zip(&mut registers) {
                            register.fill(T::zero());
                            for (channel, to) in channels.clone().zip(register) {
                                let first = self.taps_of(filter, channel) * kernel_h * kernel_w;
                                *to = weight[first + row * kernel_w + column];
                            }
                        }
                    }
                }
            }
        });
    }

    /// Arranges the weights of one channel of the source and one panel of filters.
    fn prepare_channel<T: Real>(
        &self,
        weight: &[T],
        strip: usize,
        (filters, width): (Range<usize>, usize),
        channel: usize,
        (parts, local): (&Parts<T>, &mut Local),
        workers: &Workers,
    ) {
        let window = self.sizes.window.kernel;
        let kernel = window[0] * window[1];
        let start = |filter: usize| kernel * self.taps_of(self.filters_of(strip).start + filter, channel);
        for first in (0..kernel).step_by(PACKED_TAPS) {
            let count = PACKED_TAPS.min(kernel - first);
            local.reserve(Split::bytes::<T>(count * width));
            let to = local.slice::<T>(count * width);
            if self.strip.spread.is_some() {
                for lane in 0..width {
                    for tap in 0..count {
                        let weight = || weight[start(filters.start + lane) + first + tap];
                        to[tap * width + lane] = if lane < filters.len() { weight() } else { T::zero() };
                    }
                }
            } else {
                let (columns, from) = (filters.len(), &weight[start(filters.start) + first..]);
                let stride = kernel * if self.is_input_grad { 1 } else { self.depth };
                workers.isa().dispatch(Transpose { from, stride, columns, width, to });
            }
            for (tap, start) in self.rows_of(channel, filters.start, width) {
                if (first..first + count).contains(&tap) {
                    // SAFETY: the rows of this panel and channel are no other task's.
                    unsafe { parts.slice(start, width) }
                        .copy_from_slice(&to[(tap - first) * width..][..width]);
                }
            }
        }
    }

    /// Where in [groups · filters, C] the taps lie that carry a channel of a group of the source to a channel of the target.
    fn taps_of(&self, target: usize, channel: usize) -> usize {
        if !self.is_input_grad {
            return target * self.depth + channel;
        }
        let channels = self.sizes.channels;
        (target / channels * self.depth + channel) * channels + target % channels
    }

    /// For every tap of every phase, where the prepared weights of a channel and a panel start.
    fn rows_of(&self, channel: usize, panel: usize, width: usize) -> impl Iterator<Item = (usize, usize)> {
        let together = if self.strip.spread.is_some() { self.depth } else { self.strip.block };
        let block_start = channel / together * together;
        let block = together.min(self.depth - block_start);
        self.phases().flat_map(move |phase| {
            let start = phase.weights + panel * self.steps(&phase);
            let before = block_start * phase.taps() + channel - block_start;
            (0..phase.taps()).map(move |index| {
                let [row, column] = phase.tap(index);
                (row * self.sizes.window.kernel[1] + column, start + (before + index * block) * width)
            })
        })
    }
}
