//! From a graph to a plan: `src/compile`.

mod chain;
mod groups;
mod lower;
mod plan;
mod rewrites;
