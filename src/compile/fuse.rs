//! Elementwise fusion: a chain of elementwise functions becomes one step, which reads views where they lie.

use std::sync::Arc;

use smallvec::SmallVec;

use super::chain::{Chain, MAX_OPERANDS};
use super::program::{Program, Rebuilt};
use crate::error::Problem;
use crate::graph::call::{Call, Operand, OutputSlot};
use crate::graph::dag::{Dag, Kind, Node, NodeId};
use crate::graph::kernel::{BatchSplit, Kernel};
use crate::graph::op::{Precision, TensorType};
use dagrad_kernels::elementwise::{self, Argument, Function, Outputs, Read, Target, Term};
use dagrad_kernels::walk::Walk;

/// Joins every elementwise node with the single-use elementwise nodes before it.
pub fn fuse(program: &Program) -> Program {
    let (chains, swallowed) = chains(program);
    program.rebuild(program.dag.ids(), |new, id| match &chains[id.index()] {
        _ if swallowed[id.index()] => None,
        Some(chain) => Some(Fused::append(chain, &[chain.code.len() - 1], program, id, new)),
        None => Some(new.copy(id)),
    })
}

/// The chain that computes each elementwise node, and which nodes live on only inside another's chain.
fn chains(program: &Program) -> (Vec<Option<Chain>>, Vec<bool>) {
    let dag = &program.dag;
    let uses = program.use_counts();
    let mut chains: Vec<Option<Chain>> = vec![None; dag.len()];
    let mut swallowed = vec![false; dag.len()];
    for id in dag.ids() {
        let Some(function) = dag.kernel(id).and_then(|kernel| kernel.elementwise()) else { continue };
        let mut chain = Chain::default();
        let mut arguments = [Argument::Constant(0.0); 2];
        let mut taken: SmallVec<[NodeId; 2]> = SmallVec::new();
        for (argument, operand) in arguments.iter_mut().zip(dag.operands(id)) {
            let inner = chains[operand.index()].as_ref().filter(|_| uses[operand.index()] == 1);
            *argument = if let Some(value) = dag.constant(operand) {
                Argument::Constant(value)
            } else if let Some(longer) = inner.and_then(|inner| chain.with(inner)) {
                chain = longer;
                taken.push(operand);
                Argument::Register(chain.code.len() - 1)
            } else {
                // An operand is read as it lies, or through the view that makes it.
                let walk = |strides: Vec<usize>| Walk::new(&dag.node(operand).ty.shape, &strides);
                let view = dag.view(operand).map(|(source, strides)| (source, Some(walk(strides))));
                let (source, walk) = view.unwrap_or((operand, None));
                chain.operand(source, walk)
            };
        }
        chain.code.push((function, arguments));
        debug_assert!(chain.fits());
        taken.iter().for_each(|operand| swallowed[operand.index()] = true);
        chains[id.index()] = Some(chain);
    }
    (chains, swallowed)
}

/// Elementwise functions as one kernel. Its outputs are the results.
#[derive(Debug, Clone, PartialEq)]
pub struct Fused {
    code: Vec<(Function, [Argument; 2])>,
    /// How each operand is read.
    reads: Vec<Option<Walk>>,
    program: elementwise::Program,
    /// Which operands are read sample by sample, if batch tiling can take the chain.
    split: Option<Vec<bool>>,
    /// What is known of each result, and how many there are.
    ty: TensorType,
    results: usize,
}

impl Fused {
    /// Puts a chain into a new graph instead of the node `like`. It yields what its functions `results` compute.
    pub fn append(
        chain: &Chain,
        results: &[usize],
        program: &Program,
        like: NodeId,
        new: &mut Rebuilt<'_>,
    ) -> NodeId {
        let node = program.dag.node(like).clone();
        let kernel = Self {
            code: chain.code.clone(),
            reads: chain.operands.iter().map(|(_, walk)| walk.clone()).collect(),
            program: chain.finish(results),
            split: chain.splits(program, &node.ty),
            ty: node.ty.clone(),
            results: results.len(),
        };
        let operands = new.replacements(chain.operands.iter().map(|&(operand, _)| operand));
        new.dag.push(Node { kind: Kind::Kernel(Arc::new(kernel)), ..node }, &operands)
    }

    /// The chain of a node that is such an operation.
    pub fn chain(dag: &Dag, id: NodeId) -> Option<Chain> {
        let fused: &Self = dag.kernel(id)?.as_any().downcast_ref()?;
        let operands = dag.operands(id).into_iter().zip(fused.reads.iter().cloned()).collect();
        Some(Chain { code: fused.code.clone(), operands })
    }
}

impl Kernel for Fused {
    fn name(&self) -> &'static str {
        "elementwise"
    }

    fn outputs(&self, _: &[&TensorType]) -> Vec<TensorType> {
        vec![self.ty.clone(); self.results]
    }

    fn run<T: Precision>(&self, call: Call<'_, T>) -> Result<(), Problem> {
        let reads: SmallVec<[Read<'_, T>; MAX_OPERANDS]> = (call.operands.iter().zip(&self.reads))
            .map(|(operand, walk)| match (operand, walk) {
                (Operand::Real(_, data), None) => Read::Whole(data),
                (Operand::Real(_, [value, ..]), Some(walk)) if walk.is_single() => Read::Single(*value),
                (Operand::Real(_, data), Some(walk)) => Read::Along(data, walk),
                (Operand::InPlace(result), _) => Read::InPlace(*result),
                (Operand::Index(..), _) => unreachable!("elementwise functions take real numbers"),
            })
            .collect();
        // Somebody reads each of them, or it would not be there.
        let further_outputs = call.further_outputs.into_iter().filter_map(OutputSlot::real);
        let out: Outputs<'_, T> = [call.output].into_iter().chain(further_outputs).collect();
        elementwise::run(&self.program, &reads, out, call.workers);
        Ok(())
    }

    fn attributes(&self) -> String {
        let names = self.program.code.iter().map(|step| {
            let scaled = if step.terms.iter().any(Term::is_scaled) { "scaled " } else { "" };
            let number = match step.function {
                Function::Power(number) => format!(" {number}"),
                Function::AtLeast(number) | Function::AtMost(number) => format!(" {number}"),
                _ => String::new(),
            };
            format!("{scaled}{}{number}", step.function.name())
        });
        names.collect::<Vec<_>>().join(" ")
    }

    fn batch_split(&self, _: &[&TensorType]) -> Option<BatchSplit> {
        Some(BatchSplit::each(*self.ty.shape.first()?, self.split.as_deref()?))
    }

    /// An operand may be overwritten by a result after which nobody reads it.
    fn runs_in_place(&self, position: usize, result: usize) -> bool {
        let code = &self.program.code;
        let after = code.iter().skip_while(|step| step.target != Target::Result(result)).skip(1);
        let reads = |term: &Term| term.value == Argument::Operand(position);
        self.reads[position].is_none() && !after.flat_map(|step| &step.terms).any(reads)
    }
}
