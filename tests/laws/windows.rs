//! Windows that slide over images, with every attribute that there is, and the definitions of convolutions and
//! pools as loops.

use dagrad::{Conv2dOptions, Pool2dOptions};
use ndarray::{Array4, ArrayD, ArrayView4, Ix4};
use proptest::prelude::*;

/// A window along one axis of an image.
#[derive(Debug, Clone, Copy)]
pub struct Along {
    pub size: usize,
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
    /// Before and after the image.
    pub padding: [usize; 2],
    /// Whether the last position may hang over the end.
    pub ceil: bool,
}

impl Along {
    /// How many pixels the window spans.
    fn extent(&self) -> usize {
        self.dilation * (self.kernel - 1) + 1
    }

    /// How far it can move.
    fn room(&self) -> usize {
        self.size + self.padding[0] + self.padding[1] - self.extent()
    }

    /// How many positions it has.
    pub fn positions(&self) -> usize {
        let room = self.room();
        if !self.ceil {
            return room / self.stride + 1;
        }
        // A window that hangs over begins in the image or before it.
        let begins_behind = room.div_ceil(self.stride) * self.stride >= self.size + self.padding[0];
        room.div_ceil(self.stride) + usize::from(!begins_behind)
    }

    /// The pixel under a tap of the window at a position, if it is not padding.
    fn pixel(&self, position: usize, tap: usize) -> Option<usize> {
        let at = position * self.stride + tap * self.dilation;
        at.checked_sub(self.padding[0]).filter(|&pixel| pixel < self.size)
    }

    /// How many taps lie within the padded image at a position.
    fn within(&self, position: usize) -> usize {
        let end = self.size + self.padding[0] + self.padding[1];
        (0..self.kernel).filter(|tap| position * self.stride + tap * self.dilation < end).count()
    }
}

/// Draws one axis. The padding is at most `most` of the kernel; the image is at least as large as needed.
fn along(most: fn(usize) -> usize, dilations: usize, ceil: bool) -> impl Strategy<Value = Along> {
    (1..5usize, 1..4usize, 1..=dilations, 0..8usize).prop_flat_map(move |(kernel, stride, dilation, room)| {
        let padding = [0..=most(kernel), 0..=most(kernel)];
        padding.prop_map(move |padding| {
            let along = Along { size: 0, kernel, stride, dilation, padding, ceil };
            Along { size: along.extent().saturating_sub(padding[0] + padding[1]).max(1) + room, ..along }
        })
    })
}

/// With the padding on both sides that pools have, for which the image is large enough.
fn as_much_after(along: Along) -> Along {
    let padding = [along.padding[0]; 2];
    Along { size: along.size + along.padding[1], padding, ..along }
}

/// A convolution of images.
#[derive(Debug, Clone)]
pub struct Convolution {
    pub batch: usize,
    /// Of each group.
    pub channels: usize,
    /// Of each group.
    pub filters: usize,
    pub groups: usize,
    pub axes: [Along; 2],
    pub seed: u64,
}

pub fn convolutions() -> impl Strategy<Value = Convolution> {
    let axis = || along(|kernel| kernel, 3, false);
    (0..4usize, 1..7usize, 1..10usize, 1..4usize, [axis(), axis()], any::<u64>()).prop_map(
        |(batch, channels, filters, groups, axes, seed)| Convolution {
            batch,
            channels,
            filters,
            groups,
            axes,
            seed,
        },
    )
}

impl Convolution {
    pub fn options(&self) -> Conv2dOptions {
        let [vertical, horizontal] = self.axes;
        Conv2dOptions::new()
            .stride([vertical.stride, horizontal.stride])
            .padding([vertical.padding, horizontal.padding])
            .dilation([vertical.dilation, horizontal.dilation])
            .groups(self.groups)
    }

    pub fn image(&self) -> [usize; 4] {
        let [vertical, horizontal] = self.axes;
        [self.batch, self.groups * self.channels, vertical.size, horizontal.size]
    }

    pub fn weight(&self) -> [usize; 4] {
        let [vertical, horizontal] = self.axes;
        [self.groups * self.filters, self.channels, vertical.kernel, horizontal.kernel]
    }

    /// The shape of the result.
    pub fn made(&self) -> [usize; 4] {
        let [vertical, horizontal] = self.axes;
        [self.batch, self.groups * self.filters, vertical.positions(), horizontal.positions()]
    }

    /// The pixels along each axis that the stride leaves over.
    pub fn left_over(&self) -> [usize; 2] {
        self.axes.map(|axis| axis.room() % axis.stride)
    }

