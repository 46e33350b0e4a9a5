//! Where every value of a program lies: in the arena, in the memory of a task, or on a parameter.

use std::collections::{BTreeSet, HashMap};
use std::marker::PhantomData;

use super::arena::FreeList;
use super::liveness::Liveness;
use super::plan::{Location, Source, StepOutput};
use super::program::Program;
use crate::error::Result;
use crate::graph::Precision;
use crate::graph::dag::NodeId;

/// The most bytes of a value that a group's task keeps in its thread's memory.
const MOST_LOCAL: usize = 1 << 24;

/// Gives values memory, step by step, and takes it back after their last readers.
pub(super) struct MemoryPlanner<'a, T> {
    program: &'a Program,
    /// Whether two values may lie in the same memory one after the other.
    reuse: bool,
    pub liveness: Liveness,
    pub location: Vec<Option<Location>>,
    /// For the value that is a parameter's next one: that parameter's node.
    next_value_of: HashMap<usize, usize>,
    pub arena: FreeList,
    /// The memory of a task of the group at hand.
    pub local: FreeList,
    /// What is given back when that group ends: until then other tasks may still read it.
    after_group: Vec<(usize, usize)>,
    precision: PhantomData<T>,
}

impl<'a, T: Precision> MemoryPlanner<'a, T> {
    /// Nothing lies anywhere yet.
    pub fn new(program: &'a Program, reuse: bool) -> Self {
        let (dag, liveness) = (&program.dag, Liveness::of(program));
        let outputs: Vec<usize> = program.outputs.iter().map(|&output| liveness.value(output)).collect();
        let updates = program.updates.iter().rev();
        let updates = updates.map(|&(parameter, value)| (liveness.value(value), parameter.index()));
        let next_value_of = updates.filter(|(value, _)| !outputs.contains(value)).collect();
        Self {
            program,
            reuse,
            liveness,
            location: vec![None; dag.len()],
            next_value_of,
            arena: FreeList::default(),
            local: FreeList::default(),
            after_group: Vec::new(),
            precision: PhantomData,
        }
    }

    /// Where a node's value lies.
    pub fn source(&self, id: NodeId) -> Source {
        let node = self.program.dag.node(id);
        let location = self.location[self.liveness.value(id)];
        let location = location.unwrap_or_else(|| unreachable!("{} has no memory", node.source()));
        Source { location, ty: node.ty.clone() }
    }

    /// Ends a group, and returns how much memory a task takes.
    pub fn leave_group(&mut self) -> usize {
        for (offset, bytes) in self.after_group.drain(..) {
            self.arena.give_back(offset, bytes);
        }
        self.local.end
    }

    fn bytes(&self, node: usize) -> usize {
        self.program.dag.node(NodeId::new(node)).ty.bytes::<T>()
    }

    /// Takes memory for a value.
    pub fn allocate(&mut self, id: NodeId) -> Result<()> {
        self.location[id.index()] = Some(if self.is_local(id) {
            Location::Local(self.local.take(self.task_bytes(id.index()))?)
        } else {
            Location::Arena(self.arena.take(self.bytes(id.index()))?)
        });
        Ok(())
    }

    /// How many bytes of a value the samples of one task take.
    fn task_bytes(&self, node: usize) -> usize {
        let bytes = self.bytes(node);
        self.program.group(node).map_or(bytes, |group| bytes / group.samples * group.chunk)
    }

    /// Whether a value is read only inside the group that makes it, sample by sample.
    fn is_local(&self, id: NodeId) -> bool {
        let Some(group) = self.program.group(id.index()).filter(|_| self.reuse) else { return false };
        let rows = self.program.dag.node(id).ty.shape.first().copied();
        let is_read_inside = (id.index()..group.nodes.end).contains(&self.liveness.last_reader(id.index()));
        is_read_inside && rows == Some(group.samples) && self.task_bytes(id.index()) <= MOST_LOCAL
    }

    /// Finds memory for an output of a step: that of an operand which is read for the last time, if possible.
    pub fn make(&mut self, id: NodeId, result: usize) -> Result<StepOutput> {
        let in_place = if !self.reuse || self.location[id.index()].is_some() {
            None
        } else if let Some(operand) = self.place_on_parameter(id, result) {
            operand
        } else {
            self.take_over(id, result)
        };
        if self.location[id.index()].is_none() {
            self.allocate(id)?;
        }
        Ok(StepOutput { source: self.source(id), in_place })
    }

