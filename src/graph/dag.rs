//! The directed acyclic graph: nodes in topological order, edges numbered by operand position.

use std::sync::Arc;

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use smallvec::SmallVec;

use super::init::Init;
use super::kernel::{AnyKernel, BatchSplit};
use super::op::{AnyOp, TensorType};
use super::parameter::ParameterKind;
use super::scope::Composite;
use crate::error::SourceLine;
use crate::shape::Shape;

/// The number of a node in its graph. Smaller ones were recorded earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(NodeIndex<u32>);

impl NodeId {
    pub(crate) fn new(index: usize) -> Self {
        Self(NodeIndex::new(index))
    }

    /// The number as listings print it.
    pub fn index(self) -> usize {
        self.0.index()
    }
}

/// A node's operands, in order.
pub type Operands = SmallVec<[NodeId; 4]>;

/// A value in the graph.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where the value comes from.
    pub kind: Kind,
    /// Its shape and type.
    pub ty: TensorType,
    /// The user's line that recorded it; for gradients, the line of what they differentiate.
    pub site: SourceLine,
    /// The method that the user called, if it called others; for gradients, that of what they differentiate.
    pub method: Option<&'static str>,
    /// The node that this one was recorded to differentiate, if any.
    pub gradient_of: Option<NodeId>,
    /// A name given by the user.
    pub label: Option<Arc<str>>,
    /// The layer that recorded it; for gradients, the layer of what they differentiate.
    pub layer: Option<Arc<str>>,
    /// The composed operation that it is a part of, if any; no gradient is.
    pub composite: Option<Arc<Composite>>,
}

impl Node {
    /// The method that the user called for it; for gradients, for what they differentiate.
    pub fn method(&self) -> Option<&'static str> {
        match &self.kind {
            Kind::Op(op) => self.method.or(Some(op.name())),
            _ => self.method,
        }
    }
}

/// Where a value comes from.
#[derive(Debug, Clone)]
pub enum Kind {
    /// It is given at each run.
    Input,
    /// It lives in the store under its label.
    Parameter {
        /// How it starts.
        init: Init,
        /// What it is for.
        kind: ParameterKind,
        /// Whether files of weights hold it transposed.
        transposed: bool,
    },
    /// It is computed from its operands, which are parameters, once and until they change: the result of this number of a
    /// program's preparation.
    Prepared(usize),
    /// It is computed.
    Op(Arc<dyn AnyOp>),
    /// It is computed by a kernel, in a program that has been lowered.
    Kernel(Arc<dyn AnyKernel>),
    /// It is the output of this number, from 1 on, of the kernel that is its operand. (Output 0 is the kernel's node.)
    Output(usize),
    /// It stands for an operation that was refused; the graph holds the error.
    Poison,
}

/// An append-only graph: operands exist before their consumers, so insertion order is topological order.
#[derive(Debug, Clone, Default)]
pub struct Dag {
    nodes: DiGraph<Node, usize, u32>,
}

impl Dag {
    /// Appends a node.
    pub fn push(&mut self, node: Node, operands: &[NodeId]) -> NodeId {
        let id = NodeId(self.nodes.add_node(node));
        for (position, &operand) in operands.iter().enumerate() {
            self.nodes.add_edge(operand.0, id.0, position);
        }
        id
    }

    /// The node at `id`.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// Gives the node a name.
    pub fn set_label(&mut self, id: NodeId, label: Arc<str>) {
        self.nodes[id.0].label = Some(label);
    }

    /// Gives the node another shape: to one that stands for a misuse, a likelier one.
    pub(super) fn set_shape(&mut self, id: NodeId, shape: Shape) {
        self.nodes[id.0].ty.shape = shape;
    }

    /// Says that files hold the parameter transposed. It returns whether the node is one.
    pub fn set_transposed(&mut self, id: NodeId) -> bool {
        match &mut self.nodes[id.0].kind {
            Kind::Parameter { transposed, .. } => {
                *transposed = true;
                true
            }
            _ => false,
        }
    }

    /// The node's operation, if it is computed.
    pub fn op(&self, id: NodeId) -> Option<&dyn AnyOp> {
        match &self.nodes[id.0].kind {
            Kind::Op(op) => Some(op.as_ref()),
            _ => None,
        }
    }

