//! What is shown of networks: `src/inspect` and `src/viz`.

mod bounds;
mod classes;
#[path = "../common/mod.rs"]
mod common;
mod curves;
mod fields;
mod inspect;
mod memory;
mod report;
mod tensorboard;
mod tiles;
