//! Strips: some rows of all channels of a picture, with their padding, laid out for reading at any tap.

use crate::real::Real;
use crate::simd::{Kernel, MAX_LANES, Vector};

/// The layout of a strip: channel, vertical phase, horizontal phase, row, column.
///
/// Where the window moves by more than one pixel, the pixels are dealt out to as many phases (pixel y to phase
/// y mod S), so that what one tap sees at successive places lies next to each other.
#[derive(Debug, Clone, Copy)]
pub struct Strip {
    /// How many channels.
    pub channels: usize,
    /// Height and width of the picture it is taken from.
    pub source: [usize; 2],
    /// How many pixels lie between neighbours in the strip.
    pub step: [usize; 2],
    /// How many phases are kept; at most `step`.
    pub phases: [usize; 2],
    /// The pixel at row 0, column 0 of phase (0, 0); outside the picture if negative.
    pub origin: [isize; 2],
    /// Rows of each phase.
    pub rows: usize,
    /// Columns of each phase.
    pub pitch: usize,
}

impl Strip {
    /// How many numbers a strip takes, with room for a tile to read beyond the last row.
    pub fn len(&self) -> usize {
        [self.phases[0], self.phases[1], self.rows, self.pitch]
            .iter()
            .fold(self.channels, |len, &size| len.saturating_mul(size))
            .saturating_add(2 * MAX_LANES)
    }

    /// From one channel to the next.
    pub fn channel(&self) -> usize {
        self.phases[0] * self.phases[1] * self.rows * self.pitch
    }

    /// Where a channel's pixel lies that is `away` pixels from the one at the origin.
    pub fn offset(&self, channel: usize, away: [usize; 2]) -> usize {
        let [phase_y, phase_x] = [away[0] % self.step[0], away[1] % self.step[1]];
        let row = (phase_y * self.phases[1] + phase_x) * self.rows + away[0] / self.step[0];
        channel * self.channel() + row * self.pitch + away[1] / self.step[1]
    }

    /// The rows or columns of a phase, out of `count`, that lie in the picture.
    fn inside(&self, axis: usize, phase: usize, count: usize) -> std::ops::Range<usize> {
        let first = self.origin[axis] + phase as isize;
        let reach = |pixels: isize| (pixels.max(0) as usize).div_ceil(self.step[axis]).min(count);
        let start = reach(-first);
        start..reach(self.source[axis] as isize - first).max(start)
    }

    /// The pixel of the picture at a row or column of a phase that is [`inside`](Self::inside).
    fn pixel(&self, axis: usize, phase: usize, index: usize) -> usize {
        (self.origin[axis] + (index * self.step[axis] + phase) as isize) as usize
    }
}

/// Fills a strip from a picture.
pub struct Fill<'a, T> {
    /// The layout.
    pub strip: Strip,
    /// The channels of the picture.
    pub image: &'a [T],
    /// The strip's memory.
    pub to: &'a mut [T],
}

impl<T: Real> Kernel<T> for Fill<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let Strip { channels, phases, rows, pitch, source, .. } = self.strip;
        debug_assert!(
            self.to.len() >= self.strip.len() && self.image.len() >= channels * source[0] * source[1]
        );
        let mut to = self.to.as_mut_ptr();
        for channel in 0..channels {
            for phase_y in 0..phases[0] {
                let filled = self.strip.inside(0, phase_y, rows);
                for phase_x in 0..phases[1] {
                    let columns = self.strip.inside(1, phase_x, pitch);
                    for row in 0..rows {
                        // SAFETY: `dispatch` vouches for the instruction set. Rows are filled in their order, and
                        // what a register of zeros covers of the next row, or the room at the end, is of no use yet.
                        unsafe {
                            for column in (0..pitch).step_by(V::LANES) {
                                V::splat(T::zero()).store(to.add(column));
                            }
                            if filled.contains(&row) && !columns.is_empty() {
                                let line = channel * source[0] + self.strip.pixel(0, phase_y, row);
                                let first = line * source[1] + self.strip.pixel(1, phase_x, columns.start);
                                let from = self.image.as_ptr().add(first);
                                copy::<T, V>(from, self.strip.step[1], columns.len(), to.add(columns.start));
                            }
                            to = to.add(pitch);
                        }
                    }
                }
            }
        }
    }
}

/// Copies `count` numbers that lie `step` apart.
///
/// # Safety
/// They must be readable, as many writable, and the instruction set of `V` exist.
#[inline(always)]
unsafe fn copy<T: Copy, V: Vector<T>>(from: *const T, step: usize, count: usize, to: *mut T) {
    // SAFETY: stays within `count` numbers.
    unsafe {
        if step == 1 {
            for start in (0..count).step_by(V::LANES) {
                let left = V::LANES.min(count - start);
                V::load_first(from.add(start), left).store_first(to.add(start), left);
            }
        } else {
            for index in 0..count {
                *to.add(index) = *from.add(index * step);
            }
        }
    }
}
