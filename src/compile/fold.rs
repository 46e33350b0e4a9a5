//! Folding into weights: where a plan only evaluates, what multiplies each channel of a result multiplies its weight instead.
//!
//! A batch normalisation in evaluation is such a product. Its weight depends on parameters alone, so it is computed once.

use super::hoist::invariants;
use super::passes::build;
use super::program::{Program, Rebuilt};
use crate::graph::dag::{Kind, NodeId};
use crate::graph::{NodeRef, Rewrite};
use dagrad_kernels::elementwise::Function;

/// Moves products before the operations that allow it.
pub fn fold(program: &Program) -> Program {
    if !program.updates.is_empty() {
        return program.clone();
    }
    let fold = Fold { program, uses: program.use_counts(), is_invariant: invariants(program) };
    program.rebuild(program.dag.ids(), |new, id| {
        let Some((value, rewrite)) = fold.product(new, id) else { return Some(new.copy(id)) };
        let like = new.replacements([value])[0];
        Some(build(&mut new.dag, rewrite, like))
    })
}

struct Fold<'a> {
    program: &'a Program,
    /// How many readers each node has.
    uses: Vec<usize>,
    /// Whether it depends on parameters alone.
    is_invariant: Vec<bool>,
}

/// A vector of parameters along an axis.
#[derive(Clone, Copy)]
struct Scale {
    /// The vector.
    vector: NodeId,
    axis: usize,
    /// The product with it.
    product: NodeId,
}

impl Fold<'_> {
    /// What replaces a product of a value and a vector, and that value.
    fn product(&self, new: &Rebuilt<'_>, id: NodeId) -> Option<(NodeId, Rewrite)> {
        let dag = &self.program.dag;
        if dag.op(id)?.elementwise() != Some(Function::Multiply) {
            return None;
        }
        let [a, b] = dag.operands(id)[..] else { return None };
        [(a, b), (b, a)].into_iter().find_map(|(value, factor)| {
            let (vector, axis) = self.vector(factor)?;
            Some((value, self.scaled(new, value, Scale { vector, axis, product: id })?))
        })
    }

    /// A vector that depends on parameters alone, and the only axis along which a value repeats it.
    fn vector(&self, id: NodeId) -> Option<(NodeId, usize)> {
        let dag = &self.program.dag;
        let source = *dag.operands(id).first().filter(|source| self.is_invariant[source.index()])?;
        let (from, to) = (&dag.node(source).ty, &dag.node(id).ty.shape);
        let strides = dag.op(id)?.strides(from)?;
        let mut read = (0..strides.len()).filter(|&axis| strides[axis] > 0 && to[axis] > 1);
        let (axis, further) = (read.next()?, read.next());
        (further.is_none() && from.shape.count() == to[axis]).then_some((source, axis))
    }

    /// A value, which nobody else reads, times a vector.
    fn scaled(&self, new: &Rebuilt<'_>, value: NodeId, by: Scale) -> Option<Rewrite> {
        let dag = &self.program.dag;
        let op = dag.op(value).filter(|_| self.uses[value.index()] == 1)?;
        let [node, vector] = new.replacements([value, by.vector])[..] else { return None };
        let scaled = op.scaled(NodeRef { dag: &new.dag, id: node }, by.axis, vector);
        scaled.or_else(|| self.scaled_sum(new, value, by))
    }

    /// (x + b) · s = x · s + b · s, where b and s are vectors along the same axis.
    fn scaled_sum(&self, new: &Rebuilt<'_>, value: NodeId, by: Scale) -> Option<Rewrite> {
        let dag = &self.program.dag;
        let [Kind::Op(sum), Kind::Op(product)] = [value, by.product].map(|id| &dag.node(id).kind) else {
            return None;
        };
        let [a, b] = dag.operands(value)[..] else { return None };
        if sum.elementwise() != Some(Function::Add) {
            return None;
        }
        [(a, b), (b, a)].into_iter().find_map(|(x, shift)| {
            let (vector, _) = self.vector(shift).filter(|&(_, axis)| axis == by.axis)?;
            let Kind::Op(repeat) = &dag.node(shift).kind else { return None };
            let is_alike = dag.node(vector).ty == dag.node(by.vector).ty;
            let x = self.scaled(new, x, by).filter(|_| is_alike)?;
            let factors = new.replacements([vector, by.vector]).into_iter().map(Rewrite::Node).collect();
            let shift = Rewrite::Op(repeat.clone(), vec![Rewrite::Op(product.clone(), factors)]);
            Some(Rewrite::Op(sum.clone(), vec![x, shift]))
        })
    }
}
