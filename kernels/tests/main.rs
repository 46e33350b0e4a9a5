//! The tests of all kernels in one binary, in modules that are named after the source files. They use nothing that is
//! private, and run every kernel on every instruction set of the machine.

mod common;
mod conv;
mod nhwc;
