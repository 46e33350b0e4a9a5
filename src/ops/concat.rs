//! Arrays one after the other along an axis. The gradients are slices.

use smallvec::SmallVec;

use super::example::{Example, normal};
use super::operands::all_real;
use super::reshape::unsqueezed;
use crate::error::Problem;
use crate::graph::{Attributes, AxisMap, AxisRead, Call, Gradient, Graph, Op, TensorType, Var, VjpInputs};
use crate::shape::Layout;
use dagrad_kernels::lattice;
use dagrad_kernels::real::Real;

/// Its operands one after the other along an axis. They agree in all other axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Concat {
    axis: usize,
}

impl Op for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        let Some((first, rest)) = operands.split_first() else {
            return Err(Problem::new("there is nothing to join").hint("give at least one array"));
        };
        all_real(operands)?;
        let mut sizes: SmallVec<[usize; 6]> = SmallVec::from_slice(&first.shape);
        for other in rest {
            let agrees = |axis: usize| axis == self.axis || other.shape[axis] == first.shape[axis];
            if other.shape.len() != first.shape.len() || !(0..sizes.len()).all(agrees) {
                let text = format!("{} and {} differ beside axis {}", first.shape, other.shape, self.axis);
                return Err(
                    Problem::new(text).hint("all axes but the one along which arrays are joined agree")
                );
            }
            sizes[self.axis] = sizes[self.axis].saturating_add(other.shape[self.axis]);
        }
        Ok(TensorType::real(&sizes[..]))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let width = |position: usize| call.operand_shape(position)[self.axis..].iter().product();
        let parts: SmallVec<[(&[T], usize); 8]> =
            (0..call.operands.len()).map(|position| (call.real(position), width(position))).collect();
        lattice::concatenate(&parts, call.output, call.workers);
    }

    fn vjp<'g>(&self, argument: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        let dag = inputs.upstream.graph().dag();
        let size = |operand: &Var<'g>| dag.node(operand.id()).ty.shape[self.axis] as isize;
        let start: isize = inputs.operands[..argument].iter().map(size).sum();
        let end = start + size(&inputs.operands[argument]);
        drop(dag); // the slice is recorded in it
        Gradient::Of(inputs.upstream.slice(self.axis as isize, start..end))
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().with("axis", self.axis)
    }

    fn nhwc(&self) -> Option<Self> {
        Some(Self { axis: Layout::Nhwc.axis(self.axis) })
    }

    fn axes(&self, operands: &[&TensorType]) -> Vec<AxisMap> {
        let mut start = 0;
        let map = |ty: &&TensorType| {
            let piece = AxisRead::Piece { start };
            start += ty.shape[self.axis];
            AxisMap::same(ty.shape.len()).with(self.axis, piece)
        };
        operands.iter().map(map).collect()
    }
}

impl Graph {
    /// Arrays one after the other along `axis`, in all other axes of which they agree.
    ///
    /// ```
    /// use dagrad::Graph;
    ///
    /// let graph = Graph::new();
    /// let (a, b) = (graph.input("a", [2, 3]), graph.input("b", [2, 5]));
    /// assert_eq!(graph.concat(&[a, b], -1).shape(), [2, 8].into());
    /// ```
    ///
    /// # Errors
    /// Recorded: no arrays, an axis that does not exist, shapes that differ in other axes.
    #[track_caller]
    pub fn concat<'g>(&'g self, arrays: &[Var<'g>], axis: isize) -> Var<'g> {
        let shape = arrays.first().map(|first| first.shape()).unwrap_or_default();
        match shape.axes(&[axis]) {
            _ if arrays.is_empty() => self.record(Concat { axis: 0 }, arrays),
            Ok(axes) => self.record(Concat { axis: axes[0] }, arrays),
            Err(problem) => self.refuse("concat", &[], arrays, problem),
        }
    }

    /// Arrays of one shape side by side along a new axis, which becomes axis `axis` of the result.
    ///
    /// # Errors
    /// Recorded: no arrays, an axis that the result does not have, shapes that differ.
    #[track_caller]
    pub fn stack<'g>(&'g self, arrays: &[Var<'g>], axis: isize) -> Var<'g> {
        let _called = self.called("stack");
        let shape = arrays.first().map(|first| first.shape()).unwrap_or_default();
        let rank = arrays.first().map_or(8, |first| first.rank() + 1);
        let row = match unsqueezed(&shape, axis) {
            Ok(row) => row,
            Err(problem) => return self.refuse("stack", &[], arrays, problem).or_rank(rank),
        };
        if let Some(other) = arrays.iter().find(|array| array.shape() != shape) {
            let problem = Problem::new(format!("{shape} and {} differ", other.shape()))
                .hint("all arrays that are stacked have one shape");
            return self.refuse("stack", &[], arrays, problem).or_rank(rank);
        }
        let mut rows = Vec::with_capacity(arrays.len());
        for array in arrays {
            rows.push(array.reshape(&row));
        }
        self.concat(&rows, axis)
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    vec![
        Example::on_graph(
            "three of different sizes",
            [normal([2, 3]), normal([2, 1]), normal([2, 4])],
            |graph, v| graph.concat(v, 1),
        )
        .linear(),
        Example::on_graph("along the first axis", [normal([1, 3, 2]), normal([4, 3, 2])], |graph, v| {
            graph.concat(v, 0)
        })
        .linear(),
        Example::on_graph("channels", [normal([2, 1, 2, 3]), normal([2, 3, 2, 3])], |graph, v| {
            graph.concat(v, -3)
        })
        .linear(),
        Example::on_graph("itself", [normal([3, 2])], |graph, v| graph.concat(&[v[0], v[0] * v[0]], 0))
            .smooth(),
        Example::on_graph("one", [normal([3])], |graph, v| graph.concat(v, 0)).linear(),
        Example::on_graph("none of something", [normal([2, 0]), normal([2, 3])], |graph, v| {
            graph.concat(v, 1)
        })
        .linear(),
        Example::on_graph("stack", [normal([2, 3]), normal([2, 3])], |graph, v| graph.stack(v, 1)).linear(),
        Example::on_graph("stack of numbers", [normal([]), normal([])], |graph, v| graph.stack(v, -1))
            .linear(),
    ]
}
