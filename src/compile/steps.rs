//! The last pass: an order of steps, and memory for every value.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::{SmallVec, smallvec};

use super::Options;
use super::arena::{FreeList, too_large};
use super::memory::MemoryPlanner;
use super::plan::{Input, Location, Parameter, Plan, PlanResult, PlanStep, StepGroup, StepOutput, StepSplit};
use super::program::{IndexLimit, Program};
use crate::error::Result;
use crate::graph::dag::{Kind, NodeId};
use crate::graph::kernel::BatchSplit;
use crate::graph::{Init, ParameterKind, Precision, TensorType};
use crate::shape::Shape;

/// What is prepared for one plan is told from that of others by a number. 0: nothing is.
static PREPARED: AtomicU64 = AtomicU64::new(1);

/// Lays out `program`. Unless `options` let memory be reused, no two values ever share memory but aliases.
pub(super) fn lay_out<T: Precision>(program: &Program, options: &Options) -> Result<Plan<T>> {
    let mut builder = PlanBuilder::new(program, options);
    if let Some(preparation) = &program.preparation {
        builder.plan.prepared = PREPARED.fetch_add(1, Ordering::Relaxed);
        let mut preparation = PlanBuilder::new(preparation, options);
        preparation.plan.prepared = builder.plan.prepared;
        preparation.keep_results();
        builder.plan.preparation = Some(Arc::new(preparation.build()?));
    }
    builder.build()
}

/// A plan while it is built.
struct PlanBuilder<'a, T> {
    program: &'a Program,
    memory: MemoryPlanner<'a, T>,
    plan: Plan<T>,
    /// The node of each step.
    nodes: Vec<NodeId>,
    /// How many numbers of scratch memory the steps ask for at most, and those of the group at hand.
    scratch: usize,
    task_scratch: usize,
}

impl<'a, T: Precision> PlanBuilder<'a, T> {
    fn new(program: &'a Program, options: &Options) -> Self {
        let plan = Plan {
            steps: Vec::new(),
            groups: Vec::new(),
            inputs: Vec::new(),
            parameters: Vec::new(),
            results: Vec::new(),
            copies: Vec::new(),
            preparation: None,
            prepared: 0,
            trains: !program.updates.is_empty(),
            scratch: 0,
            arena: 0,
            recorded: program.recorded.clone(),
            options: options.clone(),
            precision: PhantomData,
        };
        let memory = MemoryPlanner::new(program, options.reuse_memory);
        Self { program, memory, plan, nodes: Vec::new(), scratch: 0, task_scratch: 0 }
    }

    /// Lets the results lie where the plan that reads them finds them.
    fn keep_results(&mut self) {
        for (number, &output) in self.program.outputs.iter().enumerate() {
            self.memory.location[output.index()] = Some(Location::Prepared(number));
        }
    }

    fn build(mut self) -> Result<Plan<T>> {
        let dag = &self.program.dag;
        // Inputs are copied in before the first step, so all of them have their memory from the start.
        for id in dag.ids().filter(|&id| matches!(dag.node(id).kind, Kind::Input)) {
            self.add_input(id)?;
        }
        for id in dag.ids() {
            self.enter(id);
            match &dag.node(id).kind {
                Kind::Input => {}
                Kind::Parameter { init, kind, transposed } => {
                    self.add_parameter(id, *init, *kind, *transposed);
                }
                Kind::Prepared(number) => {
                    self.memory.location[id.index()] = Some(Location::Prepared(*number));
                }
                Kind::Kernel(kernel) if kernel.is_alias() => {}
                Kind::Output(_) => {} // placed with the kernel that makes it
                Kind::Kernel(_) => self.add_step(id)?,
                Kind::Op(op) => unreachable!("{} has not been lowered", op.name()),
                Kind::Poison => unreachable!("a graph with an error is not compiled"),
            }
            self.memory.free_dead(id);
            self.leave(id);
        }
        self.finish()
    }

    /// At the first node of a group: begins it.
    fn enter(&mut self, id: NodeId) {
        let steps = self.plan.steps.len();
        if let Some(group) = self.program.group(id.index()).filter(|group| group.nodes.start == id.index()) {
            let (samples, chunk) = (group.samples, group.chunk);
            self.plan.groups.push(StepGroup { steps: steps..steps, samples, chunk, scratch: 0, local: 0 });
            self.memory.local = FreeList::default();
        }
    }

    /// After the last node of a group: ends it.
    fn leave(&mut self, id: NodeId) {
        if self.program.group(id.index()).is_some_and(|group| group.nodes.end == id.index() + 1)
            && let Some(group) = self.plan.groups.last_mut()
        {
            group.steps.end = self.plan.steps.len();
            group.scratch = self.memory.leave_group();
            group.local = group.scratch + std::mem::take(&mut self.task_scratch) * size_of::<T>();
        }
    }

