//! The same numbers under another shape. In a plan this costs nothing: both share their memory.

use super::example::{Example, linear, normal, smooth};
use crate::error::Problem;
use crate::graph::{Attributes, AxisMap, Call, Gradient, Op, TensorType, Var, VjpInputs};
use crate::graph::{NodeRef, Rewrite};
use crate::shape::Shape;
use dagrad_kernels::real::Real;

/// The same elements in the same order, under another shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Reshape {
    pub(super) shape: Shape,
}

impl Op for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        let x = operands[0];
        let (from, to) = (x.shape.count(), self.shape.checked_count());
        if to != Some(from) {
            let to = to.map_or("more than any memory holds".to_string(), |count| count.to_string());
            return Err(Problem::new(format!("{} elements do not fill the shape {}", from, self.shape))
                .hint(format!("the new shape holds {to}; the two counts must agree")));
        }
        Ok(TensorType { shape: self.shape.clone(), dtype: x.dtype })
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        // Reached only where memory cannot be shared.
        call.copy();
    }

    fn vjp<'g>(&self, _: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        Gradient::Of(inputs.upstream.reshape(inputs.operands[0].shape()))
    }

    fn roles(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().quiet("shape", &self.shape)
    }

    fn is_alias(&self) -> bool {
        true
    }

    /// Samples stay apart where axis 0 stays.
    fn axes(&self, operands: &[&TensorType]) -> Vec<AxisMap> {
        let [from, to] = [&operands[0].shape, &self.shape];
        vec![if from.first() == to.first() { AxisMap::sample() } else { AxisMap::whole() }]
    }

    /// Only the last of several reshapes counts, and none to the same shape.
    fn simplify(&self, node: NodeRef<'_>) -> Option<Rewrite> {
        let operand = node.operand(0);
        if operand.ty() == node.ty() {
            return Some(Rewrite::Node(operand.id));
        }
        operand.op::<Reshape>()?;
        let first = operand.operand(0).id;
        Some(Rewrite::op_on(self.clone(), [first]))
    }
}

impl<'g> Var<'g> {
    /// The same elements in row-major order under another shape of as many elements.
    #[track_caller]
    pub fn reshape(self, shape: impl Into<Shape>) -> Var<'g> {
        let shape = shape.into();
        if self.shape() == shape {
            return self;
        }
        self.graph().record(Reshape { shape: shape.clone() }, &[self]).or_shape(&shape)
    }

    /// [`reshape`](Self::reshape), with −1 for one size that follows from the others and the number of elements.
    ///
    /// ```
    /// use dagrad::Graph;
    ///
    /// let graph = Graph::new();
    /// assert_eq!(graph.input("x", [4, 6]).reshape_inferred(&[3, -1, 2]).shape(), [3, 4, 2].into());
    /// ```
    ///
    /// # Errors
    /// Recorded on the graph: several sizes left open, other negative sizes, a size that does not follow.
    #[track_caller]
    pub fn reshape_inferred(self, sizes: &[isize]) -> Var<'g> {
        self.reshape_if("reshape_inferred", sizes.len(), inferred(sizes, self.shape().count()))
    }

    /// Joins all axes but the first: a batch of images `[N, C, H, W]` becomes rows `[N, C·H·W]`.
    #[track_caller]
    pub fn flatten(self) -> Var<'g> {
        let _called = self.graph().called("flatten");
        let shape = self.shape();
        match &shape[..] {
            [] => self.reshape([1, 1]),
            [batch, rest @ ..] => self.reshape([*batch, rest.iter().product()]),
        }
    }

    /// Joins the axes from `first` to `last`, both included, into one.
    ///
    /// # Errors
    /// Recorded on the graph: axes that do not exist, or in the other order.
    #[track_caller]
    pub fn flatten_axes(self, first: isize, last: isize) -> Var<'g> {
        let rank = self.rank();
        let joined_axes = if (first < 0) == (last < 0) { last.abs_diff(first) } else { 0 };
        self.reshape_if(
            "flatten_axes",
            rank.saturating_sub(joined_axes).max(1),
            joined(&self.shape(), first, last),
        )
    }

    /// Takes away axes of size 1.
    ///
    /// # Errors
    /// Recorded on the graph: axes that do not exist, or of another size.
    #[track_caller]
    pub fn squeeze(self, axes: &[isize]) -> Var<'g> {
        self.reshape_if("squeeze", self.rank().saturating_sub(axes.len()), squeezed(&self.shape(), axes))
    }

    /// Adds an axis of size 1, which becomes axis `axis` of the result.
    ///
    /// # Errors
    /// Recorded on the graph: an axis that the result does not have.
    #[track_caller]
    pub fn unsqueeze(self, axis: isize) -> Var<'g> {
        self.reshape_if("unsqueeze", self.rank() + 1, unsqueezed(&self.shape(), axis))
    }

    /// [`reshape`](Self::reshape) to a shape, or the refusal by the method `name`, whose result has `rank` axes.
    #[track_caller]
    fn reshape_if(self, name: &'static str, rank: usize, shape: Result<Shape, Problem>) -> Var<'g> {
        let _called = self.graph().called(name);
        match shape {
            Ok(shape) => self.reshape(shape),
            Err(problem) => self.graph().refuse(name, &["x"], &[self], problem).or_rank(rank),
        }
    }
}

