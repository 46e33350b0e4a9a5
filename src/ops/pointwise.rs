//! Functions of one number, applied to each element.

use std::f64::consts::FRAC_2_SQRT_PI;
use std::ops::Neg;

use super::arithmetic::same_shape;
use super::example::{Example, away_from_zero, linear, normal, positive, smooth};
use crate::error::Problem;
use crate::graph::{Attributes, Call, Gradient, Op, TensorType, Var, VjpInputs};
use crate::graph::{NodeRef, Rewrite};
use dagrad_kernels::elementwise::{self, Function};
use dagrad_kernels::real::Real;

/// `f(x)` for each element, with a [`Function`] of one number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unary(pub Function);

use Function::*;

impl Op for Unary {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        match self.0 {
            Power(i32::MIN) => {
                Err(Problem::new("the power is too small to have a derivative").hint("use 1.0 / x.powi(n)"))
            }
            AtLeast(bound) | AtMost(bound) if bound.is_nan() => {
                Err(Problem::new("the bound is NaN").hint("an infinite bound lets every number pass"))
            }
            function if function.reads_two() => Err(Problem::new("it is a function of two numbers")),
            _ => same_shape(operands),
        }
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        elementwise::apply(self.0, &[call.real(0)], call.output, call.workers);
    }

    fn vjp<'g>(&self, _: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        let (x, y, upstream) = (inputs.operands[0], inputs.output, inputs.upstream);
        Gradient::Of(match self.0 {
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
            // The output is positive exactly where the input is. Asking the output leaves the input free to be forgotten (or
            // never to exist, where relu is computed together with what comes before).
            Relu => upstream.gate(y),
            Add | Subtract | Multiply | Weigh | Divide | Maximum | Minimum | Pow | Greater | GreaterEqual
            | Equal | Gate => {
                unreachable!("the shape rule refuses functions of two numbers")
            }
        })
    }

    fn roles(&self) -> &'static [&'static str] {
        &["x"]
    }

    fn attributes(&self) -> Attributes {
        match self.0 {
            Power(n) => Attributes::new().with("exponent", n),
            AtLeast(bound) | AtMost(bound) => Attributes::new().with("bound", bound),
            _ => Attributes::new(),
        }
    }

    fn elementwise(&self) -> Option<Function> {
        Some(self.0)
    }

    /// −(−x) = x¹ = x.
    fn simplify(&self, node: NodeRef<'_>) -> Option<Rewrite> {
        match self.0 {
            Negate if node.operand(0).op() == Some(&Unary(Negate)) => {
                Some(Rewrite::Node(node.operand(0).operand(0).id))
            }
            Power(1) => Some(Rewrite::Node(node.operand(0).id)),
            _ => None,
        }
    }
}

impl<'g> Neg for Var<'g> {
    type Output = Var<'g>;
    #[track_caller]
    fn neg(self) -> Var<'g> {
        self.graph().record(Unary(Negate), &[self])
    }
}

