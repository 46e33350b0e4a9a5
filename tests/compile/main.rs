//! From a graph to a plan: `src/compile`.

mod chain;
#[path = "../common/mod.rs"]
mod common;
mod groups;
mod lower;
mod plan;
mod rewrites;