/// Sizes with the one that was left open, for a number of elements.
fn inferred(sizes: &[isize], count: usize) -> Result<Shape, Problem> {
    if let Some(size) = sizes.iter().find(|size| **size < -1) {
        return Err(Problem::new(format!("{size} is no size"))
            .hint("-1 stands for a size that follows from the others"));
    }
    let known: Shape = sizes.iter().filter_map(|&size| usize::try_from(size).ok()).collect();
    match sizes.len() - known.len() {
        0 => return Ok(known),
        1 => {}
        open => {
            return Err(
                Problem::new(format!("{open} sizes are left open")).hint("one can follow from the others")
            );
        }
    }
    let product = known.checked_count().filter(|&product| product > 0 && count.is_multiple_of(product));
    match product.map(|product| count / product) {
        Some(open) => Ok(sizes.iter().map(|&size| usize::try_from(size).unwrap_or(open)).collect()),
        None => Err(Problem::new(format!("{count} elements do not make whole {known}"))
            .hint("the other sizes multiply to a divisor of the number of elements")),
    }
}

/// A shape with its axes from `first` to `last` as one.
fn joined(shape: &Shape, first: isize, last: isize) -> Result<Shape, Problem> {
    let [start, end] = [shape.axes(&[first])?[0], shape.axes(&[last])?[0]];
    if start > end {
        return Err(Problem::new(format!("axis {last} does not come after axis {first}")));
    }
    let size = shape[start..=end].iter().product();
    Ok([&shape[..start], &[size], &shape[end + 1..]].concat().into())
}

/// A shape without some of its axes, which have size 1.
fn squeezed(shape: &Shape, axes: &[isize]) -> Result<Shape, Problem> {
    let gone = shape.axes(axes)?;
    if let Some(&axis) = gone.iter().find(|&&axis| shape[axis] != 1) {
        return Err(Problem::new(format!("axis {axis} of {shape} has size {}, not 1", shape[axis]))
            .hint("only axes of size 1 can go without their elements"));
    }
    Ok((0..shape.len()).filter(|axis| !gone.contains(axis)).map(|axis| shape[axis]).collect())
}

/// A shape with one more axis, of size 1.
pub(super) fn unsqueezed(shape: &Shape, axis: isize) -> Result<Shape, Problem> {
    let longer: Shape = shape.iter().copied().chain([1]).collect();
    let mut sizes = shape.to_vec();
    sizes.insert(longer.axes(&[axis])?[0], 1);
    Ok(sizes.into())
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    vec![
        linear("reshape", [normal([2, 3, 4])], |v| v[0].reshape([4, 6])),
        linear("flatten", [normal([2, 3, 1, 2])], |v| v[0].flatten()),
        linear("there and back", [normal([6])], |v| v[0].reshape([2, 3]).reshape([6])),
        smooth("beside itself", [normal([4])], |v| v[0].reshape([2, 2]) * v[0].reshape([2, 2])),
        linear("two axes joined", [normal([2, 3, 4])], |v| v[0].flatten_axes(-2, 2)),
        linear("a size inferred", [normal([2, 3, 4])], |v| v[0].reshape_inferred(&[3, -1])),
        linear("axes taken away", [normal([1, 3, 1, 2])], |v| v[0].squeeze(&[0, -2])),
        smooth("an axis added", [normal([2, 3])], |v| v[0].unsqueeze(1) * v[0].unsqueeze(-1)),
        linear("no elements", [normal([0, 3])], |v| v[0].reshape([3, 0])),
    ]
}
