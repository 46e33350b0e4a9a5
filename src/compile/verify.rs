//! The first half of the proof at the end of compiling: no step writes what it reads, and no task of a group writes what
//! another task may read. The other half, `Liveness::replay`, shows that values last until they are read.

use super::arena::ALIGNMENT;
use super::plan::{Location, Plan, Source, StepGroup};
use crate::error::{OpError, Problem, Result};
use crate::graph::Precision;

impl<T: Precision> Plan<T> {
    /// Panics unless every step writes only memory that it does not read, and that exists. Running steps rests on this.
    ///
    /// # Errors
    /// A kernel that splits its batch otherwise than its shapes allow; it may be a user's.
    pub(super) fn verify(&self) -> Result<()> {
        for (number, step) in self.steps.iter().enumerate() {
            let (name, group) = (step.name(), self.group_of(number));
            for (result, made) in step.outputs().enumerate() {
                let is_apart = |other: &Source| !other.overlaps::<T>(&made.source, group);
                let mut operands = step.operands.iter().enumerate();
                let is_kept = |(i, operand)| made.in_place == Some(i) || is_apart(operand);
                assert!(operands.all(is_kept), "{name} overwrites itself");
                let mut others = step.outputs().skip(result + 1);
                assert!(others.all(|other| is_apart(&other.source)), "{name} mixes its results");
            }
            let mut sources = step.operands.iter().chain(step.outputs().map(|made| &made.source));
            assert!(sources.all(|source| self.contains(source, group)), "{name} is outside");
            let (scratch, end) =
                group.map_or((self.scratch, self.arena), |group| (group.scratch, group.local));
            assert!(scratch + step.scratch * size_of::<T>() <= end, "{name} has too little scratch memory");
        }
        self.groups.iter().try_for_each(|group| self.verify_group(group))
    }

    /// Panics unless the tasks of a group keep out of each other's way: where one step writes what another reads
    /// or writes, both keep to the samples of their task, at the same location.
    fn verify_group(&self, group: &StepGroup) -> Result<()> {
        let steps = &self.steps[group.steps.clone()];
        for (writer, step) in steps.iter().enumerate() {
            let Some(split) = &step.split else {
                unreachable!("{} is in a group, but has no samples", step.name())
            };
            let rows = group.samples.div_ceil(split.samples_per_row);
            let operands = step.operands.iter().zip(&split.operands).filter(|(_, is_split)| **is_split);
            let batches = operands.map(|(operand, _)| (operand, group.samples));
            let mut batches = batches.chain(step.outputs().map(|made| (&made.source, rows)));
            let is_other = |(source, rows): &(&Source, usize)| source.ty.shape.first() != Some(rows);
            if let Some((source, rows)) = batches.find(is_other) {
                let shape = &source.ty.shape;
                let problem =
                    Problem::new(format!("its `batch_split` takes {shape} for {rows} samples along axis 0"));
                let (op, site) = (step.name().to_owned(), step.site);
                return Err(Box::new(OpError { op, site, problem, operands: Vec::new() }).into());
            }
            for own in step.outputs() {
                for (reader, other) in steps.iter().enumerate() {
                    let Some(other_split) = &other.split else { continue };
                    let outputs = other.outputs().filter(|_| reader != writer);
                    let outputs = outputs.map(|made| (&made.source, other_split.samples_per_row == 1));
                    let operands = other.operands.iter().zip(other_split.operands.iter().copied());
                    let is_shared =
                        |(source, _): &(&Source, bool)| own.source.overlaps::<T>(source, Some(group));
                    for (source, by_samples) in operands.chain(outputs).filter(is_shared) {
                        let is_same = own.source.location == source.location
                            && own.source.bytes::<T>() == source.bytes::<T>();
                        let keeps_to_samples = is_same && by_samples && split.samples_per_row == 1;
                        let is_local = matches!(own.source.location, Location::Local(_));
                        let (writer, reader) = (step.name(), other.name());
                        assert!(is_local || keeps_to_samples, "{writer} disturbs {reader}");
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a value lies within the memory that there is for a step, of a group if it is in one.
    fn contains(&self, source: &Source, group: Option<&StepGroup>) -> bool {
        let end = source.range::<T>(group).end;
        match source.location {
            Location::Local(_) => group.is_some_and(|group| end <= group.scratch),
            Location::Arena(offset) => offset.is_multiple_of(ALIGNMENT) && end <= self.scratch,
            Location::Prepared(number) => {
                let kept = &self.preparation().unwrap_or(self).results[number].source;
                kept.location == source.location && kept.ty.shape.count() == source.ty.shape.count()
            }
            Location::Parameter(number) => {
                self.parameters[number].ty.shape.count() == source.ty.shape.count()
            }
        }
    }
}
