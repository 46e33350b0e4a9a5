//! Charts, images and reports.
//!
//! - [`filters`] and [`feature_maps`] show filters and the outputs of layers, as [`Tiles`];
//! - [`input_gradient`], [`occlusion`] and [`grad_cam`] compute saliency, and [`overlay`] lays it over an image;
//! - [`Report`] puts all of it, with learning curves, graph, time and memory, into one file;
//! - [`TensorBoard`] writes a log of a training run.

mod image;
mod maps;
mod report;
mod saliency;
mod tensorboard;
mod tiles;

pub use image::{Image, read_image};
pub(crate) use maps::filter_names;
pub use maps::{FeatureMaps, feature_maps, filters};
pub use report::{Report, Start, draw_memory};
pub use saliency::{Occlusion, grad_cam, input_gradient, occlusion, overlay};
pub use tensorboard::TensorBoard;
pub use tiles::Tiles;
