//! The gradients of a whole network's loss in its parameters.

use ndarray::Dimension;

use super::derivatives::{derivative, results};
use super::samples::Purpose;
use super::{Mismatch, samples};
use crate::autodiff::{gradients, vjp};
use crate::compile::Options;
use crate::error::{Result, SourceLine};
use crate::graph::Var;
use crate::graph::setting::{self, COUNT};
use crate::run::{Feed, Store, Workspace};

/// What a check of a network found.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkCheck {
    /// How many derivatives were compared.
    pub compared: usize,
    /// The largest error, as a fraction of what is tolerated.
    pub worst: f64,
}

/// Checks the derivatives of `loss` in every trainable parameter, at the parameters' values in `store` (those
/// that it lacks as they start), for given inputs, to first and second order. The store stays as it is.
///
/// Of each parameter up to `elements` evenly spread elements are checked. The network is the very one that
/// trains: the same graph, compiled in `f64`. An error of 10⁻⁶ of the derivative is tolerated (of a hundredth
/// of the parameter's largest derivative, where that is more), and 10⁻⁹ of the loss for rounding.
///
/// Relu and maximum pooling have kinks; an element whose difference quotient crosses one is off by far more
/// than rounding and is reported. Choose another seed if a random start happens to lie on one.
///
/// # Errors
/// [`Error::Check`](crate::Error::Check) with the parameter, the worst element and both values;
/// [`Error::Unreached`](crate::Error::Unreached) with the names of parameters that the loss does not reach;
/// no elements to check; any error of recording and running.
#[track_caller]
pub fn network(
    loss: Var<'_>,
    store: &mut Store<f64>,
    feeds: &[Feed<'_>],
    elements: usize,
) -> Result<NetworkCheck> {
    setting::require("elements", elements, COUNT)?;
    let graph = loss.graph();
    let parameters = graph.parameters();
    let first = gradients(loss, &parameters)?;
    let workspace = Workspace::for_this_machine()?;
    let store = &mut store.copy()?; // looking starts nothing
    let mut checker = Checker { store, feeds, elements, workspace, compared: 0, worst: None };
    let here = SourceLine::caller();
    checker.check(1, loss, &parameters, &first).map_err(|error| error.at(here))?;

    // The gradient along a random direction is a function again.
    let mut generator = samples::generator(Purpose::Directions);
    let directions = samples::directions(graph, &parameters, &mut generator);
    let along = samples::inner_products(graph, first.into_iter().zip(directions));
    let second = vjp(&[(along, graph.fill([], 1.0))], &parameters)?;
    let reached = parameters.iter().zip(second).filter_map(|(parameter, found)| Some((*parameter, found?)));
    let (reached, second): (Vec<_>, Vec<_>) = reached.unzip();
    checker.check(2, along, &reached, &second).map_err(|error| error.at(here))?;
    let worst = checker.worst.map_or(0.0, |(error, _)| error);
    Ok(NetworkCheck { compared: checker.compared, worst })
}

/// A check under way.
struct Checker<'a, 'f> {
    store: &'a mut Store<f64>,
    feeds: &'a [Feed<'f>],
    elements: usize,
    workspace: Workspace,
    compared: usize,
    /// The largest error as a fraction of what is tolerated, and where it is.
    worst: Option<(f64, Mismatch)>,
}

impl Checker<'_, '_> {
    /// Compares `derivatives` of `scalar` in `parameters` with differences.
    fn check(
        &mut self,
        order: usize,
        scalar: Var<'_>,
        parameters: &[Var<'_>],
        derivatives: &[Var<'_>],
    ) -> Result<()> {
        let options = Options::new().without_assignments();
        let analytic = options.compile::<f64>(scalar.graph(), derivatives)?;
        let plan = options.compile::<f64>(scalar.graph(), &[scalar])?;
        [&analytic, &plan].into_iter().try_for_each(|plan| self.store.prepare(plan))?;
        let analytic = results(&analytic, self.store, &mut self.workspace, self.feeds)?;
        let size = plan.run(self.store, &mut self.workspace, self.feeds)?.scalar(0).map_or(1.0, f64::abs);
        for (parameter, analytic) in parameters.iter().zip(&analytic) {
            let largest = analytic.iter().fold(0.0_f64, |largest, derivative| largest.max(derivative.abs()));
            let every = analytic.len().div_ceil(self.elements).max(1);
            for (element, &found) in analytic.indexed_iter().step_by(every) {
                let (name, element) = (parameter.name(), element.slice());
                let mut at = |offset: f64| {
                    let original = replace(self.store, &name, element, |value| value + offset);
                    let outputs = plan.run(self.store, &mut self.workspace, self.feeds);
                    let result = outputs.map(|outputs| outputs.scalar(0).unwrap_or(f64::NAN));
                    replace(self.store, &name, element, |_| original);
                    result
                };
                // A short step: thousands of rectifiers have their kinks close by.
                let expected = derivative(&mut at, 1e-5, false)?;
                let tolerated = 1e-6 * expected.abs().max(0.01 * largest) + 1e-9 * size.max(1.0);
                self.compared += 1;
                let error = (found - expected).abs() / tolerated;
                let error = if error.is_nan() { f64::INFINITY } else { error };
                if self.worst.as_ref().is_none_or(|(worst, _)| error > *worst) {
                    let (example, check) = ("network".into(), format!("derivative of order {order}"));
                    let (of, element) = (name, element.to_vec());
                    self.worst = Some((error, Mismatch { example, check, of, element, found, expected }));
                }
            }
        }
        match &self.worst {
            Some((error, mismatch)) if *error > 1.0 => Err(Box::new(mismatch.clone()).into()),
            _ => Ok(()),
        }
    }
}

/// Changes one element of a parameter and returns what it was.
fn replace(store: &mut Store<f64>, name: &str, element: &[usize], change: impl FnOnce(f64) -> f64) -> f64 {
    let Some(mut values) = store.get_mut(name) else { return f64::NAN };
    let original = values[element];
    values[element] = change(original);
    original
}
