//! The first half of the proof at the end of compiling: no step writes what it reads, and no task of a group writes what
//! another task may read. The other half, `Liveness::replay`, shows that values last until they are read.

use super::arena::ALIGNMENT;
use super::plan::{Location, Plan, PlanStep, Source, StepGroup, StepOutput};
use crate::graph::Precision;

impl<T: Precision> Plan<T> {
    /// Panics unless every step writes only memory that it does not read, within the arena. Running steps
    /// rests on this.
    pub(super) fn verify(&self) {
        for step in &self.steps {
            for (result, made) in step.outputs().enumerate() {
                for (position, operand) in step.operands.iter().enumerate() {
                    let is_taken_over = made.in_place == Some(position);
                    assert!(
                        is_taken_over || !operand.overlaps::<T>(&made.source),
                        "{} overwrites itself",
                        step.kernel.name()
                    );
                }
                let mut others = step.outputs().skip(result + 1);
                let is_apart = others.all(|other| !other.source.overlaps::<T>(&made.source));
                assert!(is_apart, "{} mixes its results", step.kernel.name());
            }
            let mut sources = step.operands.iter().chain(step.outputs().map(|made| &made.source));
            let is_split = step.split.is_some();
            let is_inside = |source: &Source| self.contains(source) || is_split && is_local(source);
            assert!(sources.all(is_inside), "{} is outside", step.kernel.name());
            assert!(is_split || step.scratch * size_of::<T>() <= self.arena - self.scratch);
        }
        self.groups.iter().for_each(|group| self.verify_group(group));
    }

    /// Panics unless the tasks of a group keep out of each other's way: where one step writes what another reads
    /// or writes, both keep to the samples of their task, at the same location.
    fn verify_group(&self, group: &StepGroup) {
        let steps = &self.steps[group.steps.clone()];
        for (writer, step) in steps.iter().enumerate() {
            let Some(split) = &step.split else {
                unreachable!("{} is in a group, but has no samples", step.kernel.name())
            };
            let rows = group.samples.div_ceil(split.samples_per_row);
            let operands = step.operands.iter().zip(&split.operands).filter(|(_, is_split)| **is_split);
            let batches = operands.map(|(operand, _)| (operand, group.samples));
            let mut batches = batches.chain(step.outputs().map(|made| (&made.source, rows)));
            let is_batch = |(source, rows): (&Source, usize)| source.ty.shape.first() == Some(&rows);
            assert!(batches.all(is_batch), "{} does not keep samples along axis 0", step.kernel.name());
            for own in step.outputs() {
                for (reader, other) in steps.iter().enumerate() {
                    let Some(other_split) = &other.split else { continue };
                    let outputs = other.outputs().filter(|_| reader != writer);
                    let outputs = outputs.map(|made| (&made.source, other_split.samples_per_row == 1));
                    let operands = other.operands.iter().zip(other_split.operands.iter().copied());
                    let is_shared = |(source, _): &(&Source, bool)| own.source.overlaps::<T>(source);
                    for (source, by_samples) in operands.chain(outputs).filter(is_shared) {
                        let is_same = own.source.location == source.location
                            && own.source.bytes::<T>() == source.bytes::<T>();
                        let keeps_to_samples = is_same && by_samples && split.samples_per_row == 1;
                        let (writer, reader) = (step.kernel.name(), other.kernel.name());
                        assert!(is_local(&own.source) || keeps_to_samples, "{writer} disturbs {reader}");
                    }
                }
                self.verify_local(group, step, own);
            }
        }
    }

    /// Panics unless a result lies apart, within a task's own memory, from what the step reads and makes besides.
    fn verify_local(&self, group: &StepGroup, step: &PlanStep, own: &StepOutput) {
        let range = |source: &Source| match source.location {
            Location::Local(offset) => offset..offset + source.bytes::<T>() / group.samples * group.chunk,
            _ => 0..0,
        };
        let made = step.outputs().map(|made| &made.source);
        assert!(step.operands.iter().chain(made.clone()).all(|source| range(source).end <= group.scratch));
        assert!(group.scratch + step.scratch * size_of::<T>() <= group.local);
        let own_range = range(&own.source);
        let is_apart = |other: &Source| {
            let other = range(other);
            other.end <= own_range.start || own_range.end <= other.start
        };
        let operands = step.operands.iter().enumerate();
        let mut operands = operands.filter(|(position, _)| own.in_place != Some(*position));
        assert!(operands.all(|(_, operand)| is_apart(operand)), "{} overwrites itself", step.kernel.name());
        let mut others = made.filter(|source| !std::ptr::eq(*source, &own.source));
        assert!(others.all(is_apart), "{} mixes its results", step.kernel.name());
    }

    fn contains(&self, source: &Source) -> bool {
        match source.location {
            Location::Local(_) => false,
            Location::Arena(offset) => {
                offset.is_multiple_of(ALIGNMENT) && offset + source.bytes::<T>() <= self.scratch
            }
            Location::Parameter(number) => {
                self.parameters[number].ty.shape.count() == source.ty.shape.count()
            }
        }
    }
}

/// Whether a value exists only inside a group.
fn is_local(source: &Source) -> bool {
    matches!(source.location, Location::Local(_))
}
