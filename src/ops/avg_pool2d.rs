//! The mean value under a sliding window, or in equal parts of an image.

use super::attributes::Pool2dOptions;
use super::example::{Example, linear, normal};
use super::max_pool2d::{plane, plane_read, pooled_size, with_plane};
use super::operands::image_sizes;
use crate::error::Problem;
use crate::graph::{Attributes, AxisMap, AxisRead, Call, Gradient, Op, TensorType, Var, VjpInputs};
use crate::shape::{Layout, Pair};
use dagrad_kernels::pool::{Average, Regions};
use dagrad_kernels::real::Real;

/// The mean over each region, or the adjoint of that: every value spread evenly over its region.
#[derive(Debug, Clone, PartialEq)]
pub struct AvgPool2d {
    regions: Regions,
    /// Of the adjoint: height and width of the image over which it spreads.
    spread_over: Option<[usize; 2]>,
    layout: Layout,
}

impl Op for AvgPool2d {
    fn name(&self) -> &'static str {
        if self.spread_over.is_some() { "avg_pool2d_adjoint" } else { "avg_pool2d" }
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        image_sizes(operands[0])?;
        let images = &operands[0].shape;
        let size = match self.spread_over {
            Some(plane) => plane,
            None => output_size(self.regions, plane(self.layout, images))?,
        };
        Ok(TensorType::real(with_plane(self.layout, images, size)))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let [from, to] = [call.operand_shape(0), call.shape].map(|shape| plane(self.layout, shape));
        let (values, channels, out, workers) = (call.real(0), call.shape[3], call.output, call.workers);
        let mean = Average { plane: from, output: to, regions: self.regions };
        let adjoint = Average { plane: to, output: from, regions: self.regions };
        match (self.spread_over, self.layout) {
            (None, Layout::Nchw) => mean.mean(values, out, workers),
            (None, Layout::Nhwc) => mean.mean_nhwc(channels, values, out, workers),
            (Some(_), Layout::Nchw) => adjoint.mean_adjoint(values, out, workers),
            (Some(_), Layout::Nhwc) => adjoint.mean_adjoint_nhwc(channels, values, out, workers),
        }
    }

    fn vjp<'g>(&self, _: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        let spread_over = self.spread_over.is_none().then(|| plane(self.layout, &inputs.operands[0].shape()));
        let adjoint = Self { spread_over, ..self.clone() };
        Gradient::Of(inputs.upstream.graph().record(adjoint, &[inputs.upstream]))
    }

    fn roles(&self) -> &'static [&'static str] {
        if self.spread_over.is_some() { &["upstream"] } else { &["image"] }
    }

    fn axes(&self, operands: &[&TensorType]) -> Vec<AxisMap> {
        let read = match (self.spread_over, self.regions) {
            (None, Regions::Window { window, .. }) => AxisRead::under(window),
            (Some(_), Regions::Window { window, .. }) => AxisRead::spread(window),
            (None, Regions::Equal(parts)) => {
                let of = plane(self.layout, &operands[0].shape);
                [0, 1].map(|axis| match parts[axis] {
                    1 => AxisRead::All,
                    parts => AxisRead::Share { of: of[axis], parts },
                })
            }
            (Some(_), Regions::Equal(_)) => [AxisRead::All; 2],
        };
        vec![plane_read(self.layout, read)]
    }

    fn attributes(&self) -> Attributes {
        let attributes = match self.regions {
            Regions::Window { window, count_include_pad } => {
                Attributes::new().window(window).unless("count_include_pad", count_include_pad, true)
            }
            Regions::Equal(parts) => Attributes::new().with("parts", parts),
        };
        match self.spread_over {
            Some(plane) => attributes.quiet("image", plane),
            None => attributes,
        }
    }

    fn nhwc(&self) -> Option<Self> {
        Some(Self { layout: Layout::Nhwc, ..self.clone() })
    }
}

/// How many regions there are along height and width of an image.
fn output_size(regions: Regions, [height, width]: [usize; 2]) -> Result<[usize; 2], Problem> {
    match regions {
        Regions::Window { window, .. } if window.dilation != [1; 2] => {
            Err(Problem::new("a mean is taken of neighbouring pixels, without dilation")
                .hint("a depthwise `conv2d` with equal weights takes dilated means"))
        }
        Regions::Window { window, .. } => pooled_size(window, [height, width]),
        Regions::Equal(parts) if parts.contains(&0) || height == 0 || width == 0 => {
            let text = format!("an image of {height}×{width} has no {}×{} parts", parts[0], parts[1]);
            Err(Problem::new(text).hint("there is at least one part, and one pixel in it"))
        }
        Regions::Equal(parts) => Ok(parts),
    }
}

