//! The proof at the end of compiling: no step writes what another reads at that time.

use super::gaps::ALIGNMENT;
use super::plan::{Group, Place, Plan, Source};
use crate::graph::Precision;

impl<T: Precision> Plan<T> {
    /// Panics unless every step writes only memory that it does not read, within the arena. Running steps
    /// rests on this.
    pub(super) fn verify(&self) {
        for step in &self.steps {
            for (position, operand) in step.operands.iter().enumerate() {
                let is_taken_over = step.in_place == Some(position);
                assert!(
                    is_taken_over || !operand.overlaps::<T>(&step.output),
                    "{} overwrites itself",
                    step.op.name()
                );
            }
            let sources = step.operands.iter().chain([&step.output]);
            let is_split = step.split.is_some();
            let is_inside = |source: &Source| self.contains(source) || is_split && is_local(source);
            assert!(sources.into_iter().all(is_inside), "{} is outside", step.op.name());
            assert!(is_split || step.scratch * size_of::<T>() <= self.arena - self.scratch);
        }
        self.groups.iter().for_each(|group| self.verify_group(group));
    }

    /// Panics unless the tasks of a group keep out of each other's way: where one step writes what another reads
    /// or writes, both keep to the samples of their task, in the same places.
    fn verify_group(&self, group: &Group) {
        let steps = &self.steps[group.steps.clone()];
        for (writer, step) in steps.iter().enumerate() {
            let Some(split) = &step.split else { panic!("{} has no samples", step.op.name()) };
            let own = &step.output;
            for (reader, other) in steps.iter().enumerate() {
                let Some(other_split) = &other.split else { continue };
                let outputs = (reader != writer).then_some((&other.output, other_split.every == 1));
                let operands = other.operands.iter().zip(other_split.operands.iter().copied());
                for (source, by_samples) in
                    operands.chain(outputs).filter(|(source, _)| own.overlaps::<T>(source))
                {
                    let is_same = own.place == source.place && own.bytes::<T>() == source.bytes::<T>();
                    let keeps_to_samples = is_same && by_samples && split.every == 1;
                    assert!(
                        is_local(own) || keeps_to_samples,
                        "{} disturbs {}",
                        step.op.name(),
                        other.op.name()
                    );
                }
            }
            let start = |source: &Source| if let Place::Local(offset) = source.place { offset } else { 0 };
            let end = |source: &Source| match source.place {
                Place::Local(offset) => offset + source.bytes::<T>() / group.samples * group.chunk,
                _ => 0,
            };
            assert!(step.operands.iter().chain([own]).all(|source| end(source) <= group.scratch));
            assert!(group.scratch + step.scratch * size_of::<T>() <= group.local);
            for (position, operand) in
                step.operands.iter().enumerate().filter(|(_, operand)| is_local(operand))
            {
                let apart = end(operand) <= start(own) || end(own) <= start(operand) || !is_local(own);
                assert!(apart || step.in_place == Some(position), "{} overwrites itself", step.op.name());
            }
        }
    }

    fn contains(&self, source: &Source) -> bool {
        match source.place {
            Place::Local(_) => false,
            Place::Arena(offset) => {
                offset.is_multiple_of(ALIGNMENT) && offset + source.bytes::<T>() <= self.scratch
            }
            Place::Parameter(number) => {
                self.parameters[number].meta.shape.count() == source.meta.shape.count()
            }
        }
    }
}

/// Whether a value exists only inside a group.
fn is_local(source: &Source) -> bool {
    matches!(source.place, Place::Local(_))
}
