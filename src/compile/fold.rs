//! Folding into weights: where a plan only evaluates, what multiplies each channel of a result multiplies its weight instead.
//!
//! A batch normalisation in evaluation is such a product. Its weight depends on parameters alone, so it is computed once.

use std::sync::Arc;

use super::hoist::invariants;
use super::passes::{build, prune};
use super::program::{Program, Rebuilt};
use crate::graph::dag::{Dag, Kind, NodeId};
use crate::graph::op::AnyOp;
use crate::graph::{NodeRef, Rewrite};
use dagrad_kernels::elementwise::Function;

/// Moves products before the operations that allow it, and adds up the shifts that are left after them.
pub fn fold(program: &Program) -> Program {
    if !program.updates.is_empty() {
        return program.clone();
    }
    let scaled = rewrite(program, |fold, new, id| fold.scaled_value(new, id));
    rewrite(&prune(&scaled), |fold, new, id| fold.shifted_twice(new, id))
}

/// Applies a rule, which names the value that a rewrite takes its line and layer from, and the rewrite of a node, of operands
/// in the new graph.
fn rewrite(
    program: &Program,
    rule: impl Fn(&Fold<'_>, &Rebuilt<'_>, NodeId) -> Option<(NodeId, Rewrite)>,
) -> Program {
    let fold = Fold { dag: &program.dag, uses: program.use_counts(), is_invariant: invariants(program) };
    program.rebuild(program.dag.ids(), |new, id| {
        let Some((value, rewrite)) = rule(&fold, new, id) else { return Some(new.copy(id)) };
        let like = new.replacements([value])[0];
        Some(build(&mut new.dag, rewrite, like))
    })
}

struct Fold<'a> {
    dag: &'a Dag,
    /// How many readers each node has.
    uses: Vec<usize>,
    /// Whether it depends on parameters alone.
    is_invariant: Vec<bool>,
}

/// A vector that depends on parameters alone, repeated along all axes but one.
#[derive(Clone, Copy)]
struct Along {
    repeated: NodeId,
    vector: NodeId,
    axis: usize,
}

impl Fold<'_> {
    /// value · s, for a value that can be scaled before it is computed.
    fn scaled_value(&self, new: &Rebuilt<'_>, id: NodeId) -> Option<(NodeId, Rewrite)> {
        let found = self.with_vector(id, Function::Multiply);
        found
            .into_iter()
            .find_map(|(value, scale)| Some((value, self.scaled(new, value, scale, self.op(id)?)?)))
    }

    /// (x + b) + c = x + (b + c).
    fn shifted_twice(&self, new: &Rebuilt<'_>, id: NodeId) -> Option<(NodeId, Rewrite)> {
        self.with_vector(id, Function::Add).into_iter().find_map(|(value, c)| {
            let (x, b) =
                self.with_vector(value, Function::Add).pop().filter(|_| self.uses[value.index()] == 1)?;
            let shift = self.combined(new, self.op(id)?, [b, c])?;
            let x = Rewrite::Node(new.replacements([x])[0]);
            Some((value, Rewrite::Op(self.op(id)?.clone(), vec![x, shift])))
        })
    }

    /// A value times a vector, if nobody else reads it.
    fn scaled(
        &self,
        new: &Rebuilt<'_>,
        value: NodeId,
        by: Along,
        product: &Arc<dyn AnyOp>,
    ) -> Option<Rewrite> {
        let op = self.op(value).filter(|_| self.uses[value.index()] == 1)?;
        let [id, vector] = new.replacements([value, by.vector])[..] else { return None };
        // (x + b) · s = x · s + b · s
        let scaled_sum = || {
            let (x, b) = self.with_vector(value, Function::Add).pop()?;
            let shift = self.combined(new, product, [b, by])?;
            Some(Rewrite::Op(op.clone(), vec![self.scaled(new, x, by, product)?, shift]))
        };
        op.scaled(NodeRef { dag: &new.dag, id }, by.axis, vector).or_else(scaled_sum)
    }

    /// Two vectors that are repeated alike, combined before that.
    fn combined(&self, new: &Rebuilt<'_>, by: &Arc<dyn AnyOp>, [a, b]: [Along; 2]) -> Option<Rewrite> {
        let (repeat, other) = (self.op(a.repeated)?, self.op(b.repeated)?);
        let is_alike =
            repeat.same(other.as_ref()) && self.dag.node(a.vector).ty == self.dag.node(b.vector).ty;
        let vectors = new.replacements([a.vector, b.vector]).into_iter().map(Rewrite::Node).collect();
        is_alike.then(|| Rewrite::Op(repeat.clone(), vec![Rewrite::Op(by.clone(), vectors)]))
    }

    /// For a sum or product of a value and a vector: both, in each way to see it so.
    fn with_vector(&self, id: NodeId, function: Function) -> Vec<(NodeId, Along)> {
        let is_such = self.op(id).is_some_and(|op| op.elementwise() == Some(function));
        let [a, b] = self.dag.operands(id)[..] else { return Vec::new() };
        let ways = [(a, b), (b, a)].into_iter().filter(|_| is_such);
        ways.filter_map(|(value, other)| Some((value, self.along(other)?))).collect()
    }

    fn along(&self, repeated: NodeId) -> Option<Along> {
        let vector =
            *self.dag.operands(repeated).first().filter(|source| self.is_invariant[source.index()])?;
        let (from, to) = (&self.dag.node(vector).ty, &self.dag.node(repeated).ty.shape);
        let strides = self.op(repeated)?.strides(from)?;
        let mut read = (0..strides.len()).filter(|&axis| strides[axis] > 0 && to[axis] > 1);
        let (axis, further) = (read.next()?, read.next());
        let is_vector = further.is_none() && from.shape.count() == to[axis];
        is_vector.then_some(Along { repeated, vector, axis })
    }

    fn op(&self, id: NodeId) -> Option<&Arc<dyn AnyOp>> {
        match &self.dag.node(id).kind {
            Kind::Op(op) => Some(op),
            _ => None,
        }
    }
}
