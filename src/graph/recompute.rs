//! Rematerialisation: the gradient computes a block again, so that its values need not be kept.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::call::Call;
use super::dag::{Kind, NodeId};
use super::kernel::Definition;
use super::lowering::{Lowered, OperandLayout, Target};
use super::op::{Gradient, Op, TensorType, VjpInputs};
use super::recorder::Graph;
use super::rewrite::NodeRef;
use super::var::Var;
use crate::error::Problem;
use dagrad_kernels::real::Real;

/// The identity of its first operand, computed after the second. So `dedup` does not merge what reads it with what reads
/// the operand itself, and it is not computed too early.
#[derive(Debug, Clone, PartialEq)]
struct Recompute;

impl Op for Recompute {
    fn name(&self) -> &'static str {
        "recompute"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        Ok(operands[0].clone())
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        // Reached only where memory cannot be shared.
        call.copy();
    }

    fn vjp<'g>(&self, argument: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        if argument == 0 { Gradient::Of(inputs.upstream) } else { Gradient::Constant }
    }

    fn roles(&self) -> &'static [&'static str] {
        &["x", "after"]
    }

    fn is_alias(&self) -> bool {
        true
    }

    /// It follows an image into its layout.
    fn lower(&self, node: NodeRef<'_>, _: Target) -> Option<Lowered> {
        let is_image = node.ty().shape.len() == 4;
        let layouts = [OperandLayout::Nhwc, OperandLayout::Keep];
        is_image.then(|| Lowered::new(Arc::new(Definition(Arc::new(Self))), layouts))
    }
}

/// Copies of blocks, made while a gradient is recorded.
pub(crate) struct Copies {
    blocks: Vec<Range<usize>>,
    copies: HashMap<NodeId, NodeId>,
}

impl Copies {
    /// The blocks of a graph, without a copy so far.
    pub(crate) fn new(graph: &Graph) -> Self {
        let mut blocks = graph.blocks.borrow().clone();
        blocks.sort_by_key(|block| (block.start, std::cmp::Reverse(block.end)));
        // Of blocks within blocks, the outer ones count.
        let mut end = 0;
        blocks.retain(|block| {
            let is_outer = block.end > end;
            end = end.max(block.end);
            is_outer
        });
        Self { blocks, copies: HashMap::new() }
    }

    /// What a gradient rule reads instead of a node: its copy, if it is part of a block that has been copied.
    pub(crate) fn of(&self, node: NodeId) -> NodeId {
        self.copies.get(&node).copied().unwrap_or(node)
    }

    /// Copies the block that `node` is in, if any, unless that is done. The copy is computed after `upstream`.
    pub(crate) fn prepare<'g>(&mut self, graph: &'g Graph, node: NodeId, upstream: Var<'g>) {
        let at = self.blocks.partition_point(|block| block.end <= node.index());
        let Some(block) = self.blocks.get(at).filter(|block| block.contains(&node.index())).cloned() else {
            return;
        };
        if self.copies.contains_key(&node) {
            return;
        }
        let mut inputs = HashMap::new();
        for id in block.map(NodeId::new) {
            let Kind::Op(op) = graph.dag().node(id).kind.clone() else { continue };
            let mut operands = graph.dag().operands(id);
            for operand in &mut operands {
                let outside = graph.var(*operand);
                if let Some(&copy) = self.copies.get(operand) {
                    *operand = copy;
                } else if outside.op().is_some() {
                    // What is not a leaf is read once the upstream gradient is there.
                    let record = || graph.record(Recompute, &[outside, upstream]).id();
                    let read = || graph.differentiate(outside.id(), record);
                    *operand = *inputs.entry(*operand).or_insert_with(read);
                }
            }
            if operands.is_empty() && op.constant().is_none() {
                // Without operands it would be merged with the first one: so it reads the upstream gradient.
                operands.push(upstream.id());
            }
            let ty = graph.dag().node(id).ty.clone();
            let copy = graph.differentiate(id, || graph.push(Kind::Op(op), ty, None, &operands));
            self.copies.insert(id, copy.id());
        }
    }
}

impl<'g> Var<'g> {
    /// The result of `block` for this value. Only the block's input is kept for the gradient, which computes the block
    /// again. That takes a second run of the block, and less memory (Chen and others, *Training Deep
    /// Nets with Sublinear Memory Cost*, 2016). Results and gradients are the same to the bit, with dropout inside too.
    ///
    /// [`Plan::arena_bytes`](crate::Plan::arena_bytes) says what memory a plan takes.
    ///
    /// ```
    /// use dagrad::{Graph, Init, Plan, Var, gradients};
    ///
    /// fn block(x: Var<'_>) -> Var<'_> {
    ///     x.softmax(0).tanh().softmax(0).sin().softmax(0)
    /// }
    ///
    /// fn bytes(apply: impl for<'g> Fn(Var<'g>) -> Var<'g>) -> dagrad::Result<usize> {
    ///     let graph = Graph::new();
    ///     let x = graph.param("x", [1000], Init::ONES);
    ///     let y = (0..8).fold(x, |h, _| apply(h)).sum_all();
    ///     Ok(Plan::<f32>::compile(&graph, &gradients(y, &[x])?)?.arena_bytes())
    /// }
    /// assert!(bytes(|h| h.recompute(block))? < bytes(block)? / 2);
    /// # Ok::<(), dagrad::Error>(())
    /// ```
    #[track_caller]
    pub fn recompute(self, block: impl FnOnce(Var<'g>) -> Var<'g>) -> Var<'g> {
        let graph = self.graph();
        let start = graph.dag().len();
        let result = block(self);
        let end = graph.dag().len();
        graph.blocks.borrow_mut().push(start..end);
        result
    }
}
