//! The last pass: an order of steps, and a place in one arena for every buffer, by first and last use.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::marker::PhantomData;

use super::plan::{self, Input, Parameter, Place, Plan, Source, Step};
use super::program::Program;
use crate::error::{Error, Result};
use crate::graph::dag::{Kind, NodeId};
use crate::graph::{Dtype, Precision};

/// Buffers start at multiples of this: a cache line, and a 512-bit register.
const ALIGNMENT: usize = 64;

/// Lays out `program`. Without `reuse`, no two values ever share memory but aliases.
pub(super) fn lay_out<T: Precision>(program: &Program, reuse: bool) -> Result<Plan<T>> {
    let mut layout = Layout::<T>::new(program, reuse);
    let mut steps = Vec::new();
    // Inputs are copied in before the first step, so all of them have their places from the start.
    for id in program.dag.ids().filter(|&id| matches!(program.dag.node(id).kind, Kind::Input)) {
        layout.add_input(id)?;
    }
    for id in program.dag.ids() {
        match &program.dag.node(id).kind {
            Kind::Input => {}
            Kind::Parameter { init, trainable } => layout.add_parameter(id, *init, *trainable),
            Kind::Op(op) if op.is_alias() => {
                layout.place[id.index()] = layout.place[layout.storage[id.index()]]
            }
            Kind::Op(_) => steps.push(layout.add_step(id)?),
            Kind::Poison => {}
        }
        layout.free_dead(id);
    }
    layout.finish(steps)
}

struct Layout<'a, T> {
    program: &'a Program,
    reuse: bool,
    /// For each node the node whose memory it lies in: itself, unless it is an alias.
    storage: Vec<usize>,
    /// For each storage the last node that reads it (`usize::MAX`: it is read after the run).
    last_read: Vec<usize>,
    place: Vec<Option<Place>>,
    /// For the node that computes a parameter's next value: that parameter's node.
    next_value_of: HashMap<usize, usize>,
    free: FreeList,
    inputs: Vec<Input>,
    parameters: Vec<Parameter>,
    scratch: usize,
    precision: PhantomData<T>,
}

impl<'a, T: Precision> Layout<'a, T> {
    fn new(program: &'a Program, reuse: bool) -> Self {
        let dag = &program.dag;
        let mut storage: Vec<usize> = (0..dag.len()).collect();
        let mut last_read: Vec<usize> = (0..dag.len()).collect();
        for id in dag.ids() {
            let operands = dag.operands(id);
            if dag.op(id).is_some_and(|op| op.is_alias()) {
                storage[id.index()] = storage[operands[0].index()];
            }
            operands.iter().for_each(|operand| last_read[storage[operand.index()]] = id.index());
        }
        program.roots().for_each(|root| last_read[storage[root.index()]] = usize::MAX);
        let outputs: Vec<usize> = program.outputs.iter().map(|output| storage[output.index()]).collect();
        let updates =
            program.updates.iter().rev().filter(|(_, value)| !outputs.contains(&storage[value.index()]));
        Self {
            program,
            reuse,
            place: vec![None; dag.len()],
            next_value_of: updates
                .map(|(parameter, value)| (storage[value.index()], parameter.index()))
                .collect(),
            storage,
            last_read,
            free: FreeList::default(),
            inputs: Vec::new(),
            parameters: Vec::new(),
            scratch: 0,
            precision: PhantomData,
        }
    }

    fn source(&self, id: NodeId) -> Source {
        let place = self.place[id.index()].unwrap_or(Place::Arena(0));
        Source { place, meta: self.program.dag.node(id).meta.clone() }
    }

    fn bytes(&self, node: usize) -> usize {
        let source =
            Source { place: Place::Arena(0), meta: self.program.dag.node(NodeId::new(node)).meta.clone() };
        source.bytes::<T>()
    }

    fn allocate(&mut self, id: NodeId) -> Result<()> {
        let offset = self.free.take(self.bytes(id.index()))?;
        self.place[id.index()] = Some(Place::Arena(offset));
        Ok(())
    }

