//! The tests of all kernels in one binary, in modules that are named after the source files. They use nothing that is
//! private, and run kernels on every instruction set of the machine.

mod common;
mod conv;
mod elementwise;
mod gather;
mod gemm;
mod nhwc;
mod pool;
mod pool_average;
mod pool_nhwc;
mod real;
mod reduce;
mod simd;
mod transcendental;
mod walk;
mod winograd;
mod workers;
