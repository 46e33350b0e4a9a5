//! Chains of elementwise functions, as they grow and as kernels run them.

use super::program::Program;
use crate::graph::dag::NodeId;
use crate::graph::op::TensorType;
use dagrad_kernels::elementwise::{self, Argument, Function, Instruction, Target, Term};
use dagrad_kernels::walk::Walk;

/// The longest chain that becomes one step. It bounds the registers, and with the operands the tiles.
const MAX_INSTRUCTIONS: usize = 16;
/// The most arrays that a step reads.
pub const MAX_OPERANDS: usize = elementwise::MAX_TILES - MAX_INSTRUCTIONS;

/// Functions in order. An argument that is a register stands for the function of that number.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chain {
    /// Each function with what it reads.
    pub code: Vec<(Function, [Argument; 2])>,
    /// The node that each operand reads, along a walk or as it lies.
    pub operands: Vec<(NodeId, Option<Walk>)>,
}

impl Chain {
    /// The argument that reads a node, which becomes an operand if it is none yet.
    pub fn operand(&mut self, node: NodeId, walk: Option<Walk>) -> Argument {
        let known = self.operands.iter().position(|operand| *operand == (node, walk.clone()));
        Argument::Operand(known.unwrap_or_else(|| {
            self.operands.push((node, walk));
            self.operands.len() - 1
        }))
    }

    /// Appends another chain. `known` tells which of its operands are functions of this one.
    pub fn append(&mut self, other: &Chain, known: impl Fn(NodeId) -> Option<usize>) {
        let read = |(node, walk): &(NodeId, Option<Walk>)| match known(*node) {
            Some(function) => Argument::Register(function),
            None => self.operand(*node, walk.clone()),
        };
        let map: Vec<Argument> = other.operands.iter().map(read).collect();
        let offset = self.code.len();
        let moved = |argument: Argument| match argument {
            Argument::Operand(i) => map[i],
            Argument::Register(r) => Argument::Register(r + offset),
            constant => constant,
        };
        self.code.extend(other.code.iter().map(|&(function, arguments)| (function, arguments.map(moved))));
    }

    /// Both chains as one, if there is room for one more function and one more operand.
    pub fn with(&self, other: &Chain) -> Option<Chain> {
        let mut both = self.clone();
        both.append(other, |_| None);
        (both.code.len() < MAX_INSTRUCTIONS && both.operands.len() < MAX_OPERANDS).then_some(both)
    }

    /// Which operands can be read sample by sample along with the results, if the others are the same for every
    /// sample. A view is cut where a sample begins.
    pub fn splits(&self, program: &Program, output: &TensorType) -> Option<Vec<bool>> {
        let samples = *output.shape.first()?;
        let split = |(node, walk): &(NodeId, Option<Walk>)| {
            let Some(stride) = walk.as_ref().map(Walk::outer_stride) else { return Some(true) };
            let shape = &program.dag.node(*node).ty.shape;
            let is_along = shape.first() == Some(&samples) && stride == shape.count() / samples.max(1);
            if stride == 0 { Some(false) } else { is_along.then_some(true) }
        };
        self.operands.iter().map(split).collect()
    }

    /// Whether the chain is short enough for one step.
    pub fn fits(&self) -> bool {
        self.code.len() <= MAX_INSTRUCTIONS && self.operands.len() <= MAX_OPERANDS
    }

    /// The program that yields what the functions `results` compute.
    pub fn finish(&self, results: &[usize]) -> elementwise::Program {
        let Scaled { code, home } = self.scaled(results).slow_first();
        let result = |step: usize| results.iter().position(|&result| home[result] == Some(step));
        let mut last_read = vec![0; code.len()];
        for (step, (_, terms)) in code.iter().enumerate() {
            for term in terms {
                if let Argument::Register(value) = term.value {
                    last_read[value] = step;
                }
            }
        }
        // Registers are given back as soon as their values are read for the last time.
        let mut busy_until: Vec<usize> = Vec::new();
        let mut targets: Vec<Target> = Vec::new();
        let mut finished = Vec::new();
        for (step, (function, terms)) in code.into_iter().enumerate() {
            targets.push(result(step).map_or_else(
                || {
                    let free = busy_until.iter().position(|&until| until < step);
                    let register = free.unwrap_or_else(|| {
                        busy_until.push(0);
                        busy_until.len() - 1
                    });
                    busy_until[register] = last_read[step].max(step);
                    Target::Register(register)
                },
                Target::Result,
            ));
            let terms = terms.map(|term| match term.value {
                Argument::Register(value) => Term { value: targets[value].into(), ..term },
                _ => term,
            });
            finished.push(Instruction { function, terms, target: targets[step] });
        }
        elementwise::Program { code: finished, registers: busy_until.len() }
    }

    /// The functions with the products by a single number in the terms of those that read them, but for results.
    fn scaled(&self, results: &[usize]) -> Scaled {
        let mut scaled = Scaled { code: Vec::new(), home: Vec::new() };
        let mut values: Vec<Term> = Vec::new();
        for (step, &(function, arguments)) in self.code.iter().enumerate() {
            let terms = arguments.map(|argument| match argument {
                Argument::Register(function) => values[function],
                other => Term::plain(other),
            });
            let is_inside = function == Function::Multiply && !results.contains(&step);
            let product = self.product(terms).filter(|_| is_inside);
            scaled.home.push(product.is_none().then_some(scaled.code.len()));
            values.push(product.unwrap_or_else(|| {
                scaled.code.push((function, terms));
                Term::plain(Argument::Register(scaled.code.len() - 1))
            }));
        }
        scaled
    }

    /// The product of two terms, if one of them is a single number.
    fn product(&self, [a, b]: [Term; 2]) -> Option<Term> {
        let is_number = |term: Term| match term.value {
            Argument::Constant(_) => true,
            Argument::Operand(position) => self.operands[position].1.as_ref().is_some_and(Walk::is_single),
            Argument::Register(_) | Argument::Result(_) => false,
        };
        let (value, number) = if is_number(b) { (a, b) } else { (b, a) };
        let is_product = is_number(number) && !a.is_scaled() && !b.is_scaled();
        is_product.then_some(Term { value: value.value, factor: number.value })
    }
}

/// A chain without the products that its readers do themselves.
struct Scaled {
    code: Vec<(Function, [Term; 2])>,
    /// Where each function of the chain is now.
    home: Vec<Option<usize>>,
}

impl Scaled {
    /// The slow functions as early as what they read allows, so that the machine computes others meanwhile.
    fn slow_first(self) -> Self {
        let mut order = Vec::new();
        let is_compute_bound = |&step: &usize| self.code[step].0.is_compute_bound();
        let steps = 0..self.code.len();
        steps.clone().filter(is_compute_bound).chain(steps).for_each(|step| self.visit(step, &mut order));
        let position_of = |step: usize| order.iter().position(|&other| other == step);
        let moved = |term: Term| match term.value {
            Argument::Register(step) => {
                Term { value: position_of(step).map_or(term.value, Argument::Register), ..term }
            }
            _ => term,
        };
        let code = order.iter().map(|&step| (self.code[step].0, self.code[step].1.map(moved))).collect();
        Self { code, home: self.home.iter().map(|home| home.and_then(position_of)).collect() }
    }

    /// Adds a step to the order, and before it what it reads.
    fn visit(&self, step: usize, order: &mut Vec<usize>) {
        if order.contains(&step) {
            return;
        }
        for term in &self.code[step].1 {
            if let Argument::Register(read) = term.value {
                self.visit(read, order);
            }
        }
        order.push(step);
    }
}
