//! wip
#![warn(missing_docs)]
pub mod autodiff;
pub mod check;
pub mod compile;
pub mod data;
pub mod error;
pub mod graph;
pub mod kernels;
pub mod nn;
pub mod ops;
pub mod optim;
pub mod run;
pub mod shape;
pub mod train;

pub use autodiff::{gradients, vjp};
pub use compile::{Options, Plan};
pub use error::{Error, Result};
pub use graph::{Dtype, Graph, Init, Meta, Mode, Precision, Var};
pub use kernels::real::Real;
pub use ops::im2col::{col2im, im2col};
pub use ops::{Conv2dOptions, Pool2dOptions};
pub use run::{Feed, Outputs, Store, Value, Workspace};
pub use shape::Shape;
pub use train::Trainer;
