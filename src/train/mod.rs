//! Training: single steps on any graph, and whole runs over a dataset.

mod batch;
mod checkpoint;
mod evaluate;
mod fit;
mod learner;
mod metric;
mod objective;
mod observer;
mod progress;
mod run;
mod stopping;
mod trainer;

#[cfg(feature = "viz")]
pub(crate) use batch::Batch;
pub use checkpoint::{Checkpoints, Resumed, read_checkpoint, save_checkpoint};
pub use evaluate::evaluate;
pub use fit::{Epoch, FitOptions, fit, fit_observed};
pub use learner::{Learner, Trainable};
pub use metric::{Figures, Labels, Metric};
pub use objective::{Goal, Inputs, Objective, objective};
pub use observer::{Observer, TrainStep, Training};
pub use progress::Progress;
pub use stopping::EarlyStopping;
pub use trainer::Trainer;
