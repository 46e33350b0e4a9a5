//! Data, layers, networks, optimizers and training: `src/data`, `src/nn`, `src/optim`, `src/train`.

mod classics;
mod data;
mod fit;
mod idx;
mod layers;
mod networks;
mod optim;
