//! Recording: operations, the graph they append themselves to, and the handles that users hold.

mod attributes;
pub(crate) mod axes;
pub(crate) mod call;
pub(crate) mod dag;
mod indices;
mod init;
pub(crate) mod kernel;
pub(crate) mod lowering;
pub(crate) mod op;
mod parameter;
pub(crate) mod recompute;
mod recorder;
mod rewrite;
mod scope;
pub(crate) mod setting;
pub(crate) mod show;
mod var;

pub use attributes::{Attribute, Attributes};
pub use axes::{AxisMap, AxisRead};
pub use call::{Call, Operand, OutputSlot, Random};
pub use dag::NodeId;
pub use init::Init;
pub use kernel::{AnyKernel, BatchSplit, Consumer, Definition, Kernel};
pub use lowering::{Algorithm, Lowered, OperandLayout, Target};
pub use op::{AnyOp, Dtype, Gradient, Op, Precision, TensorType, VjpInputs};
pub use parameter::ParameterKind;
pub use recorder::{Graph, Mode, Update};
pub use rewrite::{NodeRef, Rewrite};
pub(crate) use scope::Called;
pub use scope::{Composite, Scope};
pub use var::Var;
