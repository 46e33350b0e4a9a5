//! Running plans: `src/run`, and the kernels' promises about threads, instruction sets and memory.

mod allocation;
#[path = "../common/mod.rs"]
mod common;
mod data;
mod determinism;
mod dispatch;
mod failure;
mod feed;
mod memory;
mod mutants;
mod prepared;
mod store;
mod weights;
