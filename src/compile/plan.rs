//! What compiling yields: steps in order, and the memory of every buffer.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Options;
use super::program::Recorded;
use crate::error::SourceLine;
use crate::graph::dag::NodeId;
use crate::graph::kernel::AnyKernel;
use crate::graph::show::in_brackets;
use crate::graph::{Init, Mode, ParameterKind, TensorType};
use crate::shape::Shape;
use dagrad_kernels::real::Real;

/// A compiled computation: immutable, printable, shared freely between threads.
///
/// A run reads inputs and parameters, performs the steps in order, hands out the results, and moves the
/// parameters that the graph assigns to; see [`run`](Self::run).
///
/// Its parts can be read but not changed: running rests on the memory plan that compiling has verified.
#[derive(Debug, Clone)]
pub struct Plan<T> {
    pub(super) steps: Vec<PlanStep>,
    pub(super) groups: Vec<StepGroup>,
    pub(super) inputs: Vec<Input>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) results: Vec<PlanResult>,
    pub(super) copies: Vec<(usize, Source)>,
    pub(super) preparation: Option<Arc<Plan<T>>>,
    pub(super) prepared: u64,
    pub(super) trains: bool,
    pub(super) scratch: usize,
    pub(super) arena: usize,
    /// What is known of the graph that it was compiled from.
    pub(crate) recorded: Arc<Recorded>,
    /// What it was compiled with.
    pub(super) options: Options,
    pub(super) precision: PhantomData<T>,
}

impl<T> Plan<T> {
    /// What is computed, in order.
    pub fn steps(&self) -> &[PlanStep] {
        &self.steps
    }

    /// The groups of steps that share tiles of the batch (batch tiling), in order.
    pub fn groups(&self) -> &[StepGroup] {
        &self.groups
    }

    /// The group that a step is in.
    pub(super) fn group_of(&self, step: usize) -> Option<&StepGroup> {
        self.groups.iter().find(|group| group.steps.contains(&step))
    }

    /// What is given at each run.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// What lives in the store.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// What a run hands out, in the order in which it was asked for.
    pub fn results(&self) -> &[PlanResult] {
        &self.results
    }

    /// Values that are copied to the parameter of a number after the last step; others are computed in place.
    pub fn copies(&self) -> &[(usize, Source)] {
        &self.copies
    }

    /// What computes the values that lie at [`Location::Prepared`]: it runs once, and again when a parameter has changed.
    pub(crate) fn preparation(&self) -> Option<&Plan<T>> {
        self.preparation.as_deref()
    }

    /// By which a store knows those values; the same for a plan and its preparation.
    pub(crate) fn prepared(&self) -> u64 {
        self.prepared
    }

    /// Whether a run changes parameters.
    pub fn trains(&self) -> bool {
        self.trains
    }

    /// Whether a run may start parameters in an empty store, and state. A plan that only looks starts nothing.
    pub(crate) fn may_start(&self) -> bool {
        self.trains() || (self.options.assign && self.recorded.mode == Mode::Train)
    }

    /// Size of the arena in bytes, scratch memory included.
    pub fn arena_bytes(&self) -> usize {
        self.arena
    }

    /// Where scratch memory begins in the arena, in bytes: all values lie before.
    pub fn scratch_offset(&self) -> usize {
        self.scratch
    }
}

/// One call of a kernel.
#[derive(Debug, Clone)]
pub struct PlanStep {
    pub(crate) kernel: Arc<dyn AnyKernel>,
    pub(crate) operands: SmallVec<[Source; 4]>,
    /// The output, and after it each further output, if somebody reads it.
    pub(crate) results: SmallVec<[Option<StepOutput>; 1]>,
    /// How many numbers of scratch memory the kernel asks for.
    pub(crate) scratch: usize,
    /// The user's line behind it.
    pub site: SourceLine,
    /// The layer that it belongs to, if any.
    pub layer: Option<Arc<str>>,
    /// Whether the step is part of a gradient.
    pub is_gradient: bool,
    /// For a step of a group: how it goes through the samples.
    pub(crate) split: Option<StepSplit>,
}

