//! Training: single steps on any graph, and whole runs over a dataset.

mod checkpoint;
mod fit;
mod observer;
mod progress;
mod trainer;

pub use checkpoint::{Checkpoints, Resumed, read_checkpoint, save_checkpoint};
pub use fit::{Epoch, FitOptions, evaluate, fit, fit_observed};
pub use observer::{Observer, TrainStep, Training};
pub use progress::Progress;
pub use trainer::Trainer;
