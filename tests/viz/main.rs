//! What is shown of networks: `src/inspect`, `src/viz`, and the log of `src/train/tensorboard.rs`.

mod classes;
#[path = "../common/mod.rs"]
mod common;
mod curves;
mod inspect;
mod memory;
mod report;
mod tensorboard;
mod tiles;
