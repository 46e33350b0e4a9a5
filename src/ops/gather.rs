//! Reading along an axis at given indices, and adding back there: each is the other's adjoint.

use super::example::{Example, labels, linear, normal, smooth};
use super::operands::all_real;
use crate::error::Problem;
use crate::graph::setting::COUNT;
use crate::graph::{Attributes, AxisMap, AxisRead, Call, Dtype, Gradient, Op, TensorType, Var, VjpInputs};
use crate::shape::{Layout, Shape};
use dagrad_kernels::gather::Gather as Kernel;
use dagrad_kernels::real::Real;

/// For each index, the element there along an axis; or the adjoint of that, which adds values where they were read.
/// Operands are the array or the values, and the indices.
#[derive(Debug, Clone, PartialEq)]
pub struct Gather {
    axis: usize,
    indices: Indices,
    /// Of the adjoint: the size along the axis of the array to which it adds.
    adds_to: Option<usize>,
}

/// What the indices say.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Indices {
    /// One for each element of the result: they have its shape.
    Elements,
    /// One for each whole slice across the axis: they are a list.
    Slices,
}

impl Indices {
    /// The shape of what is read, or why the indices do not fit.
    fn read(self, x: &TensorType, indices: &TensorType, axis: usize) -> Result<Shape, Problem> {
        if indices.dtype != Dtype::Index {
            return Err(Problem::new("the indices are real numbers")
                .hint("indices are whole numbers: record them with `graph.labels` or `graph.indices`"));
        }
        all_real(&[x])?;
        match (self, &indices.shape[..]) {
            (Self::Slices, &[count]) => Ok(x
                .shape
                .iter()
                .enumerate()
                .map(|(i, &size)| if i == axis { count } else { size })
                .collect()),
            (Self::Slices, _) => Err(Problem::new(format!("indices {} are not a list", indices.shape))
                .hint("there is one index for each slice; `gather` takes one for each element")),
            (Self::Elements, found) => {
                let agrees = |i: usize| i == axis || found[i] == x.shape[i];
                if found.len() != x.shape.len() || !(0..found.len()).all(agrees) {
                    let text =
                        format!("indices {} and array {} differ beside axis {axis}", indices.shape, x.shape);
                    return Err(Problem::new(text).hint(
                        "all axes but the one that is indexed agree; `index_select` takes a list, `pick` one of each row",
                    ));
                }
                Ok(indices.shape.clone())
            }
        }
    }

    /// The kernel for an array and what is read of it.
    fn kernel(self, axis: usize, whole: &Shape, part: &Shape) -> Kernel {
        let inner = whole[axis + 1..].iter().product();
        Kernel { size: whole[axis], count: part[axis], inner, shared: self == Self::Slices }
    }
}

impl Op for Gather {
    fn name(&self) -> &'static str {
        match (self.adds_to, self.indices) {
            (None, Indices::Elements) => "gather",
            (None, Indices::Slices) => "index_select",
            (Some(_), Indices::Elements) => "scatter_add",
            (Some(_), Indices::Slices) => "index_add",
        }
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        let Some(size) = self.adds_to else {
            return Ok(TensorType::real(self.indices.read(operands[0], operands[1], self.axis)?));
        };
        let mut shape = operands[0].shape.to_vec();
        shape[self.axis] = size;
        let whole = TensorType { shape: shape.into(), dtype: operands[0].dtype };
        match self.indices.read(&whole, operands[1], self.axis)? == operands[0].shape {
            true => Ok(whole),
            false => Err(Problem::new(format!("{} does not have an index for each value", operands[1]))),
        }
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let (from, to) = (call.operand_shape(0), call.shape);
        let (values, indices, out, workers) = (call.real(0), call.indices_of(1), call.output, call.workers);
        match self.adds_to {
            None => self.indices.kernel(self.axis, from, to).read(values, indices, out, workers),
            Some(_) => self.indices.kernel(self.axis, to, from).add(values, indices, out, workers),
        }
    }

    fn vjp<'g>(&self, argument: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        if argument == 1 {
            return Gradient::Constant;
        }
        let adds_to = self.adds_to.is_none().then(|| inputs.operands[0].shape()[self.axis]);
        let adjoint = Self { adds_to, ..self.clone() };
        Gradient::Of(inputs.upstream.graph().record(adjoint, &[inputs.upstream, inputs.operands[1]]))
    }

    fn roles(&self) -> &'static [&'static str] {
        if self.adds_to.is_some() { &["values", "indices"] } else { &["x", "indices"] }
    }

    fn attributes(&self) -> Attributes {
        let attributes = Attributes::new().with("axis", self.axis);
        match self.adds_to {
            Some(size) => attributes.quiet("size", size),
            None => attributes,
        }
    }

    fn index_limit(&self, operands: &[&TensorType]) -> Option<usize> {
        Some(self.adds_to.unwrap_or_else(|| operands[0].shape[self.axis]))
    }

    fn axes(&self, operands: &[&TensorType]) -> Vec<AxisMap> {
        let map = AxisMap::same(operands[0].shape.len());
        let along = |read| map.clone().with(self.axis, read);
        match (self.indices, self.adds_to) {
            (Indices::Slices, None) => vec![along(AxisRead::Listed { by: 1 }), AxisMap::whole()],
            (Indices::Slices, Some(_)) => vec![along(AxisRead::All), AxisMap::whole()],
            // Each element that is read has an index beside it.
            (Indices::Elements, None) => vec![along(AxisRead::All), map],
            (Indices::Elements, Some(_)) => vec![along(AxisRead::All); 2],
        }
    }

    fn nhwc(&self) -> Option<Self> {
        Some(Self { axis: Layout::Nhwc.axis(self.axis), ..self.clone() })
    }
}

