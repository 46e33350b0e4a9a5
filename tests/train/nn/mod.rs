//! Layers and networks.

mod classics;
mod layers;
mod networks;
