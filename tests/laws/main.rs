//! Laws that hold for whatever is drawn at random: definitions, adjoints, differences.

mod equations;
mod graphs;
mod properties;
mod shapes;
mod windows;
