//! Training: single steps on any graph, and whole runs over a dataset.

mod fit;
mod observer;
mod progress;
#[cfg(feature = "viz")]
mod tensorboard;
mod trainer;

pub use fit::{Epoch, FitOptions, evaluate, fit, fit_observed};
pub use observer::{Observer, Step};
pub use progress::Progress;
#[cfg(feature = "viz")]
pub use tensorboard::TensorBoard;
pub use trainer::Trainer;
