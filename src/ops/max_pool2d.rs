//! The largest value under a sliding window.
//!
//! Where the maximum lies is found once, as an array of indices; taking the values there is linear, and its
//! adjoint puts values back. So every derivative follows the same choice, and a tie is decided in one place.

use std::sync::Arc;

use super::attributes::Pool2dOptions;
use super::example::{Example, distinct};
use super::operands::image_sizes;
use crate::error::Problem;
use crate::graph::NodeRef;
use crate::graph::kernel::{BatchSplit, Kernel};
use crate::graph::lowering::{Lowered, OperandLayout, Target};
use crate::graph::{
    Attributes, AxisMap, AxisRead, Call, Gradient, Op, OutputSlot, Precision, TensorType, Var, VjpInputs,
};
use crate::shape::{Layout, Shape, Window};
use dagrad_kernels::pool::Pooling;
use dagrad_kernels::real::Real;

/// For each position of the window, the index of the maximum within its plane. The first maximum in row-major
/// order wins a tie, and a NaN counts as larger than any number, as in PyTorch.
#[derive(Debug, Clone, PartialEq)]
pub struct Argmax {
    window: Window,
}

/// The values at the indices.
#[derive(Debug, Clone, PartialEq)]
pub struct Take {
    window: Window,
    layout: Layout,
}

/// The maxima themselves, of images NHWC, and along with them where they are: one walk for both.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MaxPool {
    window: Window,
}

/// The adjoint of [`Take`]: values added to planes of zeros at the indices.
#[derive(Debug, Clone, PartialEq)]
pub struct Put {
    window: Window,
    plane: [usize; 2],
    pub(super) layout: Layout,
}

impl Op for Argmax {
    fn name(&self) -> &'static str {
        "max_pool2d_argmax"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        let [batch, channels, height, width] = image_sizes(operands[0])?;
        let out = pooled_size(self.window, [height, width])?;
        if height.saturating_mul(width) > u32::MAX as usize {
            return Err(Problem::new(format!(
                "a plane of {height}×{width} has more pixels than an index counts"
            )));
        }
        Ok(TensorType::index([batch, channels, out[0], out[1]]))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let pooling = pooling(self.window, Layout::Nchw, call.operand_shape(0), call.shape);
        pooling.argmax(call.real(0), call.indices, call.workers);
    }

    fn vjp<'g>(&self, _: usize, _: VjpInputs<'g>) -> Gradient<'g> {
        Gradient::Constant
    }

    fn roles(&self) -> &'static [&'static str] {
        &["image"]
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().window(self.window)
    }

    /// One walk finds the maxima and where they are.
    fn lower(&self, _: NodeRef<'_>, _: Target) -> Option<Lowered> {
        MaxPool { window: self.window }.lowered(1)
    }

    fn axes(&self, _: &[&TensorType]) -> Vec<AxisMap> {
        vec![plane_read(Layout::Nchw, AxisRead::under(self.window))]
    }
}

impl Op for Take {
    fn name(&self) -> &'static str {
        "max_pool2d_take"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        Ok(TensorType::real(&operands[1].shape))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let pooling = pooling(self.window, self.layout, call.operand_shape(0), call.shape);
        let (image, indices, out, workers) = (call.real(0), call.indices_of(1), call.output, call.workers);
        match self.layout {
            Layout::Nchw => pooling.take(image, indices, out, workers),
            Layout::Nhwc => pooling.take_nhwc(call.shape[3], image, indices, out, workers),
        }
    }

    fn vjp<'g>(&self, argument: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        if argument == 1 {
            return Gradient::Constant;
        }
        let plane = plane(self.layout, &inputs.operands[0].shape());
        let op = Put { window: self.window, plane, layout: self.layout };
        Gradient::Of(inputs.upstream.graph().record(op, &[inputs.upstream, inputs.operands[1]]))
    }

    fn roles(&self) -> &'static [&'static str] {
        &["image", "indices"]
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().window(self.window)
    }

    fn axes(&self, _: &[&TensorType]) -> Vec<AxisMap> {
        vec![plane_read(self.layout, AxisRead::under(self.window)), AxisMap::same(4)]
    }

    /// What lies where the maximum is, is the maximum.
    fn lower(&self, node: NodeRef<'_>, _: Target) -> Option<Lowered> {
        let argmax = node.operand(1);
        let is_maximum = argmax.op() == Some(&Argmax { window: self.window })
            && argmax.operand(0).id == node.operand(0).id;
        is_maximum.then(|| MaxPool { window: self.window }.lowered(0)).flatten()
    }

    fn nhwc(&self) -> Option<Self> {
        self.window.is_plain().then(|| Self { layout: Layout::Nhwc, ..self.clone() })
    }
}