impl<'g> Var<'g> {
    /// For each index the element there along `axis`: out\[.., i, ..\] = x\[.., indices\[.., i, ..\], ..\]. In all other axes
    /// the indices have the array's sizes (`torch.gather`, NumPy's `take_along_axis`). Elements that are read twice receive
    /// both gradients.
    ///
    /// # Errors
    /// Recorded on the graph: an axis that does not exist, indices of another shape, real numbers for indices. An index
    /// that is out of range is an error when it is given.
    #[track_caller]
    pub fn gather(self, axis: isize, indices: Var<'g>) -> Var<'g> {
        self.gathered(axis, indices, Indices::Elements, None)
    }

    /// The slices across `axis` at a list of indices, in its order; they may repeat (`torch.index_select`). Rows of a table
    /// are an embedding.
    ///
    /// ```
    /// use dagrad::Graph;
    ///
    /// let graph = Graph::new();
    /// let (table, words) = (graph.input("table", [1000, 16]), graph.labels("words", [7]));
    /// assert_eq!(table.index_select(0, words).shape(), [7, 16].into());
    /// ```
    ///
    /// # Errors
    /// As [`gather`](Self::gather); indices that are no list.
    #[track_caller]
    pub fn index_select(self, axis: isize, indices: Var<'g>) -> Var<'g> {
        self.gathered(axis, indices, Indices::Slices, None)
    }

    /// The adjoint of [`gather`](Self::gather): an array of `size` along `axis`, zero but for these values added at their
    /// indices, in order (`torch.scatter_add` to zeros).
    ///
    /// # Errors
    /// As [`gather`](Self::gather); indices of another shape than the values.
    #[track_caller]
    pub fn scatter_add(self, axis: isize, indices: Var<'g>, size: usize) -> Var<'g> {
        self.gathered(axis, indices, Indices::Elements, Some(size))
    }

    /// Classes as rows: indices `[..]` give real numbers `[.., classes]`, 1 at the index and 0 elsewhere.
    ///
    /// ```
    /// use dagrad::Graph;
    /// use ndarray::array;
    ///
    /// let graph = Graph::new();
    /// let rows = graph.indices(array![2, 0]).one_hot(3);
    /// assert_eq!(rows.eval::<f64>(&[])?, array![[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]].into_dyn());
    /// # Ok::<(), dagrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// Recorded on the graph: real numbers for indices. An index that is out of range is an error when it is given.
    #[track_caller]
    pub fn one_hot(self, classes: usize) -> Var<'g> {
        let _called = self.graph().called("one_hot");
        self.graph().require("one_hot", "the number of classes", classes, COUNT);
        let (axis, mut single) = (self.shape().len() as isize, self.shape().to_vec());
        single.push(1);
        self.graph().fill(&single[..], 1.0).scatter_add(axis, self.reshape(&single[..]), classes)
    }

    #[track_caller]
    fn gathered(self, axis: isize, at: Var<'g>, indices: Indices, adds_to: Option<usize>) -> Var<'g> {
        let along = |axis| Gather { axis, indices, adds_to };
        match self.shape().axes(&[axis]) {
            Ok(axes) => self.graph().record(along(axes[0]), &[self, at]),
            Err(problem) => self.graph().refuse(along(0).name(), along(0).roles(), &[self, at], problem),
        }
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    vec![
        linear("along the middle", [normal([2, 3, 2]), labels([2, 4, 2], 3)], |v| v[0].gather(1, v[1])),
        linear("along the first", [normal([3, 2]), labels([5, 2], 3)], |v| v[0].gather(0, v[1])),
        linear("along the last", [normal([3, 4]), labels([3, 1], 4)], |v| v[0].gather(-1, v[1])),
        smooth("of a product", [normal([3, 4]), labels([3, 2], 4)], |v| (v[0] * v[0]).gather(1, v[1])),
        linear("rows of a table", [normal([4, 3]), labels([7], 4)], |v| v[0].index_select(0, v[1])),
        linear("channels", [normal([2, 3, 2, 2]), labels([4], 3)], |v| v[0].index_select(1, v[1])),
        linear("columns", [normal([2, 3]), labels([5], 3)], |v| v[0].index_select(-1, v[1])),
        linear("scattered", [normal([2, 5, 3]), labels([2, 5, 3], 4)], |v| v[0].scatter_add(1, v[1], 4)),
        linear("scattered along the last", [normal([2, 5]), labels([2, 5], 3)], |v| {
            v[0].scatter_add(-1, v[1], 3)
        }),
        linear("one-hot rows", [normal([2, 3, 4]), labels([2, 3], 4)], |v| v[0] * v[1].one_hot(4)),
        linear("no rows", [normal([4, 3]), labels([0], 4)], |v| v[0].index_select(0, v[1])),
        linear("an empty batch", [normal([0, 3]), labels([0, 2], 3)], |v| v[0].gather(1, v[1])),
    ]
}
