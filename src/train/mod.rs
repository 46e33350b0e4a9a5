//! Training: single steps on any graph, and whole runs over a dataset.

mod fit;
mod progress;
mod trainer;

pub use fit::{Epoch, FitOptions, evaluate, fit};
pub use progress::Progress;
pub use trainer::Trainer;