    fn add_input(&mut self, id: NodeId) -> Result<()> {
        self.allocate(id)?;
        let dag = &self.program.dag;
        let name = dag.node(id).label.clone().unwrap_or_default();
        // Those that read it under another shape, too.
        let reads =
            |reader: &NodeId| dag.operands(*reader).iter().any(|o| self.storage[o.index()] == id.index());
        let is_index = dag.node(id).meta.dtype == Dtype::Index;
        let limits = dag.ids().filter(|_| is_index).filter(reads).filter_map(|consumer| {
            let op = dag.op(consumer)?;
            Some((op.index_limit(&dag.operand_metas(consumer))?, op.name()))
        });
        let limit = limits.min();
        self.inputs.push(Input { name, source: self.source(id), limit });
        Ok(())
    }

    fn add_parameter(&mut self, id: NodeId, init: crate::graph::Init, trainable: bool) {
        let node = self.program.dag.node(id);
        let name = node.label.clone().unwrap_or_default();
        self.place[id.index()] = Some(Place::Parameter(self.parameters.len()));
        self.parameters.push(Parameter { name, meta: node.meta.clone(), init, trainable });
    }

    fn add_step(&mut self, id: NodeId) -> Result<Step> {
        let dag = &self.program.dag;
        let node = dag.node(id);
        let Kind::Op(op) = node.kind.clone() else { unreachable!("only operations are steps") };
        let operands = dag.operands(id);
        let in_place =
            self.reuse.then(|| self.place_on_parameter(id).or_else(|| self.take_over(id))).flatten();
        if self.place[id.index()].is_none() {
            self.allocate(id)?;
        }
        let scratch = op.scratch(&dag.operand_metas(id));
        self.scratch = self.scratch.max(scratch);
        Ok(Step {
            in_place: in_place.flatten(),
            operands: operands.iter().map(|&operand| self.source(operand)).collect(),
            output: self.source(id),
            scratch,
            site: node.site,
            is_gradient: node.gradient_of.is_some(),
            op,
        })
    }

    /// Lets a parameter's next value be computed on top of the parameter, if this is the last step to read
    /// it. Answers the operand that is overwritten, if it is one.
    fn place_on_parameter(&mut self, id: NodeId) -> Option<Option<usize>> {
        let parameter = *self.next_value_of.get(&id.index())?;
        if self.last_read[parameter] > id.index() {
            return None;
        }
        let operand = self.overwritable(id, parameter)?;
        self.place[id.index()] = self.place[parameter];
        Some(operand)
    }

    /// Takes the memory of an operand that nobody reads afterwards.
    fn take_over(&mut self, id: NodeId) -> Option<Option<usize>> {
        let operands = self.program.dag.operands(id);
        let dies = |storage: usize| self.last_read[storage] == id.index();
        let candidates = operands.iter().map(|operand| self.storage[operand.index()]);
        let storage = candidates.filter(|&storage| dies(storage)).find(|&storage| {
            matches!(self.place[storage], Some(Place::Arena(_)))
                && matches!(self.overwritable(id, storage), Some(Some(_)))
        })?;
        let operand = self.overwritable(id, storage)?;
        self.place[id.index()] = self.place[storage];
        // The memory now belongs to the output and is freed with it.
        self.last_read[storage] = usize::MAX;
        Some(operand)
    }

    /// Whether the step at `id` may write its output over `storage`: `Some(None)` if it does not read it,
    /// `Some(Some(position))` if it reads it at one position where its kernel runs in place.
    fn overwritable(&self, id: NodeId, storage: usize) -> Option<Option<usize>> {
        let dag = &self.program.dag;
        let operands = dag.operands(id);
        let mut reading = (0..operands.len()).filter(|&i| self.storage[operands[i].index()] == storage);
        match (reading.next(), reading.next()) {
            (None, _) => Some(None),
            (Some(position), None) => {
                let same_size = self.bytes(storage) == self.bytes(id.index());
                let works = dag.op(id).is_some_and(|op| op.runs_in_place(position));
                (same_size && works).then_some(Some(position))
            }
            _ => None,
        }
    }

    /// Returns the memory of what `id` read, or made, for the last time.
    fn free_dead(&mut self, id: NodeId) {
        if !self.reuse {
            return;
        }
        let mut storages: Vec<usize> =
            self.program.dag.operands(id).iter().map(|o| self.storage[o.index()]).collect();
        storages.push(self.storage[id.index()]);
        storages.sort_unstable();
        storages.dedup();
        for storage in storages {
            if self.last_read[storage] == id.index()
                && let Some(Place::Arena(offset)) = self.place[storage]
            {
                self.free.give_back(offset, self.bytes(storage));
            }
        }
    }

