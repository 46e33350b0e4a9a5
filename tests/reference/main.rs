//! Golden files: what they hold, and how the engine is held to them. `tests/golden/README.md` describes the format.

mod attributes;
mod case;
#[path = "../common/mod.rs"]
mod common;
mod compare;
mod golden;
mod manifest;
mod operations;
mod report;
mod tensors;
mod training;

use std::collections::BTreeMap;
use std::fmt;

use ndarray::ArrayD;

/// Why a case did not end with numbers.
#[derive(Debug)]
pub enum Trouble {
    /// The case uses something that the harness does not know, and so does not count.
    Unknown(String),
    /// The files do not say what they should.
    File(String),
    /// The engine refused.
    Refused(dagrad::Error),
    /// The types of the engine's methods do not let it be said, such as a stride of −1.
    Unsayable(String),
    /// The engine panicked, which is never right.
    Panicked(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(what) => f.write_str(what),
            Self::File(what) => write!(f, "bad file: {what}"),
            Self::Refused(error) => error.fmt(f),
            Self::Unsayable(what) => write!(f, "no type allows {what}"),
            Self::Panicked(what) => write!(f, "panicked: {what}"),
        }
    }
}

impl From<dagrad::Error> for Trouble {
    fn from(error: dagrad::Error) -> Self {
        Self::Refused(error)
    }
}

pub type Result<T, E = Trouble> = std::result::Result<T, E>;

/// What the engine computed, by the keys of the manifest.
pub type Values = BTreeMap<String, ArrayD<f64>>;
