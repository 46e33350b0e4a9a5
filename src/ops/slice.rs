//! Parts of an array, and a part set into a larger array: each is the other's adjoint.

use std::ops::{Bound, RangeBounds};

use smallvec::SmallVec;

use super::example::{Example, linear, normal, smooth};
use super::operands::all_real;
use crate::error::Problem;
use crate::graph::{Attributes, AxisMap, AxisRead, Call, Gradient, Op, TensorType, Var, VjpInputs};
use crate::graph::{NodeRef, Rewrite};
use crate::shape::{Layout, Shape};
use dagrad_kernels::lattice::{Lattice, Points};
use dagrad_kernels::real::Real;

/// Every so many elements along each axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice {
    points: SmallVec<[Points; 6]>,
}

/// The adjoint: the elements put where they were, in an array that is `value` everywhere else.
#[derive(Debug, Clone, PartialEq)]
pub struct Embed {
    shape: Shape,
    points: SmallVec<[Points; 6]>,
    value: f64,
}

impl Op for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        all_real(operands)?;
        Ok(TensorType::real(part(&self.points)))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let lattice = Lattice::new(call.operand_shape(0), &with_rows(&self.points, call.shape));
        lattice.read(call.real(0), call.output, call.workers);
    }

    fn vjp<'g>(&self, _: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        let op = Embed { shape: inputs.operands[0].shape(), points: self.points.clone(), value: 0.0 };
        Gradient::Of(inputs.upstream.graph().record(op, &[inputs.upstream]))
    }

    fn roles(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn axes(&self, operands: &[&TensorType]) -> Vec<AxisMap> {
        let read = |(&points, &size): (&Points, &usize)| match points {
            _ if points == Points::all(size) => AxisRead::Same,
            Points { start, step, .. } => {
                AxisRead::Window { extent: 1, stride: step, dilation: 1, padding: -(start as isize) }
            }
        };
        vec![self.points.iter().zip(operands[0].shape.iter()).map(read).collect()]
    }

    fn attributes(&self) -> Attributes {
        attributes(&self.points)
    }

    fn nhwc(&self) -> Option<Self> {
        Some(Self { points: nhwc(&self.points)? })
    }

    /// A part that is the whole.
    fn simplify(&self, node: NodeRef<'_>) -> Option<Rewrite> {
        let whole = &node.operand(0).ty().shape;
        let is_all = self.points.iter().zip(whole.iter()).all(|(&points, &size)| points == Points::all(size));
        is_all.then(|| Rewrite::Node(node.operand(0).id))
    }
}

impl Op for Embed {
    fn name(&self) -> &'static str {
        "pad"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        if *operands[0] != TensorType::real(part(&self.points)) {
            return Err(Problem::new(format!("{} does not fill its positions", operands[0])));
        }
        Ok(TensorType::real(&self.shape))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let points = with_rows(&self.points, call.operand_shape(0));
        Lattice::new(call.shape, &points).write(call.real(0), T::of(self.value), call.output, call.workers);
    }

    fn vjp<'g>(&self, _: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        let op = Slice { points: self.points.clone() };
        Gradient::Of(inputs.upstream.graph().record(op, &[inputs.upstream]))
    }

    fn roles(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn axes(&self, _: &[&TensorType]) -> Vec<AxisMap> {
        let read = |(&points, &size): (&Points, &usize)| match usize::try_from(points.step) {
            _ if points == Points::all(size) => AxisRead::Same,
            Ok(stride) => {
                AxisRead::Spread { extent: 1, stride, dilation: 1, padding: -(points.start as isize) }
            }
            Err(_) => AxisRead::All,
        };
        vec![self.points.iter().zip(self.shape.iter()).map(read).collect()]
    }

    fn attributes(&self) -> Attributes {
        attributes(&self.points).unless("value", self.value, 0.0).quiet("shape", &self.shape)
    }

    fn nhwc(&self) -> Option<Self> {
        let points = nhwc(&self.points)?;
        let shape = Layout::Nhwc.shape(Layout::Nchw.sizes(&self.shape));
        Some(Self { shape, points, value: self.value })
    }
}

/// The points of images `[N, C, H, W]` in the order of NHWC.
fn nhwc(points: &[Points]) -> Option<SmallVec<[Points; 6]>> {
    let &[samples, channels, rows, columns] = points else { return None };
    Some(Layout::Nhwc.permute([samples, channels, rows, columns]).into_iter().collect())
}