    fn finish(self, steps: Vec<Step>) -> Result<Plan<T>> {
        let program = self.program;
        let mut copies = Vec::new();
        for &(parameter, value) in &program.updates {
            let (to, from) = (self.source(parameter), self.source(value));
            if let Place::Parameter(number) = to.place
                && from.place != to.place
            {
                copies.push((number, from));
            }
        }
        let results = program.outputs.iter().zip(&program.recorded).map(|(&output, (node, name))| {
            plan::Result { node: *node, name: name.clone(), source: self.source(output) }
        });
        let results: Vec<plan::Result> = results.collect();
        let scratch = self.free.end;
        let arena = self.scratch.checked_mul(size_of::<T>()).and_then(|bytes| scratch.checked_add(bytes));
        let plan = Plan {
            steps,
            results,
            copies,
            trains: !program.updates.is_empty(),
            scratch,
            arena: arena.filter(|&bytes| bytes < isize::MAX as usize).ok_or(too_large())?,
            inputs: self.inputs,
            parameters: self.parameters,
            graph: program.graph,
            precision: PhantomData,
        };
        plan.verify();
        Ok(plan)
    }
}

fn too_large() -> Error {
    Error::Memory { bytes: usize::MAX, what: "the plan's arena" }
}

impl<T: Precision> Plan<T> {
    /// Panics unless every step writes only memory that it does not read, within the arena. Running steps
    /// rests on this.
    fn verify(&self) {
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
            assert!(sources.into_iter().all(|source| self.contains(source)), "{} is outside", step.op.name());
            assert!(step.scratch * size_of::<T>() <= self.arena - self.scratch);
        }
    }

    fn contains(&self, source: &Source) -> bool {
        match source.place {
            Place::Arena(offset) => {
                offset.is_multiple_of(ALIGNMENT) && offset + source.bytes::<T>() <= self.scratch
            }
            Place::Parameter(number) => {
                self.parameters[number].meta.shape.count() == source.meta.shape.count()
            }
        }
    }
}

/// The gaps of the arena while it is laid out.
#[derive(Default)]
struct FreeList {
    /// `(size, offset)` of each gap: the first that is large enough is the smallest.
    by_size: BTreeSet<(usize, usize)>,
    /// `(offset, size)` of each gap, to join neighbours.
    by_offset: BTreeSet<(usize, usize)>,
    /// Where the arena ends so far.
    end: usize,
}

impl FreeList {
    /// Takes `bytes` from the smallest gap that holds them, or from beyond the end.
    fn take(&mut self, bytes: usize) -> Result<usize> {
        let size = bytes.max(1).checked_next_multiple_of(ALIGNMENT).ok_or(too_large())?;
        if let Some(&(gap, offset)) = self.by_size.range((size, 0)..).next() {
            self.remove(offset, gap);
            self.insert(offset + size, gap - size);
            return Ok(offset);
        }
        let offset = self.end;
        self.end = self.end.checked_add(size).filter(|&end| end < isize::MAX as usize).ok_or(too_large())?;
        Ok(offset)
    }

    /// Gives memory back and joins it with the gaps beside it.
    fn give_back(&mut self, mut offset: usize, bytes: usize) {
        let mut size = bytes.max(1).next_multiple_of(ALIGNMENT);
        if let Some(&(before, gap)) = self.by_offset.range(..(offset, 0)).next_back()
            && before + gap == offset
        {
            self.remove(before, gap);
            (offset, size) = (before, gap + size);
        }
        if let Some(&(after, gap)) = self.by_offset.range((offset + size, 0)..).next()
            && after == offset + size
        {
            self.remove(after, gap);
            size += gap;
        }
        self.insert(offset, size);
    }

    fn insert(&mut self, offset: usize, size: usize) {
        if size > 0 {
            self.by_size.insert((size, offset));
            self.by_offset.insert((offset, size));
        }
    }

    fn remove(&mut self, offset: usize, size: usize) {
        self.by_size.remove(&(size, offset));
        self.by_offset.remove(&(offset, size));
    }
}
