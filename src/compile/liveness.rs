//! Liveness: which memory each value lies in, and which step reads it for the last time.
//!
//! [`Liveness::replay`] goes through a finished plan and proves that every step finds the values that it is meant to read.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::plan::{Location, Plan, Source, StepGroup};
use super::program::Program;
use crate::graph::Precision;
use crate::graph::dag::{Kind, NodeId};

/// For each node the value whose memory it lies in, and for each value its last reader.
pub(super) struct Liveness {
    /// The node itself, unless it is an alias.
    value: Vec<usize>,
    /// `usize::MAX`: it is read after the run.
    last_reader: Vec<usize>,
}

impl Liveness {
    /// Of all values of a program.
    pub fn of(program: &Program) -> Self {
        let dag = &program.dag;
        let mut value: Vec<usize> = (0..dag.len()).collect();
        let mut last_reader: Vec<usize> = (0..dag.len()).collect();
        for id in dag.ids() {
            let operands = dag.operands(id);
            if dag.is_alias(id) {
                value[id.index()] = value[operands[0].index()];
            }
            operands.iter().for_each(|operand| last_reader[value[operand.index()]] = id.index());
        }
        program.roots().for_each(|root| last_reader[value[root.index()]] = usize::MAX);
        Self { value, last_reader }
    }

    /// The value in whose memory a node lies.
    pub fn value(&self, id: NodeId) -> usize {
        self.value[id.index()]
    }

    /// The last node that reads a value.
    pub fn last_reader(&self, value: usize) -> usize {
        self.last_reader[value]
    }

    /// Notes that a value's memory now belongs to another one and is not to be freed with it.
    pub fn hand_over(&mut self, value: usize) {
        self.last_reader[value] = usize::MAX;
    }

    /// Panics unless each step (of `nodes`), result and update finds the value that the program names where it reads it.
    pub fn replay<T: Precision>(&self, program: &Program, plan: &Plan<T>, nodes: &[NodeId]) {
        let dag = &program.dag;
        let mut memory = Contents::default();
        let leaves = |wanted: fn(&Kind) -> bool| dag.ids().filter(move |id| wanted(&dag.node(*id).kind));
        for (id, input) in leaves(|kind| matches!(kind, Kind::Input)).zip(&plan.inputs) {
            memory.write::<T>(&input.source, None, self.value(id));
        }
        let parameters: Vec<NodeId> = leaves(|kind| matches!(kind, Kind::Parameter { .. })).collect();
        for (number, &id) in parameters.iter().enumerate() {
            memory.parameters.insert(number, self.value(id));
        }
        for id in dag.ids() {
            if let Kind::Prepared(number) = dag.node(id).kind {
                memory.prepared.insert(number, self.value(id));
            }
        }
        for (number, (step, &node)) in plan.steps.iter().zip(nodes).enumerate() {
            let group = plan.group_of(number);
            if group.is_some_and(|group| group.steps.start == number) {
                memory.local.clear();
            }
            for (source, operand) in step.operands.iter().zip(dag.operands(node)) {
                let is_there = memory.holds::<T>(source, group, self.value(operand));
                assert!(is_there, "{} reads what was overwritten", step.name());
            }
            for (output, number) in dag.outputs(node) {
                let Some(made) = &step.results[number] else { unreachable!("what has a node is made") };
                memory.write::<T>(&made.source, group, self.value(output));
            }
        }
        for &(number, ref source) in &plan.copies {
            let Some(&(_, next)) =
                program.updates.iter().find(|(parameter, _)| *parameter == parameters[number])
            else {
                unreachable!("only what is assigned to is copied to")
            };
            let is_there = memory.holds::<T>(source, None, self.value(next));
            assert!(is_there, "the next value of {} was overwritten", plan.parameters[number].name);
            memory.parameters.insert(number, self.value(next));
        }
        for &(parameter, next) in &program.updates {
            let number = parameters.iter().position(|&id| id == parameter);
            let found = number.and_then(|number| memory.parameters.get(&number));
            assert!(found == Some(&self.value(next)), "a parameter has not taken its next value");
        }
        for (result, &output) in plan.results.iter().zip(&program.outputs) {
            let is_there = memory.holds::<T>(&result.source, None, self.value(output));
            assert!(is_there, "result {} was overwritten", result.name);
        }
    }
}

/// Which value each piece of memory holds.
#[derive(Default)]
struct Contents {
    /// From the first byte: one past the last, and the value.
    arena: BTreeMap<usize, (usize, usize)>,
    /// The same in the memory of a task.
    local: BTreeMap<usize, (usize, usize)>,
    parameters: HashMap<usize, usize>,
    prepared: HashMap<usize, usize>,
}

impl Contents {
    /// Whether a value lies where a step looks for it. Nothing is looked for where there are no elements.
    fn holds<T: Precision>(&self, source: &Source, group: Option<&StepGroup>, value: usize) -> bool {
        let Range { start, end } = source.range::<T>(group);
        let found = match source.location {
            Location::Arena(_) => self.arena.get(&start),
            Location::Local(_) => self.local.get(&start),
            Location::Parameter(number) => return self.parameters.get(&number) == Some(&value),
            Location::Prepared(number) => return self.prepared.get(&number) == Some(&value),
        };
        start == end || found == Some(&(end, value))
    }

    /// Puts a value where it is made. What lay there is gone.
    fn write<T: Precision>(&mut self, source: &Source, group: Option<&StepGroup>, value: usize) {
        let Range { start, end } = source.range::<T>(group);
        let memory = match source.location {
            Location::Arena(_) => &mut self.arena,
            Location::Local(_) => &mut self.local,
            Location::Parameter(number) => {
                self.parameters.insert(number, value);
                return;
            }
            Location::Prepared(number) => {
                self.prepared.insert(number, value);
                return;
            }
        };
        let before = memory.range(..start).next_back().filter(|(_, (last, _))| *last > start);
        let gone: Vec<usize> =
            before.into_iter().chain(memory.range(start..end)).map(|(&first, _)| first).collect();
        for first in gone {
            memory.remove(&first);
        }
        if start < end {
            memory.insert(start, (end, value));
        }
    }
}