/// The points of which `part` is read or written: it has fewer rows than recorded if a few samples are dealt with at a time.
fn with_rows(points: &[Points], part: &Shape) -> SmallVec<[Points; 6]> {
    let mut points: SmallVec<[Points; 6]> = SmallVec::from_slice(points);
    if let Some(first) = points.first_mut()
        && first.count != part[0]
    {
        *first = Points::all(part[0]);
    }
    points
}

/// The shape of a part.
fn part(points: &[Points]) -> Shape {
    points.iter().map(|points| points.count).collect()
}

fn attributes(points: &[Points]) -> Attributes {
    let each = |value: fn(&Points) -> i64| points.iter().map(value).collect::<Vec<_>>();
    Attributes::new()
        .with("starts", each(|points| points.start as i64))
        .unless("steps", each(|points| points.step as i64), vec![1; points.len()])
        .with("counts", each(|points| points.count as i64))
}

impl<'g> Var<'g> {
    /// The elements of a range of one axis, as `x[:, 2:-1]` in Python: negative positions count from the end, and what
    /// lies beyond the axis is cut off. (Clippy takes the numbers of `2..-1` for an empty range, and asks for
    /// `allow(clippy::reversed_empty_ranges)`.)
    ///
    /// ```
    /// use dagrad::Graph;
    ///
    /// let graph = Graph::new();
    /// let x = graph.input("x", [2, 7]);
    /// assert_eq!(x.slice(1, 2..-1).shape(), [2, 4].into());
    /// assert_eq!(x.slice(-1, -3..).shape(), [2, 3].into());
    /// assert_eq!(x.slice_step(1, .., 3).shape(), [2, 3].into());
    /// ```
    ///
    /// # Errors
    /// Recorded on the graph: an axis that does not exist.
    #[track_caller]
    pub fn slice(self, axis: isize, range: impl RangeBounds<isize>) -> Var<'g> {
        let _called = self.graph().called("slice");
        self.slice_step(axis, range, 1)
    }

    /// Every `step`-th element of a range of one axis. With a negative step the range is gone through from its last
    /// element to its first: `slice_step(0, .., -1)` turns an axis round.
    ///
    /// # Errors
    /// Recorded on the graph: an axis that does not exist, a step of 0.
    #[track_caller]
    pub fn slice_step(self, axis: isize, range: impl RangeBounds<isize>, step: isize) -> Var<'g> {
        let _called = self.graph().called("slice_step");
        let shape = self.shape();
        let axis = match shape.axes(&[axis]) {
            Ok(axes) => axes[0],
            Err(problem) => return self.graph().refuse("slice", &["x"], &[self], problem),
        };
        if step == 0 {
            let problem =
                Problem::new("a step of 0 stays where it is").hint("a step of 1 visits every element");
            return self.graph().refuse("slice", &["x"], &[self], problem);
        }
        let (start, end) = within(&range, shape[axis]);
        let length = end.saturating_sub(start);
        let count = length.div_ceil(step.unsigned_abs());
        let first = if step > 0 || length == 0 { start } else { end - 1 };
        let mut points: SmallVec<[Points; 6]> = shape.iter().map(|&size| Points::all(size)).collect();
        points[axis] = Points { start: first, step, count };
        self.graph().record(Slice { points }, &[self])
    }

    /// The array with some of its axes turned round.
    ///
    /// # Errors
    /// Recorded on the graph: an axis that does not exist or is named twice.
    #[track_caller]
    pub fn flip(self, axes: &[isize]) -> Var<'g> {
        let _called = self.graph().called("flip");
        if let Err(problem) = self.shape().axes(axes) {
            return self.graph().refuse("flip", &["x"], &[self], problem);
        }
        let mut turned = self;
        for &axis in axes {
            turned = turned.slice_step(axis, .., -1);
        }
        turned
    }

    /// Consecutive parts of an axis, of these sizes; together they are the whole.
    ///
    /// # Errors
    /// Recorded on the graph: an axis that does not exist, sizes that do not add up to its size.
    #[track_caller]
    pub fn split(self, axis: isize, sizes: &[usize]) -> Vec<Var<'g>> {
        let _called = self.graph().called("split");
        let shape = self.shape();
        let total = sizes.iter().try_fold(0_usize, |total, &size| total.checked_add(size));
        let found = shape.axes(&[axis]).and_then(|axes| match shape[axes[0]] {
            size if total == Some(size) => Ok(()),
            size => {
                let text = format!("parts of {sizes:?} do not make up the {size} elements of axis {axis}");
                Err(Problem::new(text).hint("the sizes of the parts add up to the size of the axis"))
            }
        });
        if let Err(problem) = found {
            let refused = self.graph().refuse("split", &["x"], &[self], problem);
            return vec![refused; sizes.len()];
        }
        let mut start = 0;
        let mut parts = Vec::with_capacity(sizes.len());
        for &size in sizes {
            let end = start + size as isize;
            parts.push(self.slice(axis, start..end));
            start = end;
        }
        parts
    }

    /// The array with `[before, after]` elements of `value` added along each axis.
    ///
    /// ```
    /// use dagrad::Graph;
    ///
    /// let graph = Graph::new();
    /// let x = graph.input("x", [2, 3]);
    /// assert_eq!(x.pad(&[[0, 0], [1, 2]], 0.0).shape(), [2, 6].into());
    /// ```
    ///
    /// # Errors
    /// Recorded on the graph: another number of pairs than axes, a result beyond any memory.
    #[track_caller]
    pub fn pad(self, sides: &[[usize; 2]], value: f64) -> Var<'g> {
        let shape = self.shape();
        if let Err(problem) = one_pair_each(&shape, sides) {
            return self.graph().refuse("pad", &["x"], &[self], problem);
        }
        let point = |(&size, &[start, _]): (&usize, &[usize; 2])| Points { start, step: 1, count: size };
        let larger = |(&size, &[before, after]): (&usize, &[usize; 2])| {
            size.saturating_add(before).saturating_add(after)
        };
        let points = shape.iter().zip(sides).map(point).collect();
        let op = Embed { shape: shape.iter().zip(sides).map(larger).collect(), points, value };
        self.graph().record(op, &[self])
    }
}

