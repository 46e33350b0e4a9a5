//! Recording a graph and differentiating it: `src/graph`, `src/autodiff.rs`, `src/check`.

mod check;
#[path = "../common/mod.rs"]
mod common;
mod composites;
mod deep;
mod gradients;
mod layers;
mod recompute;
mod recorder;
