//! Pictures and pages for people who would rather look than read.

mod picture;
mod report;

pub use report::{Report, Start};