/// Whether there are two sides for each axis.
pub(super) fn one_pair_each(shape: &[usize], sides: &[[usize; 2]]) -> Result<(), Problem> {
    if sides.len() == shape.len() {
        return Ok(());
    }
    let text = format!("{} pairs of paddings are given for {} axes", sides.len(), shape.len());
    Err(Problem::new(text).hint("give [before, after] for each axis; [0, 0] adds nothing"))
}

/// A range as Python's slices understand it: from and up to which of `size` elements.
fn within(range: &impl RangeBounds<isize>, size: usize) -> (usize, usize) {
    let from_start = |position: isize| {
        let found = if position < 0 { position.saturating_add_unsigned(size) } else { position };
        usize::try_from(found).unwrap_or(0).min(size)
    };
    // The position after one; after the last one, counted from the end, there is none.
    let after = |position: isize| if position == -1 { size } else { from_start(position.saturating_add(1)) };
    let start = match range.start_bound() {
        Bound::Included(&position) => from_start(position),
        Bound::Excluded(&position) => after(position),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&position) => after(position),
        Bound::Excluded(&position) => from_start(position),
        Bound::Unbounded => size,
    };
    (start, end)
}

/// What the family's checks are made from.
#[allow(clippy::reversed_empty_ranges)] // `2..-1` ends before the last element
pub fn examples() -> Vec<Example> {
    vec![
        linear("a middle part", [normal([2, 7, 3])], |v| v[0].slice(1, 2..-1)),
        linear("every second", [normal([3, 7])], |v| v[0].slice_step(-1, 1.., 2)),
        linear("backwards in steps", [normal([8, 2])], |v| v[0].slice_step(0, ..-1, -3)),
        linear("of two axes", [normal([4, 5, 2])], |v| v[0].slice(0, 1..3).slice_step(1, .., 2)),
        linear("nothing", [normal([3, 4])], |v| v[0].slice(1, 3..1)),
        linear("everything", [normal([3, 4])], |v| v[0].slice(0, ..)),
        linear("flip", [normal([2, 3, 4])], |v| v[0].flip(&[0, -1])),
        smooth("neighbours", [normal([5])], |v| v[0].slice(0, 1..) * v[0].slice(0, ..-1)),
        smooth("split", [normal([2, 5])], |v| {
            let parts = v[0].split(1, &[2, 0, 3]);
            parts[0].sum(&[1]) * parts[2].sum(&[1]) + parts[1].sum(&[1])
        }),
        linear("pad", [normal([2, 3, 2])], |v| v[0].pad(&[[1, 0], [0, 2], [3, 1]], 0.0)),
        smooth("pad with a number", [normal([3, 2])], |v| v[0].pad(&[[0, 1], [2, 0]], -1.5)),
        linear("pad no elements", [normal([0, 2])], |v| v[0].pad(&[[1, 1], [0, 0]], 0.0)),
    ]
}
