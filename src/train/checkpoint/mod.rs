//! Checkpoints: a training in files, from which it goes on as if it had never stopped.

mod description;
mod folder;

use std::path::Path;

pub(super) use description::{begin, describe};
pub use folder::{Checkpoints, Resumed};

use crate::error::Result;
use crate::graph::Precision;
use crate::run::Store;
use crate::weights::checkpoint::{Notes, read, write};

/// Writes all that a store holds to a file: parameters, state, that of the optimizer, seed, step and the position in the
/// epoch. It is for loops of one's own; [`Checkpoints`] keeps a folder of such files.
///
/// The file appears when all of it is on the disk, and has a checksum; whatever happens before leaves an earlier one as it was.
///
/// ```
/// use dagrad::optim::Adam;
/// use dagrad::train::{read_checkpoint, save_checkpoint};
/// use dagrad::{Graph, Init, Store, Trainer, Workspace};
/// # let path = std::env::temp_dir().join(format!("loop-{}.checkpoint", std::process::id()));
///
/// let trainer = |store: Store<f32>| {
///     let graph = Graph::new();
///     let loss = (graph.param("w", [3], Init::ONES) - 2.0).powi(2).sum_all();
///     Trainer::with(loss, &Adam::new(0.1), store, Workspace::new(1)?)
/// };
/// let mut first = trainer(Store::new(0))?;
/// first.step(&[])?;
/// save_checkpoint(&path, first.store())?;
///
/// let mut second = trainer(read_checkpoint(&path)?)?; // in another process, say
/// assert_eq!(second.step(&[])?, first.step(&[])?);
/// assert_eq!(second.store().step(), 2);
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), dagrad::Error>(())
/// ```
///
/// # Errors
/// [`Error::Data`](crate::Error::Data) with the step that failed: a folder that is missing or read-only, a full disk.
#[track_caller]
pub fn save_checkpoint<T: Precision>(path: impl AsRef<Path>, store: &Store<T>) -> Result<()> {
    write(path.as_ref(), store, &Notes::new())
}

/// The store in a file of [`save_checkpoint`] or [`Checkpoints`], for a trainer, a model, or as the source of
/// [`Weights`](crate::weights::Weights). Whatever goes on with it may have other settings than before.
///
/// # Errors
/// [`Error::Data`](crate::Error::Data): a file that cannot be read, is damaged, or is something else.
/// [`Error::Setting`](crate::Error::Setting): one in another precision. It takes no more memory than twice the file's size,
/// whatever the file claims.
#[track_caller]
pub fn read_checkpoint<T: Precision>(path: impl AsRef<Path>) -> Result<Store<T>> {
    Ok(read(path.as_ref())?.0)
}
