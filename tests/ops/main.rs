//! The operations: `src/ops`. A module is named after the file whose operations it tests.

mod activations;
mod arithmetic;
mod attributes;
mod class_losses;
#[path = "../common/mod.rs"]
mod common;
mod conv2d;
mod conventions;
mod einsum;
mod examples;
mod extremes;
mod gather;
mod losses;
mod misuse;
