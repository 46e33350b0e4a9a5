//! The loops: everything that touches many numbers. Slices in, slices out; no graphs, no allocation.
//!
//! Every kernel splits its work by the shape of the problem alone and never splits a sum between threads, so
//! its result is the same to the bit for any number of threads.

pub(crate) mod buffer;
pub(crate) mod channels_last;
pub(crate) mod conv;
pub mod elementwise;
pub(crate) mod gather;
pub(crate) mod gemm;
pub(crate) mod lattice;
pub mod limits;
pub(crate) mod pool;
pub(crate) mod random;
pub mod real;
pub(crate) mod reduce;
pub(crate) mod simd;
pub(crate) mod softmax;
pub(crate) mod walk;
pub(crate) mod winograd;
pub mod workers;