    fn add_input(&mut self, id: NodeId) -> Result<()> {
        self.memory.allocate(id)?;
        let dag = &self.program.dag;
        let name = dag.node(id).label.clone().unwrap_or_default();
        let IndexLimit { limit, exempt } = self.program.limits.get(&name).copied().unwrap_or_default();
        self.plan.inputs.push(Input { name, source: self.memory.source(id), limit, exempt });
        Ok(())
    }

    fn add_parameter(&mut self, id: NodeId, init: Init, kind: ParameterKind, transposed: bool) {
        let node = self.program.dag.node(id);
        let name = node.label.clone().unwrap_or_default();
        self.memory.location[id.index()] = Some(Location::Parameter(self.plan.parameters.len()));
        let ty = node.ty.clone();
        self.plan.parameters.push(Parameter { name, ty, init, kind, transposed });
    }

    fn add_step(&mut self, id: NodeId) -> Result<()> {
        let dag = &self.program.dag;
        let node = dag.node(id);
        let Kind::Kernel(kernel) = node.kind.clone() else { unreachable!("only kernels are steps") };
        let operands = dag.operands(id);
        let outputs = dag.outputs(id);
        let last = outputs.iter().map(|&(_, number)| number).max().unwrap_or(0);
        let mut results: SmallVec<[Option<StepOutput>; 1]> = smallvec![None; 1 + last];
        for (output, number) in outputs {
            results[number] = Some(self.memory.make(output, number)?);
        }
        let split = self.split(id);
        let scratch = match &split {
            None => kernel.scratch(&dag.operand_types(id)),
            Some(split) => {
                let types = operands.iter().zip(&split.task);
                let types: SmallVec<[TensorType; 4]> = types
                    .map(|(&id, shape)| TensorType { shape: shape.clone(), ..dag.node(id).ty })
                    .collect();
                kernel.scratch(&types.iter().collect::<SmallVec<[&TensorType; 4]>>())
            }
        };
        let room = if split.is_some() { &mut self.task_scratch } else { &mut self.scratch };
        *room = scratch.max(*room);
        self.nodes.push(id);
        self.plan.steps.push(PlanStep {
            operands: operands.iter().map(|&operand| self.memory.source(operand)).collect(),
            results,
            scratch,
            site: node.site,
            layer: node.layer.clone(),
            is_gradient: node.gradient_of.is_some(),
            split,
            kernel,
        });
        Ok(())
    }

    /// How a step of a group goes through the samples.
    fn split(&self, id: NodeId) -> Option<StepSplit> {
        let (group, dag) = (self.program.group(id.index())?, &self.program.dag);
        let BatchSplit { operands: split, samples_per_row, .. } = dag.batch_split(id)?;
        let last = group.samples - (group.samples.div_ceil(group.chunk) - 1) * group.chunk;
        let shapes = |samples: usize| {
            let operands = dag.operand_types(id).into_iter().zip(&split);
            let operands = operands.map(|(ty, &split)| rows(&ty.shape, split.then_some(samples)));
            operands.chain([rows(&dag.node(id).ty.shape, Some(samples.div_ceil(samples_per_row)))]).collect()
        };
        Some(StepSplit {
            task: shapes(group.chunk),
            last_task: shapes(last),
            operands: split,
            samples_per_row,
        })
    }

    fn finish(self) -> Result<Plan<T>> {
        let (program, mut plan) = (self.program, self.plan);
        for &(parameter, value) in &program.updates {
            let (to, from) = (self.memory.source(parameter), self.memory.source(value));
            if let Location::Parameter(number) = to.location
                && from.location != to.location
            {
                plan.copies.push((number, from));
            }
        }
        let results = program.outputs.iter().zip(program.recorded.outputs.iter().cloned());
        let result = |(&output, (node, name))| PlanResult { node, name, source: self.memory.source(output) };
        plan.results = results.map(result).collect();
        plan.scratch = self.memory.arena.end;
        let arena = self.scratch.checked_mul(size_of::<T>()).and_then(|size| plan.scratch.checked_add(size));
        plan.arena = arena.filter(|&bytes| bytes < isize::MAX as usize).ok_or(too_large())?;
        plan.verify()?;
        self.memory.liveness.replay(program, &plan, &self.nodes);
        Ok(plan)
    }
}

/// `shape` with another number of rows, if one is given.
fn rows(shape: &Shape, rows: Option<usize>) -> Shape {
    let sizes = shape.iter().enumerate();
    sizes.map(|(axis, &size)| rows.filter(|_| axis == 0).unwrap_or(size)).collect()
}
