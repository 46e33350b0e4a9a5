//! What plans have computed from parameters alone, kept until a parameter changes.

use std::fmt;

use super::{Workspace, buffer};
use crate::compile::Preparation;
use crate::error::Result;
use dagrad_kernels::buffer::Buffer;
use dagrad_kernels::real::Real;

/// For how many plans values are kept: two sizes of a batch may take turns.
const KEPT: usize = 2;

/// The results of preparations, those of the latest plan at the end.
#[derive(Default)]
pub(super) struct PreparedValues<T: Real> {
    kept: Vec<Kept<T>>,
    /// How often something that they follow from may have changed: a parameter, or the count of steps.
    changes: u64,
}

struct Kept<T: Real> {
    /// Whose.
    identity: u64,
    /// After how many changes they were computed.
    changes: u64,
    values: Vec<Buffer<T>>,
}

impl<T: Real> PreparedValues<T> {
    /// Notes that what they follow from may change now.
    pub fn expire(&mut self) {
        self.changes += 1;
    }

    /// The results of a preparation, if it has run since the last change.
    pub fn get(&self, preparation: &Preparation<T>) -> Option<&[Buffer<T>]> {
        let is_valid =
            |kept: &&Kept<T>| (kept.identity, kept.changes) == (preparation.identity, self.changes);
        self.kept.iter().find(is_valid).map(|kept| &kept.values[..])
    }

    /// Keeps the results of a preparation, which has just run.
    pub fn keep(&mut self, preparation: &Preparation<T>, workspace: &Workspace) -> Result<()> {
        let (identity, results) = (preparation.identity, preparation.plan.results());
        let known = self.kept.iter().position(|kept| kept.identity == identity);
        let mut values = match known {
            Some(known) => self.kept.remove(known).values,
            None => {
                let sizes = results.iter().map(|result| result.source.ty.shape.count());
                sizes.map(|size| buffer(size, "prepared weights")).collect::<Result<_>>()?
            }
        };
        for (to, result) in values.iter_mut().zip(results) {
            to.copy_from_slice(workspace.value(&result.source));
        }
        if self.kept.len() == KEPT {
            self.kept.remove(0);
        }
        self.kept.push(Kept { identity, changes: self.changes, values });
        Ok(())
    }
}

impl<T: Real> fmt::Debug for PreparedValues<T> {
    /// They are no part of what a store holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}
