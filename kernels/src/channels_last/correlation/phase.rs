//! The pixels of the target that the same taps reach, and these taps.

use std::ops::Range;

use super::Correlation;

/// The pixels of the target that the same taps reach.
#[derive(Debug, Clone)]
pub struct Phase {
    /// The first of them.
    pub first: [usize; 2],
    /// Their places.
    pub places: [Range<usize>; 2],
    /// Where their weights start.
    pub weights: usize,
}

/// The taps of a phase along one axis, in the order of their rows or columns in the strip.
#[derive(Debug, Clone, Copy)]
pub struct Taps {
    /// How many there are.
    pub count: usize,
    /// How far from the place's own row or column the first one's is.
    pub away: usize,
    /// The first tap, and from one to the next.
    first: usize,
    next: isize,
}

impl Taps {
    /// Which tap of the window the one at `index` is.
    pub fn tap(&self, index: usize) -> usize {
        (self.first as isize + index as isize * self.next) as usize
    }
}

impl Correlation {
    /// All phases that reach a tap.
    pub(super) fn phases(&self) -> impl Iterator<Item = Phase> {
        let [tall, wide] = [0, 1].map(|axis| self.step[axis].min(self.target[axis]));
        let firsts = (0..tall).flat_map(move |row| (0..wide).map(move |column| [row, column]));
        firsts
            .scan(0, |weights, first| {
                let phase = Phase {
                    first,
                    places: [0, 1].map(|axis| self.places(axis, first[axis])),
                    weights: *weights,
                };
                *weights += self.steps(&phase) * self.padded_filters();
                Some(phase)
            })
            .filter(|phase| self.taps(phase).iter().all(|taps| taps.count > 0))
    }

    /// The places of every pixel along an axis that is in the phase of the pixel `first`.
    fn places(&self, axis: usize, first: usize) -> Range<usize> {
        let padding = if self.adjoint { self.sizes.window.padding[axis] } else { 0 };
        let start = (first + padding) / self.step[axis] - padding / self.step[axis];
        start..start + (self.target[axis] - first).div_ceil(self.step[axis])
    }

    /// The taps of a phase.
    pub(super) fn taps(&self, phase: &Phase) -> [Taps; 2] {
        let window = self.sizes.window;
        [0, 1].map(|axis| {
            let (kernel, stride) = (window.kernel[axis], window.stride[axis]);
            if !self.adjoint {
                return Taps { count: kernel, away: 0, first: 0, next: 1 };
            }
            // From the last tap to the first, so that they move forward in the strip.
            let residue = (phase.first[axis] + window.padding[axis]) % stride;
            let count = kernel.saturating_sub(residue).div_ceil(stride);
            let away = ((kernel - 1) / stride + 1).saturating_sub(count);
            let first = residue + count.saturating_sub(1) * stride;
            Taps { count, away, first, next: -(stride as isize) }
        })
    }

    /// How many steps the sums of a phase have.
    pub(super) fn steps(&self, phase: &Phase) -> usize {
        let [down, across] = self.taps(phase);
        down.count * across.count * self.strip.channels
    }
}
