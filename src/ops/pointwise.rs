//! Functions of one number, applied to each element.

use std::f64::consts::FRAC_2_SQRT_PI;
use std::ops::Neg;

use super::arithmetic::same_shape;
use super::example::{Example, away_from_zero, normal, positive};
use crate::error::Problem;
use crate::graph::{Attributes, Call, Gradient, Op, TensorType, Var, VjpInputs};
use crate::graph::{NodeRef, Rewrite};
use dagrad_kernels::elementwise::{self, Function};
use dagrad_kernels::real::Real;

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
    /// |x|
    Abs,
    /// −1, 0 or 1
    Sign,
    /// ln(1 + x)
    Ln1p,
    /// eˣ − 1
    ExpM1,
    /// sine
    Sin,
    /// cosine
    Cos,
    /// error function
    Erf,
    /// ln(1 + eˣ)
    Softplus,
    /// the larger of x and a number
    AtLeast(f64),
    /// the smaller of x and a number
    AtMost(f64),
    /// the smaller of x and 0, with the gradient 1 at 0
    MinZero,
}

use Pointwise::*;

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
            Abs => "abs",
            Sign => "sign",
            Ln1p => "ln_1p",
            ExpM1 => "exp_m1",
            Sin => "sin",
            Cos => "cos",
            Erf => "erf",
            Softplus => "softplus",
            AtLeast(_) => "at_least",
            AtMost(_) => "at_most",
            MinZero => "min_zero",
        }
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        if *self == Power(i32::MIN) {
            return Err(
                Problem::new("the power is too small to have a derivative").hint("use 1.0 / x.powi(n)")
            );
        }
        if matches!(self, AtLeast(bound) | AtMost(bound) if bound.is_nan()) {
            return Err(Problem::new("the bound is NaN").hint("an infinite bound lets every number pass"));
        }
        same_shape(operands)
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        elementwise::apply(self.function(), &[call.real(0)], call.output, call.workers);
    }

    fn vjp<'g>(&self, _: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        let (x, y, upstream) = (inputs.operands[0], inputs.output, inputs.upstream);
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
            Abs => upstream * x.sign(),
            Sign => return Gradient::Constant,
            Ln1p => upstream / (x + 1.0),
            ExpM1 => upstream * (y + 1.0),
            Sin => upstream * x.cos(),
            Cos => -upstream * x.sin(),
            Erf => upstream * (-(x * x)).exp() * FRAC_2_SQRT_PI,
            Softplus => upstream * x.sigmoid(),
            AtLeast(bound) => upstream.gate(x - bound),
            AtMost(bound) => upstream.gate(bound - x),
            MinZero => upstream - upstream.gate(x),
        })
    }

    fn roles(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn attributes(&self) -> Attributes {
        match *self {
            Power(n) => Attributes::new().with("exponent", n),
            AtLeast(bound) | AtMost(bound) => Attributes::new().with("bound", bound),
            _ => Attributes::new(),
        }
    }

    fn elementwise(&self) -> Option<Function> {
        Some(self.function())
    }

    /// −(−x) = x¹ = x.
    fn simplify(&self, node: NodeRef<'_>) -> Option<Rewrite> {
        match self {
            Negate if node.operand(0).op() == Some(&Negate) => {
                Some(Rewrite::Node(node.operand(0).operand(0).id))
            }
            Power(1) => Some(Rewrite::Node(node.operand(0).id)),
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
            Abs => Function::Abs,
            Sign => Function::Sign,
            Ln1p => Function::Ln1p,
            ExpM1 => Function::ExpM1,
            Sin => Function::Sin,
            Cos => Function::Cos,
            Erf => Function::Erf,
            Softplus => Function::Softplus,
            AtLeast(bound) => Function::AtLeast(bound),
            AtMost(bound) => Function::AtMost(bound),
            MinZero => Function::AtMost(0.0),
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

    /// The absolute value of each element; the derivative at 0 is 0.
    #[track_caller]
    pub fn abs(self) -> Var<'g> {
        self.graph().record(Abs, &[self])
    }

    /// −1, 0 or 1 by the sign of each element; NaN stays NaN. The derivative is 0.
    #[track_caller]
    pub fn sign(self) -> Var<'g> {
        self.graph().record(Sign, &[self])
    }

    /// ln(1 + x) for each element, with all digits near 0: NaN below −1, −∞ at −1.
    #[track_caller]
    pub fn ln_1p(self) -> Var<'g> {
        self.graph().record(Ln1p, &[self])
    }

    /// eˣ − 1 for each element, with all digits near 0.
    #[track_caller]
    pub fn exp_m1(self) -> Var<'g> {
        self.graph().record(ExpM1, &[self])
    }

    /// The sine of each element, in radians.
    #[track_caller]
    pub fn sin(self) -> Var<'g> {
        self.graph().record(Sin, &[self])
    }

    /// The cosine of each element, in radians.
    #[track_caller]
    pub fn cos(self) -> Var<'g> {
        self.graph().record(Cos, &[self])
    }

    /// The error function 2/√π ∫₀ˣ e^(−t²) dt of each element.
    #[track_caller]
    pub fn erf(self) -> Var<'g> {
        self.graph().record(Erf, &[self])
    }

    /// ln(1 + eˣ) for each element, a smooth [`relu`](Self::relu); nothing overflows.
    #[track_caller]
    pub fn softplus(self) -> Var<'g> {
        self.graph().record(Softplus, &[self])
    }

    /// The larger of each element and `bound`; NaN stays NaN. The derivative at the bound is 0, as in PyTorch.
    ///
    /// # Errors
    /// Recorded on the graph: a bound of NaN.
    #[track_caller]
    pub fn at_least(self, bound: f64) -> Var<'g> {
        self.graph().record(AtLeast(bound), &[self])
    }

    /// The smaller of each element and `bound`; NaN stays NaN. The derivative at the bound is 0, as in PyTorch.
    ///
    /// # Errors
    /// Recorded on the graph: a bound of NaN.
    #[track_caller]
    pub fn at_most(self, bound: f64) -> Var<'g> {
        self.graph().record(AtMost(bound), &[self])
    }

    /// The smaller of each element and 0; NaN stays NaN. Unlike that of `at_most(0.0)`, the derivative at 0 is 1, so that
    /// with [`relu`](Self::relu) it adds up to x and to its gradient.
    #[track_caller]
    pub(super) fn min_zero(self) -> Var<'g> {
        self.graph().record(MinZero, &[self])
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
        Example::new("abs", [away_from_zero([2, 3])], |v| v[0].abs()),
        Example::new("sign times x", [away_from_zero([5])], |v| v[0].sign() * v[0]),
        Example::new("ln_1p", [positive([2, 3])], |v| v[0].ln_1p()).smooth(),
        Example::new("exp_m1", [normal([2, 3])], |v| v[0].exp_m1()).smooth(),
        Example::new("sin", [normal([2, 3])], |v| v[0].sin()).smooth(),
        Example::new("cos", [normal([2, 3])], |v| v[0].cos()).smooth(),
        Example::new("erf", [normal([2, 3])], |v| v[0].erf()).smooth(),
        Example::new("softplus", [normal([2, 3])], |v| v[0].softplus()).smooth(),
        Example::new("at_least", [away_from_zero([9])], |v| (v[0] + 0.5).at_least(0.5) * v[0]),
        Example::new("at_most", [away_from_zero([9])], |v| (v[0] - 1.0).at_most(-1.0) * v[0]),
        Example::new("min_zero", [away_from_zero([3, 2])], |v| v[0].min_zero() * v[0]),
        Example::new("a chain", [normal([2, 2])], |v| (-v[0].tanh()).exp().sqrt().ln()).smooth(),
    ]
}
