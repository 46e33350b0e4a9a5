//! Gradient descent, with and without momentum.

use super::{LearningRate, Optimizer, state};
use crate::graph::setting::FINITE;
use crate::graph::{Graph, Var};

/// Stochastic gradient descent: p ← p − η g.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// Learning rate η.
    pub learning_rate: LearningRate,
}

impl Sgd {
    /// Plain descent with a learning rate.
    pub fn new(learning_rate: impl Into<LearningRate>) -> Self {
        Self { learning_rate: learning_rate.into() }
    }
}

impl Optimizer for Sgd {
    fn step<'g>(&self, graph: &'g Graph, parameters: &[(Var<'g>, Var<'g>)]) {
        let rate = self.learning_rate.record(graph);
        for &(p, g) in parameters {
            p.assign(p - g * rate);
        }
    }

    fn learning_rate(&self) -> Option<LearningRate> {
        Some(self.learning_rate)
    }

    fn settings(&self) -> String {
        format!("{self:?}")
    }
}

/// Momentum: v ← μ v − η g; p ← p + v.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Momentum {
    /// Learning rate η.
    pub learning_rate: LearningRate,
    /// Momentum μ.
    pub momentum: f64,
}

impl Momentum {
    /// Momentum 0.9.
    pub fn new(learning_rate: impl Into<LearningRate>) -> Self {
        Self { learning_rate: learning_rate.into(), momentum: 0.9 }
    }
}

impl Optimizer for Momentum {
    fn step<'g>(&self, graph: &'g Graph, parameters: &[(Var<'g>, Var<'g>)]) {
        graph.require("Momentum", "momentum", self.momentum, FINITE);
        let rate = self.learning_rate.record(graph);
        for &(p, g) in parameters {
            let v = state(p, "momentum");
            let next = v * self.momentum - g * rate;
            v.assign(next);
            p.assign(p + next);
        }
    }

    fn learning_rate(&self) -> Option<LearningRate> {
        Some(self.learning_rate)
    }

    fn settings(&self) -> String {
        format!("{self:?}")
    }
}

/// Nesterov's momentum as PyTorch writes it: b ← μ b + g; p ← p − η (g + μ b)
/// (Sutskever et al. 2013).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nesterov {
    /// Learning rate η.
    pub learning_rate: LearningRate,
    /// Momentum μ.
    pub momentum: f64,
}

impl Nesterov {
    /// Momentum 0.9.
    pub fn new(learning_rate: impl Into<LearningRate>) -> Self {
        Self { learning_rate: learning_rate.into(), momentum: 0.9 }
    }
}

impl Optimizer for Nesterov {
    fn step<'g>(&self, graph: &'g Graph, parameters: &[(Var<'g>, Var<'g>)]) {
        graph.require("Nesterov", "momentum", self.momentum, FINITE);
        let rate = self.learning_rate.record(graph);
        for &(p, g) in parameters {
            let b = state(p, "nesterov");
            let next = b * self.momentum + g;
            b.assign(next);
            p.assign(p - (g + next * self.momentum) * rate);
        }
    }

    fn learning_rate(&self) -> Option<LearningRate> {
        Some(self.learning_rate)
    }

    fn settings(&self) -> String {
        format!("{self:?}")
    }
}
