//! Functions of one number, applied to each element.

use std::ops::Neg;

use super::arithmetic::same_shape;
use super::example::{Example, away_from_zero, normal, positive};
use crate::error::Problem;
use crate::graph::op::{Here, Rewrite};
use crate::graph::{At, Call, Gradient, Meta, Op, Var};
use crate::kernels::elementwise::{self, Function};
use crate::kernels::real::Real;

/// `f(x)` for each element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pointwise {
    /// −x
    Negate,
    /// eˣ
    Exp,
    /// natural logarithm
    Ln,
    /// square root
    Sqrt,
    /// 1 / (1 + e⁻ˣ)
    Sigmoid,
    /// hyperbolic tangent
    Tanh,
    /// xⁿ
    Power(i32),
}

use Pointwise::{Exp, Ln, Negate, Power, Sigmoid, Sqrt, Tanh};

impl Op for Pointwise {
    fn name(&self) -> &'static str {
        match self {
            Negate => "neg",
            Exp => "exp",
            Ln => "ln",
            Sqrt => "sqrt",
            Sigmoid => "sigmoid",
            Tanh => "tanh",
            Power(_) => "powi",
        }
    }

    fn infer(&self, operands: &[&Meta]) -> Result<Meta, Problem> {
        if *self == Power(i32::MIN) {
            return Err(Problem::new("the power is too small to have a derivative").hint("use 1.0 / x.powi(n)"));
        }
        same_shape(operands)
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        elementwise::apply(self.function(), &[call.real(0)], call.output, call.workers);
    }

    fn vjp<'g>(&self, _: usize, at: At<'g>) -> Gradient<'g> {
        let (x, y, upstream) = (at.operands[0], at.output, at.upstream);
        Gradient::Of(match *self {
            Negate => -upstream,
            Exp => upstream * y,
            Ln => upstream / x,
            Sqrt => upstream * 0.5 / y,
            Sigmoid => upstream * (y * (1.0 - y)),
            Tanh => upstream * (1.0 - y * y),
            Power(0) => return Gradient::Constant,
            Power(1) => upstream,
            Power(n) => upstream * (x.powi(n - 1) * f64::from(n)),
        })
    }

    fn roles(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn attributes(&self) -> String {
        if let Power(n) = self { format!("power {n}") } else { String::new() }
    }

    fn elementwise(&self) -> Option<Function> {
        Some(self.function())
    }

    /// −(−x) = x¹ = x.
    fn simplify(&self, here: Here<'_>) -> Option<Rewrite> {
        match self {
            Negate if here.operand(0).op() == Some(&Negate) => {
                Some(Rewrite::Node(here.operand(0).operand(0).id))
            }
            Power(1) => Some(Rewrite::Node(here.operand(0).id)),
            _ => None,
        }
    }
}

impl Pointwise {
    fn function(self) -> Function {
        match self {
            Negate => Function::Negate,
            Exp => Function::Exp,
            Ln => Function::Ln,
            Sqrt => Function::Sqrt,
            Sigmoid => Function::Sigmoid,
            Tanh => Function::Tanh,
            Power(n) => Function::Power(n),
        }
    }
}

impl<'g> Neg for Var<'g> {
    type Output = Var<'g>;
    #[track_caller]
    fn neg(self) -> Var<'g> {
        self.graph().record(Negate, &[self])
    }
}

impl<'g> Var<'g> {
    /// eˣ for each element.
    #[track_caller]
    pub fn exp(self) -> Var<'g> {
        self.graph().record(Exp, &[self])
    }

    /// The natural logarithm of each element: NaN below 0, −∞ at 0.
    #[track_caller]
    pub fn ln(self) -> Var<'g> {
        self.graph().record(Ln, &[self])
    }

    /// The square root of each element: NaN below 0; the derivative at 0 is infinite.
    #[track_caller]
    pub fn sqrt(self) -> Var<'g> {
        self.graph().record(Sqrt, &[self])
    }

    /// Each element to a whole power, which may be negative; x⁰ is 1 everywhere.
    #[track_caller]
    pub fn powi(self, power: i32) -> Var<'g> {
        self.graph().record(Power(power), &[self])
    }

    /// The logistic function 1 / (1 + e⁻ˣ) of each element.
    #[track_caller]
    pub fn sigmoid(self) -> Var<'g> {
        self.graph().record(Sigmoid, &[self])
    }

    /// The hyperbolic tangent of each element.
    #[track_caller]
    pub fn tanh(self) -> Var<'g> {
        self.graph().record(Tanh, &[self])
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    vec![
        Example::new("exp", [normal([2, 3])], |v| v[0].exp()).smooth(),
        Example::new("ln", [positive([2, 3])], |v| v[0].ln()).smooth(),
        Example::new("sqrt", [positive([2, 3])], |v| v[0].sqrt()).smooth(),
        Example::new("sigmoid", [normal([2, 3])], |v| v[0].sigmoid()).smooth(),
        Example::new("tanh", [normal([2, 3])], |v| v[0].tanh()).smooth(),
        Example::new("cube", [normal([7])], |v| v[0].powi(3)).smooth(),
        Example::new("inverse square", [away_from_zero([7])], |v| (v[0] * 2.0).powi(-2)).smooth(),
        Example::new("power 1", [normal([3])], |v| v[0].powi(1)).linear(),
        Example::new("power 0 beside x", [normal([3])], |v| v[0].powi(0) + v[0]).linear(),
        Example::new("a chain", [normal([2, 2])], |v| (-v[0].tanh()).exp().sqrt().ln()).smooth(),
    ]
}
