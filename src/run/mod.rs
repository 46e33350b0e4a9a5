//! Running plans: the store of parameters, the workspace of memory and threads, and the loop over steps.

mod eval;
mod execute;
mod feed;
mod outputs;
mod store;
mod workspace;

pub use execute::KernelCall;
pub use feed::{Element, Feed, Value};
pub use outputs::Outputs;
pub use store::Store;
pub use workspace::Workspace;
