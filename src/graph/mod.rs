//! Recording: operations, the graph they append themselves to, and the handles that users hold.

mod attributes;
pub(crate) mod checkpoint;
pub(crate) mod dag;
mod indices;
mod init;
pub(crate) mod kernel;
pub(crate) mod lowering;
pub(crate) mod op;
mod recorder;
mod scope;
mod show;
mod var;

pub use attributes::{Attribute, Attributes};
pub use dag::NodeId;
pub use init::Init;
pub use kernel::{AnyKernel, BatchSplit, Consumer, Definition, Kernel};
pub use lowering::{Algorithm, Lowered, OperandLayout, Target};
pub use op::{
    AnyOp, Call, Dtype, Gradient, NodeRef, Op, Operand, OutputSlot, Precision, Random, Rewrite, TensorType,
    VjpInputs,
};
pub use recorder::{Graph, Mode, Update};
pub use scope::{Composite, Layer};
pub use var::Var;
