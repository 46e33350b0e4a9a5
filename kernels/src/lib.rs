//! The loops of `dagrad`: everything that touches many numbers. Slices in, slices out; no graphs, and no allocation once
//! scratch has grown.
//!
//! A kernel adds up every sum in an order that depends on the shape of the problem alone. So its result is the same to the
//! bit for any number of threads, and for every instruction set.
//!
//! This crate is a part of `dagrad` and has no interface of its own to keep stable. It is apart so that it is compiled
//! once, and not again when an operation or a pass changes. See [`precompiled`] for how that is done.
#![warn(missing_docs)]
// Loops that are compiled for every size of tile, register and precision count through arrays: the adaptors of iterators
// would be compiled as often, and take the compiler longer than the loops.
#![allow(clippy::needless_range_loop)]

pub mod buffer;
pub mod conv;
pub mod elementwise;
mod erf;
pub mod gather;
pub mod gemm;
pub mod lattice;
pub mod limits;
pub mod pool;
pub mod precompiled;
pub mod problem;
pub mod random;
pub mod real;
pub mod reduce;
pub mod simd;
pub mod softmax;
mod transcendental;
pub mod tuning;
pub mod walk;
pub mod window;
pub mod winograd;
pub mod workers;
