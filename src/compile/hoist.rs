//! Loop-invariant code motion: what depends on parameters alone is computed once, and again when a parameter has changed.
//!
//! So a plan that only evaluates need not bring the weights into the order of its kernels in every run. A plan that moves
//! parameters, or that has no inputs, has nothing to keep.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::fuse::fuse;
use super::passes::prune;
use super::program::{Program, Recorded};
use crate::graph::Dtype;
use crate::graph::dag::{Dag, Kind, Node, NodeId};

/// Moves what is worth keeping to a program of its own, [`Program::preparation`].
pub fn hoist(program: &Program) -> Program {
    let kept = kept(program);
    if kept.is_empty() {
        return program.clone();
    }
    let dag = &program.dag;
    let main = program.rebuild(dag.ids(), |new, id| {
        let Ok(number) = kept.binary_search(&id) else { return Some(new.copy(id)) };
        let leaf = Node { kind: Kind::Prepared(number), ..dag.node(id).clone() };
        let parameters = new.replacements(parameters_of(dag, id));
        Some(new.dag.push(leaf, &parameters))
    });
    let names = kept.iter().map(|&id| (id, dag.node(id).source()));
    let recorded =
        Recorded { outputs: names.collect(), inputs: Vec::new(), ..Recorded::clone(&program.recorded) };
    let preparation = Program { outputs: kept, recorded: Arc::new(recorded), ..program.clone() };
    let preparation = fuse(&prune(&preparation));
    Program { preparation: Some(Arc::new(prune(&preparation))), ..prune(&main) }
}

/// For each node, whether it is the same in every run until a parameter changes, or the count of steps that random numbers
/// follow.
pub fn invariants(program: &Program) -> Vec<bool> {
    let dag = &program.dag;
    let mut is_invariant = vec![false; dag.len()];
    for id in dag.ids() {
        let is_parameter = matches!(dag.node(id).kind, Kind::Parameter { .. });
        let mut operands = dag.operands(id).into_iter();
        is_invariant[id.index()] =
            is_parameter || dag.is_computed(id) && operands.all(|operand| is_invariant[operand.index()]);
    }
    is_invariant
}

/// The parameters that a value depends on.
fn parameters_of(dag: &Dag, id: NodeId) -> BTreeSet<NodeId> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![id]);
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            open.extend(dag.operands(id));
        }
    }
    seen.retain(|&id| matches!(dag.node(id).kind, Kind::Parameter { .. }));
    seen
}

/// The values that are worth keeping, in the order of their nodes.
fn kept(program: &Program) -> Vec<NodeId> {
    let dag = &program.dag;
    let has_inputs = dag.ids().any(|id| matches!(dag.node(id).kind, Kind::Input));
    if !has_inputs || !program.updates.is_empty() {
        return Vec::new();
    }
    let is_invariant = invariants(program);
    // A parameter that is read in another way is read where it lies; a constant is drawn where it is read.
    let is_worth_keeping = |id: NodeId| {
        is_invariant[id.index()]
            && dag.kernel(id).is_some_and(|kernel| kernel.constant().is_none())
            && dag.view(id).is_none()
            && !dag.is_alias(id)
            && dag.outputs(id).len() == 1
            && dag.node(id).ty.dtype == Dtype::Real
            && !parameters_of(dag, id).is_empty()
    };
    let mut is_needed = vec![false; dag.len()];
    program.roots().for_each(|root| is_needed[root.index()] = true);
    let roots = is_needed.clone();
    let mut kept = Vec::new();
    for id in dag.ids().rev().filter(|id| dag.is_computed(*id)) {
        if is_needed[id.index()] && !roots[id.index()] && is_worth_keeping(id) {
            kept.push(id);
        } else if is_needed[id.index()] {
            dag.operands(id).iter().for_each(|operand| is_needed[operand.index()] = true);
        }
    }
    kept.reverse();
    kept
}