    /// Whether the node is computed from others, and no leaf.
    pub fn is_computed(&self, id: NodeId) -> bool {
        matches!(self.nodes[id.0].kind, Kind::Op(_) | Kind::Kernel(_) | Kind::Output(_))
    }

    /// The node's kernel, in a program that has been lowered.
    pub fn kernel(&self, id: NodeId) -> Option<&dyn AnyKernel> {
        match &self.nodes[id.0].kind {
            Kind::Kernel(kernel) => Some(kernel.as_ref()),
            _ => None,
        }
    }

    /// The number that every element of the node has, if its kernel knows one.
    pub fn constant(&self, id: NodeId) -> Option<f64> {
        self.kernel(id)?.constant()
    }

    /// Whether the node is its operand's memory under another shape.
    pub fn is_alias(&self, id: NodeId) -> bool {
        match &self.nodes[id.0].kind {
            Kind::Op(op) => op.is_alias(),
            Kind::Kernel(kernel) => kernel.is_alias(),
            _ => false,
        }
    }

    /// The node in whose memory this one lies: itself, unless it is an alias.
    pub fn origin(&self, mut id: NodeId) -> NodeId {
        while self.is_alias(id) {
            id = self.operand(id, 0);
        }
        id
    }

    /// How the node's kernel reads and writes samples, if it treats each on its own.
    pub fn batch_split(&self, id: NodeId) -> Option<BatchSplit> {
        self.kernel(id)?.batch_split(&self.operand_types(id))
    }

    /// The node's operands, in order.
    pub fn operands(&self, id: NodeId) -> Operands {
        let edges = self.nodes.edges_directed(id.0, Direction::Incoming);
        let mut found: SmallVec<[(usize, NodeId); 4]> =
            edges.map(|e| (*e.weight(), NodeId(e.source()))).collect();
        found.sort_unstable();
        found.into_iter().map(|(_, operand)| operand).collect()
    }

    /// Operand `position` of the node.
    pub fn operand(&self, id: NodeId, position: usize) -> NodeId {
        self.operands(id)[position]
    }

    /// For a node that only re-reads its operand: the operand, and for each axis of the node the stride in it.
    pub fn view(&self, id: NodeId) -> Option<(NodeId, Vec<usize>)> {
        let source = *self.operands(id).first()?;
        Some((source, self.kernel(id)?.strides(&self.node(source).ty)?))
    }

    /// For a further output of its operand's kernel: its number, from 1 on.
    pub fn output_number(&self, id: NodeId) -> Option<usize> {
        if let Kind::Output(number) = self.nodes[id.0].kind { Some(number) } else { None }
    }

    /// The node whose kernel makes this one's value: itself, unless it is a further output of another.
    pub fn maker(&self, id: NodeId) -> NodeId {
        if self.output_number(id).is_some() { self.operand(id, 0) } else { id }
    }

    /// The nodes of a kernel's outputs, and their numbers: first its own, 0.
    pub fn outputs(&self, id: NodeId) -> SmallVec<[(NodeId, usize); 2]> {
        let further = self.consumers(id).filter_map(|reader| Some((reader, self.output_number(reader)?)));
        [(id, 0)].into_iter().chain(further).collect()
    }

    /// The types of the node's operands.
    pub fn operand_types(&self, id: NodeId) -> SmallVec<[&TensorType; 4]> {
        self.types(&self.operands(id))
    }

    /// The types of some nodes.
    pub fn types(&self, ids: &[NodeId]) -> SmallVec<[&TensorType; 4]> {
        ids.iter().map(|&id| &self.node(id).ty).collect()
    }

    /// The nodes that read this one, one entry for each operand position.
    pub fn consumers(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.nodes.neighbors_directed(id.0, Direction::Outgoing).map(NodeId)
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.node_count()
    }

    /// All nodes in topological order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..self.len()).map(NodeId::new)
    }

    /// The graph that draws itself.
    pub(super) fn petgraph(&self) -> &DiGraph<Node, usize, u32> {
        &self.nodes
    }
}
