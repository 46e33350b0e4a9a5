//! Laws that hold for whatever is drawn at random: definitions, adjoints, differences.

#[path = "../common/mod.rs"]
mod common;
mod equations;
mod graphs;
mod long_sums;
mod properties;
mod shapes;
mod windows;
