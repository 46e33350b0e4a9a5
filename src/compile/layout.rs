//! Lets pictures lie channels last, `[N, H, W, C]`, where the kernels are faster so.
//!
//! Each operation says itself whether it can work on such pictures and whether it gains by it; elementwise
//! functions can always. Those that gain are changed, those that can follow where a picture already lies so,
//! and what stands between the two orders is a transposition. Graphs know nothing of this: every array that a
//! user sees is `[N, C, H, W]`.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::program::Program;
use crate::error::Problem;
use crate::graph::Dtype;
use crate::graph::dag::{Dag, Kind, Node, NodeId, Operands};
use crate::graph::op::{
    Adapt, Algorithm, AnyOp, At, Call, ChannelsLast, Gradient, Meta, Op, Operand, Samples,
};
use dagrad_kernels::channels_last::{to_channels_first, to_channels_last};
use dagrad_kernels::real::Real;
use dagrad_kernels::walk::{self, Walk};
use crate::shape::{Order, Shape};

/// Changes operations that gain by it, and those that follow, to channels last.
pub fn channels_last(program: &Program) -> Program {
    let mut layout =
        Layout { old: program, new: Dag::default(), values: Vec::with_capacity(program.dag.len()) };
    for id in program.dag.ids() {
        let value = layout.place(id);
        layout.values.push(value);
    }
    for root in program.roots() {
        layout.first(root);
    }
    let Layout { new, values, .. } = layout;
    program
        .moved(new, |id| values[id.index()].first.unwrap_or_else(|| unreachable!("results lie as they were")))
}

/// A value of the old graph in the new one: as it was, or with its channels last. One of them came first; the
/// other is made when somebody asks.
#[derive(Clone, Copy, Default)]
struct Value {
    first: Option<NodeId>,
    last: Option<NodeId>,
    is_last: bool,
}

struct Layout<'a> {
    old: &'a Program,
    new: Dag,
    values: Vec<Value>,
}

impl Layout<'_> {
    /// Puts a node of the old graph into the new one.
    fn place(&mut self, id: NodeId) -> Value {
        let (dag, node) = (&self.old.dag, self.old.dag.node(id));
        let operands = dag.operands(id);
        if let Kind::Op(op) = &node.kind
            && let Some(way) = channels_last_of(op, &dag.operand_metas(id), &node.meta, self.old.algorithm)
            && (way.is_faster || self.follows(&way, &operands))
        {
            return self.convert(way, node, &operands);
        }
        let operands: Operands = operands.into_iter().map(|operand| self.first(operand)).collect();
        Value { first: Some(self.new.push(node.clone(), &operands)), ..Value::default() }
    }

    /// Whether a picture among the operands lies channels last already.
    fn follows(&self, way: &ChannelsLast, operands: &[NodeId]) -> bool {
        let mut pairs = operands.iter().zip(&way.operands);
        pairs.any(|(operand, adapt)| matches!(adapt, Adapt::Picture) && self.values[operand.index()].is_last)
    }

    fn convert(&mut self, way: ChannelsLast, node: &Node, operands: &[NodeId]) -> Value {
        let operands: Operands = operands
            .iter()
            .zip(&way.operands)
            .map(|(&operand, adapt)| match adapt {
                Adapt::Keep => self.first(operand),
                Adapt::Picture => self.last(operand),
                Adapt::Through(op) => {
                    let operand = self.first(operand);
                    self.push(op.clone(), &[operand], node)
                }
            })
            .collect();
        let result = self.push(way.op, &operands, node);
        match way.output {
            Adapt::Keep => Value { first: Some(result), ..Value::default() },
            Adapt::Picture => Value { first: None, last: Some(result), is_last: true },
            Adapt::Through(op) => Value { first: Some(self.push(op, &[result], node)), ..Value::default() },
        }
    }

    /// Appends an operation that belongs to a node of the old graph.
    fn push(&mut self, op: Arc<dyn AnyOp>, operands: &[NodeId], like: &Node) -> NodeId {
        let meta = {
            let metas: SmallVec<[&Meta; 4]> = operands.iter().map(|&id| &self.new.node(id).meta).collect();
            op.infer(&metas).unwrap_or_else(|_| unreachable!("what fits in one order fits in the other"))
        };
        let known = operands.first().and_then(|&operand| {
            let is_same = |&other: &NodeId| {
                self.new.operands(other)[..] == *operands
                    && self.new.op(other).is_some_and(|other| op.same(other))
            };
            self.new.consumers(operand).find(is_same)
        });
        match known {
            Some(known) => known,
            None => self.new.push(Node { kind: Kind::Op(op), meta, label: None, ..like.clone() }, operands),
        }
    }

    /// The value as it was.
    fn first(&mut self, id: NodeId) -> NodeId {
        match self.values[id.index()] {
            Value { first: Some(first), .. } => first,
            Value { last: Some(last), .. } => {
                let made = self.transpose(last, Order::First, id);
                self.values[id.index()].first = Some(made);
                made
            }
            _ => unreachable!("every value has been placed"),
        }
    }

    /// The value with its channels last.
    fn last(&mut self, id: NodeId) -> NodeId {
        if let Some(last) = self.values[id.index()].last {
            return last;
        }
        let first = self.first(id);
        let made = self.reread(first, id).unwrap_or_else(|| self.transpose(first, Order::Last, id));
        self.values[id.index()].last = Some(made);
        made
    }

    fn transpose(&mut self, operand: NodeId, to: Order, like: NodeId) -> NodeId {
        let meta = &self.new.node(operand).meta;
        let op = Transpose { to, is_free: is_free(&meta.shape, to) };
        self.push(Arc::new(op), &[operand], self.old.dag.node(like))
    }

    /// A constant, or an array that is only read in another way, is not written out to be transposed.
    fn reread(&mut self, first: NodeId, like: NodeId) -> Option<NodeId> {
        let meta = Meta {
            shape: Order::Last.shape(Order::First.sizes(&self.new.node(first).meta.shape)),
            dtype: Dtype::Real,
        };
        if self.new.op(first)?.constant().is_some() {
            let node = Node { meta, ..self.new.node(first).clone() };
            return Some(self.new.push(node, &[]));
        }
        let (source, strides) = self.new.view(first)?;
        let strides = [0, 2, 3, 1].into_iter().map(|axis| strides[axis]).collect();
        let op = Reread { meta, strides };
        Some(self.push(Arc::new(op), &[source], self.old.dag.node(like)))
    }
}

