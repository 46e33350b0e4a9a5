//! Automatic differentiation for convolutional networks on the CPU: record, differentiate, compile, run.
//!
//! ```text
//! user code ──record──▶ Graph ──gradients──▶ Graph ──compile──▶ Plan ──run──▶ values
//! ```
//!
//! - **Record.** Methods on [`Var`] append operations to a [`Graph`] and infer their shapes. A misuse is kept,
//!   with the line of your code, and returned by whatever uses the graph next.
//! - **Differentiate.** [`gradients`] appends the gradient to the same graph. It can be differentiated again.
//! - **Compile.** [`Plan::compile`] merges and simplifies operations, lowers them to kernels, fuses these, and lays
//!   all buffers out in one block of memory. The precision, `f32` or `f64`, is chosen here.
//! - **Run.** [`Plan::run`] performs the steps over a [`Store`] of parameters, in a [`Workspace`] of memory and
//!   threads. After the first run it allocates nothing, and its bits do not depend on the number of threads.
//!
//! # A first gradient
//!
//! [`Var::eval`] compiles and runs at once, to try things out:
//!
//! ```
//! use dagrad::{Graph, gradients};
//! use ndarray::array;
//!
//! let graph = Graph::new();
//! let x = graph.input("x", [3]);
//! let y = (x * x * x).sum_all();
//! let gradient = gradients(y, &[x])?[0];
//! assert_eq!(gradient.eval::<f64>(&[x.feed(&array![1.0, 2.0, 3.0])])?, array![3.0, 12.0, 27.0].into_dyn());
//! # Ok::<(), dagrad::Error>(())
//! ```
//!
//! # A first network
//!
//! A network is a function from images to logits. A [`Model`](nn::Model) keeps it together with its parameters,
//! and [`fit`](train::fit) trains it:
//!
//! ```
//! use dagrad::nn::{self, Filters, Model};
//! use dagrad::optim::Adam;
//! use dagrad::train::{FitOptions, fit};
//! use dagrad::{Var, data};
//!
//! fn network<'g>(images: Var<'g>) -> Var<'g> {
//!     let h = nn::conv2d(images, "conv", Filters::new(8, 5)).relu().max_pool2d(2);
//!     nn::linear(h.flatten(), "classes", 10)
//! }
//!
//! let data::Split { train, test } = data::mnist_5k()?;
//! let mut model = Model::new(network, train.image_shape(), 0)?;
//! let options = FitOptions { epochs: 1, ..FitOptions::default() };
//! let epochs = fit(&mut model, &Adam::new(1e-3), &train, &test, options)?;
//! assert!(epochs[0].test.accuracy() > 0.7);
//! # Ok::<(), dagrad::Error>(())
//! ```
//!
//! A [`Trainer`] does the same step by step, for any loss on any inputs.
//!
//! # Speed of debug builds
//!
//! Your crate builds this one in its own dev profile, which is unoptimised and far slower. These lines in its
//! `Cargo.toml` optimise the kernels fully and the engine a little:
//!
//! ```toml
//! [profile.dev.package.dagrad-kernels]
//! opt-level = 3
//!
//! [profile.dev.package.dagrad]
//! opt-level = 1
//! ```
//!
//! # The modules
//!
//! Each stands on the ones before it, and that is also the order in which to read them:
//!
//! | module | holds |
//! |---|---|
//! | [`error`], `shape` | errors with source lines; shapes and windows |
//! | [`kernels`] | loops over slices, and the threads that share them: a crate of its own |
//! | [`graph`] | recording; what an operation is ([`Op`](graph::Op)), and a kernel ([`Kernel`](graph::Kernel)) |
//! | [`ops`] | the operations: one module for each family, with its kernels and its examples |
//! | `autodiff` | the reverse pass |
//! | [`compile`] | passes from a graph to a [`Plan`] |
//! | `run` | [`Store`], [`Workspace`], and the loop over a plan's steps |
//! | [`weights`], [`optim`] | parameters in files, with PyTorch's names and layouts; optimizers in graph operations |
//! | [`inspect`] | layers of a network, the time of its steps, and what is wrong with it |
//! | [`check`] | are these gradients right? For your own operations, losses and networks too |
//! | [`data`] | samples in memory and in files; divided, normalised, augmented |
//! | [`nn`] | layers and networks |
//! | [`train`] | training runs, and their checkpoints |
//! | `viz` | filters, saliency, reports and logs (feature `viz`, on by default) |
//!
//! # Further reading
//!
//! The folder `docs/` explains the design and its reasons (`design.md`), tours the sources (`tour.md`), shows how to
//! add an operation (`adding-an-op.md`), says how all of it is tested (`testing.md`), how to measure (`speed.md`), and
//! what the literature calls it (`glossary.md`).
#![warn(missing_docs)]
mod autodiff;
pub mod check;
pub mod compile;
pub mod data;
pub mod error;
pub mod graph;
pub mod inspect;
pub mod nn;
pub mod ops;
pub mod optim;
mod run;
mod shape;
pub mod train;
#[cfg(feature = "viz")]
pub mod viz;
pub mod weights;

pub use autodiff::{gradients, hessian, hvp, jacobian, jvp, vjp};
pub use compile::{Options, Plan};
pub use dagrad_kernels::real::Real;
pub use error::{Error, Result};
pub use graph::{Algorithm, Dtype, Graph, Init, Mode, Precision, TensorType, Var};
pub use ops::{Conv2dOptions, CrossEntropy, Padding, Pool2dOptions, Reduction, col2im, im2col};
pub use run::{Element, Feed, Outputs, Store, Value, Workspace};
pub use shape::{Pair, Shape};
pub use train::Trainer;

/// What an operation or a kernel of your own meets of the kernels' crate.
pub mod kernels {
    pub use dagrad_kernels::elementwise::Function;
    pub use dagrad_kernels::simd::Isa;
    pub use dagrad_kernels::window::{Remainder, Window};
    pub use dagrad_kernels::workers::Workers;
}

/// The snippets of the documents, each a test.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/adding-an-op.md")]
    mod adding_an_op {}
    #[doc = include_str!("../docs/design.md")]
    mod design {}
    #[doc = include_str!("../docs/glossary.md")]
    mod glossary {}
    #[doc = include_str!("../docs/speed.md")]
    mod speed {}
    #[doc = include_str!("../docs/testing.md")]
    mod testing {}
    #[doc = include_str!("../docs/tour.md")]
    mod tour {}
}
