//! Derivatives against finite differences, order by order.

use ndarray::ArrayD;

use super::samples::{self, Drawn, Purpose, feed, inputs};
use super::{Mismatch, Tolerance, compare};
use crate::autodiff::{jvp, vjp};
use crate::compile::Plan;
use crate::error::{Error, Result};
use crate::graph::{Graph, Var};
use crate::ops::Example;
use crate::run::{Feed, Store, Workspace};

/// Checks all derivatives of an example up to its order.
///
/// S₀ = ⟨y, u⟩ with a random upstream u is a function of the operands and of u; its derivatives are checked.
/// Then S₁ = Σ ⟨∂S₀/∂z, v⟩ with random v is a function of the same variables, and so on.
pub(super) fn check(example: &Example) -> Result<()> {
    let graph = Graph::new();
    let (operands, drawn) = inputs(&graph, &example.operands)?;
    let y = (example.build)(&graph, &operands);
    graph.check()?;

    let mut generator = samples::generator(Purpose::Directions);
    let mut values: Vec<(Var<'_>, Drawn)> = operands.into_iter().zip(drawn).collect();
    let upstream = graph.input("upstream", y.shape());
    values.push((upstream, Drawn::Real(samples::normal(&y.shape(), &mut generator))));
    let variables: Vec<Var<'_>> =
        values.iter().filter(|(_, value)| matches!(value, Drawn::Real(_))).map(|(var, _)| *var).collect();

    let mut scalar = (y * upstream).sum_all();
    for order in 1..=example.order {
        let found = vjp(&[(scalar, graph.fill([], 1.0))], &variables)?;
        check_order(example, order, scalar, &variables, &found, &mut values)?;
        let mut next = graph.fill([], 0.0);
        for (variable, derivative) in variables.iter().zip(&found) {
            let direction = graph.constant(samples::normal(&variable.shape(), &mut generator));
            if let Some(derivative) = derivative {
                next = next + (*derivative * direction).sum_all();
            }
        }
        scalar = next;
    }
    Ok(())
}

/// Checks that forward and reverse mode are adjoint: ⟨J v, u⟩ = Σ ⟨v, Jᵀ u⟩ for random u and v.
pub(super) fn check_forward_mode(example: &Example) -> Result<()> {
    let graph = Graph::new();
    let (operands, drawn) = inputs(&graph, &example.operands)?;
    let y = (example.build)(&graph, &operands);
    graph.check()?;
    let mut generator = samples::generator(Purpose::Directions);
    let upstream = graph.constant(samples::normal(&y.shape(), &mut generator));
    let values: Vec<(Var<'_>, Drawn)> = operands.into_iter().zip(drawn).collect();
    let mut along = Vec::new();
    for (operand, value) in &values {
        if let Drawn::Real(_) = value {
            along.push((*operand, graph.constant(samples::normal(&operand.shape(), &mut generator))));
        }
    }
    let points: Vec<Var<'_>> = along.iter().map(|(point, _)| *point).collect();
    let mut forward = graph.fill([], 0.0);
    for change in jvp(&[y], &along)?.into_iter().flatten() {
        forward = forward + (change * upstream).sum_all();
    }
    let mut reverse = graph.fill([], 0.0);
    for (gradient, (_, direction)) in vjp(&[(y, upstream)], &points)?.into_iter().zip(&along) {
        if let Some(gradient) = gradient {
            reverse = reverse + (gradient * *direction).sum_all();
        }
    }
    let results = Runner::new()?.all(&Plan::<f64>::compile(&graph, &[forward, reverse])?, &values)?;
    let tolerance = Tolerance { relative: 1e-10, absolute: 1e-10 };
    compare(&results[0], &results[1], tolerance, |element, found, expected| Mismatch {
        example: example.name.clone(),
        check: "forward mode against reverse mode".into(),
        of: "⟨J v, u⟩".into(),
        element,
        found,
        expected,
    })
}

/// Compares the derivatives of `scalar` with its differences. A derivative that does not exist must be zero.
fn check_order(
    example: &Example,
    order: usize,
    scalar: Var<'_>,
    variables: &[Var<'_>],
    found: &[Option<Var<'_>>],
    values: &mut [(Var<'_>, Drawn)],
) -> Result<()> {
    let graph = scalar.graph();
    let existing: Vec<Var<'_>> = found.iter().copied().flatten().collect();
    let derivatives = Plan::<f64>::compile(graph, &existing)?;
    let plan = Plan::<f64>::compile(graph, &[scalar])?;
    let mut run = Runner::new()?;
    let computed = run.all(&derivatives, values)?;
    let mut computed = computed.into_iter();
    for (variable, derivative) in variables.iter().zip(found) {
        let shape = variable.shape();
        let zero = || ArrayD::zeros(&shape[..]);
        let analytic = derivative.and_then(|_| computed.next()).unwrap_or_else(zero);
        let numeric = run.differences(&plan, *variable, values, example.linear)?;
        let tolerance = match example.linear {
            true => Tolerance { relative: 1e-10, absolute: 1e-10 },
            false => Tolerance { relative: 1e-6, absolute: 1e-8 },
        };
        compare(&analytic, &numeric, tolerance, |element, found, expected| Mismatch {
            example: example.name.clone(),
            check: format!("derivative of order {order}"),
            of: variable.name(),
            element,
            found,
            expected,
        })?;
    }
    Ok(())
}

/// Runs plans with changing inputs.
pub(super) struct Runner {
    store: Store<f64>,
    workspace: Workspace,
}

impl Runner {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { store: Store::new(1), workspace: Workspace::new(1)? })
    }

    /// All results of a plan.
    fn all(&mut self, plan: &Plan<f64>, values: &[(Var<'_>, Drawn)]) -> Result<Vec<ArrayD<f64>>> {
        let feeds: Vec<Feed<'_>> = values.iter().map(|(var, value)| feed(*var, value)).collect();
        let outputs = plan.run(&mut self.store, &mut self.workspace, &feeds)?;
        Ok((0..outputs.len()).filter_map(|i| outputs.at(i)).map(|view| view.to_owned()).collect())
    }

    /// The differences of a plan's number in every element of one input.
    fn differences(
        &mut self,
        plan: &Plan<f64>,
        variable: Var<'_>,
        values: &mut [(Var<'_>, Drawn)],
        linear: bool,
    ) -> Result<ArrayD<f64>> {
        let Some(position) = values.iter().position(|(var, _)| var.id() == variable.id()) else {
            return Err(Error::setting("check", "a variable has no value"));
        };
        let count = variable.shape().count();
        let mut derivatives = Vec::with_capacity(count);
        for element in 0..count {
            let mut at = |offset: f64| {
                let Drawn::Real(array) = &mut values[position].1 else { return Ok(0.0) };
                let Some(slot) = array.iter_mut().nth(element) else { return Ok(0.0) };
                let original = *slot;
                *slot = original + offset;
                let result = self.all(plan, values).map(|results| results[0].sum());
                if let Drawn::Real(array) = &mut values[position].1
                    && let Some(slot) = array.iter_mut().nth(element)
                {
                    *slot = original;
                }
                result
            };
            derivatives.push(derivative(&mut at, 1e-3, linear)?);
        }
        ArrayD::from_shape_vec(&variable.shape()[..], derivatives)
            .map_err(|error| Error::setting("check", error.to_string()))
    }
}

/// The derivative at 0 by central differences: of two points, exact for linear functions, or of five points,
/// (8 (f(h) − f(−h)) − (f(2h) − f(−2h))) / 12 h, with an error of h⁴ f⁽⁵⁾ / 30.
pub(super) fn derivative(at: &mut impl FnMut(f64) -> Result<f64>, step: f64, linear: bool) -> Result<f64> {
    if linear {
        return Ok((at(1.0)? - at(-1.0)?) / 2.0);
    }
    let near = at(step)? - at(-step)?;
    let far = at(2.0 * step)? - at(-2.0 * step)?;
    Ok((8.0 * near - far) / (12.0 * step))
}
