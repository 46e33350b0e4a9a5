//! Recording: operations, the graph they append themselves to, and the handles that users hold.

pub(crate) mod checkpoint;
pub mod dag;
mod indices;
mod init;
pub mod kernel;
pub mod lowering;
pub mod op;
mod recorder;
mod show;
mod var;

pub use init::Init;
pub use op::{Call, Dtype, Gradient, Op, Operand, OutputSlot, Precision, TensorType, VjpInputs};
pub use recorder::{Graph, Layer, Mode, Update};
pub use var::Var;
