//! Optimizers: the update rule of each parameter, in graph operations.
//!
//! An update is recorded on the graph like the network. It is compiled and fused with the network, and runs in the same plan
//! as forward and backward.

mod accumulate;
mod adaptive;
mod average;
mod count;
mod gradient;
mod groups;
mod momentum;
mod rate;

pub use accumulate::Accumulated;
pub use adaptive::{AdaGrad, Adam, AdamW, RmsProp};
pub use average::{Averaged, averages};
pub use gradient::Adjusted;
pub use groups::Groups;
pub use momentum::{Momentum, Nesterov, Sgd};
pub use rate::LearningRate;

use gradient::Adjustment;

use crate::autodiff::{check_one_number, gradients};
use crate::error::{Problem, Result};
use crate::graph::{Graph, Init, Update, Var};

/// A rule that moves parameters along their gradients.
pub trait Optimizer {
    /// Records what each parameter, given with its gradient, becomes at the end of a step
    /// ([`Var::assign`]), and its state likewise ([`Graph::state`]). State that [`minimize`] has it record is known as the
    /// optimizer's, and is no part of the network's [weights](crate::weights).
    fn step<'g>(&self, graph: &'g Graph, parameters: &[(Var<'g>, Var<'g>)]);

    /// Whether it moves the parameter of this name. [`minimize`] takes no gradient in the others; see [`Groups::frozen`].
    fn moves(&self, _name: &str) -> bool {
        true
    }

    /// The learning rate, for logs: of [`Groups`], that of the parameters in no group. Optimizers without one have none.
    fn learning_rate(&self) -> Option<LearningRate> {
        None
    }

    /// Its settings in words, by which a training that goes on from a [checkpoint](crate::train::Checkpoints) is known as the
    /// same. By default the name of its type.
    fn settings(&self) -> String {
        std::any::type_name::<Self>().to_owned()
    }

    /// Adds λ p to the gradient of each parameter p: the gradient of λ/2 Σ p², which draws parameters towards 0 (L2
    /// regularisation). On [`AdamW`] this is done besides its own, decoupled decay, which is the field
    /// [`AdamW::weight_decay`].
    ///
    /// The last call acts first: `sgd.weight_decay(1e-4).clip_norm(1.0)` clips the gradient of the loss, and then
    /// adds the decay.
    #[track_caller]
    fn weight_decay(self, factor: f64) -> Adjusted<Self>
    where
        Self: Sized,
    {
        Adjusted::new(self, Adjustment::Decay(factor))
    }

    /// Bounds each number of each gradient: min(max(g, −most), most).
    #[track_caller]
    fn clip_value(self, most: f64) -> Adjusted<Self>
    where
        Self: Sized,
    {
        Adjusted::new(self, Adjustment::ClipValue(most))
    }

    /// Bounds the norm of all gradients together: g ← g · min(1, most / (‖g‖ + 10⁻⁶)), where ‖g‖ is the root of the sum of
    /// all squares (Pascanu et al. 2013).
    #[track_caller]
    fn clip_norm(self, most: f64) -> Adjusted<Self>
    where
        Self: Sized,
    {
        Adjusted::new(self, Adjustment::ClipNorm(most))
    }

    /// Takes a step for every `batches` batches, with the mean of their gradients: that of one batch of all their samples, if
    /// the loss is a mean and the batches have one size. It takes the memory of a small batch. Schedules count steps, not
    /// batches. (Batch normalisation sees each batch by itself.)
    ///
    /// The last call acts first: `sgd.clip_norm(1.0).accumulate(4)` clips the mean.
    #[track_caller]
    fn accumulate(self, batches: usize) -> Accumulated<Self>
    where
        Self: Sized,
    {
        Accumulated::new(self, batches)
    }

    /// Keeps an exponential moving average of each parameter besides: a ← d a + (1 − d) p after each step, from p after the
    /// first one. [`averages`] makes a store of them. Often they do better than the parameters do (Polyak and Juditsky 1992).
    #[track_caller]
    fn averaged(self, decay: f64) -> Averaged<Self>
    where
        Self: Sized,
    {
        Averaged::new(self, decay)
    }
}

/// An optimizer that is chosen while the program runs.
impl<O: Optimizer + ?Sized> Optimizer for Box<O> {
    fn step<'g>(&self, graph: &'g Graph, parameters: &[(Var<'g>, Var<'g>)]) {
        (**self).step(graph, parameters);
    }

    fn moves(&self, name: &str) -> bool {
        (**self).moves(name)
    }

    fn learning_rate(&self) -> Option<LearningRate> {
        (**self).learning_rate()
    }

    fn settings(&self) -> String {
        (**self).settings()
    }
}

/// What moves parameters if an optimizer does.
const MINIMIZE: &str = "minimize";

/// Records the gradients of `loss` in all trainable parameters that the optimizer [moves](Optimizer::moves), and its step.
///
/// # Errors
/// A misuse recorded earlier; parameters that the loss does not reach, by name; a parameter that an earlier call on the same
/// graph moves; no parameter that the optimizer moves, where the graph has some.
#[track_caller]
pub fn minimize(loss: Var<'_>, optimizer: &dyn Optimizer) -> Result<()> {
    let graph = loss.graph();
    graph.check()?;
    check_one_number(MINIMIZE, "loss", loss)?;
    let mut parameters = graph.parameters();
    parameters.retain(|parameter| optimizer.moves(&parameter.name()));
    if parameters.is_empty() && !graph.parameters().is_empty() {
        let problem = Problem::new("nothing is left to train: the optimizer moves no parameter of the graph")
            .hint("leave a parameter out of what is `frozen`; `Model::predict` and `Plan::run` need no optimizer");
        return Err(graph.op_error(MINIMIZE, &["loss"], &[loss], problem));
    }
    let moved = parameters.iter().find_map(|&parameter| Some((parameter, parameter.next_update()?)));
    if let Some((parameter, Update { value, by, site, .. })) = moved {
        let problem = Problem::new(format!("{} is moved already, by `{by}` at {site}", parameter.name()));
        let problem = problem.hint(match by {
            MINIMIZE => "add up the losses, or leave the parameter to one optimizer with `Groups::frozen`",
            _ => "call `minimize` first: `update` builds on what was assigned before",
        });
        let twice = [parameter, graph.var(value)];
        return Err(graph.op_error(MINIMIZE, &["parameter", "next value"], &twice, problem));
    }
    let before = graph.updates().len();
    let gradients = gradients(loss, &parameters)?;
    let pairs: Vec<_> = parameters.into_iter().zip(gradients).collect();
    let (_layer, _at, _optimizing) = (graph.layer("update"), graph.at_caller(), graph.optimizing());
    optimizer.step(graph, &pairs);
    graph.updates.borrow_mut().iter_mut().skip(before).for_each(|update| update.by = MINIMIZE);
    graph.check()
}

/// State of the parameter's shape that starts at 0, under a name that follows from the parameter's.
fn state<'g>(parameter: Var<'g>, name: &str) -> Var<'g> {
    let name = format!("{}.{name}", parameter.name());
    let graph = parameter.graph();
    let _optimizing = graph.optimizing();
    graph.state(&name, parameter.shape(), Init::ZEROS)
}
