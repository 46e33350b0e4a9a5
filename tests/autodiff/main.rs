//! Recording a graph and differentiating it: `src/graph`, `src/autodiff.rs`, `src/check`.

mod check;
mod checkpoint;
mod deep;
mod gradients;
mod layers;
mod recorder;
