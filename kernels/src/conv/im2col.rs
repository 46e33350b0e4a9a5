//! The matrix of patches, written out, and the adjoint of writing it.

use super::Convolution;
use crate::real::Real;
use crate::workers::Workers;

impl Convolution {
    /// Writes the matrix of patches: [N·OH·OW, C·kh·kw], a row per output position and a column per tap, in the
    /// order of the weights. Padding is 0.
    #[inline(never)]
    pub fn im2col<T: Real>(&self, image: &[T], out: &mut [T], workers: &Workers) {
        let [height, width] = self.output;
        debug_assert_eq!(
            [image.len(), out.len()],
            [self.images(), self.batch * height * width * self.taps()]
        );
        let channels = self.channels * self.image[0] * self.image[1];
        // A task is one row of positions.
        workers.chunks(out, width * self.taps(), &|row, out, _| {
            let image = &image[row / height * channels..][..channels];
            for (column, patch) in out.chunks_exact_mut(self.taps().max(1)).enumerate() {
                self.patch(image, [row % height, column], patch);
            }
        });
    }

    /// Copies the patch that the window sees at one position.
    fn patch<T: Real>(&self, image: &[T], position: [usize; 2], patch: &mut [T]) {
        let [kernel_height, kernel_width] = self.window.kernel;
        let [rows, columns] = [0, 1].map(|axis| self.taps_inside(axis, position[axis]));
        patch.fill(T::zero());
        for (channel, patch) in patch.chunks_exact_mut(kernel_height * kernel_width).enumerate() {
            for tap in rows.clone() {
                let from = self.pixel(channel, position, [tap, columns.start]);
                let to = &mut patch[tap * kernel_width..][columns.clone()];
                let from = image[from..].iter().step_by(self.window.dilation[1]);
                to.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
            }
        }
    }

    /// The adjoint of [`im2col`](Self::im2col): every number of the matrix goes back to the pixel it came from,
    /// where patches overlap as a sum in the order of the positions.
    #[inline(never)]
    pub fn col2im<T: Real>(&self, columns: &[T], out: &mut [T], workers: &Workers) {
        let [height, width] = self.output;
        debug_assert_eq!(
            [out.len(), columns.len()],
            [self.images(), self.batch * height * width * self.taps()]
        );
        let [kernel_height, kernel_width] = self.window.kernel;
        let kernel = kernel_height * kernel_width;
        // A task is one channel of one image.
        workers.chunks(out, self.image[0] * self.image[1], &|plane, out, _| {
            let (image, channel) = (plane / self.channels, plane % self.channels);
            out.fill(T::zero());
            for index in 0..height * width {
                let position = [index / width, index % width];
                let patch =
                    &columns[(image * height * width + index) * self.taps() + channel * kernel..][..kernel];
                let [rows, columns] = [0, 1].map(|axis| self.taps_inside(axis, position[axis]));
                for tap in rows {
                    let to = &mut out[self.pixel(0, position, [tap, columns.start])..];
                    let from = &patch[tap * kernel_width..][columns.clone()];
                    let to = to.iter_mut().step_by(self.window.dilation[1]);
                    to.zip(from).for_each(|(to, &from)| *to += from);
                }
            }
        });
    }
}
