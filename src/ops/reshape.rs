//! The same numbers under another shape. In a plan this costs nothing: both share their memory.

use super::example::{Example, normal};
use crate::error::Problem;
use crate::graph::op::{Here, Rewrite, Samples};
use crate::graph::{At, Call, Gradient, Meta, Op, Var};
use crate::kernels::real::Real;
use crate::shape::Shape;

/// The same elements in the same order, under another shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Reshape {
    shape: Shape,
}

impl Op for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn infer(&self, operands: &[&Meta]) -> Result<Meta, Problem> {
        let x = operands[0];
        let (from, to) = (x.shape.count(), self.shape.checked_count());
        if to != Some(from) {
            let to = to.map_or("more than any memory holds".to_string(), |count| count.to_string());
            return Err(Problem::new(format!("{} elements do not fill the shape {}", from, self.shape))
                .hint(format!("the new shape holds {to}; the two counts must agree")));
        }
        Ok(Meta { shape: self.shape.clone(), dtype: x.dtype })
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        // Reached only where memory cannot be shared.
        if call.indices.is_empty() {
            call.output.copy_from_slice(call.real(0));
        } else {
            call.indices.copy_from_slice(call.indices_of(0));
        }
    }

    fn vjp<'g>(&self, _: usize, at: At<'g>) -> Gradient<'g> {
        Gradient::Of(at.upstream.reshape(at.operands[0].shape()))
    }

    fn roles(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn is_alias(&self) -> bool {
        true
    }

    /// Samples stay apart where axis 0 stays.
    fn samples(&self, operands: &[&Meta]) -> Option<Samples> {
        let rows = operands[0].shape.first()?;
        (self.shape.first() == Some(rows)).then(|| Samples::each(*rows, &[true]))
    }

    /// Only the last of several reshapes counts, and none to the same shape.
    fn simplify(&self, here: Here<'_>) -> Option<Rewrite> {
        let operand = here.operand(0);
        if operand.meta() == here.meta() {
            return Some(Rewrite::Node(operand.id));
        }
        operand.op::<Reshape>()?;
        let first = operand.operand(0).id;
        Some(Rewrite::op_on(self.clone(), [first]))
    }
}

impl Reshape {
    /// The same elements under a shape.
    pub fn to(shape: impl Into<Shape>) -> Self {
        Self { shape: shape.into() }
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
        self.graph().record(Reshape { shape }, &[self])
    }

    /// Joins all axes but the first: a batch of pictures `[N, C, H, W]` becomes rows `[N, C·H·W]`.
    #[track_caller]
    pub fn flatten(self) -> Var<'g> {
        let shape = self.shape();
        match &shape[..] {
            [] => self.reshape([1, 1]),
            [batch, rest @ ..] => self.reshape([*batch, rest.iter().product()]),
        }
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    vec![
        Example::new("reshape", [normal([2, 3, 4])], |v| v[0].reshape([4, 6])).linear(),
        Example::new("flatten", [normal([2, 3, 1, 2])], |v| v[0].flatten()).linear(),
        Example::new("there and back", [normal([6])], |v| v[0].reshape([2, 3]).reshape([6])).linear(),
        Example::new("beside itself", [normal([4])], |v| v[0].reshape([2, 2]) * v[0].reshape([2, 2])).smooth(),
        Example::new("no elements", [normal([0, 3])], |v| v[0].reshape([3, 0])).linear(),
    ]
}
