//! What a network is, what it costs, and what is wrong with it.
//!
//! - [`Graph::summary`](crate::Graph::summary) lists the layers: shapes, parameters, multiplications, receptive fields;
//! - [`Plan::profile`](crate::Plan::profile) says where the time of a run goes;
//! - [`diagnose`] finds parameters without a path, gradients that vanish or explode, and units that are dead.

mod diagnosis;
mod field;
mod json;
mod profile;
mod summary;
mod table;

pub use diagnosis::{Diagnosis, ParameterHealth, UnitHealth, diagnose};
pub use field::{ReceptiveField, receptive_field};
#[cfg(feature = "viz")]
pub(crate) use field::{View, views};
pub use profile::{Family, Phase, Profile, StepProfile};
pub use summary::{Layer, Origin, Summary};
#[cfg(feature = "viz")]
pub(crate) use table::grouped;