impl Kernel for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn outputs(&self, operands: &[&TensorType]) -> Vec<TensorType> {
        let images = &operands[0].shape;
        let Ok(size) = pooled_size(self.window, plane(Layout::Nhwc, images)) else {
            unreachable!("the shape rule has accepted the window")
        };
        let shape = with_plane(Layout::Nhwc, images, size);
        vec![TensorType::real(&shape), TensorType::index(&shape)]
    }

    fn run<T: Precision>(&self, call: Call<'_, T>) -> Result<(), Problem> {
        let pooling = pooling(self.window, Layout::Nhwc, call.operand_shape(0), call.shape);
        let image = call.real(0);
        let positions = call.further_outputs.into_iter().next().and_then(OutputSlot::index);
        pooling.max_nhwc(call.shape[3], image, call.output, positions, call.workers);
        Ok(())
    }

    fn attributes(&self) -> String {
        Attributes::new().window(self.window).to_string()
    }

    fn batch_split(&self, operands: &[&TensorType]) -> Option<BatchSplit> {
        Some(BatchSplit::each(operands[0].shape[0], &[true]))
    }
}

impl MaxPool {
    /// Output `number` of it; it follows others to NHWC, if its window is a plain one.
    fn lowered(self, number: usize) -> Option<Lowered> {
        let window = self.window;
        let lowered = || Lowered { output: number, ..Lowered::new(Arc::new(self), [OperandLayout::Nhwc]) };
        window.is_plain().then(lowered)
    }

    /// Whether the windows are 2×2 and lie side by side, without padding.
    pub(crate) fn is_of_quads(&self) -> bool {
        self.window == Window::new([2; 2], [2; 2], [0; 2])
    }
}

impl Op for Put {
    fn name(&self) -> &'static str {
        "max_pool2d_put"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        image_sizes(operands[0])?;
        Ok(TensorType::real(with_plane(self.layout, &operands[0].shape, self.plane)))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let pooling = pooling(self.window, self.layout, call.shape, call.operand_shape(0));
        let (values, indices, out, workers) = (call.real(0), call.indices_of(1), call.output, call.workers);
        match self.layout {
            Layout::Nchw => pooling.put(values, indices, out, workers),
            Layout::Nhwc => pooling.put_nhwc(call.shape[3], values, indices, out, workers),
        }
    }

    fn vjp<'g>(&self, argument: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        if argument == 1 {
            return Gradient::Constant;
        }
        let (upstream, indices) = (inputs.upstream, inputs.operands[1]);
        Gradient::Of(upstream.graph().record(self.adjoint(), &[upstream, indices]))
    }

    fn roles(&self) -> &'static [&'static str] {
        &["values", "indices"]
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().window(self.window).quiet("image", self.plane)
    }

    fn nhwc(&self) -> Option<Self> {
        self.window.is_plain().then(|| Self { layout: Layout::Nhwc, ..self.clone() })
    }

    fn axes(&self, _: &[&TensorType]) -> Vec<AxisMap> {
        vec![plane_read(self.layout, [AxisRead::All; 2]); 2]
    }
}

impl Put {
    /// What takes values from where this puts them.
    pub fn adjoint(&self) -> Take {
        Take { window: self.window, layout: self.layout }
    }
}

/// What an operation reads that deals with each plane by itself: this along height and width.
pub(super) fn plane_read(layout: Layout, [rows, columns]: [AxisRead; 2]) -> AxisMap {
    layout.permute([AxisRead::Same, AxisRead::Same, rows, columns]).into()
}

/// Height and width of images.
pub(super) fn plane(layout: Layout, images: &Shape) -> [usize; 2] {
    layout.plane().map(|axis| images[axis])
}

/// The shape of as many images and channels, of another height and width.
pub(super) fn with_plane(layout: Layout, images: &Shape, [height, width]: [usize; 2]) -> Shape {
    let [batch, channels, ..] = layout.sizes(images);
    layout.shape([batch, channels, height, width])
}

