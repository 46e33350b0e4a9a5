//! Golden files: what they hold, and how the engine is held to them. `tests/golden/README.md` describes the format.

pub mod attributes;
pub mod case;
pub mod compare;
pub mod manifest;
pub mod operations;
pub mod report;
pub mod tensors;
pub mod training;

use std::collections::BTreeMap;

use ndarray::ArrayD;

/// Why a case did not end with numbers.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The case uses something that the harness does not know, and so does not count.
    #[error("{0}")]
    Unknown(String),
    /// The files do not say what they should.
    #[error("bad file: {0}")]
    File(String),
    /// The engine refused.
    #[error(transparent)]
    Refused(#[from] dagrad::Error),
    /// The types of the engine's methods do not let it be said, such as a stride of −1.
    #[error("no type allows {0}")]
    Unsayable(String),
    /// The engine panicked, which is never right.
    #[error("panicked: {0}")]
    Panicked(String),
}

pub type Result<T, E = Trouble> = std::result::Result<T, E>;

/// What the engine computed, by the keys of the manifest.
pub type Values = BTreeMap<String, ArrayD<f64>>;
