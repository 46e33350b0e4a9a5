//! Examples of operations: from each one, all checks of its shapes, values and derivatives are made.

use std::fmt;

use crate::graph::{Graph, Var};
use crate::shape::Shape;

/// What numbers an operand of an example holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Values {
    /// Standard normal.
    Normal,
    /// Between 0.5 and 2.
    Positive,
    /// At least 0.1 from 0, on both sides: away from the kink of relu.
    AwayFromZero,
    /// Any two at least 0.1 apart: no ties for a maximum to decide.
    Distinct,
    /// Whole numbers below this: classes. Not differentiated.
    Below(u32),
}

/// An operand of an example.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its shape.
    pub shape: Shape,
    /// Its numbers.
    pub values: Values,
}

/// Standard normal numbers.
pub fn normal(shape: impl Into<Shape>) -> Sample {
    Sample { shape: shape.into(), values: Values::Normal }
}

/// Numbers between 0.5 and 2.
pub fn positive(shape: impl Into<Shape>) -> Sample {
    Sample { shape: shape.into(), values: Values::Positive }
}

/// Numbers at least 0.1 from 0.
pub fn away_from_zero(shape: impl Into<Shape>) -> Sample {
    Sample { shape: shape.into(), values: Values::AwayFromZero }
}

/// Numbers at least 0.1 from one another.
pub fn distinct(shape: impl Into<Shape>) -> Sample {
    Sample { shape: shape.into(), values: Values::Distinct }
}

/// Classes below `classes`.
pub fn labels(shape: impl Into<Shape>, classes: u32) -> Sample {
    Sample { shape: shape.into(), values: Values::Below(classes) }
}

/// A small use of an operation on operands of known shapes.
pub struct Example {
    /// What is special about it.
    pub name: String,
    /// The operands.
    pub operands: Vec<Sample>,
    /// Records the operation.
    pub build: Box<Build>,
    /// Whether the result is linear in each operand alone, so that finite differences are exact.
    pub linear: bool,
    /// Up to which order derivatives are checked.
    pub order: usize,
}

/// Records a computation on operands.
pub type Build = dyn for<'g> Fn(&'g Graph, &[Var<'g>]) -> Var<'g> + Send + Sync;

impl Example {
    /// An example that is checked to second order.
    pub fn new<B, const N: usize>(name: &str, operands: [Sample; N], build: B) -> Self
    where
        B: for<'g> Fn(&[Var<'g>]) -> Var<'g> + Send + Sync + 'static,
    {
        Self::boxed(name, Vec::from(operands), Box::new(move |_, operands| build(operands)))
    }

    /// Like [`new`](Self::new), for operations that begin on the graph rather than on a value.
    pub fn on_graph<B, const N: usize>(name: &str, operands: [Sample; N], build: B) -> Self
    where
        B: for<'g> Fn(&'g Graph, &[Var<'g>]) -> Var<'g> + Send + Sync + 'static,
    {
        Self::boxed(name, Vec::from(operands), Box::new(build))
    }

    /// An example of operands of any number.
    pub fn boxed(name: &str, operands: Vec<Sample>, build: Box<Build>) -> Self {
        Self { name: name.to_string(), operands, build, linear: false, order: 2 }
    }

    /// The result is linear in each operand alone: differences are taken in steps of 1 and must agree to
    /// the last few positions.
    pub fn linear(self) -> Self {
        Self { linear: true, ..self }
    }

    /// The result is smooth: third derivatives are checked too.
    pub fn smooth(self) -> Self {
        Self { order: 3, ..self }
    }
}

/// A [`linear`](Example::linear) example.
pub(super) fn linear<B, const N: usize>(name: &str, operands: [Sample; N], build: B) -> Example
where
    B: for<'g> Fn(&[Var<'g>]) -> Var<'g> + Send + Sync + 'static,
{
    Example::new(name, operands, build).linear()
}

/// A [`smooth`](Example::smooth) example.
pub(super) fn smooth<B, const N: usize>(name: &str, operands: [Sample; N], build: B) -> Example
where
    B: for<'g> Fn(&[Var<'g>]) -> Var<'g> + Send + Sync + 'static,
{
    Example::new(name, operands, build).smooth()
}

impl fmt::Debug for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.name, self.operands)
    }
}