/// A method for each function; all of them record [`Unary`].
macro_rules! methods {
    ($($(#[$doc:meta])* $visible:vis fn $name:ident($($parameter:ident: $of:ty)?) => $function:expr;)*) => {
        impl<'g> Var<'g> {
            $(
                $(#[$doc])*
                #[track_caller]
                $visible fn $name(self $(, $parameter: $of)?) -> Var<'g> {
                    self.graph().record(Unary($function), &[self])
                }
            )*
        }
    };
}

methods! {
    /// The rectifier max(x, 0) of each element.
    ///
    /// The derivative at 0 is 0, as in PyTorch and JAX; NaN stays NaN, so a diverging network shows.
    pub fn relu() => Relu;

    /// eˣ for each element.
    pub fn exp() => Exp;

    /// The natural logarithm of each element: NaN below 0, −∞ at 0.
    pub fn ln() => Ln;

    /// The square root of each element: NaN below 0; the derivative at 0 is infinite.
    pub fn sqrt() => Sqrt;

    /// Each element to a whole power, which may be negative; x⁰ is 1 everywhere.
    pub fn powi(power: i32) => Power(power);

    /// The logistic function 1 / (1 + e⁻ˣ) of each element.
    pub fn sigmoid() => Sigmoid;

    /// The hyperbolic tangent of each element.
    pub fn tanh() => Tanh;

    /// The absolute value of each element; the derivative at 0 is 0.
    pub fn abs() => Abs;

    /// −1, 0 or 1 by the sign of each element; NaN stays NaN. The derivative is 0.
    pub fn sign() => Sign;

    /// ln(1 + x) for each element, with all digits near 0: NaN below −1, −∞ at −1.
    pub fn ln_1p() => Ln1p;

    /// eˣ − 1 for each element, with all digits near 0.
    pub fn exp_m1() => ExpM1;

    /// The sine of each element, in radians.
    pub fn sin() => Sin;

    /// The cosine of each element, in radians.
    pub fn cos() => Cos;

    /// The error function 2/√π ∫₀ˣ e^(−t²) dt of each element.
    pub fn erf() => Erf;

    /// ln(1 + eˣ) for each element, a smooth [`relu`](Self::relu); nothing overflows.
    pub fn softplus() => Softplus;

    /// The larger of each element and `bound`; NaN stays NaN. The derivative at the bound is 0, as in PyTorch.
    ///
    /// # Errors
    /// Recorded on the graph: a bound of NaN.
    pub fn at_least(bound: f64) => AtLeast(bound);

    /// The smaller of each element and `bound`; NaN stays NaN. The derivative at the bound is 0, as in PyTorch.
    ///
    /// # Errors
    /// Recorded on the graph: a bound of NaN.
    pub fn at_most(bound: f64) => AtMost(bound);

    /// The smaller of each element and 0; NaN stays NaN. Unlike that of `at_most(0.0)`, the derivative at 0 is 1, so that
    /// with [`relu`](Self::relu) it adds up to x and to its gradient.
    pub(super) fn min_zero() => MinZero;
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    vec![
        Example::new("relu", [away_from_zero([2, 3, 4])], |v| v[0].relu()),
        Example::new("relu of a product", [away_from_zero([5])], |v| (v[0] * v[0] * v[0]).relu()),
        smooth("exp", [normal([2, 3])], |v| v[0].exp()),
        smooth("ln", [positive([2, 3])], |v| v[0].ln()),
        smooth("sqrt", [positive([2, 3])], |v| v[0].sqrt()),
        smooth("sigmoid", [normal([2, 3])], |v| v[0].sigmoid()),
        smooth("tanh", [normal([2, 3])], |v| v[0].tanh()),
        smooth("cube", [normal([7])], |v| v[0].powi(3)),
        smooth("inverse square", [away_from_zero([7])], |v| (v[0] * 2.0).powi(-2)),
        linear("power 1", [normal([3])], |v| v[0].powi(1)),
        linear("power 0 beside x", [normal([3])], |v| v[0].powi(0) + v[0]),
        Example::new("abs", [away_from_zero([2, 3])], |v| v[0].abs()),
        Example::new("sign times x", [away_from_zero([5])], |v| v[0].sign() * v[0]),
        smooth("ln_1p", [positive([2, 3])], |v| v[0].ln_1p()),
        smooth("exp_m1", [normal([2, 3])], |v| v[0].exp_m1()),
        smooth("sin", [normal([2, 3])], |v| v[0].sin()),
        smooth("cos", [normal([2, 3])], |v| v[0].cos()),
        smooth("erf", [normal([2, 3])], |v| v[0].erf()),
        smooth("softplus", [normal([2, 3])], |v| v[0].softplus()),
        Example::new("at_least", [away_from_zero([9])], |v| (v[0] + 0.5).at_least(0.5) * v[0]),
        Example::new("at_most", [away_from_zero([9])], |v| (v[0] - 1.0).at_most(-1.0) * v[0]),
        Example::new("min_zero", [away_from_zero([3, 2])], |v| v[0].min_zero() * v[0]),
        smooth("a chain", [normal([2, 2])], |v| (-v[0].tanh()).exp().sqrt().ln()),
    ]
}
