//! What rules of simplification see, and what they return.

use std::sync::Arc;

use super::dag::{Dag, NodeId};
use super::op::{AnyOp, Op, TensorType};

/// A node and what lies before it, for a rule to match.
#[derive(Clone, Copy)]
pub struct NodeRef<'a> {
    /// The graph.
    pub(crate) dag: &'a Dag,
    /// The node.
    pub(crate) id: NodeId,
}

impl<'a> NodeRef<'a> {
    /// The node's number, to name it in a [`Rewrite`].
    pub fn id(self) -> NodeId {
        self.id
    }

    /// Operand `position` of this node.
    pub fn operand(self, position: usize) -> NodeRef<'a> {
        NodeRef { id: self.dag.operand(self.id, position), ..self }
    }

    /// The node's operation, if it is an `O`.
    pub fn op<O: Op>(self) -> Option<&'a O> {
        self.dag.op(self.id)?.as_any().downcast_ref()
    }

    /// The number that every element of the node has, if known.
    pub fn constant(self) -> Option<f64> {
        self.dag.op(self.id)?.constant()
    }

    /// The types of the node's operands.
    pub fn operand_types(self) -> Vec<&'a TensorType> {
        self.dag.operand_types(self.id).into_vec()
    }

    /// The type of the node's value.
    pub fn ty(self) -> &'a TensorType {
        &self.dag.node(self.id).ty
    }
}

/// What replaces a node.
pub enum Rewrite {
    /// A node that already exists.
    Node(NodeId),
    /// A new operation.
    Op(Arc<dyn AnyOp>, Vec<Rewrite>),
}

impl Rewrite {
    /// A new operation on existing nodes or further new operations.
    pub fn op(op: impl Op, operands: impl IntoIterator<Item = Rewrite>) -> Self {
        Self::Op(Arc::new(op), operands.into_iter().collect())
    }

    /// A new operation on nodes that already exist.
    pub fn op_on(op: impl Op, operands: impl IntoIterator<Item = NodeId>) -> Self {
        Self::op(op, operands.into_iter().map(Rewrite::Node))
    }
}