    /// The definition: a sum over channels, rows and columns for each number of the result.
    pub fn defined(&self, image: &ArrayD<f64>, weight: &ArrayD<f64>) -> ArrayD<f64> {
        let (image, weight) = (view(image), view(weight));
        let [vertical, horizontal] = self.axes;
        let mut result = Array4::zeros(self.made());
        for ((n, filter, y, x), sum) in result.indexed_iter_mut() {
            for channel in 0..self.channels {
                for p in 0..vertical.kernel {
                    for q in 0..horizontal.kernel {
                        if let (Some(row), Some(column)) = (vertical.pixel(y, p), horizontal.pixel(x, q)) {
                            let group = filter / self.filters;
                            *sum += image[[n, group * self.channels + channel, row, column]]
                                * weight[[filter, channel, p, q]];
                        }
                    }
                }
            }
        }
        result.into_dyn()
    }
}

/// A pool over images.
#[derive(Debug, Clone)]
pub struct Pool {
    pub batch: usize,
    pub channels: usize,
    pub axes: [Along; 2],
    /// Whether a mean counts the padding in its divisor.
    pub count_padding: bool,
    pub seed: u64,
}

/// Pools by the largest value.
pub fn max_pools() -> impl Strategy<Value = Pool> {
    pools(3)
}

/// Pools by the mean.
pub fn mean_pools() -> impl Strategy<Value = Pool> {
    pools(1)
}

fn pools(dilations: usize) -> impl Strategy<Value = Pool> {
    let axes = any::<bool>().prop_flat_map(move |ceil| {
        let axis = || along(|kernel| kernel / 2, dilations, ceil).prop_map(as_much_after);
        [axis(), axis()]
    });
    (0..4usize, 1..6usize, axes, any::<bool>(), any::<u64>()).prop_map(
        |(batch, channels, axes, count_padding, seed)| Pool { batch, channels, axes, count_padding, seed },
    )
}

impl Pool {
    pub fn options(&self) -> Pool2dOptions {
        let [vertical, horizontal] = self.axes;
        let options = Pool2dOptions::new([vertical.kernel, horizontal.kernel])
            .stride([vertical.stride, horizontal.stride])
            .padding([vertical.padding[0], horizontal.padding[0]])
            .dilation([vertical.dilation, horizontal.dilation])
            .count_include_pad(self.count_padding);
        if vertical.ceil { options.ceil_mode() } else { options }
    }

    pub fn image(&self) -> [usize; 4] {
        let [vertical, horizontal] = self.axes;
        [self.batch, self.channels, vertical.size, horizontal.size]
    }

    /// The shape of the result.
    pub fn pooled(&self) -> [usize; 4] {
        let [vertical, horizontal] = self.axes;
        [self.batch, self.channels, vertical.positions(), horizontal.positions()]
    }

    /// The pixels under the window at a position, in row-major order.
    fn pixels(&self, y: usize, x: usize) -> impl Iterator<Item = [usize; 2]> {
        let [vertical, horizontal] = self.axes;
        let rows = (0..vertical.kernel).filter_map(move |p| vertical.pixel(y, p));
        rows.flat_map(move |row| {
            (0..horizontal.kernel).filter_map(move |q| Some([row, horizontal.pixel(x, q)?]))
        })
    }

    /// The definition of the mean.
    pub fn mean(&self, image: &ArrayD<f64>) -> ArrayD<f64> {
        let (image, [vertical, horizontal]) = (view(image), self.axes);
        let mean = |(n, c, y, x): (usize, usize, usize, usize)| {
            let seen = self.pixels(y, x).map(|[row, column]| image[[n, c, row, column]]);
            let padded = vertical.within(y) * horizontal.within(x);
            seen.sum::<f64>() / if self.count_padding { padded } else { self.pixels(y, x).count() } as f64
        };
        Array4::from_shape_fn(self.pooled(), mean).into_dyn()
    }

    /// The definition of the maximum, and of its gradient: the first of equal maxima receives it all.
    pub fn maximum(&self, image: &ArrayD<f64>, upstream: &ArrayD<f64>) -> [ArrayD<f64>; 2] {
        let (image, mut gradient) = (view(image), Array4::zeros(self.image()));
        let mut maxima = Array4::zeros(self.pooled());
        for (((n, c, y, x), maximum), upstream) in maxima.indexed_iter_mut().zip(upstream) {
            let value = |[row, column]: [usize; 2]| image[[n, c, row, column]];
            let first = self.pixels(y, x).reduce(|a, b| if value(b) > value(a) { b } else { a });
            let at = first.expect("a window covers a pixel");
            *maximum = value(at);
            gradient[[n, c, at[0], at[1]]] += upstream;
        }
        [maxima.into_dyn(), gradient.into_dyn()]
    }
}

fn view(array: &ArrayD<f64>) -> ArrayView4<'_, f64> {
    array.view().into_dimensionality::<Ix4>().expect("four axes")
}
