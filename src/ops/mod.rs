//! The operations, one file for each family closed under differentiation.
//!
//! A file holds everything about its family: the methods on [`Var`](crate::Var), the shape rule, the call of
//! the kernel, the gradient rule in graph operations, and the examples from which its checks are made.

mod attributes;
pub mod example;

pub use arithmetic::same_shape;
pub use attributes::{Conv2dOptions, Padding, Pool2dOptions};
pub use class_losses::CrossEntropy;
pub use example::Example;
pub use losses::Reduction;

/// Calls `$with!` with the one list of families. A new line here is a new module and a new set of checks.
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

macro_rules! declare {
    ($($family:ident),*) => {
        $(pub mod $family;)*

        /// Every family's name and examples.
        pub fn families() -> Vec<(&'static str, Vec<Example>)> {
            vec![$((stringify!($family), $family::examples())),*]
        }
    };
}
op_families!(declare);
