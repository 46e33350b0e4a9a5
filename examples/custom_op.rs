//! An operation of your own, with the same rights as the built-in ones.
//!
//!     cargo run --release --example custom_op
//!
//! It shows the whole road: shape rule, kernel, gradient rule, a method on `Var`, the checker, training.

mod arguments;

use std::f64::consts::LN_2;

use arguments::say;
use dagrad::error::Problem;
use dagrad::graph::{Call, Gradient, Op, VjpInputs};
use dagrad::ops::example::normal;
use dagrad::ops::{Example, same_shape};
use dagrad::{Graph, Init, Plan, Real, Result, Store, TensorType, Var, Workspace, check, gradients};
use ndarray::Array;

/// log_cosh(x) = ln cosh x, a smooth |x|. An operation is a value: its attributes are its fields.
#[derive(Debug, Clone, PartialEq)]
struct LogCosh;

impl Op for LogCosh {
    fn name(&self) -> &'static str {
        "log_cosh"
    }

    /// What errors call the operands; another number of them is refused.
    fn roles(&self) -> &'static [&'static str] {
        &["x"]
    }

    /// The shape rule is called when the operation is recorded, so a mistake is reported with the line that
    /// made it. Here the result looks just like the operand, which holds real numbers.
    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        same_shape(operands)
    }

    /// The kernel is written once for every precision, fills its output and allocates nothing.
    ///
    /// As the formula ln((eˣ + e⁻ˣ) / 2) stands, eˣ overflows for large x. |x| + ln(1 + e^−2|x|) − ln 2 does not.
    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let x = call.real(0); // taken before the output is borrowed
        for (out, &x) in call.output.iter_mut().zip(x) {
            *out = x.abs() + (x.abs() * T::of(-2.0)).exp().ln_1p() - T::of(LN_2);
        }
    }

    /// The gradient rule is written in graph operations: d log_cosh(x) / dx = tanh(x), times what comes
    /// from above. Because the rule is more graph, the second derivative needs no line of its own.
    fn vjp<'g>(&self, _argument: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        Gradient::Of(inputs.upstream * inputs.operands[0].tanh())
    }
}

/// An extension trait lets it read like the others: `x.log_cosh()`.
trait LogCoshExt {
    fn log_cosh(self) -> Self;
}

impl LogCoshExt for Var<'_> {
    #[track_caller] // errors and listings then name the caller's line, not this one
    fn log_cosh(self) -> Self {
        self.graph().record(LogCosh, &[self])
    }
}

fn main() -> Result<()> {
    // The checker compares kernel, plans and derivatives up to the third order with finite differences.
    // Forget the upstream gradient above and the error says which element is wrong, and by how much.
    check::example(&Example::new("log_cosh", [normal([3, 4])], |v| v[0].log_cosh()).smooth())?;
    say!("log_cosh passes every check");

    // The operation in use: a hidden layer of 16 learns the parabola y = x².
    let graph = Graph::new();
    let x = graph.input("x", [64, 1]);
    let hidden = x.matmul(graph.param("w1", [1, 16], Init::he(1))) + graph.param("b1", [16], Init::ZEROS);
    let y = hidden.log_cosh().matmul(graph.param("w2", [16, 1], Init::he(16)));
    let loss = (y - x * x).powi(2).mean_all();

    // Gradient descent is graph code like everything else: each run moves the parameters once, at its end.
    let parameters = graph.parameters();
    for (parameter, gradient) in parameters.iter().zip(gradients(loss, &parameters)?) {
        parameter.assign(*parameter - gradient * 0.03);
    }

    let plan = Plan::<f32>::compile(&graph, &[loss])?;
    let (mut store, mut workspace) = (Store::new(1), Workspace::for_this_machine()?);
    let points = Array::from_shape_fn([64, 1], |(row, _)| 3.0 * row as f32 / 63.0 - 1.5);
    for step in 0..=500 {
        let outputs = plan.run(&mut store, &mut workspace, &[x.feed(&points)])?;
        if step % 100 == 0 {
            say!("step {step:3}: loss {:.5}", outputs.scalar(0).unwrap_or(f32::NAN));
        }
    }
    Ok(())
}
