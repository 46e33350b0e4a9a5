//! Functions and comparisons of two arrays, element by element, broadcast as in NumPy.

use std::ops::{Add, Div, Mul, Sub};

use super::example::{Example, away_from_zero, distinct, linear, normal, positive, smooth};
use super::operands::all_real;
use super::rules;
use crate::error::Problem;
use crate::graph::{Call, Dtype, Gradient, Op, TensorType, Var, VjpInputs};
use crate::graph::{NodeRef, Rewrite};
use crate::shape::Shape;
use dagrad_kernels::elementwise::{self, Function};
use dagrad_kernels::real::Real;

/// `a ∘ b` for arrays of one shape, with a [`Function`] of two numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Binary(pub Function);

use Function::{
    Add as Plus, Divide, Equal, Gate, Greater, GreaterEqual, Maximum, Minimum, Multiply, Pow, Subtract, Weigh,
};

impl Op for Binary {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        if self.0.reads_two() {
            same_shape(operands)
        } else {
            Err(Problem::new("it is a function of one number"))
        }
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        elementwise::apply(self.0, &[call.real(0), call.real(1)], call.output, call.workers);
    }

    fn vjp<'g>(&self, argument: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        let (upstream, [a, b]) = (inputs.upstream, [inputs.operands[0], inputs.operands[1]]);
        // At a tie both have half of the gradient; a NaN lets it pass. Gated, so that 0 · ∞ makes no NaN of what is beaten.
        let share = |is_beaten: Var<'g>| (upstream * (1.0 - a.equal(b) * 0.5)).gate(1.0 - is_beaten);
        Gradient::Of(match (self.0, argument) {
            (Plus, _) | (Subtract, 0) => upstream,
            (Subtract, _) => -upstream,
            (Multiply, _) => upstream * inputs.operands[1 - argument],
            (Weigh, 0) => upstream.weigh(b),
            (Weigh, _) => a.weigh(upstream),
            (Divide, 0) => upstream / b,
            (Divide, _) => -(upstream * inputs.output / b),
            (Maximum, 0) | (Minimum, 1) => share(b.greater(a)),
            (Maximum, _) | (Minimum, _) => share(a.greater(b)),
            // No gradient where the exponent is 0, and none in the exponent where 0 stays 0.
            (Pow, 0) => upstream * (b * a.pow(b - 1.0)).gate(b.abs()),
            (Pow, _) => {
                let stays = a.equal(0.0) * b.greater_equal(0.0);
                upstream * (inputs.output * a.ln()).gate(1.0 - stays)
            }
            (Gate, 0) => upstream.gate(b),
            // A comparison, or what opens a gate.
            _ => return Gradient::Constant,
        })
    }

    fn roles(&self) -> &'static [&'static str] {
        if self.0 == Gate { &["x", "by"] } else { &["left", "right"] }
    }

    fn elementwise(&self) -> Option<Function> {
        Some(self.0)
    }

    /// x + 0 = x − 0 = x · 1 = x / 1 = x; a constant whole power is a pointwise one.
    fn simplify(&self, node: NodeRef<'_>) -> Option<Rewrite> {
        let is = |position, number| node.operand(position).constant() == Some(number);
        match self.0 {
            Pow => rules::power_of_constant(node),
            Gate => rules::gate_of_put(node),
            Plus | Subtract if is(1, 0.0) => Some(Rewrite::Node(node.operand(0).id)),
            Multiply | Weigh | Divide if is(1, 1.0) => Some(Rewrite::Node(node.operand(0).id)),
            Plus if is(0, 0.0) => Some(Rewrite::Node(node.operand(1).id)),
            Multiply | Weigh if is(0, 1.0) => Some(Rewrite::Node(node.operand(1).id)),
            _ => None,
        }
    }
}

/// The shape rule of elementwise operations: real arrays of one shape make another.
///
/// # Errors
/// Indices, or shapes that differ.
pub fn same_shape(operands: &[&TensorType]) -> Result<TensorType, Problem> {
    all_real(operands)?;
    match operands {
        [first, rest @ ..] if rest.iter().all(|operand| operand == first) => Ok((*first).clone()),
        _ => {
            let shapes: Vec<String> = operands.iter().map(|operand| operand.shape.to_string()).collect();
            let problem = Problem::new(format!("the shapes {} do not broadcast", shapes.join(" and ")));
            let fitting =
                |&[a, b]: &[&TensorType; 2]| spread(&a.shape, &b.shape).or(spread(&b.shape, &a.shape));
            Err(match operands.try_into().ok().as_ref().and_then(fitting) {
                Some(shape) => {
                    problem.hint(format!("axes are aligned at the last one; `reshape` to {shape} fits"))
                }
                None => problem
                    .hint("axes are aligned at the last one; their sizes are equal, or one of them is 1"),
            })
        }
    }
}

