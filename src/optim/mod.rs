//! Optimizers: rules that say, in graph operations, what each parameter becomes.
//!
//! An update is graph code like everything else. It is compiled with the network, fused, and carried out in
//! the same run as forward and backward.

mod adaptive;
mod momentum;

pub use adaptive::{AdaGrad, Adam, AdamW, RmsProp};
pub use momentum::{Momentum, Nesterov, Sgd};

use crate::autodiff::gradients;
use crate::error::Result;
use crate::graph::{Graph, Init, Var};

/// A rule that moves parameters along their gradients.
pub trait Optimizer {
    /// Records what each parameter, given with its gradient, becomes at the end of a step
    /// ([`Var::assign`]), and its state likewise ([`Graph::state`]).
    fn step<'g>(&self, graph: &'g Graph, parameters: &[(Var<'g>, Var<'g>)]);
}

/// Records the gradients of `loss` in all trainable parameters, and the optimizer's step.
///
/// # Errors
/// A misuse recorded earlier; parameters that the loss does not reach, by name.
#[track_caller]
pub fn minimize(loss: Var<'_>, optimizer: &dyn Optimizer) -> Result<()> {
    let graph = loss.graph();
    let parameters = graph.parameters();
    let gradients = gradients(loss, &parameters)?;
    let pairs: Vec<_> = parameters.into_iter().zip(gradients).collect();
    optimizer.step(graph, &pairs);
    graph.check()
}

/// State of the parameter's shape that starts at 0, under a name that follows from the parameter's.
fn state<'g>(parameter: Var<'g>, name: &str) -> Var<'g> {
    let name = format!("{}.{name}", parameter.name());
    parameter.graph().state(&name, parameter.shape(), Init::ZEROS)
}
