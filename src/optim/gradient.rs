//! Changes to gradients before an optimizer reads them: decay and clipping.

use super::{LearningRate, Optimizer};
use crate::error::{OpError, SourceLine};
use crate::graph::setting;
use crate::graph::{Graph, Var};

/// An optimizer that gets decayed or clipped gradients. Made by methods of [`Optimizer`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adjusted<O> {
    optimizer: O,
    adjustment: Adjustment,
    /// Where the user asked for it.
    site: SourceLine,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Adjustment {
    Decay(f64),
    ClipValue(f64),
    ClipNorm(f64),
}

use Adjustment::{ClipNorm, ClipValue, Decay};

impl<O> Adjusted<O> {
    #[track_caller]
    pub(super) fn new(optimizer: O, adjustment: Adjustment) -> Self {
        Self { optimizer, adjustment, site: SourceLine::caller() }
    }
}

impl<O: Optimizer> Optimizer for Adjusted<O> {
    fn step<'g>(&self, graph: &'g Graph, parameters: &[(Var<'g>, Var<'g>)]) {
        let (op, checked) = match self.adjustment {
            Decay(factor) => ("weight_decay", setting::check("the factor", factor, setting::FINITE)),
            ClipValue(most) => ("clip_value", setting::check("the bound", most, 0.0..)),
            ClipNorm(most) => ("clip_norm", setting::check("the bound", most, 0.0..)),
        };
        if let Err(problem) = checked {
            let error = OpError { op: op.to_owned(), site: self.site, problem, operands: Vec::new() };
            return graph.fail(Box::new(error).into());
        }
        let adjusted: Vec<_> = match self.adjustment {
            Decay(factor) => parameters.iter().map(|&(p, gradient)| (p, gradient + p * factor)).collect(),
            ClipValue(most) => {
                parameters.iter().map(|&(p, gradient)| (p, gradient.clamp(-most, most))).collect()
            }
            ClipNorm(most) => {
                let flat = |gradient: Var<'g>| gradient.reshape([gradient.shape().count()]);
                let mut norms = vec![graph.fill([], 0.0)]; // there may be no parameters
                norms.extend(parameters.iter().map(|&(_, gradient)| flat(gradient).norm(&[0])));
                let norm = graph.stack(&norms, 0).norm(&[0]);
                let factor = (graph.fill([], most) / (norm + 1e-6)).at_most(1.0);
                parameters.iter().map(|&(p, gradient)| (p, gradient * factor)).collect()
            }
        };
        self.optimizer.step(graph, &adjusted);
    }

    fn moves(&self, name: &str) -> bool {
        self.optimizer.moves(name)
    }

    fn learning_rate(&self) -> Option<LearningRate> {
        self.optimizer.learning_rate()
    }

    fn settings(&self) -> String {
        format!("{} with {:?}", self.optimizer.settings(), self.adjustment)
    }
}
