//! What a network is, what it costs, and what is wrong with it.
//!
//! - [`Graph::summary`](crate::Graph::summary) lists the layers: shapes, parameters, multiplications, receptive fields;
//! - [`Plan::profile`](crate::Plan::profile) times the steps of a plan;
//! - [`diagnose`] finds parameters without a path, gradients that vanish or explode, and units that are dead.

mod diagnosis;
mod field;
mod json;
mod profile;
mod reach;
mod summary;
mod table;

pub use diagnosis::{Diagnosis, ParameterHealth, UnitHealth, diagnose};
#[cfg(feature = "viz")]
pub(crate) use field::receptive_fields;
pub use field::{NoField, ReceptiveField, receptive_field};
pub use profile::{Family, Phase, Profile, StepProfile};
pub use summary::{Layer, Origin, Summary};

pub use crate::run::KernelCall;
#[cfg(feature = "viz")]
pub(crate) use table::{grouped, shortened};
