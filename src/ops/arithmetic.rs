//! Sum, difference, product and quotient of two arrays, element by element, broadcast as in NumPy.

use std::ops::{Add, Div, Mul, Sub};

use super::example::{Example, normal, positive};
use crate::error::Problem;
use crate::graph::op::{Here, Rewrite};
use crate::graph::{At, Call, Dtype, Gradient, Meta, Op, Var};
use crate::kernels::elementwise::{self, Function};
use crate::kernels::real::Real;

/// `a ∘ b` for arrays of one shape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arithmetic {
    /// a + b
    Add,
    /// a − b
    Subtract,
    /// a · b
    Multiply,
    /// a / b
    Divide,
}

use Arithmetic::{Add as Plus, Divide, Multiply, Subtract};

impl Op for Arithmetic {
    fn name(&self) -> &'static str {
        match self {
            Plus => "add",
            Subtract => "sub",
            Multiply => "mul",
            Divide => "div",
        }
    }

    fn infer(&self, operands: &[&Meta]) -> Result<Meta, Problem> {
        same_shape(operands)
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        elementwise::apply(self.function(), &[call.real(0), call.real(1)], call.output, call.workers);
    }

    fn vjp<'g>(&self, argument: usize, at: At<'g>) -> Gradient<'g> {
        let upstream = at.upstream;
        Gradient::Of(match (self, argument) {
            (Plus, _) | (Subtract, 0) => upstream,
            (Subtract, _) => -upstream,
            (Multiply, _) => upstream * at.operands[1 - argument],
            (Divide, 0) => upstream / at.operands[1],
            (Divide, _) => -(upstream * at.output / at.operands[1]),
        })
    }

    fn roles(&self) -> &'static [&'static str] {
        &["left", "right"]
    }

    fn elementwise(&self) -> Option<Function> {
        Some(self.function())
    }

    /// x + 0 = x − 0 = x · 1 = x / 1 = x.
    fn simplify(&self, here: Here<'_>) -> Option<Rewrite> {
        let neutral = if matches!(self, Plus | Subtract) { 0.0 } else { 1.0 };
        let is_neutral = |position| here.operand(position).constant() == Some(neutral);
        match self {
            _ if is_neutral(1) => Some(Rewrite::Node(here.operand(0).id)),
            Plus | Multiply if is_neutral(0) => Some(Rewrite::Node(here.operand(1).id)),
            _ => None,
        }
    }
}

impl Arithmetic {
    fn function(self) -> Function {
        match self {
            Plus => Function::Add,
            Subtract => Function::Subtract,
            Multiply => Function::Multiply,
            Divide => Function::Divide,
        }
    }
}

/// The shape rule of elementwise operations: real arrays of one shape make another.
///
/// # Errors
/// Indices, or shapes that differ.
pub fn same_shape(operands: &[&Meta]) -> Result<Meta, Problem> {
    if operands.iter().any(|operand| operand.dtype == Dtype::Index) {
        return Err(Problem::new("it takes real numbers, not indices")
            .hint("labels go into a loss such as `softmax_cross_entropy`"));
    }
    match operands {
        [first, rest @ ..] if rest.iter().all(|operand| operand == first) => Ok((*first).clone()),
        _ => {
            let shapes: Vec<String> = operands.iter().map(|operand| operand.shape.to_string()).collect();
            Err(Problem::new(format!("the shapes {} do not broadcast", shapes.join(" and ")))
                .hint("axes are aligned at the last one; their sizes are equal, or one of them is 1"))
        }
    }
}

impl<'g> Var<'g> {
    #[track_caller]
    fn arithmetic(self, op: Arithmetic, other: Var<'g>) -> Var<'g> {
        let (a, b) = match self.shape().broadcast(&other.shape()) {
            Some(shape) if self.meta().dtype == Dtype::Real && other.meta().dtype == Dtype::Real => {
                (self.broadcast_to(&shape), other.broadcast_to(&shape))
            }
            _ => (self, other), // the shape rule says what is wrong
        };
        self.graph().record(op, &[a, b])
    }
}

macro_rules! operator {
    ($Trait:ident, $method:ident, $op:expr) => {
        impl<'g> $Trait for Var<'g> {
            type Output = Var<'g>;
            #[track_caller]
            fn $method(self, other: Var<'g>) -> Var<'g> {
                self.arithmetic($op, other)
            }
        }

        impl<'g> $Trait<f64> for Var<'g> {
            type Output = Var<'g>;
            #[track_caller]
            fn $method(self, other: f64) -> Var<'g> {
                self.arithmetic($op, self.graph().fill(self.shape(), other))
            }
        }

        impl<'g> $Trait<Var<'g>> for f64 {
            type Output = Var<'g>;
            #[track_caller]
            fn $method(self, other: Var<'g>) -> Var<'g> {
                other.graph().fill(other.shape(), self).arithmetic($op, other)
            }
        }
    };
}
operator!(Add, add, Plus);
operator!(Sub, sub, Subtract);
operator!(Mul, mul, Multiply);
operator!(Div, div, Divide);

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    vec![
        Example::new("a + b", [normal([2, 3]), normal([2, 3])], |v| v[0] + v[1]).linear(),
        Example::new("a - b broadcast both ways", [normal([2, 1, 4]), normal([3, 1])], |v| v[0] - v[1]).linear(),
        Example::new("a * b, a scalar", [normal([2, 3]), normal([])], |v| v[0] * v[1]).linear(),
        Example::new("a / b", [normal([3, 2]), positive([2])], |v| v[0] / v[1]).smooth(),
        Example::new("the same array twice", [normal([5])], |v| v[0] * v[0] + v[0]).smooth(),
        Example::new("a over its own square", [positive([3])], |v| v[0] / (v[0] * v[0])),
        Example::new("numbers on both sides", [positive([2, 2])], |v| 1.0 - 2.0 / (v[0] * 3.0 + 0.5)).smooth(),
        Example::new("negation", [normal([4])], |v| -v[0]).linear(),
        Example::new("no elements", [normal([0, 3]), normal([3])], |v| v[0] + v[1]).linear(),
        Example::new("a size of 1", [normal([1, 1]), normal([1])], |v| v[0] * v[1]).linear(),
    ]
}
