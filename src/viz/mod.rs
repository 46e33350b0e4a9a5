//! Pictures and pages for people who would rather look than read.
//!
//! - [`filters`] and [`feature_maps`] show what a network has learned and what its layers answer, as [`Tiles`];
//! - [`input_gradient`], [`occlusion`] and [`grad_cam`] say where it looks, and [`overlay`] lays that over an image;
//! - [`Report`] puts all of it, with learning curves, the graph, time and memory, on one page.

mod image;
mod maps;
mod report;
mod saliency;
mod tiles;

pub use image::{Image, read_image};
pub(crate) use maps::filter_names;
pub use maps::{FeatureMaps, feature_maps, filters};
#[doc(hidden)]
pub use report::memory_part;
pub use report::{Report, Start};
pub use saliency::{Occlusion, grad_cam, input_gradient, occlusion, overlay};
pub use tiles::Tiles;
