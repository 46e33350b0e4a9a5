//! The operations, one file for each family closed under differentiation.
//!
//! A file holds everything about its family: the methods on [`Var`](crate::Var), the shape rule, the call of
//! the kernel, the gradient rule in graph operations, and the examples from which its checks are made.

pub mod activations;
pub mod arithmetic;
mod attributes;
pub mod avg_pool2d;
pub mod batch_matmul;
pub mod borders;
pub mod broadcast;
pub mod class_losses;
pub mod concat;
pub mod conv2d;
pub mod cross_entropy;
pub mod dropout;
pub mod einsum;
pub mod example;
pub mod extremum;
pub mod fill;
pub mod gather;
pub mod im2col;
pub mod losses;
pub mod matmul;
pub mod max_pool2d;
pub mod pixel_shuffle;
pub mod pointwise;
pub mod relu;
pub mod repeat;
pub mod reshape;
pub mod slice;
pub mod softmax;
pub mod statistics;
pub mod stop_gradient;
pub mod transpose;
pub mod upsample;

pub use arithmetic::same_shape;
pub use attributes::{Conv2dOptions, Padding, Pool2dOptions};
pub use class_losses::CrossEntropy;
pub use example::Example;
pub use losses::Reduction;

/// Calls `$with!` with the list of families. A name here is a new set of checks; a family without it is found by a test.
#[doc(hidden)]
#[macro_export]
macro_rules! op_families {
    ($with:ident) => {
        $with! {
            activations, arithmetic, avg_pool2d, batch_matmul, borders, broadcast, class_losses, concat,
            conv2d, cross_entropy, dropout, einsum, extremum, fill, gather, im2col, losses, matmul, max_pool2d,
            pixel_shuffle, pointwise, relu, repeat, reshape, slice, softmax, statistics, stop_gradient, transpose,
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
