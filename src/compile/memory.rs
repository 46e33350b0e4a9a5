//! The last pass: an order of steps, and a place in one arena for every buffer, by first and last use.

use std::collections::HashMap;
use std::marker::PhantomData;

use smallvec::{SmallVec, smallvec};

use super::Options;
use super::gaps::{FreeList, too_large};
use super::groups;
use super::plan::{self, Input, Made, Parameter, Place, Plan, Source, Step};
use super::program::{IndexLimit, Program};
use crate::error::Result;
use crate::graph::dag::{Kind, NodeId};
use crate::graph::kernel::BatchSplit;
use crate::graph::{Meta, Precision};
use crate::shape::Shape;

/// The most bytes of a value that a group's task keeps in its thread's memory.
const MOST_LOCAL: usize = 1 << 24;

/// Lays out `program`. Unless `options` let memory be reused, no two values ever share memory but aliases.
pub(super) fn lay_out<T: Precision>(program: &Program, options: &Options) -> Result<Plan<T>> {
    let mut layout = Layout::<T>::new(program, options.reuse_memory);
    let mut steps = Vec::new();
    // Inputs are copied in before the first step, so all of them have their places from the start.
    for id in program.dag.ids().filter(|&id| matches!(program.dag.node(id).kind, Kind::Input)) {
        layout.add_input(id)?;
    }
    for id in program.dag.ids() {
        layout.enter(id, steps.len());
        match &program.dag.node(id).kind {
            Kind::Input => {}
            Kind::Parameter { init, trainable } => layout.add_parameter(id, *init, *trainable),
            Kind::Kernel(kernel) if kernel.is_alias() => {
                layout.place[id.index()] = layout.place[layout.storage[id.index()]]
            }
            Kind::Output(_) => {} // placed with the kernel that makes it
            Kind::Kernel(_) => steps.push(layout.add_step(id)?),
            Kind::Op(op) => unreachable!("{} has not been lowered", op.name()),
            Kind::Poison => unreachable!("a graph with an error is not compiled"),
        }
        layout.free_dead(id);
        layout.leave(id, steps.len());
    }
    layout.finish(steps, options.clone())
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
    /// For each node the group that it is in.
    group_of: Vec<Option<usize>>,
    groups: Vec<plan::Group>,
    /// The gaps of a task's own memory.
    local: FreeList,
    /// What is given back when the group at hand ends: until then other tasks may still read it.
    after_group: Vec<(usize, usize)>,
    inputs: Vec<Input>,
    parameters: Vec<Parameter>,
    scratch: usize,
    /// Scratch of a task of the group at hand.
    task_scratch: usize,
    precision: PhantomData<T>,
}

impl<'a, T: Precision> Layout<'a, T> {
    fn new(program: &'a Program, reuse: bool) -> Self {
        let dag = &program.dag;
        let mut storage: Vec<usize> = (0..dag.len()).collect();
        let mut last_read: Vec<usize> = (0..dag.len()).collect();
        for id in dag.ids() {
            let operands = dag.operands(id);
            if dag.kernel(id).is_some_and(|kernel| kernel.is_alias()) {
                storage[id.index()] = storage[operands[0].index()];
            }
            operands.iter().for_each(|operand| last_read[storage[operand.index()]] = id.index());
        }
        program.roots().for_each(|root| last_read[storage[root.index()]] = usize::MAX);
        let outputs: Vec<usize> = program.outputs.iter().map(|output| storage[output.index()]).collect();
        let updates =
            program.updates.iter().rev().filter(|(_, value)| !outputs.contains(&storage[value.index()]));
        let mut group_of = vec![None; dag.len()];
        for (number, group) in program.groups.iter().enumerate() {
            group_of[group.nodes.clone()].fill(Some(number));
        }
        Self {
            program,
            reuse,
            group_of,
            groups: Vec::new(),
            local: FreeList::default(),
            after_group: Vec::new(),
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
            task_scratch: 0,
            precision: PhantomData,
        }
    }

    fn source(&self, id: NodeId) -> Source {
        let name = || self.program.dag.node(id).source();
        let place = self.place[id.index()].unwrap_or_else(|| unreachable!("{} has no memory", name()));
        Source { place, meta: self.program.dag.node(id).meta.clone() }
    }

    fn bytes(&self, node: usize) -> usize {
        let source =
            Source { place: Place::Arena(0), meta: self.program.dag.node(NodeId::new(node)).meta.clone() };
        source.bytes::<T>()
    }

    fn allocate(&mut self, id: NodeId) -> Result<()> {
        self.place[id.index()] = Some(if self.is_local(id) {
            Place::Local(self.local.take(self.task_bytes(id.index()))?)
        } else {
            Place::Arena(self.free.take(self.bytes(id.index()))?)
        });
        Ok(())
    }

