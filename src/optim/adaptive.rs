//! Gradient descent with a learning rate for each element.

use super::count::{OfCount, count};
use super::{LearningRate, Optimizer, state};
use crate::graph::setting::FINITE;
use crate::graph::{Graph, Var};

/// AdaGrad: h ← h + g²; p ← p − η g / (√h + ε) (Duchi et al. 2011).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdaGrad {
    /// Learning rate η.
    pub learning_rate: LearningRate,
    /// ε, which keeps the divisor from 0.
    pub epsilon: f64,
}

impl AdaGrad {
    /// ε = 10⁻¹⁰.
    pub fn new(learning_rate: impl Into<LearningRate>) -> Self {
        Self { learning_rate: learning_rate.into(), epsilon: 1e-10 }
    }
}

impl Optimizer for AdaGrad {
    fn step<'g>(&self, graph: &'g Graph, parameters: &[(Var<'g>, Var<'g>)]) {
        graph.require("AdaGrad", "epsilon", self.epsilon, FINITE);
        let rate = self.learning_rate.record(graph);
        for &(p, g) in parameters {
            let h = state(p, "adagrad");
            let next = h + g * g;
            h.assign(next);
            p.assign(p - g * rate / (next.sqrt() + self.epsilon));
        }
    }

    fn learning_rate(&self) -> Option<LearningRate> {
        Some(self.learning_rate)
    }

    fn settings(&self) -> String {
        format!("{self:?}")
    }
}

/// RMSprop: h ← α h + (1 − α) g²; p ← p − η g / (√h + ε) (Tieleman and Hinton 2012).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RmsProp {
    /// Learning rate η.
    pub learning_rate: LearningRate,
    /// Decay α of the mean square.
    pub decay: f64,
    /// ε, which keeps the divisor from 0.
    pub epsilon: f64,
}

impl RmsProp {
    /// α = 0.99, ε = 10⁻⁸.
    pub fn new(learning_rate: impl Into<LearningRate>) -> Self {
        Self { learning_rate: learning_rate.into(), decay: 0.99, epsilon: 1e-8 }
    }
}

impl Optimizer for RmsProp {
    fn step<'g>(&self, graph: &'g Graph, parameters: &[(Var<'g>, Var<'g>)]) {
        graph.require("RmsProp", "decay", self.decay, 0.0..=1.0);
        graph.require("RmsProp", "epsilon", self.epsilon, FINITE);
        let rate = self.learning_rate.record(graph);
        for &(p, g) in parameters {
            let h = state(p, "rmsprop");
            let next = h * self.decay + g * g * (1.0 - self.decay);
            h.assign(next);
            p.assign(p - g * rate / (next.sqrt() + self.epsilon));
        }
    }

    fn learning_rate(&self) -> Option<LearningRate> {
        Some(self.learning_rate)
    }

    fn settings(&self) -> String {
        format!("{self:?}")
    }
}

/// Adam (Kingma and Ba 2015):
/// m ← β₁ m + (1 − β₁) g; v ← β₂ v + (1 − β₂) g²; p ← p − η m̂ / (√v̂ + ε), with m̂ = m / (1 − β₁ᵗ) and
/// v̂ = v / (1 − β₂ᵗ) at step t.
///
/// t counts the steps of each parameter on its own, in the state `{name}.adam.step`: one that joins later, or takes turns
/// with others, begins as if it were alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// Learning rate η.
    pub learning_rate: LearningRate,
    /// Decays β₁ of the mean and β₂ of the mean square.
    pub betas: [f64; 2],
    /// ε, which keeps the divisor from 0.
    pub epsilon: f64,
}

impl Adam {
    /// β₁ = 0.9, β₂ = 0.999, ε = 10⁻⁸.
    pub fn new(learning_rate: impl Into<LearningRate>) -> Self {
        Self { learning_rate: learning_rate.into(), betas: [0.9, 0.999], epsilon: 1e-8 }
    }
}

impl Optimizer for Adam {
    fn step<'g>(&self, graph: &'g Graph, parameters: &[(Var<'g>, Var<'g>)]) {
        AdamW { adam: *self, weight_decay: 0.0 }.step(graph, parameters);
    }

    fn learning_rate(&self) -> Option<LearningRate> {
        Some(self.learning_rate)
    }

    fn settings(&self) -> String {
        format!("{self:?}")
    }
}

/// Adam with decoupled weight decay: p ← (1 − η λ) p before Adam's step (Loshchilov and Hutter 2019).
///
/// The decay is the field [`weight_decay`](Self::weight_decay). The method of that name, which every optimizer has, adds L2
/// regularisation to the gradient as well. To set the decay:
///
/// ```
/// use dagrad::optim::AdamW;
///
/// let rule = AdamW { weight_decay: 0.1, ..AdamW::new(1e-3) };
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Adam's own settings.
    pub adam: Adam,
    /// Decoupled weight decay λ.
    pub weight_decay: f64,
}

impl AdamW {
    /// Adam's defaults and λ = 0.01.
    pub fn new(learning_rate: impl Into<LearningRate>) -> Self {
        Self { adam: Adam::new(learning_rate), weight_decay: 0.01 }
    }
}

impl Optimizer for AdamW {
    fn step<'g>(&self, graph: &'g Graph, parameters: &[(Var<'g>, Var<'g>)]) {
        let Adam { learning_rate, betas: [beta1, beta2], epsilon } = self.adam;
        graph.require("Adam", "the first of betas", beta1, 0.0..1.0);
        graph.require("Adam", "the second of betas", beta2, 0.0..1.0);
        graph.require("Adam", "epsilon", epsilon, FINITE);
        graph.require("AdamW", "weight_decay", self.weight_decay, FINITE);
        let rate = learning_rate.record(graph);
        for &(p, g) in parameters {
            let [_, t] = count(graph, &format!("{}.adam.step", p.name()));
            let corrected = graph.record(OfCount::Debias { beta: beta1 }, &[t, rate]);
            let inverse_root = graph.record(OfCount::RootDebias { beta: beta2 }, &[t]);
            let (m, v) = (state(p, "adam.m"), state(p, "adam.v"));
            let next_m = m * beta1 + g * (1.0 - beta1);
            let next_v = v * beta2 + g * g * (1.0 - beta2);
            m.assign(next_m);
            v.assign(next_v);
            // √v̂ = √v / √(1 − β₂ᵗ): what is the same for all elements is computed once.
            let step = next_m / (next_v.sqrt() * inverse_root + epsilon) * corrected;
            let kept = if self.weight_decay == 0.0 { p } else { p * (1.0 - rate * self.weight_decay) };
            p.assign(kept - step);
        }
    }

    fn learning_rate(&self) -> Option<LearningRate> {
        Some(self.adam.learning_rate)
    }

    fn settings(&self) -> String {
        format!("{self:?}")
    }
}
