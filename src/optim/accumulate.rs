//! Gradients of several batches that make one step.

use super::count::{OfCount, count};
use super::{LearningRate, Optimizer, state};
use crate::error::{OpError, SourceLine};
use crate::graph::setting;
use crate::graph::{Graph, Var};

/// An optimizer that takes a step for every few batches. Made by [`Optimizer::accumulate`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accumulated<O> {
    optimizer: O,
    batches: usize,
    /// Where the user asked for it.
    site: SourceLine,
}

impl<O> Accumulated<O> {
    #[track_caller]
    pub(super) fn new(optimizer: O, batches: usize) -> Self {
        Self { optimizer, batches, site: SourceLine::caller() }
    }
}

impl<O: Optimizer> Optimizer for Accumulated<O> {
    /// All that the optimizer assigns, its own state too, is kept as it was but for every few batches.
    fn step<'g>(&self, graph: &'g Graph, parameters: &[(Var<'g>, Var<'g>)]) {
        if let Err(problem) = setting::check("the number of batches", self.batches, setting::COUNT) {
            let op = "accumulate".to_owned();
            let error = OpError { op, site: self.site, problem, operands: Vec::new() };
            return graph.fail(Box::new(error).into());
        }
        let [_, batches] = count(graph, "accumulate.batches");
        let is_step = graph.record(OfCount::Every(self.batches as u64), &[batches]);
        let sums: Vec<_> = parameters.iter().map(|&(p, g)| state(p, "accumulated") + g).collect();
        let before = graph.updates().len();
        let share = 1.0 / self.batches as f64;
        let means: Vec<_> = parameters.iter().zip(&sums).map(|(&(p, _), &sum)| (p, sum * share)).collect();
        self.optimizer.step(graph, &means);
        for update in &graph.updates()[before..] {
            let parameter = graph.var(update.parameter);
            parameter.update(|next| is_step.choose(next, parameter));
        }
        for (&(p, _), sum) in parameters.iter().zip(sums) {
            state(p, "accumulated").assign(is_step.choose(0.0, sum));
        }
    }

    fn moves(&self, name: &str) -> bool {
        self.optimizer.moves(name)
    }

    fn learning_rate(&self) -> Option<LearningRate> {
        self.optimizer.learning_rate()
    }

    fn settings(&self) -> String {
        format!("{} with {:?} batches a step", self.optimizer.settings(), self.batches)
    }
}