    /// The group that a node is in.
    fn group(&self, node: usize) -> Option<&groups::Group> {
        Some(&self.program.groups[self.group_of[node]?])
    }

    /// How many bytes of a value the samples of one task take.
    fn task_bytes(&self, node: usize) -> usize {
        let bytes = self.bytes(node);
        self.group(node).map_or(bytes, |group| bytes / group.samples * group.chunk)
    }

    /// Whether a value is read only inside the group that makes it, sample by sample.
    fn is_local(&self, id: NodeId) -> bool {
        let Some(group) = self.group(id.index()).filter(|_| self.reuse) else { return false };
        let rows = self.program.dag.node(id).meta.shape.first().copied();
        let is_read_inside = (id.index()..group.nodes.end).contains(&self.last_read[id.index()]);
        is_read_inside && rows == Some(group.samples) && self.task_bytes(id.index()) <= MOST_LOCAL
    }

    /// At the first node of a group: begins it.
    fn enter(&mut self, id: NodeId, steps: usize) {
        if let Some(group) = self.group(id.index()).filter(|group| group.nodes.start == id.index()) {
            let group = plan::Group {
                steps: steps..steps,
                samples: group.samples,
                chunk: group.chunk,
                scratch: 0,
                local: 0,
            };
            self.groups.push(group);
            self.local = FreeList::default();
        }
    }

    /// After the last node of a group: ends it.
    fn leave(&mut self, id: NodeId, steps: usize) {
        if self.group(id.index()).is_some_and(|group| group.nodes.end == id.index() + 1)
            && let Some(group) = self.groups.last_mut()
        {
            group.steps.end = steps;
            group.scratch = self.local.end;
            group.local = self.local.end + std::mem::take(&mut self.task_scratch) * size_of::<T>();
            for (offset, bytes) in self.after_group.drain(..) {
                self.free.give_back(offset, bytes);
            }
        }
    }

    fn add_input(&mut self, id: NodeId) -> Result<()> {
        self.allocate(id)?;
        let dag = &self.program.dag;
        let name = dag.node(id).label.clone().unwrap_or_default();
        let IndexLimit { limit, exempt } = self.program.limits.get(&name).copied().unwrap_or_default();
        self.inputs.push(Input { name, source: self.source(id), limit, exempt });
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
        let Kind::Kernel(kernel) = node.kind.clone() else { unreachable!("only kernels are steps") };
        let operands = dag.operands(id);
        let further = dag.further_outputs(id);
        let last = further.iter().map(|&(_, number)| number).max().unwrap_or(0);
        let mut results: SmallVec<[Option<Made>; 1]> = smallvec![None; 1 + last];
        results[0] = Some(self.make(id, 0)?);
        for (output, number) in further {
            results[number] = Some(self.make(output, number)?);
        }
        let split = self.split(id);
        let scratch = match &split {
            None => kernel.scratch(&dag.operand_metas(id)),
            Some(split) => {
                let metas = operands.iter().zip(&split.task);
                let metas: SmallVec<[Meta; 4]> =
                    metas.map(|(&id, shape)| Meta { shape: shape.clone(), ..dag.node(id).meta }).collect();
                kernel.scratch(&metas.iter().collect::<SmallVec<[&Meta; 4]>>())
            }
        };
        let room = if split.is_some() { &mut self.task_scratch } else { &mut self.scratch };
        *room = scratch.max(*room);
        Ok(Step {
            operands: operands.iter().map(|&operand| self.source(operand)).collect(),
            results,
            scratch,
            site: node.site,
            layer: node.layer.clone(),
            is_gradient: node.gradient_of.is_some(),
            split,
            kernel,
        })
    }

    /// Finds a place for an output of a step, on top of what is read for the last time if
    /// possible.
    fn make(&mut self, id: NodeId, result: usize) -> Result<Made> {
        let in_place =
            self.reuse.then(|| self.place_on_parameter(id, result).or_else(|| self.take_over(id, result)));
        if self.place[id.index()].is_none() {
            self.allocate(id)?;
        }
        Ok(Made { source: self.source(id), in_place: in_place.flatten().flatten() })
    }

    /// How a step of a group goes through the samples.
    fn split(&self, id: NodeId) -> Option<plan::Split> {
        let (group, dag) = (self.group(id.index())?, &self.program.dag);
        let BatchSplit { operands: split, samples_per_row: every, .. } = dag.kernel(id)?.batch_split(&dag.operand_metas(id))?;
        let last = group.samples - (group.samples.div_ceil(group.chunk) - 1) * group.chunk;
        let shapes = |samples: usize| {
            let operands = dag.operand_metas(id).into_iter().zip(&split);
            let operands = operands.map(|(meta, &split)| rows(&meta.shape, split.then_some(samples)));
            operands.chain([rows(&dag.node(id).meta.shape, Some(samples.div_ceil(every)))]).collect()
        };
        Some(plan::Split { task: shapes(group.chunk), last_task: shapes(last), operands: split, every })
    }

