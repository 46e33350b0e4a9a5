//! The largest and the smallest number along axes. Where it lies is found once and then read, so that every derivative
//! follows the same choice.

use super::example::{Example, distinct};
use super::operands::{all_real, no_image};
use crate::error::Problem;
use crate::graph::{Attributes, AxisMap, AxisRead, Call, Gradient, Op, TensorType, Var, VjpInputs};
use crate::shape::Shape;
use dagrad_kernels::gather;
use dagrad_kernels::real::Real;

/// The index along an axis of the largest number: the first of equal ones; a NaN counts as larger than any number.
#[derive(Debug, Clone, PartialEq)]
pub struct ArgmaxAlong {
    axis: usize,
}

impl Op for ArgmaxAlong {
    fn name(&self) -> &'static str {
        "argmax"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        all_real(operands)?;
        let x = operands[0];
        let size = x.shape[self.axis];
        if size == 0 || size > u32::MAX as usize {
            let text = format!("there is no largest of {size} numbers along axis {}", self.axis);
            return Err(Problem::new(text).hint("there is at least one, and no more than an index counts"));
        }
        let kept = (0..x.shape.len()).filter(|&axis| axis != self.axis);
        Ok(TensorType::index(kept.map(|axis| x.shape[axis]).collect::<Shape>()))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let shape = call.operand_shape(0);
        let sizes = [shape[self.axis], shape[self.axis + 1..].iter().product()];
        gather::argmax(call.real(0), sizes, call.indices, call.workers);
    }

    fn vjp<'g>(&self, _: usize, _: VjpInputs<'g>) -> Gradient<'g> {
        Gradient::Constant
    }

    fn roles(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().with("axis", self.axis)
    }

    fn index_bound(&self, operands: &[&TensorType], _: Option<u32>) -> Option<usize> {
        Some(operands[0].shape[self.axis])
    }

    fn axes(&self, operands: &[&TensorType]) -> Vec<AxisMap> {
        vec![AxisMap::same(operands[0].shape.len()).with(self.axis, AxisRead::All)]
    }
}

impl<'g> Var<'g> {
    /// The index along `axis`, which disappears, of the largest number: the first of equal ones. NaN is the largest.
    ///
    /// # Errors
    /// Recorded on the graph: an axis that does not exist, or has no elements.
    #[track_caller]
    pub fn argmax(self, axis: isize) -> Var<'g> {
        let largest = match self.shape().axes(&[axis]) {
            Ok(axes) => self.graph().record(ArgmaxAlong { axis: axes[0] }, &[self]),
            Err(problem) => self.graph().refuse("argmax", &["x"], &[self], problem),
        };
        largest.or_rank(self.rank().saturating_sub(1))
    }

    /// The index along `axis`, which disappears, of the smallest number: the first of equal ones. NaN is the smallest.
    /// Errors are those of [`argmax`](Self::argmax).
    #[track_caller]
    pub fn argmin(self, axis: isize) -> Var<'g> {
        let _called = self.graph().called("argmin");
        (-self).argmax(axis)
    }

    /// The largest number over `axes`, which disappear. Of equal ones the first, in row-major order of the axes, receives
    /// the gradient; NaN is the largest.
    ///
    /// # Errors
    /// Recorded on the graph: axes that do not exist or are named twice, and no elements.
    #[track_caller]
    pub fn max(self, axes: &[isize]) -> Var<'g> {
        let _called = self.graph().called("max");
        let shape = self.shape();
        let summed = match shape.axes(axes) {
            Ok(found) if found.is_empty() => return self,
            Ok(found) => found,
            Err(problem) => return self.graph().refuse("max", &["x"], &[self], problem).lacking(axes),
        };
        let is_summed = |axis: &usize| summed.contains(axis);
        let (inside, outside): (Vec<usize>, Vec<usize>) = (0..shape.len()).partition(is_summed);
        let order: Vec<isize> = outside.iter().chain(&inside).map(|&axis| axis as isize).collect();
        let kept: Shape = outside.iter().map(|&axis| shape[axis]).collect();
        let count = inside.iter().map(|&axis| shape[axis]).product();
        let rows = self.permute(&order).reshape([kept.count(), count]);
        let largest = rows.argmax(1).reshape([kept.count(), 1]);
        rows.gather(1, largest).reshape(kept)
    }

    /// [`max`](Self::max) over `axes`, which stay with size 1.
    #[track_caller]
    pub fn max_keep(self, axes: &[isize]) -> Var<'g> {
        let _called = self.graph().called("max_keep");
        self.max(axes).kept(self, axes)
    }

    /// The smallest number over `axes`, which disappear; ties, NaN and errors as in [`max`](Self::max).
    #[track_caller]
    pub fn min(self, axes: &[isize]) -> Var<'g> {
        let _called = self.graph().called("min");
        -(-self).max(axes)
    }

    /// [`min`](Self::min) over `axes`, which stay with size 1.
    #[track_caller]
    pub fn min_keep(self, axes: &[isize]) -> Var<'g> {
        let _called = self.graph().called("min_keep");
        -(-self).max_keep(axes)
    }

    /// The largest of all elements, a single number: [`max`](Self::max) over all axes.
    #[track_caller]
    pub fn max_all(self) -> Var<'g> {
        let _called = self.graph().called("max_all");
        let axes: Vec<isize> = (0..self.shape().len() as isize).collect();
        self.max(&axes)
    }

    /// The smallest of all elements, a single number: [`min`](Self::min) over all axes.
    #[track_caller]
    pub fn min_all(self) -> Var<'g> {
        let _called = self.graph().called("min_all");
        -(-self).max_all()
    }

    /// The largest value of each channel of images `[N, C, H, W]`, giving `[N, C, 1, 1]`.
    ///
    /// # Errors
    /// Recorded on the graph: no image, or one without pixels.
    #[track_caller]
    pub fn global_max_pool2d(self) -> Var<'g> {
        let _called = self.graph().called("global_max_pool2d");
        if self.shape().len() != 4 {
            return self
                .graph()
                .refuse("global_max_pool2d", &["image"], &[self], no_image(&self.ty()))
                .or_rank(4);
        }
        self.max_keep(&[2, 3])
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    vec![
        Example::new("max over the middle", [distinct([2, 3, 4])], |v| v[0].max(&[1])),
        Example::new("max over two axes", [distinct([2, 3, 4])], |v| v[0].max(&[2, 0])),
        Example::new("max of everything", [distinct([2, 3])], |v| (v[0] * v[0]).max(&[0, 1])),
        Example::new("max that keeps its axes", [distinct([2, 3, 2])], |v| v[0] - v[0].max_keep(&[-1])),
        Example::new("min", [distinct([3, 4])], |v| v[0].min(&[1])),
        Example::new("min that keeps its axes", [distinct([3, 4])], |v| v[0].min_keep(&[0]) * v[0]),
        Example::new("max and min of all", [distinct([2, 3, 2])], |v| v[0].max_all() * v[0].min_all()),
        Example::new("global max pool", [distinct([2, 3, 3, 4])], |v| v[0].global_max_pool2d()),
        Example::new("read at another's maximum", [distinct([3, 4]), distinct([3, 4])], |v| {
            v[1].gather(1, v[0].argmax(1).reshape([3, 1])) * v[1].gather(1, v[0].argmin(1).reshape([3, 1]))
        }),
        Example::new("of one", [distinct([3, 1])], |v| v[0].max(&[1])),
        Example::new("of an empty batch", [distinct([0, 3])], |v| v[0].max(&[1])),
    ]
}
