//! Variance, lengths and products over axes, and what is made of them.

use super::example::{Example, away_from_zero, linear, normal, smooth};
use super::operands::no_image;
use crate::error::Problem;
use crate::graph::setting::{COUNT, NUMBER};
use crate::graph::{Attributes, Var};
use crate::shape::Shape;

impl<'g> Var<'g> {
    /// The mean over `axes`, which stay with size 1. A mean of no elements is an error.
    #[track_caller]
    pub fn mean_keep(self, axes: &[isize]) -> Var<'g> {
        let _called = self.graph().called("mean_keep");
        self.mean(axes).kept(self, axes)
    }

    /// The variance over `axes`, which disappear: Σ (x − mean)² / (n − `correction`); 1 for that of a sample, 0 for that of
    /// the elements themselves. The mean is taken away first, so that nothing cancels. It is infinite where a single square
    /// is, as in NumPy: in `f32` from a distance of 1.8 · 10¹⁹ on. [`std_dev`](Self::std_dev) knows no such bound.
    ///
    /// # Errors
    /// Recorded on the graph: axes that do not exist, or with no more elements than `correction`.
    #[track_caller]
    pub fn variance(self, axes: &[isize], correction: usize) -> Var<'g> {
        let _called = self.graph().called("variance");
        match self.freedom(axes, correction) {
            Ok(freedom) => (self - self.mean_keep(axes)).powi(2).sum(axes) / freedom,
            Err(problem) => self.graph().refuse("variance", &["x"], &[self], problem).lacking(axes),
        }
    }

    /// How many elements there are over `axes`, without the correction.
    fn freedom(self, axes: &[isize], correction: usize) -> Result<f64, Problem> {
        let shape = self.shape();
        let count = shape.axes(axes).map(|found| found.iter().map(|&axis| shape[axis]).product::<usize>());
        let count = count.unwrap_or(usize::MAX); // `mean` says what is wrong
        if count > correction {
            return Ok((count - correction) as f64);
        }
        let text = format!("a variance of {count} elements with a correction of {correction} has no value");
        Err(Problem::new(text).hint("there are more elements than the correction"))
    }

    /// [`variance`](Self::variance) over `axes`, which stay with size 1.
    #[track_caller]
    pub fn variance_keep(self, axes: &[isize], correction: usize) -> Var<'g> {
        let _called = self.graph().called("variance_keep");
        self.variance(axes, correction).kept(self, axes)
    }

    /// The square root of the [`variance`](Self::variance), also where the variance itself is too large or too small for a
    /// number. Its derivative is 0 where all elements are equal, as in PyTorch.
    ///
    /// # Errors
    /// As [`variance`](Self::variance).
    #[track_caller]
    pub fn std_dev(self, axes: &[isize], correction: usize) -> Var<'g> {
        let _called = self.graph().called("std_dev");
        match self.freedom(axes, correction) {
            Ok(freedom) => (self - self.mean_keep(axes)).norm(axes) / freedom.sqrt(),
            Err(problem) => self.graph().refuse("std_dev", &["x"], &[self], problem).lacking(axes),
        }
    }

    /// [`std_dev`](Self::std_dev) over `axes`, which stay with size 1.
    #[track_caller]
    pub fn std_dev_keep(self, axes: &[isize], correction: usize) -> Var<'g> {
        let _called = self.graph().called("std_dev_keep");
        self.std_dev(axes, correction).kept(self, axes)
    }

    /// The length √Σx² over `axes`, which disappear (`torch.linalg.vector_norm`). Its derivative at 0 is 0, as in PyTorch;
    /// the length of nothing is 0.
    ///
    /// # Errors
    /// Recorded on the graph: axes that do not exist or are named twice.
    #[track_caller]
    pub fn norm(self, axes: &[isize]) -> Var<'g> {
        let _called = self.graph().called("norm");
        if self.shape().contains(&0) {
            return self.powi(2).sum(axes).root();
        }
        // Relative to the largest number no square overflows, and the scale takes no part in the derivative.
        let largest = self.abs().max_keep(axes).stop_gradient();
        // An infinite one is no scale, and neither is what is subnormal, whose inverse is infinite.
        let is_scale = (4.0 / largest).less(f64::INFINITY) * largest.less(f64::INFINITY);
        let scale = is_scale.choose(largest, 1.0);
        let root = (self / scale).powi(2).sum(axes).root();
        root * scale.reshape(root.shape())
    }

    /// [`norm`](Self::norm) over `axes`, which stay with size 1.
    #[track_caller]
    pub fn norm_keep(self, axes: &[isize]) -> Var<'g> {
        let _called = self.graph().called("norm_keep");
        self.norm(axes).kept(self, axes)
    }

    /// √x with the derivative 0 at 0 instead of an infinite one.
    #[track_caller]
    fn root(self) -> Var<'g> {
        let is_zero = self.equal(0.0);
        is_zero.choose(0.0, is_zero.choose(1.0, self).sqrt())
    }

    /// ln Σ eˣ over `axes`, which disappear: nothing overflows. It is −∞ for nothing but −∞, and +∞ for any +∞; there the
    /// derivative is NaN, as in PyTorch.
    ///
    /// # Errors
    /// Recorded on the graph: axes that do not exist, and no elements.
    #[track_caller]
    pub fn log_sum_exp(self, axes: &[isize]) -> Var<'g> {
        let _called = self.graph().called("log_sum_exp");
        let largest = self.max_keep(axes).stop_gradient();
        // An infinite one takes away nothing: ∞ − ∞ is no number.
        let largest = largest.abs().less(f64::INFINITY).choose(largest, 0.0);
        let sum = (self - largest).exp().sum(axes).ln();
        sum + largest.reshape(sum.shape())
    }

    /// [`log_sum_exp`](Self::log_sum_exp) over `axes`, which stay with size 1.
    #[track_caller]
    pub fn log_sum_exp_keep(self, axes: &[isize]) -> Var<'g> {
        let _called = self.graph().called("log_sum_exp_keep");
        self.log_sum_exp(axes).kept(self, axes)
    }

    /// The product over `axes`, which disappear. It is made by halves, so that its derivatives of every order are right
    /// where factors are 0.
    ///
    /// # Errors
    /// Recorded on the graph: axes that do not exist or are named twice.
    #[track_caller]
    pub fn prod(self, axes: &[isize]) -> Var<'g> {
        let _called = self.graph().called("prod");
        let shape = self.shape();
        let inside = match shape.axes(axes) {
            Ok(found) => found,
            Err(problem) => return self.graph().refuse("prod", &["x"], &[self], problem).lacking(axes),
        };
        let outside: Vec<usize> = (0..shape.len()).filter(|axis| !inside.contains(axis)).collect();
        let order: Vec<isize> = inside.iter().chain(&outside).map(|&axis| axis as isize).collect();
        let kept: Shape = outside.iter().map(|&axis| shape[axis]).collect();
        let mut count: usize = inside.iter().map(|&axis| shape[axis]).product();
        if count == 0 {
            return self.graph().fill(kept, 1.0);
        }
        let mut rows = self.permute(&order).reshape([count, kept.count()]);
        while count > 1 {
            let half = (count / 2) as isize;
            let product = rows.slice(0, ..half) * rows.slice(0, half..2 * half);
            // An odd one out goes on by itself.
            rows = if count % 2 == 1 {
                self.graph().concat(&[product, rows.slice(0, 2 * half..)], 0)
            } else {
                product
            };
            count = count.div_ceil(2);
        }
        rows.reshape(kept)
    }

    /// x / (k + α/n Σ x²)^β with the sum over n neighbouring channels of `[N, C, H, W]`, centred on each channel
    /// (Krizhevsky and others, *ImageNet Classification with Deep Convolutional Neural Networks*, 2012; PyTorch's
    /// `LocalResponseNorm`).
    ///
    /// # Errors
    /// Recorded on the graph: no images, a window of 0 channels, numbers that are infinite or NaN.
    #[track_caller]
    pub fn local_response_norm(self, channels: usize, alpha: f64, beta: f64, k: f64) -> Var<'g> {
        let shape = self.shape();
        let &[_, depth, _, _] = &shape[..] else {
            return self
                .graph()
                .refuse("local_response_norm", &["image"], &[self], no_image(&self.ty()))
                .or_rank(4);
        };
        let attributes = Attributes::new().with("channels", channels).with("alpha", alpha);
        let attributes = attributes.with("beta", beta).with("k", k);
        let _composite = self.graph().composed("local_response_norm", attributes);
        let _at = self.graph().at_caller(); // for the closures below
        self.graph().require("local_response_norm", "the number of channels", channels, COUNT);
        for (name, value) in [("alpha", alpha), ("beta", beta), ("k", k)] {
            self.graph().require("local_response_norm", name, value, NUMBER);
        }
        // Beyond the first and the last channel there are zeros, which need not be there.
        let [before, after] =
            [channels / 2, channels.saturating_sub(1) / 2].map(|side| side.min(depth.saturating_sub(1)));
        let sides = [[0, 0], [before, after], [0, 0], [0, 0]];
        let squares = self.powi(2).pad(&sides, 0.0);
        let neighbour = |first: usize| squares.slice(1, first as isize..(first + depth) as isize);
        let sum = (1..=before + after).fold(neighbour(0), |sum, first| sum + neighbour(first));
        self / (sum * (alpha / channels as f64) + k).pow(beta)
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    vec![
        linear("mean that keeps its axes", [normal([2, 3, 2])], |v| v[0].mean_keep(&[0, 2])),
        smooth("variance", [normal([2, 3, 4])], |v| v[0].variance(&[0, -1], 1)),
        smooth("standard deviation", [normal([3, 5])], |v| v[0].std_dev(&[1], 0)),
        smooth("variance that keeps its axes", [normal([2, 3])], |v| v[0] / v[0].variance_keep(&[-1], 0)),
        smooth("deviation that keeps its axes", [normal([3, 2, 4])], |v| v[0].std_dev_keep(&[0, 2], 1)),
        smooth("length", [normal([2, 3, 4])], |v| v[0].norm(&[0, -1])),
        smooth("directions", [normal([3, 4])], |v| v[0] / v[0].norm_keep(&[1])),
        Example::new("length of nothing", [normal([2, 0])], |v| v[0].norm(&[1])),
        smooth("log sum exp that keeps its axes", [normal([2, 3])], |v| v[0] - v[0].log_sum_exp_keep(&[1])),
        smooth("log sum exp", [normal([2, 3, 2])], |v| v[0].log_sum_exp(&[1])),
        smooth("log sum exp of all", [normal([2, 3])], |v| (v[0] * 3.0).log_sum_exp(&[0, 1])),
        smooth("product", [normal([2, 5, 3])], |v| v[0].prod(&[1])),
        smooth("product with zeros", [away_from_zero([7])], |v| (v[0] * v[0].greater(0.5)).prod(&[0])),
        smooth("local response norm", [normal([2, 5, 2, 1])], |v| {
            v[0].local_response_norm(3, 0.7, 0.75, 1.5)
        }),
        Example::new("of an even window", [normal([1, 5, 1, 2])], |v| {
            v[0].local_response_norm(4, 0.7, 0.5, 2.0)
        }),
    ]
}
