//! Values that are known when the graph is recorded.

use std::sync::Arc;

use ndarray::{Array, ArrayD, Dimension};

use super::example::{Example, normal};
use crate::error::Problem;
use crate::graph::{Attributes, Call, Gradient, Graph, Op, TensorType, Var, VjpInputs};
use crate::shape::Shape;
use dagrad_kernels::real::Real;

/// An array of one number.
#[derive(Debug, Clone)]
pub struct Fill {
    pub(super) shape: Shape,
    pub(super) value: f64,
}

/// Equal means equal bits: 0 and −0 must not become one value, because 1/x tells them apart.
impl PartialEq for Fill {
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape && self.value.to_bits() == other.value.to_bits()
    }
}

impl Op for Fill {
    fn name(&self) -> &'static str {
        "fill"
    }

    fn infer(&self, _: &[&TensorType]) -> Result<TensorType, Problem> {
        Ok(TensorType::real(&self.shape))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        call.output.fill(T::of(self.value));
    }

    fn vjp<'g>(&self, _: usize, _: VjpInputs<'g>) -> Gradient<'g> {
        Gradient::Constant
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().with("value", self.value).quiet("shape", &self.shape)
    }

    fn constant(&self) -> Option<f64> {
        Some(self.value)
    }
}

/// An array written down.
#[derive(Debug, Clone)]
pub struct Constant {
    values: Arc<ArrayD<f64>>,
}

/// Indices written down.
#[derive(Debug, Clone, PartialEq)]
pub struct Indices {
    values: Arc<ArrayD<u32>>,
}

impl PartialEq for Constant {
    fn eq(&self, other: &Self) -> bool {
        let same_bits = || self.values.iter().zip(&*other.values).all(|(a, b)| a.to_bits() == b.to_bits());
        self.values.shape() == other.values.shape() && same_bits()
    }
}

impl Op for Constant {
    fn name(&self) -> &'static str {
        "constant"
    }

    fn infer(&self, _: &[&TensorType]) -> Result<TensorType, Problem> {
        Ok(TensorType::real(self.values.shape()))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        call.output.iter_mut().zip(self.values.iter()).for_each(|(out, &value)| *out = T::of(value));
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().quiet("values", self.values.clone())
    }

    fn vjp<'g>(&self, _: usize, _: VjpInputs<'g>) -> Gradient<'g> {
        Gradient::Constant
    }
}

impl Op for Indices {
    fn name(&self) -> &'static str {
        "indices"
    }

    fn infer(&self, _: &[&TensorType]) -> Result<TensorType, Problem> {
        Ok(TensorType::index(self.values.shape()))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        call.indices.iter_mut().zip(self.values.iter()).for_each(|(out, &value)| *out = value);
    }

    fn vjp<'g>(&self, _: usize, _: VjpInputs<'g>) -> Gradient<'g> {
        Gradient::Constant
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().quiet("values", self.values.clone())
    }

    fn index_bound(&self, _: &[&TensorType], exempt: Option<u32>) -> Option<usize> {
        let counted = self.values.iter().filter(|&&index| Some(index) != exempt);
        Some(counted.max().map_or(0, |&largest| largest as usize + 1))
    }
}

impl Graph {
    /// An array whose elements are all `value`.
    #[track_caller]
    pub fn fill(&self, shape: impl Into<Shape>, value: f64) -> Var<'_> {
        self.record(Fill { shape: shape.into(), value }, &[])
    }

    /// An array of given numbers.
    ///
    /// ```
    /// use dagrad::Graph;
    /// use ndarray::array;
    ///
    /// let graph = Graph::new();
    /// let corners = graph.constant(array![[1.0, 0.0], [0.0, 1.0]]);
    /// assert_eq!(corners.shape(), [2, 2].into());
    /// ```
    #[track_caller]
    pub fn constant<D: Dimension>(&self, values: Array<f64, D>) -> Var<'_> {
        self.record(Constant { values: Arc::new(values.into_dyn()) }, &[])
    }

    /// An array of given indices. One that is out of range is an error where it is used.
    ///
    /// ```
    /// use dagrad::Graph;
    /// use ndarray::array;
    ///
    /// let graph = Graph::new();
    /// let x = graph.input("x", [2, 5]);
    /// let outer = x.index_select(1, graph.indices(array![0, 4]));
    /// assert_eq!(outer.shape(), [2, 2].into());
    /// ```
    #[track_caller]
    pub fn indices<D: Dimension>(&self, values: Array<u32, D>) -> Var<'_> {
        self.record(Indices { values: Arc::new(values.into_dyn()) }, &[])
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    vec![
        Example::on_graph("fill", [normal([2, 3])], |graph, v| v[0] * graph.fill([3], 1.5)).linear(),
        Example::on_graph("constant", [normal([2, 2])], |graph, v| {
            v[0] * graph.constant(ndarray::array![[1.0, -2.0], [0.5, 3.0]])
        })
        .linear(),
        Example::on_graph("indices", [normal([4, 2])], |graph, v| {
            v[0].index_select(0, graph.indices(ndarray::array![3, 0, 3]))
        })
        .linear(),
        Example::on_graph("indices under another shape", [normal([2, 3])], |graph, v| {
            v[0].gather(1, graph.indices(ndarray::array![2, 0, 1, 1]).reshape([2, 2]))
        })
        .linear(),
    ]
}
