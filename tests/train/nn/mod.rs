//! Layers and networks.

mod classics;
mod layers;
mod modes;
mod networks;
mod serving;
mod several;
