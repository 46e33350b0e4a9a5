//! Lowering: operations become kernels, and images get the layout that kernels want.
//!
//! Each operation names its kernel, if there is a better one than its definition, and the layout in which that reads images.
//! Elementwise functions read any layout. A kernel that is faster in NHWC gets its images so. One that can do both follows
//! its operands. A transposition stands between the two layouts. Every array that a user sees is NCHW. Without a target,
//! every operation is done by its definition.

use std::sync::Arc;

use super::program::Program;
use crate::error::Problem;
use crate::graph::call::{Call, Operand};
use crate::graph::dag::{Dag, Kind, Node, NodeId, Operands};
use crate::graph::kernel::{AnyKernel, BatchSplit, Definition, Kernel};
use crate::graph::lowering::{Lowered, OperandLayout};
use crate::graph::op::{AnyOp, TensorType};
use crate::graph::{NodeRef, Precision};
use crate::shape::{Layout, Shape};
use dagrad_kernels::conv::nhwc::{nchw_to_nhwc, nhwc_to_nchw};
use dagrad_kernels::walk::{self, Walk};

/// Gives every operation its kernel.
pub fn lower(program: &Program) -> Program {
    let mut lowering = Lowering {
        old: program,
        new: Dag::default(),
        values: Vec::with_capacity(program.dag.len()),
        has_nhwc: false,
    };
    for id in program.dag.ids() {
        let value = lowering.lower_node(id);
        lowering.has_nhwc |= value.is_nhwc;
        lowering.values.push(value);
    }
    for root in program.roots() {
        lowering.nchw(root);
    }
    let Lowering { new, values, .. } = lowering;
    let find =
        |id: NodeId| values[id.index()].nchw.unwrap_or_else(|| unreachable!("results lie as they were"));
    Program { limits: program.index_limits(), ..program.moved(new, find) }
}

/// A value of the old graph in the new one, in each layout. The second layout is made when somebody reads it.
#[derive(Clone, Copy)]
struct Value {
    nchw: Option<NodeId>,
    nhwc: Option<NodeId>,
    is_nhwc: bool,
}

impl Value {
    fn nchw(id: NodeId) -> Self {
        Self { nchw: Some(id), nhwc: None, is_nhwc: false }
    }
}

struct Lowering<'a> {
    old: &'a Program,
    new: Dag,
    values: Vec<Value>,
    /// Whether there is an image NHWC.
    has_nhwc: bool,
}

