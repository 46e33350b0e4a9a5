//! The mean value under a sliding window.

use super::attributes::Pool2dOptions;
use super::example::{Example, normal};
use super::max_pool2d::{picture, pooled_places, pooling};
use crate::error::Problem;
use crate::graph::{At, Call, Gradient, Meta, Op, Var};
use crate::kernels::real::Real;
use crate::shape::{Order, Window};

/// The mean over each window; padding counts as zeros.
#[derive(Debug, Clone, PartialEq)]
pub struct AvgPool2d {
    window: Window,
}

/// Its adjoint: every value spread evenly over its window.
#[derive(Debug, Clone, PartialEq)]
pub struct AvgPool2dAdjoint {
    window: Window,
    plane: [usize; 2],
}

impl Op for AvgPool2d {
    fn name(&self) -> &'static str {
        "avg_pool2d"
    }

    fn infer(&self, operands: &[&Meta]) -> Result<Meta, Problem> {
        let [batch, channels, height, width] = picture(operands[0])?;
        let places = pooled_places(self.window, [height, width])?;
        Ok(Meta::real([batch, channels, places[0], places[1]]))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let pooling = pooling(self.window, Order::First, call.operand_shape(0), call.shape);
        pooling.average(call.real(0), call.output, call.workers);
    }

    fn vjp<'g>(&self, _: usize, at: At<'g>) -> Gradient<'g> {
        let image = at.operands[0].shape();
        let op = AvgPool2dAdjoint { window: self.window, plane: [image[2], image[3]] };
        Gradient::Of(at.upstream.graph().record(op, &[at.upstream]))
    }

    fn roles(&self) -> &'static [&'static str] {
        &["image"]
    }

    fn window(&self) -> Option<Window> {
        Some(self.window)
    }

    fn attributes(&self) -> String {
        self.window.to_string()
    }
}

impl Op for AvgPool2dAdjoint {
    fn name(&self) -> &'static str {
        "avg_pool2d_adjoint"
    }

    fn infer(&self, operands: &[&Meta]) -> Result<Meta, Problem> {
        let [batch, channels, ..] = picture(operands[0])?;
        Ok(Meta::real([batch, channels, self.plane[0], self.plane[1]]))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let pooling = pooling(self.window, Order::First, call.shape, call.operand_shape(0));
        pooling.average_adjoint(call.real(0), call.output, call.workers);
    }

    fn vjp<'g>(&self, _: usize, at: At<'g>) -> Gradient<'g> {
        let op = AvgPool2d { window: self.window };
        Gradient::Of(at.upstream.graph().record(op, &[at.upstream]))
    }

    fn roles(&self) -> &'static [&'static str] {
        &["upstream"]
    }

    fn attributes(&self) -> String {
        self.window.to_string()
    }
}

impl<'g> Var<'g> {
    /// The mean of each window over images `[N, C, H, W]`, giving `[N, C, H', W']` with
    /// H' = ⌊(H + 2P − F) / S⌋ + 1.
    ///
    /// Padding counts as zeros: every window divides by its full size, as PyTorch does by default.
    #[track_caller]
    pub fn avg_pool2d(self, options: impl Into<Pool2dOptions>) -> Var<'g> {
        self.graph().record(AvgPool2d { window: options.into().window() }, &[self])
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    let pool = |name: &str, image: [usize; 4], options: Pool2dOptions| {
        Example::new(name, [normal(image)], move |v| v[0].avg_pool2d(options)).linear()
    };
    vec![
        pool("halving", [2, 3, 4, 6], 2.into()),
        pool("pixels left over", [1, 2, 5, 7], 2.into()),
        pool("overlapping", [2, 1, 5, 6], Pool2dOptions::new([3, 2]).stride(1)),
        pool("padding", [1, 2, 4, 5], Pool2dOptions::new([3, 2]).stride([2, 1]).padding([1, 1])),
        pool("stride beyond the window", [1, 1, 7, 8], Pool2dOptions::new([2, 1]).stride([3, 4])),
        pool("global", [2, 3, 3, 4], [3, 4].into()),
        pool("an empty batch", [0, 2, 4, 4], 2.into()),
    ]
}
