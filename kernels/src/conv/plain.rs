//! Convolution as its definition says, for windows so large that not even one row of them fits a thread's scratch.

use super::Convolution;
use crate::gemm::Epilogue;
use crate::real::Real;
use crate::workers::Workers;

/// See [`Convolution::forward`]. A task is one channel of the output of one picture.
pub fn forward<T: Real>(
    sizes: &Convolution,
    (image, weight): (&[T], &[T]),
    epilogue: Epilogue<T>,
    out: &mut [T],
    workers: &Workers,
) {
    let [height, width] = sizes.output;
    workers.chunks(out, height * width, &|plane, out, _| {
        let (picture, filter) = (plane / sizes.filters, plane % (sizes.groups * sizes.filters));
        for (place, out) in out.iter_mut().enumerate() {
            let mut sum = T::zero();
            for tap in 0..sizes.taps() {
                if let Some(pixel) = pixel(sizes, [place / width, place % width], tap) {
                    let image = image[picture * sizes.channels * sizes.image[0] * sizes.image[1] + pixel];
                    sum = image.mul_add(weight[filter * sizes.taps() + tap], sum);
                }
            }
            sum += epilogue.bias.map_or(T::zero(), |bias| bias[filter]);
            *out = if epilogue.relu && sum <= T::zero() { T::zero() } else { sum };
        }
    });
}

/// See [`Convolution::image_adjoint`]. A task is one group of one picture.
pub fn image_adjoint<T: Real>(
    sizes: &Convolution,
    (weight, upstream): (&[T], &[T]),
    out: &mut [T],
    workers: &Workers,
) {
    let [height, width] = sizes.output;
    workers.chunks(out, sizes.channels * sizes.image[0] * sizes.image[1], &|picture, out, _| {
        out.fill(T::zero());
        for filter in 0..sizes.filters {
            let weight = &weight[(picture % sizes.groups * sizes.filters + filter) * sizes.taps()..];
            for place in 0..height * width {
                let upstream = upstream[(picture * sizes.filters + filter) * height * width + place];
                for (tap, &weight) in weight[..sizes.taps()].iter().enumerate() {
                    if let Some(pixel) = pixel(sizes, [place / width, place % width], tap) {
                        out[pixel] = upstream.mul_add(weight, out[pixel]);
                    }
                }
            }
        }
    });
}

/// See [`Convolution::weight_adjoint`]. A task is one filter.
pub fn weight_adjoint<T: Real>(
    sizes: &Convolution,
    (image, upstream): (&[T], &[T]),
    out: &mut [T],
    workers: &Workers,
) {
    let [height, width] = sizes.output;
    let area = sizes.image[0] * sizes.image[1];
    workers.chunks(out, sizes.taps(), &|filter, out, _| {
        for (tap, out) in out.iter_mut().enumerate() {
            *out = T::zero();
            for picture in (0..sizes.batch).map(|picture| picture * sizes.groups + filter / sizes.filters) {
                let plane = (picture * sizes.filters + filter % sizes.filters) * height * width;
                let upstream = &upstream[plane..][..height * width];
                for (place, &upstream) in upstream.iter().enumerate() {
                    if let Some(pixel) = pixel(sizes, [place / width, place % width], tap) {
                        *out = image[picture * sizes.channels * area + pixel].mul_add(upstream, *out);
                    }
                }
            }
        }
    });
}

/// Where in the picture a tap of a filter lies when the window is at `place`, unless it lies in the padding.
fn pixel(sizes: &Convolution, place: [usize; 2], tap: usize) -> Option<usize> {
    let [tall, wide] = sizes.window.kernel;
    let (channel, tap) = (tap / (tall * wide), [tap / wide % tall, tap % wide]);
    let along = |axis: usize| {
        let padded = place[axis] * sizes.window.stride[axis] + tap[axis] * sizes.window.dilation[axis];
        padded.checked_sub(sizes.window.padding[axis]).filter(|&pixel| pixel < sizes.image[axis])
    };
    Some((channel * sizes.image[0] + along(0)?) * sizes.image[1] + along(1)?)
}