/// One of the values that a step makes.
#[derive(Debug, Clone, PartialEq)]
pub struct StepOutput {
    /// Where it goes.
    pub source: Source,
    /// The operand whose memory it takes over, if any.
    pub in_place: Option<usize>,
}

impl PlanStep {
    /// The kernel's name.
    pub fn name(&self) -> &'static str {
        self.kernel.name()
    }

    /// Where its operands lie.
    pub fn operands(&self) -> &[Source] {
        &self.operands
    }

    /// The output, without further ones.
    pub fn output(&self) -> &Source {
        match &self.results[..] {
            [Some(output), ..] => &output.source,
            _ => unreachable!("every step has an output"),
        }
    }

    /// All values that it makes.
    pub fn outputs(&self) -> impl Iterator<Item = &StepOutput> + Clone {
        self.results.iter().flatten()
    }

    /// Multiplications, each with its addition, of the convolution or matrix product by its definition; 0 for all else.
    pub fn macs(&self) -> usize {
        let operands: SmallVec<[&TensorType; 4]> = self.operands.iter().map(|operand| &operand.ty).collect();
        self.kernel.macs(&operands, &self.output().ty)
    }

    /// Its line in a plan's listing.
    fn list(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        let made: Vec<String> = self.outputs().map(|made| made.source.to_string()).collect();
        write!(f, "{indent}{} = {}", made.join(", "), self.name())?;
        self.operands.iter().try_for_each(|operand| write!(f, " {operand}"))?;
        let attributes = in_brackets(&self.kernel.attributes());
        let gradient = if self.is_gradient { ", gradient" } else { "" };
        writeln!(f, "{attributes} : {}  # {}{gradient}", self.output().ty, self.site)
    }

    /// The result that takes over an operand's memory.
    pub(crate) fn over(&self, operand: usize) -> Option<usize> {
        self.results.iter().position(|made| made.as_ref().is_some_and(|made| made.in_place == Some(operand)))
    }
}

/// Steps that share their tiles of the batch: each task takes some samples through all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepGroup {
    /// Which steps.
    pub steps: Range<usize>,
    /// How many samples there are.
    pub samples: usize,
    /// How many of them a task takes; the last task may have fewer.
    pub chunk: usize,
    /// Where scratch memory begins in a task's memory, in bytes: all its values lie before.
    pub scratch: usize,
    /// How many bytes of its thread's own memory a task needs, scratch included.
    pub local: usize,
}

impl StepGroup {
    /// How many tasks there are.
    pub fn tasks(&self) -> usize {
        self.samples.div_ceil(self.chunk)
    }

    /// The samples of a task.
    pub fn samples_of(&self, task: usize) -> Range<usize> {
        task * self.chunk..self.samples.min((task + 1) * self.chunk)
    }
}

/// How a step of a group goes through the samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StepSplit {
    /// Which operands hold the samples along axis 0; the others are read as a whole.
    pub operands: Vec<bool>,
    /// How many samples make one row of the output.
    pub samples_per_row: usize,
    /// The shapes of what one task sees: the operands', then the output's. Further outputs have as many rows.
    pub task: SmallVec<[Shape; 4]>,
    /// The same for the last task.
    pub last_task: SmallVec<[Shape; 4]>,
}

/// A value in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Where it lies.
    pub location: Location,
    /// Its shape and type.
    pub ty: TensorType,
}

/// Where a value lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    /// In the arena, this many bytes from its start.
    Arena(usize),
    /// The memory of the parameter of this number.
    Parameter(usize),
    /// What was computed from parameters alone, this number of it.
    Prepared(usize),
    /// In the memory of the thread that does a group's task, this many bytes from its start; it holds the task's
    /// samples only.
    Local(usize),
}

