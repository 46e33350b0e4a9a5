//! What plans have computed from parameters alone, kept until a parameter changes.

use std::fmt;

use super::buffer;
use crate::compile::Plan;
use crate::error::Result;
use dagrad_kernels::buffer::Buffer;
use dagrad_kernels::real::Real;

/// For how many plans values are kept at least: two sizes of a batch may take turns.
const KEPT: usize = 2;

/// The results of preparations, those of the latest plan at the end.
#[derive(Default)]
pub(super) struct PreparedValues<T: Real> {
    kept: Vec<Kept<T>>,
    /// For how many plans they are kept, if more were asked for.
    most: usize,
    /// How often something that they follow from may have changed: a parameter, or the count of steps.
    changes: u64,
}

struct Kept<T: Real> {
    /// Whose: [`Plan::prepared`].
    of: u64,
    /// After how many changes they were computed, if they are there.
    valid_for: Option<u64>,
    values: Vec<Buffer<T>>,
}

impl<T: Real> PreparedValues<T> {
    /// Notes that what they follow from may change now.
    pub fn expire(&mut self) {
        self.changes += 1;
    }

    /// Keeps the values of so many plans.
    pub fn keep(&mut self, plans: usize) {
        self.most = plans;
    }

    /// Whether a preparation has run since the last change.
    pub fn is_valid(&self, preparation: &Plan<T>) -> bool {
        let mut kept = self.kept.iter().filter(|kept| kept.of == preparation.prepared());
        kept.any(|kept| kept.valid_for == Some(self.changes))
    }

    /// The values that a plan reads, or that a preparation writes.
    pub fn of(&self, plan: &Plan<T>) -> &[Buffer<T>] {
        let kept = self.kept.iter().find(|kept| kept.of == plan.prepared());
        kept.map_or(&[], |kept| &kept.values)
    }

    /// Makes room for the results of a preparation.
    pub fn make_room(&mut self, preparation: &Plan<T>) -> Result<()> {
        let of = preparation.prepared();
        let known = self.kept.iter().position(|kept| kept.of == of);
        let oldest = (self.kept.len() >= self.most.max(KEPT)).then_some(0);
        let gone = known.or(oldest).map(|position| self.kept.remove(position));
        let values = match gone {
            Some(gone) if gone.of == of => gone.values,
            _ => {
                let sizes = preparation.results().iter().map(|result| result.source.ty.shape.count());
                sizes.map(|size| buffer(size, "prepared weights")).collect::<Result<_>>()?
            }
        };
        self.kept.push(Kept { of, valid_for: None, values });
        Ok(())
    }

    /// Notes that a preparation has run.
    pub fn validate(&mut self, preparation: &Plan<T>) {
        let kept = self.kept.iter_mut().filter(|kept| kept.of == preparation.prepared());
        kept.for_each(|kept| kept.valid_for = Some(self.changes));
    }
}

impl<T: Real> fmt::Debug for PreparedValues<T> {
    /// They are no part of what a store holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}
