//! Joins chains of elementwise functions into single steps, which read broadcast and transposed arrays
//! where they lie.

use std::sync::Arc;

use smallvec::SmallVec;

use super::program::Program;
use crate::error::Problem;
use crate::graph::dag::{Kind, Node, NodeId};
use crate::graph::op::{At, Call, Gradient, Meta, Op, Operand, Samples};
use crate::kernels::elementwise::{self, Argument, Function, Instruction, Read, Term};
use crate::kernels::real::Real;
use crate::kernels::walk::Walk;

/// The longest chain that becomes one step. It bounds the registers, and with the operands the tiles.
const MAX_INSTRUCTIONS: usize = 16;
/// The most arrays that a step reads.
const MAX_OPERANDS: usize = elementwise::MAX_TILES - MAX_INSTRUCTIONS;

/// A chain of functions as it grows. Each instruction has a register of its own.
#[derive(Debug, Clone, Default)]
struct Chain {
    code: Vec<(Function, [Argument; 2])>,
    /// The node that each operand reads, along a walk or as it lies.
    operands: Vec<(NodeId, Option<Walk>)>,
}

impl Chain {
    fn operand(&mut self, node: NodeId, walk: Option<Walk>) -> Argument {
        let known = self.operands.iter().position(|operand| *operand == (node, walk.clone()));
        Argument::Operand(known.unwrap_or_else(|| {
            self.operands.push((node, walk));
            self.operands.len() - 1
        }))
    }

    /// Appends another chain, whose last result becomes an argument.
    fn append(&mut self, other: &Chain) -> Argument {
        let map: Vec<Argument> =
            other.operands.iter().map(|(node, walk)| self.operand(*node, walk.clone())).collect();
        let offset = self.code.len();
        let moved = |argument: Argument| match argument {
            Argument::Operand(i) => map[i],
            Argument::Register(r) => Argument::Register(r + offset),
            constant => constant,
        };
        self.code.extend(other.code.iter().map(|&(function, arguments)| (function, arguments.map(moved))));
        Argument::Register(self.code.len() - 1)
    }

    /// Which operands can be read sample by sample along with the result, if the others are the same for every
    /// sample. A view is cut where a sample begins.
    fn splits(&self, program: &Program, output: &Meta) -> Option<SmallVec<[bool; 8]>> {
        let samples = *output.shape.first()?;
        let split = |(node, walk): &(NodeId, Option<Walk>)| {
            let Some(stride) = walk.as_ref().map(Walk::outer_stride) else { return Some(true) };
            let shape = &program.dag.node(*node).meta.shape;
            let is_along = shape.first() == Some(&samples) && stride == shape.count() / samples.max(1);
            if stride == 0 { Some(false) } else { is_along.then_some(true) }
        };
        self.operands.iter().map(split).collect()
    }

    fn fits(&self) -> bool {
        self.code.len() <= MAX_INSTRUCTIONS && self.operands.len() <= MAX_OPERANDS
    }

    /// The instructions with the products by a single number in the terms of those that read them; only the last one
    /// must be an instruction. Every result is read once, so that no product is wanted for itself.
    fn scaled(&self) -> Vec<(Function, [Term; 2])> {
        let mut code = Vec::new();
        let mut results: Vec<Term> = Vec::new();
        for (step, &(function, arguments)) in self.code.iter().enumerate() {
            let terms = arguments.map(|argument| match argument {
                Argument::Register(result) => results[result],
                other => Term::plain(other),
            });
            let is_inside = function == Function::Multiply && step + 1 < self.code.len();
            results.push(self.product(terms).filter(|_| is_inside).unwrap_or_else(|| {
                code.push((function, terms));
                Term::plain(Argument::Register(code.len() - 1))
            }));
        }
        code
    }

    /// The product of two terms, if one of them is a single number.
    fn product(&self, [a, b]: [Term; 2]) -> Option<Term> {
        let is_number = |term: Term| match term.value {
            Argument::Constant(_) => true,
            Argument::Operand(position) => self.operands[position].1.as_ref().is_some_and(Walk::is_single),
            Argument::Register(_) => false,
        };
        let (value, number) = if is_number(b) { (a, b) } else { (b, a) };
        let is_product = is_number(number) && !a.is_scaled() && !b.is_scaled();
        is_product.then_some(Term { value: value.value, factor: number.value })
    }

    /// Gives registers back as soon as their values are read for the last time.
    fn finish(&self) -> elementwise::Program {
        let scaled = self.scaled();
        let mut last_read = vec![0; scaled.len()];
        for (step, (_, terms)) in scaled.iter().enumerate() {
            for term in terms {
                if let Argument::Register(value) = term.value {
                    last_read[value] = step;
                }
            }
        }
        let mut home: Vec<usize> = Vec::new();
        let mut busy_until: Vec<usize> = Vec::new();
        let mut code = Vec::new();
        for (step, &(function, terms)) in scaled.iter().enumerate() {
            let free = busy_until.iter().position(|&until| until < step);
            let register = free.unwrap_or_else(|| {
                busy_until.push(0);
                busy_until.len() - 1
            });
            busy_until[register] = last_read[step].max(step);
            home.push(register);
            let terms = terms.map(|term| match term.value {
                Argument::Register(value) => Term { value: Argument::Register(home[value]), ..term },
                _ => term,
            });
            code.push(Instruction { function, terms, register });
        }
        elementwise::Program { code, registers: busy_until.len() }
    }
}