/// An array that is given at each run.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is copied to.
    pub source: Source,
    /// For indices: the first one that is out of range, for which method, and where that was called.
    pub limit: Option<(usize, &'static str, SourceLine)>,
    /// The index for which that does not hold, if all who read it agree.
    pub exempt: Option<u32>,
}

/// A parameter of a plan.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its name in the store.
    pub name: Arc<str>,
    /// Its shape.
    pub ty: TensorType,
    /// How it starts if the store does not have it yet.
    pub init: Init,
    /// What it is for.
    pub kind: ParameterKind,
    /// Whether files of weights hold it transposed.
    pub transposed: bool,
}

/// A value that a run hands out.
#[derive(Debug, Clone)]
pub struct PlanResult {
    /// Its node in the recorded graph.
    pub node: NodeId,
    /// Its name there.
    pub name: String,
    /// Where it lies.
    pub source: Source,
}

impl fmt::Display for PlanStep {
    /// The kernel and its attributes: for a chain in one step, its functions in order.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name(), in_brackets(&self.kernel.attributes()))
    }
}

impl Source {
    /// How many bytes the value takes in precision `T`.
    pub fn bytes<T: Real>(&self) -> usize {
        self.ty.bytes::<T>()
    }

    /// Which bytes it takes where it lies; in the memory of a task of a group, those of the task's samples.
    pub(super) fn range<T: Real>(&self, group: Option<&StepGroup>) -> Range<usize> {
        let bytes = self.bytes::<T>();
        match (self.location, group) {
            (Location::Local(start), Some(group)) => start..start + bytes / group.samples * group.chunk,
            (Location::Arena(start) | Location::Local(start), _) => start..start + bytes,
            (Location::Parameter(_) | Location::Prepared(_), _) => 0..bytes,
        }
    }

    /// Whether two values of a step, or of steps of a group, share memory.
    pub(super) fn overlaps<T: Real>(&self, other: &Source, group: Option<&StepGroup>) -> bool {
        match (self.location, other.location) {
            (Location::Parameter(a), Location::Parameter(b))
            | (Location::Prepared(a), Location::Prepared(b)) => a == b,
            (Location::Arena(_), Location::Arena(_)) | (Location::Local(_), Location::Local(_)) => {
                let (own, other) = (self.range::<T>(group), other.range::<T>(group));
                own.start < other.end && other.start < own.end
            }
            _ => false,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.location {
            Location::Arena(offset) => write!(f, "@{offset}"),
            Location::Parameter(number) => write!(f, "p{number}"),
            Location::Prepared(number) => write!(f, "c{number}"),
            Location::Local(offset) => write!(f, "~{offset}"),
        }
    }
}

impl<T: Real> fmt::Display for Plan<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (steps, kib) = (self.steps.len(), self.arena.div_ceil(1024));
        writeln!(f, "plan in {}: {steps} steps, an arena of {kib} KiB", T::NAME)?;
        for (number, parameter) in self.parameters.iter().enumerate() {
            writeln!(f, "p{number} = {:?} {}", parameter.name, parameter.ty)?;
        }
        for input in &self.inputs {
            writeln!(f, "{} = input {:?} {}", input.source, input.name, input.source.ty)?;
        }
        if let Some(preparation) = self.preparation() {
            writeln!(f, "once, until a parameter changes:")?;
            preparation.steps.iter().try_for_each(|step| step.list(f, "  "))?;
        }
        for (number, step) in self.steps.iter().enumerate() {
            if let Some(group) = self.groups.iter().find(|group| group.steps.start == number) {
                let StepGroup { samples, chunk, .. } = group;
                writeln!(f, "tiles of {chunk} of {samples} samples:")?;
            }
            step.list(f, if step.split.is_some() { "  " } else { "" })?;
        }
        for (parameter, source) in &self.copies {
            writeln!(f, "p{parameter} <- {source}")?;
        }
        self.results.iter().try_for_each(|result| writeln!(f, "result {} = {}", result.name, result.source))
    }
}