    /// Whether the samples of a value that is overwritten by those of `id` are nobody else's at that time: no
    /// step of the group reads the value as a whole.
    fn is_read_by_samples(&self, id: NodeId, storage: usize) -> bool {
        let Some(group) = self.group(id.index()) else { return true };
        let dag = &self.program.dag;
        let readers = group.nodes.clone().map(NodeId::new);
        readers.into_iter().all(|reader| {
            let split = dag.kernel(reader).and_then(|kernel| kernel.batch_split(&dag.operand_metas(reader)));
            let split = split.map_or(SmallVec::new(), |split| split.operands);
            let mut operands = dag.operands(reader).into_iter().zip(split);
            operands.all(|(operand, is_split)| is_split || self.storage[operand.index()] != storage)
        })
    }

    /// Lets a parameter's next value be computed on top of the parameter, if this is the last step to read
    /// it. Answers the operand that is overwritten, if it is one.
    fn place_on_parameter(&mut self, id: NodeId, result: usize) -> Option<Option<usize>> {
        let parameter = *self.next_value_of.get(&id.index())?;
        let step = self.program.dag.maker(id);
        if self.last_read[parameter] > step.index() {
            return None;
        }
        let operand =
            self.overwritable(step, result, parameter).filter(|_| self.is_read_by_samples(id, parameter))?;
        self.place[id.index()] = self.place[parameter];
        Some(operand)
    }

    /// Takes the memory of an operand that nobody reads afterwards.
    fn take_over(&mut self, id: NodeId, result: usize) -> Option<Option<usize>> {
        let step = self.program.dag.maker(id);
        let operands = self.program.dag.operands(step);
        let dies = |storage: usize| self.last_read[storage] == step.index();
        let candidates = operands.iter().map(|operand| self.storage[operand.index()]);
        let is_local = self.is_local(id);
        let storage = candidates.filter(|&storage| dies(storage)).find(|&storage| {
            let has_place = match self.place[storage] {
                Some(Place::Local(_)) => is_local,
                Some(Place::Arena(_)) => !is_local && self.is_read_by_samples(id, storage),
                _ => false,
            };
            has_place && matches!(self.overwritable(step, result, storage), Some(Some(_)))
        })?;
        let operand = self.overwritable(step, result, storage)?;
        self.place[id.index()] = self.place[storage];
        // The memory now belongs to the output and is freed with it.
        self.last_read[storage] = usize::MAX;
        Some(operand)
    }

    /// Whether the step at `id` may write its output over `storage`: `Some(None)` if it does not read it,
    /// `Some(Some(position))` if it reads it at one position where its kernel runs in place.
    fn overwritable(&self, id: NodeId, result: usize, storage: usize) -> Option<Option<usize>> {
        let dag = &self.program.dag;
        let operands = dag.operands(id);
        let mut reading = (0..operands.len()).filter(|&i| self.storage[operands[i].index()] == storage);
        match (reading.next(), reading.next()) {
            (None, _) => Some(None),
            (Some(position), None) => {
                let same_size = self.bytes(storage) == self.bytes(id.index());
                let works = dag.kernel(id).is_some_and(|kernel| kernel.runs_in_place(position, result));
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
            if self.last_read[storage] != id.index() {
                continue;
            }
            let is_in_group = self.group_of[id.index()].is_some();
            match self.place[storage] {
                Some(Place::Local(offset)) => self.local.give_back(offset, self.task_bytes(storage)),
                Some(Place::Arena(offset)) if is_in_group => {
                    self.after_group.push((offset, self.bytes(storage)));
                }
                Some(Place::Arena(offset)) => self.free.give_back(offset, self.bytes(storage)),
                _ => {}
            }
        }
    }

    fn finish(self, steps: Vec<Step>, options: Options) -> Result<Plan<T>> {
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
            groups: self.groups,
            results,
            copies,
            trains: !program.updates.is_empty(),
            scratch,
            arena: arena.filter(|&bytes| bytes < isize::MAX as usize).ok_or(too_large())?,
            inputs: self.inputs,
            parameters: self.parameters,
            graph: program.graph,
            options,
            precision: PhantomData,
        };
        plan.verify();
        Ok(plan)
    }
}

/// `shape` with another number of rows, if one is given.
fn rows(shape: &Shape, rows: Option<usize>) -> Shape {
    let sizes = shape.iter().enumerate();
    sizes.map(|(axis, &size)| rows.filter(|_| axis == 0).unwrap_or(size)).collect()
}
