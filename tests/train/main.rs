//! Data, layers, networks, optimizers and training: `src/data`, `src/nn`, `src/optim`, `src/train`.

#[path = "../common/mod.rs"]
mod common;
mod data;
mod fit;
mod lines;
mod looking;
mod nn;
mod objectives;
mod optim;
mod settings;