/// How an operation is done on pictures with their channels last, if it can be.
fn channels_last_of(
    op: &Arc<dyn AnyOp>,
    operands: &[&Meta],
    output: &Meta,
    algorithm: Algorithm,
) -> Option<ChannelsLast> {
    if op.elementwise().is_some() && output.shape.len() == 4 {
        let operands = smallvec![Adapt::Picture; operands.len()];
        return Some(ChannelsLast { op: op.clone(), operands, output: Adapt::Picture, is_faster: false });
    }
    op.channels_last(operands, algorithm)
}

/// Whether pictures of one channel, or of one pixel, lie the same in both orders.
fn is_free(shape: &Shape, to: Order) -> bool {
    let [_, channels, pixels] = sizes(shape, to);
    channels == 1 || pixels == 1
}

/// Batch, channels and pixels of pictures that are to be brought into an order.
fn sizes(shape: &Shape, to: Order) -> [usize; 3] {
    let [batch, channels, height, width] = other(to).sizes(shape);
    [batch, channels, height * width]
}

fn other(order: Order) -> Order {
    if order == Order::First { Order::Last } else { Order::First }
}

/// Pictures, or their indices, in the other order.
#[derive(Debug, Clone, PartialEq)]
struct Transpose {
    to: Order,
    /// Whether nothing has to move.
    is_free: bool,
}

impl Op for Transpose {
    fn name(&self) -> &'static str {
        match self.to {
            Order::First => "channels_first",
            Order::Last => "channels_last",
        }
    }

    fn infer(&self, operands: &[&Meta]) -> Result<Meta, Problem> {
        let Meta { shape, dtype } = operands[0];
        Ok(Meta { shape: self.to.shape(other(self.to).sizes(shape)), dtype: *dtype })
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let shape = call.operand_shape(0);
        let [batch, channels, pixels] = sizes(shape, self.to);
        match call.operands[0] {
            Operand::Index(_, from) => {
                let own = walk::row_major(shape);
                let axes = if self.to == Order::Last { [0, 2, 3, 1] } else { [0, 3, 1, 2] };
                Walk::new(call.shape, &axes.map(|axis| own[axis])).fetch(from, 0, call.indices);
            }
            _ if self.to == Order::Last => {
                to_channels_last(batch, channels, pixels, call.real(0), call.output, call.workers);
            }
            _ => to_channels_first(batch, channels, pixels, call.real(0), call.output, call.workers),
        }
    }

    fn vjp<'g>(&self, _: usize, _: At<'g>) -> Gradient<'g> {
        Gradient::NotDifferentiable
    }

    fn is_alias(&self) -> bool {
        self.is_free
    }

    fn samples(&self, operands: &[&Meta]) -> Option<Samples> {
        Some(Samples::each(operands[0].shape[0], &[true]))
    }
}

/// An array that reads another in an order of its own.
#[derive(Debug, Clone, PartialEq)]
struct Reread {
    meta: Meta,
    strides: SmallVec<[usize; 6]>,
}

impl Op for Reread {
    fn name(&self) -> &'static str {
        "read"
    }

    fn infer(&self, _: &[&Meta]) -> Result<Meta, Problem> {
        Ok(self.meta.clone())
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        walk::copy(&Walk::new(call.shape, &self.strides), call.real(0), call.output, call.workers);
    }

    fn vjp<'g>(&self, _: usize, _: At<'g>) -> Gradient<'g> {
        Gradient::NotDifferentiable
    }

    fn strides(&self, _: &Meta) -> Option<SmallVec<[usize; 6]>> {
        Some(self.strides.clone())
    }
}
