//! The passes that only look at a node and its neighbours.

use std::borrow::Cow;
use std::collections::HashMap;

use smallvec::SmallVec;

use super::program::Program;
use crate::graph::dag::{Dag, Kind, Node, NodeId, Operands};
use crate::graph::kernel::Consumer;
use crate::graph::{NodeRef, Rewrite};
use dagrad_kernels::elementwise::Function;
use dagrad_kernels::walk;

/// Dead-code elimination: forgets nodes that no result needs.
pub fn prune(program: &Program) -> Program {
    pruned(program).into_owned()
}

/// The same, in which a program that needs all of its nodes is not copied.
pub fn pruned(program: &Program) -> Cow<'_, Program> {
    let dag = &program.dag;
    let mut needed = vec![false; dag.len()];
    let updated = program.updates.iter().map(|&(parameter, _)| parameter);
    program.roots().chain(updated).for_each(|root| needed[root.index()] = true);
    for id in dag.ids().rev() {
        if needed[id.index()] {
            dag.operands(id).iter().for_each(|operand| needed[operand.index()] = true);
        }
    }
    if needed.iter().all(|is_needed| *is_needed) {
        return Cow::Borrowed(program);
    }
    Cow::Owned(program.rebuild(dag.ids(), |new, id| needed[id.index()].then(|| new.copy(id))))
}

/// Common-subexpression elimination: merges equal operations on the same operands.
pub fn dedup(program: &Program) -> Program {
    // What attributes look like is a part of the key: thousands of slices may read one array.
    let mut known: HashMap<(&'static str, String, Operands), SmallVec<[NodeId; 2]>> = HashMap::new();
    let dag = &program.dag;
    program.rebuild(dag.ids(), |new, id| {
        let Some(op) = dag.op(id) else { return Some(new.copy(id)) };
        let attributes = op.attributes().to_string();
        let alike = known.entry((op.name(), attributes, new.operands(id))).or_default();
        let is_same = |&other: &NodeId| {
            let new = &new.dag;
            new.node(other).ty == dag.node(id).ty && new.op(other).is_some_and(|other| op.same(other))
        };
        let same = alike.iter().copied().find(is_same);
        same.or_else(|| {
            alike.push(new.copy(id));
            alike.last().copied()
        })
    })
}

/// Algebraic simplification: replaces operations by each operation's own rule.
pub fn simplify(program: &Program) -> Program {
    program.rebuild(program.dag.ids(), |new, id| {
        let mut node = new.copy(id);
        let dag = &mut new.dag;
        // An operation made by a rule may be simplified again; each rule leaves less to do.
        for _ in 0..8 {
            match dag.op(node).and_then(|op| op.simplify(NodeRef { dag, id: node })) {
                None => break,
                Some(Rewrite::Node(other)) => return Some(other),
                Some(rewrite) => node = build(dag, rewrite, node),
            }
        }
        Some(node)
    })
}

/// Appends what a rule puts instead of `like`.
pub fn build(dag: &mut Dag, rewrite: Rewrite, like: NodeId) -> NodeId {
    let (op, operands) = match rewrite {
        Rewrite::Node(node) => return node,
        Rewrite::Op(op, operands) => (op, operands),
    };
    let operands: Operands = operands.into_iter().map(|operand| build(dag, operand, like)).collect();
    let ty = op.infer(&dag.types(&operands));
    let ty = ty.unwrap_or_else(|problem| unreachable!("a rule keeps shapes: {problem:?}"));
    let node = Node { kind: Kind::Op(op), ty, ..dag.node(like).clone() };
    dag.push(node, &operands)
}

/// Epilogue fusion: offers each elementwise kernel, and each of a single operand, to the kernel before it. The value
/// between them must have no other reader.
pub fn absorb(program: &Program) -> Program {
    let uses = program.use_counts();
    // For nodes of the new graph: whether the consumer at hand is the only reader.
    let mut single: Vec<bool> = Vec::new();
    program.rebuild(program.dag.ids(), |new, id| {
        let added = match fuse_one(&new.dag, &single, program.dag.node(id), &new.operands(id)) {
            Some((both, operands)) => new.dag.push(both, &operands),
            None => new.copy(id),
        };
        single.resize(new.dag.len(), false);
        single[added.index()] = uses[id.index()] == 1;
        Some(added)
    })
}

/// A node that does the work of `like` and of the kernel before it, whose layer it takes; and its operands.
fn fuse_one(dag: &Dag, single: &[bool], like: &Node, operands: &[NodeId]) -> Option<(Node, Operands)> {
    let Kind::Kernel(consumer) = &like.kind else { return None };
    let function = consumer.elementwise();
    let offer = |host: NodeId, other: Option<NodeId>| {
        let kernel = dag.kernel(host).filter(|_| single[host.index()])?;
        // The other argument may be a broadcast array, which is read where it lies.
        let whole = |other| (other, walk::row_major(&dag.node(other).ty.shape).into_vec());
        let (source, strides) = other.map(|other| dag.view(other).unwrap_or_else(|| whole(other))).unzip();
        let consumer = Consumer { kernel: consumer.as_ref(), function, other: strides.as_deref() };
        let kind = Kind::Kernel(kernel.fuse(&consumer)?);
        let layer = dag.node(host).layer.clone().or_else(|| like.layer.clone());
        let operands = dag.operands(host).into_iter().chain(source).collect();
        Some((Node { kind, layer, ..like.clone() }, operands))
    };
    match *operands {
        [only] => offer(only, None),
        [a, b] if function == Some(Function::Add) => offer(a, Some(b)).or_else(|| offer(b, Some(a))),
        [a, b] if function.is_some() => offer(a, Some(b)),
        _ => None,
    }
}
