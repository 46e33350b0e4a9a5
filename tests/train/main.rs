//! Data, layers, networks, optimizers and training: `src/data`, `src/nn`, `src/optim`, `src/train`.

mod data;
mod fit;
mod nn;
mod optim;
