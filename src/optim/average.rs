//! Averages of parameters over the steps of a training.

use super::count::{OfCount, count};
use super::{LearningRate, Optimizer, state};
use crate::error::{OpError, Result, SourceLine};
use crate::graph::setting;
use crate::graph::{Graph, Precision, Var};
use crate::run::Store;

/// An optimizer beside which averages of the parameters are kept. Made by [`Optimizer::averaged`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Averaged<O> {
    optimizer: O,
    decay: f64,
    /// Where the user asked for it.
    site: SourceLine,
}

/// What follows a parameter's name in that of its average.
const AVERAGE: &str = "average";

impl<O> Averaged<O> {
    #[track_caller]
    pub(super) fn new(optimizer: O, decay: f64) -> Self {
        Self { optimizer, decay, site: SourceLine::caller() }
    }
}

impl<O: Optimizer> Optimizer for Averaged<O> {
    fn step<'g>(&self, graph: &'g Graph, parameters: &[(Var<'g>, Var<'g>)]) {
        if let Err(problem) = setting::check("the decay", self.decay, 0.0..=1.0) {
            let op = "averaged".to_owned();
            let error = OpError { op, site: self.site, problem, operands: Vec::new() };
            return graph.fail(Box::new(error).into());
        }
        self.optimizer.step(graph, parameters);
        for &(p, _) in parameters {
            let (average, counted) = (state(p, AVERAGE), format!("{}.averaged", p.name()));
            let decay = graph.record(OfCount::Decay { decay: self.decay }, &[count(graph, &counted)[0]]);
            let next = p.next_update().map_or(p, |update| graph.var(update.value));
            average.assign(next + (average - next) * decay);
        }
    }

    fn moves(&self, name: &str) -> bool {
        self.optimizer.moves(name)
    }

    fn learning_rate(&self) -> Option<LearningRate> {
        self.optimizer.learning_rate()
    }

    fn settings(&self) -> String {
        format!("{} averaged with {:?}", self.optimizer.settings(), self.decay)
    }
}

/// A copy of a store in which each parameter is its [average](Optimizer::averaged), to evaluate or to save. Parameters without
/// one, and running statistics, are as they are. The copy is there to be looked at: training goes on with the original.
///
/// # Errors
/// Memory that the machine refuses.
#[track_caller]
pub fn averages<T: Precision>(store: &Store<T>) -> Result<Store<T>> {
    let mut copy = store.copy()?;
    for name in store.trainable() {
        if let Some(average) = store.get(&format!("{name}.{AVERAGE}")) {
            copy.set(name, &average.to_owned())?;
        }
    }
    Ok(copy)
}
