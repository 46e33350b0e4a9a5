//! The gradients of a whole network's loss in its parameters.

use ndarray::{Dimension, IxDyn};

use super::Mismatch;
use super::derivatives::slope;
use crate::autodiff::vjp;
use crate::compile::Options;
use crate::error::{Error, Result};
use crate::graph::{Graph, Var};
use crate::run::{Feed, Store, Workspace};

/// What a check of a network found.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkCheck {
    /// How many derivatives were compared.
    pub compared: usize,
    /// The largest error, relative to the larger of 1 and the derivative.
    pub worst: f64,
}

/// Checks the derivatives of `loss` in every trainable parameter, at the parameters' values in `store` (new
/// ones are started), for given inputs, to first and second order.
///
/// Of each parameter up to `elements` evenly spread elements are checked. The network is the very one that
/// trains: the same graph, compiled in `f64`.
///
/// Relu and maximum pooling have kinks; an element whose difference quotient crosses one is off by far more
/// than rounding and is reported. Choose another seed if a random start happens to lie on one.
///
/// # Errors
/// [`Error::Check`] with the parameter, the worst element and both values; [`Error::Unreached`] with the
/// names of parameters that the loss does not reach; any error of recording and running.
pub fn network(
    loss: Var<'_>,
    store: &mut Store<f64>,
    feeds: &[Feed<'_>],
    elements: usize,
) -> Result<NetworkCheck> {
    let graph = loss.graph();
    let parameters = graph.parameters();
    let first = crate::autodiff::gradients(loss, &parameters)?;
    let mut report = check_order(graph, 1, loss, &parameters, &first, store, feeds, elements)?;

    // A direction with all signs and sizes: the parameters themselves, turned.
    let mut projected = graph.fill([], 0.0);
    for (parameter, gradient) in parameters.iter().zip(&first) {
        let count = parameter.shape().count();
        let direction = (0..count).map(|i| ((i * 7 + 3) % 11) as f64 / 5.0 - 1.0).collect();
        let direction = ndarray::ArrayD::from_shape_vec(IxDyn(&parameter.shape()), direction)
            .map_err(|error| Error::setting("check", error.to_string()))?;
        projected = projected + (*gradient * graph.constant(direction)).sum_all();
    }
    let second = vjp(&[(projected, graph.fill([], 1.0))], &parameters)?;
    let (reached, second): (Vec<_>, Vec<_>) =
        parameters.iter().zip(second).filter_map(|(parameter, found)| Some((*parameter, found?))).unzip();
    let more = check_order(graph, 2, projected, &reached, &second, store, feeds, elements)?;
    report.compared += more.compared;
    report.worst = report.worst.max(more.worst);
    Ok(report)
}

#[expect(clippy::too_many_arguments, reason = "one call site for each order")]
fn check_order(
    graph: &Graph,
    order: usize,
    scalar: Var<'_>,
    parameters: &[Var<'_>],
    derivatives: &[Var<'_>],
    store: &mut Store<f64>,
    feeds: &[Feed<'_>],
    elements: usize,
) -> Result<NetworkCheck> {
    let options = Options::new().without_assignments();
    let analytic = options.compile::<f64>(graph, derivatives)?;
    let plan = options.compile::<f64>(graph, &[scalar])?;
    let mut workspace = Workspace::for_this_machine()?;
    store.prepare(&analytic)?;
    let outputs = analytic.run(store, &mut workspace, feeds)?;
    let analytic: Vec<_> =
        (0..outputs.len()).filter_map(|i| outputs.at(i)).map(|view| view.to_owned()).collect();
    let mut report = NetworkCheck { compared: 0, worst: 0.0 };
    for (parameter, analytic) in parameters.iter().zip(&analytic) {
        let name = parameter.name();
        let every = analytic.len().div_ceil(elements.max(1)).max(1);
        for (element, &found) in analytic.indexed_iter().step_by(every) {
            let mut at = |offset: f64| {
                let original = replace(store, &name, element.slice(), |value| value + offset);
                let outputs = plan.run(store, &mut workspace, feeds);
                let result = outputs.map(|outputs| outputs.scalar(0).unwrap_or(f64::NAN));
                replace(store, &name, element.slice(), |_| original);
                result
            };
            // A short step: thousands of rectifiers have their kinks close by.
            let expected = slope(&mut at, 1e-5, false)?;
            let error = (found - expected).abs() / expected.abs().max(1.0);
            report.compared += 1;
            report.worst = report.worst.max(error);
            if error.is_nan() || error > 1e-6 {
                return Err(Box::new(Mismatch {
                    example: "network".into(),
                    check: format!("derivative of order {order}"),
                    of: name,
                    element: element.slice().to_vec(),
                    found,
                    expected,
                })
                .into());
            }
        }
    }
    Ok(report)
}

/// Changes one element of a parameter and answers what it was.
fn replace(store: &mut Store<f64>, name: &str, element: &[usize], change: impl FnOnce(f64) -> f64) -> f64 {
    let Some(mut values) = store.get_mut(name) else { return f64::NAN };
    let original = values[element];
    values[element] = change(original);
    original
}
