//! Layers and networks.
//!
//! A layer is a function from values to a value that finds its parameters by name; a network is a function
//! or a small struct ([`Network`]); a [`Model`] is a network together with its parameters.

mod classics;
mod layers;
mod model;
mod networks;
mod norm;
mod predictor;

pub use classics::{AlexNet, LeNet5, ResNet, Vgg, autoencoder, residual_block};
pub use layers::{Filters, Units, conv_transpose2d, conv2d, linear};
#[cfg(feature = "viz")]
pub(crate) use model::argmax;
pub use model::{Model, Network, network};
pub use networks::{DeepConvNet, SimpleConvNet};
pub use norm::{BatchNorm, batch_norm, group_norm, layer_norm, rms_norm};
pub use predictor::Predictor;
