//! The loops: everything that touches many numbers. Slices in, slices out; no graphs, no allocation.
//!
//! Every kernel splits its work by the shape of the problem alone and never splits a sum between threads, so
//! its result is the same to the bit for any number of threads.

pub mod buffer;
pub mod conv;
pub mod elementwise;
pub mod gemm;
pub mod pool;
pub mod random;
pub mod real;
pub mod reduce;
pub mod simd;
pub mod softmax;
pub mod walk;
pub mod workers;
