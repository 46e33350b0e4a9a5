//! Values that are known when the graph is recorded.

use std::sync::Arc;

use ndarray::{Array, ArrayD, Dimension};

use super::example::{Example, normal};
use crate::error::Problem;
use crate::graph::{At, Call, Gradient, Graph, Meta, Op, Var};
use crate::kernels::real::Real;
use crate::shape::Shape;

/// An array of one number.
#[derive(Debug, Clone)]
pub struct Fill {
    shape: Shape,
    value: f64,
}

impl Op for Fill {
    fn name(&self) -> &'static str {
        "fill"
    }

    fn infer(&self, _: &[&Meta]) -> Result<Meta, Problem> {
        Ok(Meta::real(&self.shape))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        call.output.fill(T::of(self.value));
    }

    fn vjp<'g>(&self, _: usize, _: At<'g>) -> Gradient<'g> {
        Gradient::Constant
    }

    fn attributes(&self) -> String {
        self.value.to_string()
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

/// Equal means equal bits: 0 and −0 must not become one value, because 1/x tells them apart.
impl PartialEq for Fill {
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape && self.value.to_bits() == other.value.to_bits()
    }
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

    fn infer(&self, _: &[&Meta]) -> Result<Meta, Problem> {
        Ok(Meta::real(self.values.shape()))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        call.output.iter_mut().zip(self.values.iter()).for_each(|(out, &value)| *out = T::of(value));
    }

    fn vjp<'g>(&self, _: usize, _: At<'g>) -> Gradient<'g> {
        Gradient::Constant
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
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    vec![
        Example::on_graph("fill", [normal([2, 3])], |graph, v| v[0] * graph.fill([3], 1.5)).linear(),
        Example::on_graph("constant", [normal([2, 2])], |graph, v| {
            v[0] * graph.constant(ndarray::array![[1.0, -2.0], [0.5, 3.0]])
        })
        .linear(),
    ]
}
