//! Running plans: the store of parameters, the workspace of memory and threads, and the loop over steps.

mod eval;
mod execute;
mod feed;
mod outputs;
mod prepared;
mod store;
mod workspace;

pub use execute::KernelCall;
pub use feed::{Element, Feed, Value};
pub use outputs::Outputs;
pub use store::Store;
pub(crate) use store::{Entry, EpochPosition};
pub use workspace::Workspace;

use crate::error::{Error, Result};
use dagrad_kernels::buffer::Buffer;
use dagrad_kernels::real::sealed::Plain;

/// `len` zeros.
///
/// # Errors
/// [`Error::Memory`] if the machine refuses.
#[track_caller]
fn buffer<T: Plain>(len: usize, what: &'static str) -> Result<Buffer<T>> {
    Buffer::new(len).ok_or(Error::memory(len.saturating_mul(size_of::<T>()), what))
}