/// Joins every elementwise node with the single-use elementwise nodes before it.
pub fn fuse(program: &Program) -> Program {
    let (chains, swallowed) = chains(program);
    let mut place: Vec<Option<NodeId>> = vec![None; program.dag.len()];
    program.rebuild(|new, id, operands| {
        let node = program.dag.node(id);
        let added = match &chains[id.index()] {
            _ if swallowed[id.index()] => None,
            Some(chain) => {
                let reads = chain.operands.iter().map(|(_, walk)| walk.clone()).collect();
                let split = chain.splits(program, &node.meta);
                let op = Fused { program: chain.finish(), reads, split, meta: node.meta.clone() };
                let operands: Option<SmallVec<[NodeId; 8]>> =
                    chain.operands.iter().map(|(operand, _)| place[operand.index()]).collect();
                Some(new.push(Node { kind: Kind::Op(Arc::new(op)), ..node.clone() }, &operands?))
            }
            None => Some(new.push(node.clone(), &operands?)),
        };
        place[id.index()] = added;
        added
    })
}

/// The chain that computes each elementwise node, and which nodes live on only inside another's chain.
fn chains(program: &Program) -> (Vec<Option<Chain>>, Vec<bool>) {
    let dag = &program.dag;
    let uses = program.use_counts();
    let mut chains: Vec<Option<Chain>> = vec![None; dag.len()];
    let mut swallowed = vec![false; dag.len()];
    for id in dag.ids() {
        let Some(function) = dag.op(id).and_then(|op| op.elementwise()) else { continue };
        let mut chain = Chain::default();
        let mut arguments = [Argument::Constant(0.0); 2];
        let mut taken: SmallVec<[NodeId; 2]> = SmallVec::new();
        for (argument, operand) in arguments.iter_mut().zip(dag.operands(id)) {
            let longer =
                chains[operand.index()].as_ref().filter(|_| uses[operand.index()] == 1).map(|inner| {
                    let mut longer = chain.clone();
                    let result = longer.append(inner);
                    (longer, result)
                });
            *argument = match (dag.op(operand).and_then(|op| op.constant()), longer) {
                (Some(value), _) => Argument::Constant(value),
                // Room is kept for this node's own instruction and its other operand.
                (None, Some((longer, result)))
                    if longer.code.len() < MAX_INSTRUCTIONS && longer.operands.len() < MAX_OPERANDS =>
                {
                    chain = longer;
                    taken.push(operand);
                    result
                }
                _ => read(program, &mut chain, operand),
            };
        }
        chain.code.push((function, arguments));
        debug_assert!(chain.fits());
        taken.iter().for_each(|operand| swallowed[operand.index()] = true);
        chains[id.index()] = Some(chain);
    }
    (chains, swallowed)
}

/// Reads an operand as it lies, or through the view that makes it.
fn read(program: &Program, chain: &mut Chain, operand: NodeId) -> Argument {
    match program.dag.view(operand) {
        Some((source, strides)) => {
            let walk = Walk::new(&program.dag.node(operand).meta.shape, &strides);
            chain.operand(source, Some(walk))
        }
        None => chain.operand(operand, None),
    }
}

/// A chain of elementwise functions as one operation of a plan.
#[derive(Debug, Clone, PartialEq)]
struct Fused {
    program: elementwise::Program,
    reads: Vec<Option<Walk>>,
    /// Which operands are read sample by sample, if the chain can be done so.
    split: Option<SmallVec<[bool; 8]>>,
    meta: Meta,
}

impl Op for Fused {
    fn name(&self) -> &'static str {
        "elementwise"
    }

    fn infer(&self, _: &[&Meta]) -> Result<Meta, Problem> {
        Ok(self.meta.clone())
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let reads: SmallVec<[Read<'_, T>; MAX_OPERANDS]> = (call.operands.iter().zip(&self.reads))
            .map(|(operand, walk)| match (operand, walk) {
                (Operand::Real(_, data), None) => Read::Whole(data),
                (Operand::Real(_, [value, ..]), Some(walk)) if walk.is_single() => Read::Single(*value),
                (Operand::Real(_, data), Some(walk)) => Read::Along(data, walk),
                _ => Read::InPlace,
            })
            .collect();
        elementwise::run(&self.program, &reads, call.output, call.workers);
    }

    fn vjp<'g>(&self, _: usize, _: At<'g>) -> Gradient<'g> {
        Gradient::NotDifferentiable
    }

    fn attributes(&self) -> String {
        let names = self.program.code.iter().map(|step| {
            let scaled = if step.terms.iter().any(Term::is_scaled) { "scaled " } else { "" };
            format!("{scaled}{:?}", step.function).to_lowercase()
        });
        names.collect::<Vec<_>>().join(" ")
    }

    fn samples(&self, _: &[&Meta]) -> Option<Samples> {
        Some(Samples::each(*self.meta.shape.first()?, self.split.as_deref()?))
    }

    fn runs_in_place(&self, position: usize) -> bool {
        self.reads[position].is_none()
    }
}