impl<'g> Var<'g> {
    /// The mean of each window over images `[N, C, H, W]`, giving `[N, C, H', W']` with
    /// H' = ⌊(H + 2P − F) / S⌋ + 1, rounded up in [`ceil_mode`](Pool2dOptions::ceil_mode).
    ///
    /// Padding counts as zeros, as in PyTorch by default: every window divides by its full size (in ceil mode, by what of
    /// it lies in the padded image). With [`count_include_pad(false)`](Pool2dOptions::count_include_pad) it divides by
    /// the number of true pixels.
    ///
    /// # Errors
    /// Recorded on the graph: no image, a window larger than the padded one, padding of more than half the window, a
    /// stride of 0, dilation, or pixels left over where [`exact`](Pool2dOptions::exact) forbids it.
    #[track_caller]
    pub fn avg_pool2d(self, options: impl Into<Pool2dOptions>) -> Var<'g> {
        let options = options.into();
        let (window, count_include_pad) = (options.window(), options.count_include_pad);
        self.mean_of(Regions::Window { window, count_include_pad })
    }

    /// The means over H'×W' equal parts of images `[N, C, H, W]`, giving `[N, C, H', W']` whatever H and W are. Parts share
    /// a row or column of pixels where the border between them would cut it, as in PyTorch: position i has the rows from
    /// ⌊i H / H'⌋ up to ⌈(i + 1) H / H'⌉.
    ///
    /// # Errors
    /// Recorded on the graph: no image, or one without pixels; no parts.
    #[track_caller]
    pub fn adaptive_avg_pool2d(self, output: impl Into<Pair>) -> Var<'g> {
        let _called = self.graph().called("adaptive_avg_pool2d");
        self.mean_of(Regions::Equal(output.into().0))
    }

    /// The mean of each channel of images `[N, C, H, W]`, giving `[N, C, 1, 1]`.
    ///
    /// # Errors
    /// Recorded on the graph: no image, or one without pixels.
    #[track_caller]
    pub fn global_avg_pool2d(self) -> Var<'g> {
        let _called = self.graph().called("global_avg_pool2d");
        self.adaptive_avg_pool2d(1)
    }

    #[track_caller]
    fn mean_of(self, regions: Regions) -> Var<'g> {
        self.graph()
            .record(AvgPool2d { regions, spread_over: None, layout: Layout::Nchw }, &[self])
            .or_rank(4)
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    let pool = |name: &str, image: [usize; 4], options: Pool2dOptions| {
        linear(name, [normal(image)], move |v| v[0].avg_pool2d(options))
    };
    let adaptive = |name: &str, image: [usize; 4], output: [usize; 2]| {
        linear(name, [normal(image)], move |v| v[0].adaptive_avg_pool2d(output))
    };
    let higher = Pool2dOptions::new([3, 2]);
    let padded = higher.stride([2, 1]).padding([1, 1]);
    vec![
        pool("halving", [2, 3, 4, 6], 2.into()),
        pool("pixels left over", [1, 2, 5, 7], 2.into()),
        pool("overlapping", [2, 1, 5, 6], higher.stride(1)),
        pool("padding", [1, 2, 4, 5], padded),
        pool("padding that does not count", [1, 2, 4, 5], padded.count_include_pad(false)),
        pool("stride beyond the window", [1, 1, 7, 8], Pool2dOptions::new([2, 1]).stride([3, 4])),
        pool("pixels left over, covered", [1, 2, 6, 7], higher.stride([2, 4]).ceil_mode()),
        pool("covered, beyond the padding", [1, 1, 6, 5], padded.stride([3, 3]).ceil_mode()),
        pool(
            "covered, true pixels",
            [1, 1, 6, 5],
            padded.stride([3, 3]).ceil_mode().count_include_pad(false),
        ),
        pool("wide rows", [1, 2, 4, 11], Pool2dOptions::new([2, 3]).stride([2, 1]).padding(1)),
        pool("wide rows, true pixels", [1, 1, 3, 18], padded.stride([1, 2]).count_include_pad(false)),
        pool("an empty batch", [0, 2, 4, 4], 2.into()),
        adaptive("equal parts", [2, 3, 4, 6], [2, 3]),
        adaptive("parts that share pixels", [1, 2, 5, 7], [3, 4]),
        adaptive("more parts than pixels", [1, 1, 2, 3], [3, 5]),
        linear("global", [normal([2, 3, 3, 4])], |v| v[0].global_avg_pool2d()),
    ]
}