/// The output size of a pooling. Padding of more than half the window, or pixels further apart than the image is
/// large, would leave windows without a single pixel.
pub(super) fn pooled_size(window: Window, plane: [usize; 2]) -> Result<[usize; 2], Problem> {
    let (extent, hint) = (window.extent(), "some windows would lie in the padding alone");
    if let Some(axis) = (0..2).find(|&axis| window.padding[axis] > extent[axis] / 2) {
        let (padding, extent) = (window.padding[axis], extent[axis]);
        return Err(Problem::new(format!("a padding of {padding} is more than half the window's {extent}"))
            .hint(hint));
    }
    let out = window.output_size(plane)?;
    let is_small = |&axis: &usize| window.padding[axis] > 0 && plane[axis] < window.dilation[axis];
    if let Some(axis) = (0..2).find(is_small) {
        let (size, dilation) = (plane[axis], window.dilation[axis]);
        let text = format!("a padded image of {size} pixels is smaller than the dilation {dilation}");
        return Err(Problem::new(text).hint(hint));
    }
    Ok(out)
}

/// The kernel's view of images of shape `images` pooled to shape `pooled`.
fn pooling(window: Window, layout: Layout, images: &Shape, pooled: &Shape) -> Pooling {
    Pooling { plane: plane(layout, images), output: plane(layout, pooled), window }
}

impl<'g> Var<'g> {
    /// The largest value of each window over images `[N, C, H, W]`, giving `[N, C, H', W']` with
    /// H' = ⌊(H + 2P − D·(F − 1) − 1) / S⌋ + 1, rounded up in [`ceil_mode`](Pool2dOptions::ceil_mode).
    ///
    /// `x.max_pool2d(2)` halves both axes. Windows may overlap; padding acts as −∞ and is at most half the
    /// window's extent. Of equal maxima the first in row-major order receives the gradient. NaN is the maximum.
    ///
    /// ```
    /// use dagrad::{Graph, Pool2dOptions};
    ///
    /// let graph = Graph::new();
    /// let x = graph.input("x", [1, 2, 7, 6]);
    /// assert_eq!(x.max_pool2d(2).shape(), [1, 2, 3, 3].into());
    /// let overlapping = Pool2dOptions::new([3, 2]).stride(1).padding([1, 0]);
    /// assert_eq!(x.max_pool2d(overlapping).shape(), [1, 2, 7, 5].into());
    /// ```
    #[track_caller]
    pub fn max_pool2d(self, options: impl Into<Pool2dOptions>) -> Var<'g> {
        let window = options.into().window();
        let argmax = Argmax { window };
        if let Err(problem) = argmax.infer(&[&self.ty()]) {
            return self.graph().refuse("max_pool2d", &["image"], &[self], problem).or_rank(4);
        }
        let _composite = self.graph().composed("max_pool2d", Attributes::new().window(window));
        let indices = self.graph().record(argmax, &[self]);
        self.graph().record(Take { window, layout: Layout::Nchw }, &[self, indices])
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    let pool = |name: &str, image: [usize; 4], options: Pool2dOptions| {
        Example::new(name, [distinct(image)], move |v| v[0].max_pool2d(options))
    };
    let higher = Pool2dOptions::new([3, 2]);
    vec![
        pool("halving", [2, 3, 4, 6], 2.into()),
        pool("pixels left over", [1, 2, 5, 7], 2.into()),
        pool("overlapping", [2, 1, 5, 6], higher.stride([1, 1])),
        pool("padding", [1, 2, 4, 5], higher.stride([2, 1]).padding([1, 1])),
        pool("stride beyond the window", [1, 1, 7, 8], Pool2dOptions::new([2, 1]).stride([3, 4])),
        pool("window as large as the image", [2, 2, 3, 4], [3, 4].into()),
        pool("one pixel", [1, 1, 1, 1], 1.into()),
        pool("an empty batch", [0, 2, 4, 4], 2.into()),
        pool("dilation", [1, 2, 7, 9], higher.stride([1, 2]).dilation([2, 3]).padding([2, 1])),
        pool("pixels left over, covered", [2, 1, 6, 7], higher.stride([2, 4]).ceil_mode()),
        pool("the last window would see padding", [1, 1, 5, 4], Pool2dOptions::new(2).padding(1).ceil_mode()),
        Example::new("of a square", [distinct([1, 2, 4, 4])], |v| (v[0] * v[0]).max_pool2d(2)),
    ]
}