impl Lowering<'_> {
    /// Puts a node of the old graph into the new one.
    fn lower_node(&mut self, id: NodeId) -> Value {
        let (dag, node) = (&self.old.dag, self.old.dag.node(id));
        let operands = dag.operands(id);
        let Kind::Op(op) = &node.kind else { return Value::nchw(self.new.push(node.clone(), &[])) };
        if let Some(lowered) = self.choose(id).filter(|way| way.is_faster || self.follows(way, &operands)) {
            return self.convert(lowered, node, &operands);
        }
        let operands: Operands = operands.into_iter().map(|operand| self.nchw(operand)).collect();
        let kind = Kind::Kernel(Arc::new(Definition(op.clone())));
        Value::nchw(self.new.push(Node { kind, ..node.clone() }, &operands))
    }

    /// The kernel that the operation of a node names, if any.
    fn choose(&self, id: NodeId) -> Option<Lowered> {
        let (target, dag) = (self.old.target?, &self.old.dag);
        let Kind::Op(op) = &dag.node(id).kind else { return None };
        op.lower(NodeRef { dag, id }, target).or_else(|| self.in_nhwc(id, op))
    }

    /// The definition of an operation on images NHWC, if it knows that layout.
    fn in_nhwc(&self, id: NodeId, op: &Arc<dyn AnyOp>) -> Option<Lowered> {
        let types = self.old.dag.operand_types(id);
        let axes = op.axes(&types);
        let is_image = |(position, ty): (usize, &&TensorType)| {
            ty.shape.len() == 4 && axes.get(position).is_some_and(|map| !map.is_whole())
        };
        let images: Vec<bool> = types.iter().enumerate().map(is_image).collect();
        if self.old.dag.node(id).ty.shape.len() != 4 || !images.contains(&true) {
            return None;
        }
        let op = if op.elementwise().is_some() { op.clone() } else { op.nhwc()? };
        let layouts =
            images.iter().map(|&is_image| if is_image { OperandLayout::Nhwc } else { OperandLayout::Keep });
        Some(Lowered::new(Arc::new(Definition(op)), layouts))
    }

    /// Whether an operand is an image in NHWC. Where every image can be had in both layouts, another NHWC image of the
    /// program decides: the result is then likely to be read in NHWC.
    fn follows(&self, lowered: &Lowered, operands: &[NodeId]) -> bool {
        let images = lowered.operands.iter().filter(|(_, layout)| matches!(layout, OperandLayout::Nhwc));
        let images: Operands = images.map(|&(position, _)| operands[position]).collect();
        images.iter().any(|image| self.values[image.index()].is_nhwc)
            || !images.is_empty() && self.has_nhwc && images.iter().all(|&image| self.lies_either_way(image))
    }

    /// Whether a value can be had NHWC without being written out once more.
    fn lies_either_way(&self, id: NodeId) -> bool {
        let is_read = |nchw: NodeId| self.new.view(nchw).is_some() || self.new.constant(nchw).is_some();
        self.old.dag.node(id).ty.shape[2..] == [1, 1]
            || self.values[id.index()].nchw.is_some_and(is_read)
            || self.choose(id).is_some_and(|lowered| lowered.operands.is_empty())
    }

    fn convert(&mut self, lowered: Lowered, node: &Node, operands: &[NodeId]) -> Value {
        let operands: Operands = (lowered.operands.into_iter())
            .map(|(position, layout)| match layout {
                OperandLayout::Keep => self.nchw(operands[position]),
                OperandLayout::Nhwc => self.nhwc(operands[position]),
                OperandLayout::Through(kernel) => {
                    let operand = self.nchw(operands[position]);
                    self.push(kernel, &[operand], node)
                }
            })
            .collect();
        let outputs = lowered.kernel.outputs(&self.new.types(&operands)).len();
        // Two operations may be outputs of the same kernel.
        let kernel = match outputs {
            1 => self.append(lowered.kernel, &operands, node),
            _ => self.push(lowered.kernel, &operands, node),
        };
        let result = self.output(kernel, lowered.output);
        match lowered.layout {
            OperandLayout::Keep => Value::nchw(result),
            OperandLayout::Nhwc => Value { nchw: None, nhwc: Some(result), is_nhwc: true },
            OperandLayout::Through(kernel) => Value::nchw(self.push(kernel, &[result], node)),
        }
    }

    /// Appends a kernel for a node of the old graph, or finds the same one.
    fn push(&mut self, kernel: Arc<dyn AnyKernel>, operands: &[NodeId], like: &Node) -> NodeId {
        let known = operands.first().and_then(|&operand| {
            let is_same = |&other: &NodeId| {
                self.new.operands(other)[..] == *operands
                    && self.new.kernel(other).is_some_and(|other| kernel.same(other))
            };
            self.new.consumers(operand).find(is_same)
        });
        known.unwrap_or_else(|| self.append(kernel, operands, like))
    }

    /// Appends a kernel for a node of the old graph.
    fn append(&mut self, kernel: Arc<dyn AnyKernel>, operands: &[NodeId], like: &Node) -> NodeId {
        let ty = kernel.outputs(&self.new.types(operands)).swap_remove(0);
        self.new.push(Node { kind: Kind::Kernel(kernel), ty, label: None, ..like.clone() }, operands)
    }

    /// An output of a kernel.
    fn output(&mut self, kernel: NodeId, number: usize) -> NodeId {
        let known = self.new.outputs(kernel).into_iter().find(|&(_, other)| other == number);
        known.map(|(id, _)| id).unwrap_or_else(|| {
            let Some(op) = self.new.kernel(kernel) else { unreachable!("it has just been pushed") };
            let ty = op.outputs(&self.new.operand_types(kernel)).swap_remove(number);
            let node = Node { kind: Kind::Output(number), ty, ..self.new.node(kernel).clone() };
            self.new.push(node, &[kernel])
        })
    }

    /// The value as it was.
    fn nchw(&mut self, id: NodeId) -> NodeId {
        match self.values[id.index()] {
            Value { nchw: Some(nchw), .. } => nchw,
            Value { nhwc: Some(nhwc), .. } => {
                let made = self.transpose(nhwc, Layout::Nchw, id);
                self.values[id.index()].nchw = Some(made);
                made
            }
            _ => unreachable!("every value has been lowered"),
        }
    }

    /// The value in the layout NHWC.
    fn nhwc(&mut self, id: NodeId) -> NodeId {
        if let Some(nhwc) = self.values[id.index()].nhwc {
            return nhwc;
        }
        let made = self.drawn(id).unwrap_or_else(|| {
            let nchw = self.nchw(id);
            self.strided_read(nchw, id).unwrap_or_else(|| self.transpose(nchw, Layout::Nhwc, id))
        });
        self.values[id.index()].nhwc = Some(made);
        made
    }

    fn transpose(&mut self, operand: NodeId, to: Layout, like: NodeId) -> NodeId {
        let [_, channels, pixels] = sizes(&self.new.node(operand).ty.shape, to);
        let kernel = Transpose { to, is_free: channels == 1 || pixels == 1 };
        self.push(Arc::new(kernel), &[operand], self.old.dag.node(like))
    }

    /// What is made from nothing, such as a mask, is made NHWC at once. It may have operands that it only waits for.
    fn drawn(&mut self, id: NodeId) -> Option<NodeId> {
        let lowered = self.choose(id).filter(|lowered| lowered.operands.is_empty())?;
        let awaited = self.old.dag.operands(id).into_iter().map(|operand| self.values[operand.index()]);
        let awaited: Operands = awaited.filter_map(|value| value.nchw.or(value.nhwc)).collect();
        Some(self.append(lowered.kernel, &awaited, self.old.dag.node(id)))
    }

    /// A constant, or an array that is only read in another way, is not written out to be transposed.
    fn strided_read(&mut self, nchw: NodeId, like: NodeId) -> Option<NodeId> {
        let ty = TensorType::real(Layout::Nhwc.shape(Layout::Nchw.sizes(&self.new.node(nchw).ty.shape)));
        let like = self.old.dag.node(like);
        if let Some(value) = self.new.constant(nchw) {
            return Some(self.append(Arc::new(Constant { value, ty }), &[], like));
        }
        let (source, strides) = self.new.view(nchw)?;
        let strides = [0, 2, 3, 1].into_iter().map(|axis| strides[axis]).collect();
        Some(self.push(Arc::new(StridedRead { ty, strides }), &[source], like))
    }
}

