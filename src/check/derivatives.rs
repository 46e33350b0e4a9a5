//! Derivatives against finite differences, order by order.

use ndarray::ArrayD;

use super::samples::{self, Purpose, Value, directions, feeds, inner_products, inputs};
use super::{Subject, Tolerance};
use crate::autodiff::{jvp, vjp};
use crate::compile::Plan;
use crate::error::Result;
use crate::graph::{Graph, Var};
use crate::ops::Example;
use crate::run::{Feed, Store, Workspace};

/// What rounding makes of a linear function.
const ROUNDING: Tolerance = Tolerance { relative: 1e-10, absolute: 1e-10 };

/// Checks all derivatives of an example up to its order.
///
/// S₀ = ⟨y, u⟩ with a random upstream u is a function of the operands and of u; its derivatives are checked.
/// Then S₁ = Σ ⟨∂S₀/∂z, v⟩ with random v is a function of the same variables, and so on.
pub(super) fn check(example: &Example) -> Result<()> {
    let graph = Graph::new();
    let (y, mut values) = recorded(&graph, example)?;
    let mut generator = samples::generator(Purpose::Directions);
    let upstream = graph.input("upstream", y.shape());
    values.push((upstream, Value::Real(samples::normal(&y.shape(), &mut generator))));
    let variables = real(&values);

    let mut scalar = (y * upstream).sum_all();
    for order in 1..=example.order {
        let found = vjp(&[(scalar, graph.fill([], 1.0))], &variables)?;
        check_order(example, order, scalar, &found, &values)?;
        let along = found.into_iter().zip(directions(&graph, &variables, &mut generator));
        scalar = inner_products(&graph, along.filter_map(|(found, along)| Some((found?, along))));
    }
    Ok(())
}

/// Checks that forward and reverse mode are adjoint: ⟨J v, u⟩ = Σ ⟨v, Jᵀ u⟩ for random u and v.
pub(super) fn check_forward_mode(example: &Example) -> Result<()> {
    let graph = Graph::new();
    let (y, values) = recorded(&graph, example)?;
    let mut generator = samples::generator(Purpose::Directions);
    let upstream = graph.constant(samples::normal(&y.shape(), &mut generator));
    let points = real(&values);
    let along = directions(&graph, &points, &mut generator);
    let changes: Vec<(Var<'_>, Var<'_>)> = points.iter().copied().zip(along.iter().copied()).collect();
    let forward = jvp(&[y], &changes)?.into_iter().flatten().map(|change| (change, upstream));
    let forward = inner_products(&graph, forward);
    let reverse = vjp(&[(y, upstream)], &points)?.into_iter().zip(along);
    let reverse = reverse.filter_map(|(gradient, along)| Some((gradient?, along)));
    let reverse = inner_products(&graph, reverse);
    let plan = Plan::compile(&graph, &[forward, reverse])?;
    let found = results(&plan, &mut Store::new(1), &mut Workspace::new(1)?, &feeds(&values))?;
    let (check, of) = ("forward mode against reverse mode", "⟨J v, u⟩");
    Subject { example, check, of }.compare(&found[0], &found[1], ROUNDING)
}

/// An example's result, and its operands with their values.
fn recorded<'g>(graph: &'g Graph, example: &Example) -> Result<(Var<'g>, Vec<(Var<'g>, Value)>)> {
    let values = inputs(graph, &example.operands)?;
    let operands: Vec<Var<'_>> = values.iter().map(|(operand, _)| *operand).collect();
    let y = (example.build)(graph, &operands);
    graph.check()?;
    Ok((y, values))
}

/// The inputs of real numbers: those with derivatives.
fn real<'g>(values: &[(Var<'g>, Value)]) -> Vec<Var<'g>> {
    let real = values.iter().filter(|(_, value)| matches!(value, Value::Real(_)));
    real.map(|(input, _)| *input).collect()
}

/// Compares the derivatives of `scalar` in all real inputs with its differences. A derivative that does not exist must be
/// zero.
fn check_order(
    example: &Example,
    order: usize,
    scalar: Var<'_>,
    found: &[Option<Var<'_>>],
    values: &[(Var<'_>, Value)],
) -> Result<()> {
    let existing: Vec<Var<'_>> = found.iter().copied().flatten().collect();
    let derivatives = Plan::compile(scalar.graph(), &existing)?;
    let plan = Plan::compile(scalar.graph(), &[scalar])?;
    let (mut store, mut workspace) = (Store::new(1), Workspace::new(1)?);
    let mut computed = results(&derivatives, &mut store, &mut workspace, &feeds(values))?.into_iter();
    let mut found = found.iter();
    for (position, (variable, value)) in values.iter().enumerate() {
        let Value::Real(value) = value else { continue };
        let exists = found.next().is_some_and(Option::is_some);
        let zero = || ArrayD::zeros(value.shape());
        let analytic = if exists { computed.next() } else { None }.unwrap_or_else(zero);
        let mut numeric = zero();
        for (element, numeric) in numeric.indexed_iter_mut() {
            let mut at = |offset: f64| {
                let mut moved = value.clone();
                moved[&element] += offset;
                let mut feeds = feeds(values);
                feeds[position] = variable.feed(&moved);
                Ok(results(&plan, &mut store, &mut workspace, &feeds)?[0].sum())
            };
            *numeric = derivative(&mut at, 1e-3, example.linear)?;
        }
        let tolerance = if example.linear { ROUNDING } else { Tolerance { relative: 1e-6, absolute: 1e-8 } };
        let (check, of) = (format!("derivative of order {order}"), variable.name());
        Subject { example, check: &check, of: &of }.compare(&analytic, &numeric, tolerance)?;
    }
    Ok(())
}

/// All results of a plan.
pub(super) fn results(
    plan: &Plan<f64>,
    store: &mut Store<f64>,
    workspace: &mut Workspace,
    feeds: &[Feed<'_>],
) -> Result<Vec<ArrayD<f64>>> {
    let outputs = plan.run(store, workspace, feeds)?;
    Ok((0..outputs.len()).filter_map(|i| outputs.at(i)).map(|view| view.to_owned()).collect())
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
