//! Data: digits inside the crate, and files.

mod dataset;
mod idx;