/// Batch, channels and pixels of images that are to be brought into a layout.
fn sizes(shape: &Shape, to: Layout) -> [usize; 3] {
    let [batch, channels, height, width] = other(to).sizes(shape);
    [batch, channels, height * width]
}

fn other(layout: Layout) -> Layout {
    if layout == Layout::Nchw { Layout::Nhwc } else { Layout::Nchw }
}

/// Images, or indices of their pixels, in the other layout.
#[derive(Debug, Clone, PartialEq)]
struct Transpose {
    to: Layout,
    /// Whether nothing has to move: images of one channel, or of one pixel, lie the same in both layouts.
    is_free: bool,
}

impl Kernel for Transpose {
    fn name(&self) -> &'static str {
        match self.to {
            Layout::Nchw => "to_nchw",
            Layout::Nhwc => "to_nhwc",
        }
    }

    fn outputs(&self, operands: &[&TensorType]) -> Vec<TensorType> {
        let TensorType { shape, dtype } = operands[0];
        vec![TensorType { shape: self.to.shape(other(self.to).sizes(shape)), dtype: *dtype }]
    }

    fn run<T: Precision>(&self, call: Call<'_, T>) -> Result<(), Problem> {
        let shape = call.operand_shape(0);
        let [batch, channels, pixels] = sizes(shape, self.to);
        match call.operands[0] {
            Operand::Index(_, from) => {
                let own = walk::row_major(shape);
                let axes = if self.to == Layout::Nhwc { [0, 2, 3, 1] } else { [0, 3, 1, 2] };
                Walk::new(call.shape, &axes.map(|axis| own[axis])).fetch(from, 0, call.indices);
            }
            _ if self.to == Layout::Nhwc => {
                nchw_to_nhwc(batch, channels, pixels, call.real(0), call.output, call.workers);
            }
            _ => nhwc_to_nchw(batch, channels, pixels, call.real(0), call.output, call.workers),
        }
        Ok(())
    }

    fn is_alias(&self) -> bool {
        self.is_free
    }

    fn batch_split(&self, operands: &[&TensorType]) -> Option<BatchSplit> {
        Some(BatchSplit::each(operands[0].shape[0], &[true]))
    }
}

/// An array that reads another by strides of its own.
#[derive(Debug, Clone, PartialEq)]
struct StridedRead {
    ty: TensorType,
    strides: Vec<usize>,
}

impl Kernel for StridedRead {
    fn name(&self) -> &'static str {
        "strided_read"
    }

    fn outputs(&self, _: &[&TensorType]) -> Vec<TensorType> {
        vec![self.ty.clone()]
    }

    fn run<T: Precision>(&self, call: Call<'_, T>) -> Result<(), Problem> {
        walk::copy(&Walk::new(call.shape, &self.strides), call.real(0), call.output, call.workers);
        Ok(())
    }

    fn strides(&self, _: &TensorType) -> Option<Vec<usize>> {
        Some(self.strides.clone())
    }
}

/// One number everywhere.
#[derive(Debug, Clone, PartialEq)]
struct Constant {
    value: f64,
    ty: TensorType,
}

impl Kernel for Constant {
    fn name(&self) -> &'static str {
        "fill"
    }

    fn outputs(&self, _: &[&TensorType]) -> Vec<TensorType> {
        vec![self.ty.clone()]
    }

    fn run<T: Precision>(&self, call: Call<'_, T>) -> Result<(), Problem> {
        call.output.fill(T::of(self.value));
        Ok(())
    }

    fn attributes(&self) -> String {
        format!("value {}", self.value)
    }

    fn constant(&self) -> Option<f64> {
        Some(self.value)
    }
}

/// The same values in memory of their own.
#[derive(Debug, Clone, PartialEq)]
pub struct CopyOut;

impl Kernel for CopyOut {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn outputs(&self, operands: &[&TensorType]) -> Vec<TensorType> {
        vec![operands[0].clone()]
    }

    fn run<T: Precision>(&self, call: Call<'_, T>) -> Result<(), Problem> {
        call.copy();
        Ok(())
    }
}