/// With how many axes of size 1 after its own a shape broadcasts to a larger one, as a number for each channel does to images.
fn spread(small: &Shape, large: &Shape) -> Option<Shape> {
    let longer =
        |ones: usize| -> Shape { small.iter().copied().chain(std::iter::repeat_n(1, ones)).collect() };
    let most = large.len().saturating_sub(small.len());
    (1..=most).map(longer).find(|shape| shape.broadcast(large).as_ref() == Some(large))
}

impl<'g> Var<'g> {
    #[track_caller]
    fn arithmetic(self, function: Function, other: Var<'g>) -> Var<'g> {
        let (a, b) = match self.shape().broadcast(&other.shape()) {
            Some(shape) if self.ty().dtype == Dtype::Real && other.ty().dtype == Dtype::Real => {
                (self.broadcast_to(&shape), other.broadcast_to(&shape))
            }
            _ => (self, other), // the shape rule says what is wrong
        };
        self.graph().record(Binary(function), &[a, b])
    }
}

/// What an array can be compared or combined with: another array, or a number.
pub trait Other<'g> {
    /// It as a value on the graph of `x`, which it can be broadcast with.
    fn beside(self, x: Var<'g>) -> Var<'g>;
}

impl<'g> Other<'g> for Var<'g> {
    fn beside(self, _: Var<'g>) -> Var<'g> {
        self
    }
}

impl<'g> Other<'g> for f64 {
    #[track_caller]
    fn beside(self, x: Var<'g>) -> Var<'g> {
        x.graph().fill(x.shape(), self)
    }
}

impl<'g> Var<'g> {
    /// The larger of two numbers. Both have half of the gradient where they are equal; NaN if one of them is.
    #[track_caller]
    pub fn maximum(self, other: impl Other<'g>) -> Var<'g> {
        let _called = self.graph().called("maximum");
        self.arithmetic(Maximum, other.beside(self))
    }

    /// The smaller of two numbers. Both have half of the gradient where they are equal; NaN if one of them is.
    #[track_caller]
    pub fn minimum(self, other: impl Other<'g>) -> Var<'g> {
        let _called = self.graph().called("minimum");
        self.arithmetic(Minimum, other.beside(self))
    }

    /// Each number raised to a power: NaN for a negative base and a broken exponent; x⁰ = 1 without a gradient in x, and 0ᵇ
    /// without one in b ≥ 0, as in PyTorch. A small whole number as exponent is computed as [`powi`](Self::powi); 0.5 is
    /// not computed as [`sqrt`](Self::sqrt), which is NaN at −∞.
    #[track_caller]
    pub fn pow(self, exponent: impl Other<'g>) -> Var<'g> {
        let _called = self.graph().called("pow");
        self.arithmetic(Pow, exponent.beside(self))
    }

    /// 1 where this is greater than `other`, else 0 (also for NaN). Comparisons have no gradient.
    #[track_caller]
    pub fn greater(self, other: impl Other<'g>) -> Var<'g> {
        let _called = self.graph().called("greater");
        self.arithmetic(Greater, other.beside(self))
    }

    /// 1 where this is at least `other`, else 0 (also for NaN).
    #[track_caller]
    pub fn greater_equal(self, other: impl Other<'g>) -> Var<'g> {
        let _called = self.graph().called("greater_equal");
        self.arithmetic(GreaterEqual, other.beside(self))
    }

    /// 1 where this is less than `other`, else 0 (also for NaN).
    #[track_caller]
    pub fn less(self, other: impl Other<'g>) -> Var<'g> {
        let _called = self.graph().called("less");
        other.beside(self).arithmetic(Greater, self)
    }

    /// 1 where this is at most `other`, else 0 (also for NaN).
    #[track_caller]
    pub fn less_equal(self, other: impl Other<'g>) -> Var<'g> {
        let _called = self.graph().called("less_equal");
        other.beside(self).arithmetic(GreaterEqual, self)
    }

    /// 1 where two numbers are equal, else 0 (also for NaN).
    #[track_caller]
    pub fn equal(self, other: impl Other<'g>) -> Var<'g> {
        let _called = self.graph().called("equal");
        self.arithmetic(Equal, other.beside(self))
    }

    /// 1 where two numbers differ, or one of them is NaN; else 0.
    #[track_caller]
    pub fn not_equal(self, other: impl Other<'g>) -> Var<'g> {
        let _called = self.graph().called("not_equal");
        1.0 - self.equal(other)
    }

    /// Each element where `by`'s is positive, else 0. `by` has the same shape. A NaN in it lets the element pass.
    #[track_caller]
    pub fn gate(self, by: Var<'g>) -> Var<'g> {
        self.graph().record(Binary(Gate), &[self, by])
    }

    /// The product with an array of the same shape of which this is the share, where 0 · ∞ counts as 0: what does not happen
    /// costs nothing, and pulls at nothing.
    #[track_caller]
    pub(super) fn weigh(self, cost: Var<'g>) -> Var<'g> {
        self.arithmetic(Weigh, cost)
    }

    /// Where this mask is positive `a`, elsewhere `b` (`torch.where`); all are broadcast. A NaN or an infinity that is not
    /// chosen does not reach the value, and its gradient is 0. There is none in the mask.
    ///
    /// What comes before may still make NaN of that 0: the gradient of √x at 0 is infinite, and 0 · ∞ = NaN. Then choose
    /// what goes into it, too:
    ///
    /// ```
    /// use dagrad::Graph;
    ///
    /// let graph = Graph::new();
    /// let x = graph.input("x", [3]);
    /// let is_positive = x.greater(0.0);
    /// let root = is_positive.choose(is_positive.choose(x, 1.0).sqrt(), 0.0);
    /// # assert_eq!(root.shape(), [3].into());
    /// ```
    ///
    /// # Errors
    /// Recorded on the graph: shapes that do not broadcast.
    #[track_caller]
    pub fn choose(self, a: impl Other<'g>, b: impl Other<'g>) -> Var<'g> {
        let _called = self.graph().called("choose");
        let (a, b) = (a.beside(self), b.beside(self));
        let shape = a.shape().broadcast(&b.shape()).and_then(|shape| shape.broadcast(&self.shape()));
        let Some(shape) = shape else {
            let text =
                format!("the shapes {}, {} and {} do not broadcast", self.shape(), a.shape(), b.shape());
            let problem =
                Problem::new(text).hint("axes are aligned at the last one; their sizes are equal, or 1");
            return self.graph().refuse("choose", &["mask", "a", "b"], &[self, a, b], problem);
        };
        let mask = self.broadcast_to(&shape).greater(0.0);
        a.broadcast_to(&shape).gate(mask) + b.broadcast_to(&shape).gate(1.0 - mask)
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
                let _called = self.graph().called(stringify!($method));
                self.arithmetic($op, self.graph().fill(self.shape(), other))
            }
        }

        impl<'g> $Trait<Var<'g>> for f64 {
            type Output = Var<'g>;
            #[track_caller]
            fn $method(self, other: Var<'g>) -> Var<'g> {
                let _called = other.graph().called(stringify!($method));
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
        linear("a + b", [normal([2, 3]), normal([2, 3])], |v| v[0] + v[1]),
        linear("a - b broadcast both ways", [normal([2, 1, 4]), normal([3, 1])], |v| v[0] - v[1]),
        linear("a * b, a scalar", [normal([2, 3]), normal([])], |v| v[0] * v[1]),
        linear("a share of b", [normal([2, 3]), normal([3])], |v| v[0].weigh(v[1])),
        smooth("a / b", [normal([3, 2]), positive([2])], |v| v[0] / v[1]),
        smooth("the same array twice", [normal([5])], |v| v[0] * v[0] + v[0]),
        Example::new("a over its own square", [positive([3])], |v| v[0] / (v[0] * v[0])),
        smooth("numbers on both sides", [positive([2, 2])], |v| 1.0 - 2.0 / (v[0] * 3.0 + 0.5)),
        linear("negation", [normal([4])], |v| -v[0]),
        Example::new("maximum", [distinct([2, 3]), distinct([3])], |v| (v[0] + 0.02).maximum(v[1])),
        Example::new("minimum, of a number", [distinct([2, 3])], |v| v[0].minimum(0.01) * v[0]),
        smooth("maximum of itself", [normal([4])], |v| v[0].maximum(v[0]) * v[0]),
        smooth("a to the b", [positive([2, 3]), normal([3])], |v| v[0].pow(v[1])),
        smooth("a broken power", [positive([5])], |v| v[0].pow(-2.5)),
        smooth("a whole power of both signs", [away_from_zero([5])], |v| v[0].pow(3.0)),
        linear("no power", [normal([3])], |v| v[0].pow(0.0) + v[0]),
        Example::new("gate", [normal([3, 2]), away_from_zero([3, 2])], |v| v[0].gate(v[1])),
        Example::new("comparisons", [distinct([2, 4]), normal([4])], |v| {
            v[1] * (v[0].greater(0.0) + v[0].less_equal(-0.1) * 2.0 + v[0].not_equal(0.03) * 4.0)
        }),
        Example::new("chosen", [away_from_zero([2, 3]), normal([3]), normal([2, 1])], |v| {
            v[0].greater(0.0).choose(v[1] * v[0], v[2])
        }),
        Example::new("chosen without the NaN of the other", [away_from_zero([9])], |v| {
            v[0].greater(0.0).choose(v[0].ln(), v[0])
        }),
        linear("no elements", [normal([0, 3]), normal([3])], |v| v[0] + v[1]),
        linear("a size of 1", [normal([1, 1]), normal([1])], |v| v[0] * v[1]),
    ]
}