    /// Lets a parameter's next value be computed on top of the parameter, if this is the last step to read
    /// it. Returns the operand that is overwritten, if it is one.
    fn place_on_parameter(&mut self, id: NodeId, result: usize) -> Option<Option<usize>> {
        let parameter = *self.next_value_of.get(&id.index())?;
        let step = self.program.dag.maker(id);
        if self.liveness.last_reader(parameter) > step.index() {
            return None;
        }
        let operand =
            self.overwritable(id, result, parameter).filter(|_| self.is_read_by_samples(id, parameter))?;
        self.location[id.index()] = self.location[parameter];
        Some(operand)
    }

    /// Takes the memory of an operand that nobody reads afterwards.
    fn take_over(&mut self, id: NodeId, result: usize) -> Option<usize> {
        let step = self.program.dag.maker(id);
        let operands = self.program.dag.operands(step);
        // Sizes come first: a concatenation has thousands of operands, and none of its size.
        let fits = |value: &usize| {
            self.liveness.last_reader(*value) == step.index() && self.bytes(*value) == self.bytes(id.index())
        };
        let candidates = operands.iter().map(|&operand| self.liveness.value(operand));
        let is_local = self.is_local(id);
        let (value, operand) = candidates.filter(fits).find_map(|value| {
            let is_free = match self.location[value]? {
                Location::Local(_) => is_local,
                Location::Arena(_) => !is_local && self.is_read_by_samples(id, value),
                Location::Parameter(_) | Location::Prepared(_) => false,
            };
            let operand = self.overwritable(id, result, value)??;
            is_free.then_some((value, operand))
        })?;
        self.location[id.index()] = self.location[value];
        // The memory now belongs to the output and is freed with it.
        self.liveness.hand_over(value);
        Some(operand)
    }

    /// Whether the step that makes `id` may write it over `value`: `Some(None)` if the step does not read `value`,
    /// `Some(Some(position))` if it reads it at one position where its kernel runs in place.
    fn overwritable(&self, id: NodeId, result: usize, value: usize) -> Option<Option<usize>> {
        let dag = &self.program.dag;
        let step = dag.maker(id);
        let operands = dag.operands(step);
        let mut reading = (0..operands.len()).filter(|&i| self.liveness.value(operands[i]) == value);
        match (reading.next(), reading.next()) {
            (None, _) => Some(None),
            (Some(position), None) => {
                let same_size = self.bytes(value) == self.bytes(id.index());
                let works = dag.kernel(step).is_some_and(|kernel| kernel.runs_in_place(position, result));
                (same_size && works).then_some(Some(position))
            }
            _ => None,
        }
    }

    /// Whether no step of the group of `id` reads `value` as a whole: a task may then overwrite its own samples of it.
    fn is_read_by_samples(&self, id: NodeId, value: usize) -> bool {
        let Some(group) = self.program.group(id.index()) else { return true };
        let dag = &self.program.dag;
        group.nodes.clone().map(NodeId::new).all(|reader| {
            let split = dag.batch_split(reader).map_or(Vec::new(), |split| split.operands);
            let mut operands = dag.operands(reader).into_iter().zip(split);
            operands.all(|(operand, is_split)| is_split || self.liveness.value(operand) != value)
        })
    }

    /// Returns the memory of what `id` read, or made, for the last time.
    pub fn free_dead(&mut self, id: NodeId) {
        if !self.reuse {
            return;
        }
        let at_hand = self.program.dag.operands(id).into_iter().chain([id]);
        let values: BTreeSet<usize> = at_hand.map(|node| self.liveness.value(node)).collect();
        let is_in_group = self.program.group(id.index()).is_some();
        for value in values.into_iter().filter(|&value| self.liveness.last_reader(value) == id.index()) {
            match self.location[value] {
                Some(Location::Local(offset)) => self.local.give_back(offset, self.task_bytes(value)),
                Some(Location::Arena(offset)) if is_in_group => {
                    self.after_group.push((offset, self.bytes(value)));
                }
                Some(Location::Arena(offset)) => self.arena.give_back(offset, self.bytes(value)),
                Some(Location::Parameter(_) | Location::Prepared(_)) => {}
                None => unreachable!("what is read has memory"),
            }
        }
    }
}
