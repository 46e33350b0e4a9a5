//! The matrix of patches, written out, and the adjoint of writing it.

use std::ops::Range;

use super::Convolution;
use crate::real::Real;
use crate::workers::Workers;
use crate::window::Window;

impl Convolution {
    /// Writes the matrix of patches: [N·OH·OW, C·kh·kw], a row per place of the window and a column per tap, in the
    /// order of the weights. Padding is 0.
    #[inline(never)]
    pub fn im2col<T: Real>(&self, image: &[T], out: &mut [T], workers: &Workers) {
        let [height, width] = self.output;
        debug_assert_eq!(
            [image.len(), out.len()],
            [self.images(), self.batch * height * width * self.taps()]
        );
        let channels = self.channels * self.image[0] * self.image[1];
        // A task is one row of places.
        workers.chunks(out, width * self.taps(), &|row, out, _| {
            let image = &image[row / height * channels..][..channels];
            for (column, patch) in out.chunks_exact_mut(self.taps().max(1)).enumerate() {
                self.patch(image, [row % height, column], patch);
            }
        });
    }

    /// Copies the patch that the window sees at one place.
    fn patch<T: Real>(&self, image: &[T], place: [usize; 2], patch: &mut [T]) {
        let [kernel_height, kernel_width] = self.window.kernel;
        let [rows, columns] = [0, 1].map(|axis| self.taps_inside(axis, place[axis]));
        patch.fill(T::zero());
        for (channel, patch) in patch.chunks_exact_mut(kernel_height * kernel_width).enumerate() {
            for tap in rows.clone() {
                let from = self.pixel(channel, place, [tap, columns.start]);
                let to = &mut patch[tap * kernel_width..][columns.clone()];
                let from = image[from..].iter().step_by(self.window.dilation[1]);
                to.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
            }
        }
    }

    /// The adjoint of [`im2col`](Self::im2col): every number of the matrix goes back to the pixel it came from,
    /// where patches overlap as a sum in the order of the places.
    #[inline(never)]
    pub fn col2im<T: Real>(&self, columns: &[T], out: &mut [T], workers: &Workers) {
        let [height, width] = self.output;
        debug_assert_eq!(
            [out.len(), columns.len()],
            [self.images(), self.batch * height * width * self.taps()]
        );
        let [kernel_height, kernel_width] = self.window.kernel;
        let kernel = kernel_height * kernel_width;
        // A task is one channel of one picture.
        workers.chunks(out, self.image[0] * self.image[1], &|plane, out, _| {
            let (picture, channel) = (plane / self.channels, plane % self.channels);
            out.fill(T::zero());
            for index in 0..height * width {
                let place = [index / width, index % width];
                let patch =
                    &columns[(picture * height * width + index) * self.taps() + channel * kernel..][..kernel];
                let [rows, columns] = [0, 1].map(|axis| self.taps_inside(axis, place[axis]));
                for tap in rows {
                    let to = &mut out[self.pixel(0, place, [tap, columns.start])..];
                    let from = &patch[tap * kernel_width..][columns.clone()];
                    let to = to.iter_mut().step_by(self.window.dilation[1]);
                    to.zip(from).for_each(|(to, &from)| *to += from);
                }
            }
        });
    }

    /// The taps along an axis that lie in the picture when the window is at `place`. For none, 0..0.
    fn taps_inside(&self, axis: usize, place: usize) -> Range<usize> {
        let Window { kernel, dilation, stride, padding, .. } = self.window;
        let tap = |pixel: usize| pixel.saturating_sub(place * stride[axis]).div_ceil(dilation[axis]);
        let (start, end) = (tap(padding[axis]), tap(padding[axis] + self.image[axis]).min(kernel[axis]));
        if start < end { start..end } else { 0..0 }
    }

    /// Where the pixel lies that a tap sees. Anything valid will do if no tap along an axis sees one.
    fn pixel(&self, channel: usize, place: [usize; 2], tap: [usize; 2]) -> usize {
        let along = |axis: usize| {
            let padded = place[axis] * self.window.stride[axis] + tap[axis] * self.window.dilation[axis];
            padded.saturating_sub(self.window.padding[axis]).min(self.image[axis])
        };
        (channel * self.image[0] + along(0)) * self.image[1] + along(1)
    }
}
