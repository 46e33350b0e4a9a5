//! From a graph to a plan: `src/compile`.

mod batch_tiling;
mod chain;
#[path = "../common/mod.rs"]
mod common;
mod lower;
mod plan;
mod rewrites;
