//! The operations, one file for each family closed under differentiation.
//!
//! A file holds everything about its family: the methods on [`Var`](crate::Var), the shape rule, the call of
//! the kernel, the gradient rule in graph operations, and the examples from which its checks are made.

mod activations;
mod arithmetic;
mod attributes;
mod avg_pool2d;
mod batch_matmul;
mod borders;
mod broadcast;
mod class_losses;
mod concat;
mod conv2d;
mod cross_entropy;
mod dropout;
mod einsum;
pub mod example;
mod extremum;
mod fill;
mod gather;
mod im2col;
mod losses;
mod matmul;
mod max_pool2d;
mod normalise;
mod operands;
mod pixel_shuffle;
mod pointwise;
mod repeat;
mod reshape;
mod rules;
mod slice;
mod softmax;
mod statistics;
mod stop_gradient;
mod transpose;
mod upsample;

pub use arithmetic::{Binary, Other, same_shape};
pub use attributes::{Conv2dOptions, Padding, Pool2dOptions};
pub use class_losses::CrossEntropy;
pub(crate) use class_losses::without;
pub use example::Example;
pub use im2col::{col2im, im2col};
pub use losses::Reduction;
pub(crate) use operands::no_image;
pub use pointwise::Unary;

/// Calls `$with!` with the list of families. A name here is a new set of checks; a family without it is found by a test.
#[doc(hidden)]
#[macro_export]
macro_rules! op_families {
    ($with:ident) => {
        $with! {
            activations, arithmetic, avg_pool2d, batch_matmul, borders, broadcast, class_losses, concat,
            conv2d, cross_entropy, dropout, einsum, extremum, fill, gather, im2col, losses, matmul, max_pool2d,
            normalise, pixel_shuffle, pointwise, repeat, reshape, slice, softmax, statistics, stop_gradient, transpose,
            upsample
        }
    };
}

macro_rules! list {
    ($($family:ident),*) => {
        /// Every family's name and examples.
        pub fn families() -> Vec<(&'static str, Vec<Example>)> {
            vec![$((stringify!($family), $family::examples())),*]
        }
    };
}
op_families!(list);
