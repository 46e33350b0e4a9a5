//! What a network is, layer by layer, read off its graph.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

use super::field::{NoField, ReceptiveField, receptive_fields};
use super::table::{Table, count, shortened};
use crate::autodiff::vjp;
use crate::error::Error;
use crate::graph::dag::{Dag, Kind, NodeId};
use crate::graph::{Dtype, Graph, ParameterKind, TensorType, Var};

/// The layers of a network, and their totals. It prints as a table.
///
/// A layer is what was recorded under one name ([`Graph::layer`], as the functions of [`nn`](crate::nn) do) or else a
/// single operation.
///
/// ```
/// use dagrad::nn::{self, Filters};
/// use dagrad::Graph;
///
/// let graph = Graph::new();
/// let image = graph.input("image", [1, 1, 28, 28]);
/// let h = nn::conv2d(image, "conv", Filters::new(16, 3).padding(1)).relu().max_pool2d(2);
/// nn::linear(h.flatten(), "classes", 10);
///
/// let summary = graph.summary();
/// println!("{summary}");
/// assert_eq!(summary.parameters, (16 * 9 + 16) + (16 * 14 * 14 * 10 + 10));
/// assert_eq!(summary.macs, 16 * 9 * 28 * 28 + 16 * 14 * 14 * 10);
/// let pool = &summary.layers[2];
/// assert_eq!((pool.name.as_str(), pool.receptive_field.as_ref().unwrap().size), ("max_pool2d", [4, 4]));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The layers, in the order in which they were recorded.
    pub layers: Vec<Layer>,
    /// Trainable numbers.
    pub parameters: usize,
    /// Multiplications with their additions in convolutions and matrix products, for the whole batch.
    pub macs: usize,
    /// Bytes in `f32` of all values that are kept for the backward pass; see [`Layer::kept`].
    pub kept: usize,
    /// Weights between one channel and one channel of the next layer, added up over all convolutions: 25 for
    /// one 5×5 filter, 18 for two of 3×3.
    pub weights_per_filter_pair: usize,
    /// The first misuse on the way, if there is one. What would have been computed from its result is missing above.
    pub error: Option<Error>,
}

/// A layer of a [`Summary`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its name; of a single operation the names of its parameters, if it has some, at most four.
    pub name: String,
    /// Its operations, in order.
    pub operations: String,
    /// Its last value.
    pub output: TensorType,
    /// Its trainable numbers that no layer before it has.
    pub parameters: usize,
    /// Multiplications with their additions, for the whole batch.
    pub macs: usize,
    /// Bytes in `f32` of the values it makes that the gradients of the parameters read: they are kept from the forward
    /// pass to the backward pass. 0 where the network has no gradient. (A plan may do with less by fusing operations.)
    pub kept: usize,
    /// The receptive field of a pixel of its output in the first image; see [`receptive_field`](super::receptive_field).
    /// It prints as its size, and as nothing where there is none.
    pub receptive_field: Result<ReceptiveField, NoField>,
    /// What it reads, each once.
    pub reads: Vec<Origin>,
}

/// Where a layer's operand comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The input of this name.
    Input(String),
    /// The layer at this index of [`Summary::layers`].
    Layer(usize),
}

impl Graph {
    /// What is recorded on the graph and computed from its inputs, layer by layer. Gradients and updates are left out.
    pub fn summary(&self) -> Summary {
        Summary { error: self.check().err(), ..Summary::over(self, self.dag().ids().collect()) }
    }
}

impl Summary {
    /// The layers that a value is computed from.
    pub fn of(value: Var<'_>) -> Self {
        let graph = value.graph();
        let error = if value.is_poisoned() { graph.check().err() } else { None };
        Self { error, ..Self::over(graph, ancestors(&graph.dag(), [value.id()])) }
    }

    /// The layers among these nodes.
    fn over(graph: &Graph, nodes: HashSet<NodeId>) -> Self {
        let dag = graph.dag();
        let mut listing = Listing::of(graph, &dag);
        let nodes: Vec<NodeId> =
            dag.ids().filter(|id| nodes.contains(id) && listing.forward.contains(id)).collect();
        nodes.iter().for_each(|&id| listing.add(id));
        let layers = listing.layers;
        Self {
            parameters: layers.iter().map(|layer| layer.parameters).sum(),
            macs: layers.iter().map(|layer| layer.macs).sum(),
            kept: layers.iter().map(|layer| layer.kept).sum(),
            weights_per_filter_pair: nodes.iter().map(|&id| filter_area(&dag, id)).sum(),
            layers,
            error: None,
        }
    }
}

/// By how many parameters a single operation is named.
const NAMES: usize = 4;

/// Layers in the making.
struct Listing<'a> {
    dag: &'a Dag,
    forward: HashSet<NodeId>,
    kept: HashSet<NodeId>,
    /// The receptive field of each node in the first image, if there is one.
    fields: Vec<Result<ReceptiveField, NoField>>,
    layers: Vec<Layer>,
    /// The index of each named layer, and of the layer that each node is in.
    named: HashMap<&'a str, usize>,
    owners: HashMap<NodeId, usize>,
    /// The parameters that a layer has already.
    counted: HashSet<NodeId>,
}

impl<'a> Listing<'a> {
    fn of(graph: &Graph, dag: &'a Dag) -> Self {
        let is_image = |id: &NodeId| {
            let node = dag.node(*id);
            matches!(node.kind, Kind::Input) && node.ty.shape.len() == 4 && node.ty.dtype == Dtype::Real
        };
        let forward = forward_nodes(dag);
        Self {
            dag,
            kept: kept_nodes(graph, dag, &forward),
            forward,
            fields: dag.ids().find(is_image).map_or(Vec::new(), |image| receptive_fields(dag, image)),
            layers: Vec::new(),
            named: HashMap::new(),
            owners: HashMap::new(),
            counted: HashSet::new(),
        }
    }

    /// Adds an operation to its layer, which it may begin.
    fn add(&mut self, id: NodeId) {
        let (Some(op), node) = (self.dag.op(id), self.dag.node(id)) else { return };
        let parameters = own_parameters(self.dag, id, &self.forward);
        let index = self.layer_of(id, &parameters);
        let layer = &mut self.layers[index];
        layer.mention(op.name());
        layer.output = node.ty.clone();
        layer.macs += op.macs(&self.dag.operand_types(id), &node.ty);
        let new = parameters.iter().filter(|id| self.counted.insert(**id));
        layer.parameters += new.map(|id| self.dag.node(*id).ty.shape.count()).sum::<usize>();
        layer.kept += if self.kept.contains(&id) { node.ty.shape.count() * size_of::<f32>() } else { 0 };
        // A layer that is used for another input, too, keeps the field in this one.
        let field = self.fields.get(id.index()).filter(|field| **field != Err(NoField::Independent));
        layer.receptive_field = field.cloned().unwrap_or(layer.receptive_field.clone());
        for operand in self.dag.operands(id) {
            let node = self.dag.node(operand);
            let origin = match &node.kind {
                Kind::Input => Some(Origin::Input(node.label.as_deref().unwrap_or_default().to_string())),
                _ => self.owners.get(&operand).copied().map(Origin::Layer),
            };
            let new =
                origin.filter(|origin| *origin != Origin::Layer(index) && !layer.reads.contains(origin));
            layer.reads.extend(new);
        }
        self.owners.insert(id, index);
    }

    /// The index of the layer that an operation belongs to.
    fn layer_of(&mut self, id: NodeId, parameters: &[NodeId]) -> usize {
        let (dag, next) = (self.dag, self.layers.len());
        let node = dag.node(id);
        let index = node.layer.as_deref().map_or(next, |layer| *self.named.entry(layer).or_insert(next));
        if index == next {
            let names = || {
                let mut names: Vec<&str> =
                    parameters.iter().filter_map(|id| dag.node(*id).label.as_deref()).collect();
                if names.len() > NAMES {
                    names.splice(NAMES.., ["…"]);
                }
                names.join(" ")
            };
            let label = node.layer.as_deref().or(node.label.as_deref());
            let name = label.map_or_else(names, str::to_string);
            self.layers.push(Layer::new(name, node.ty.clone()));
        }
        index
    }
}

impl Layer {
    fn new(name: String, output: TensorType) -> Self {
        let (operations, reads) = (String::new(), Vec::new());
        let receptive_field = Err(NoField::Independent);
        Self { name, operations, output, parameters: 0, macs: 0, kept: 0, receptive_field, reads }
    }

    /// Adds an operation to the list, unless it is there.
    fn mention(&mut self, operation: &str) {
        if !self.operations.split(' ').any(|known| known == operation) {
            let gap = if self.operations.is_empty() { "" } else { " " };
            self.operations += &format!("{gap}{operation}");
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The longest list of operations that is printed in full.
        const ROOM: usize = 32;
        let heading =
            ["layer", "operations", "output", "parameters", "MACs", "kept, bytes", "receptive field"];
        let mut table = Table::new(3, heading);
        for layer in &self.layers {
            let (name, operations) = (layer.name.clone(), shortened(&layer.operations, ROOM));
            let [parameters, macs, kept] = [layer.parameters, layer.macs, layer.kept].map(count);
            let field = layer.receptive_field.as_ref().map_or(String::new(), ReceptiveField::to_string);
            table.row([name, operations, layer.output.to_string(), parameters, macs, kept, field]);
        }
        let [parameters, macs, kept] = [self.parameters, self.macs, self.kept].map(count);
        let total = if self.error.is_some() { "total before the error" } else { "total" };
        table.row([total.into(), String::new(), String::new(), parameters, macs, kept, String::new()]);
        write!(f, "{table}")?;
        self.error.iter().try_for_each(|error| writeln!(f, "! {error}"))
    }
}

/// What is computed from an input and not from a gradient: the network itself, without what only shapes parameters, and
/// without optimizers.
fn forward_nodes(dag: &Dag) -> HashSet<NodeId> {
    let (mut found, mut behind_gradients) = (HashSet::new(), HashSet::new());
    for id in dag.ids() {
        let operands = dag.operands(id);
        let is_behind =
            dag.node(id).gradient_of.is_some() || operands.iter().any(|id| behind_gradients.contains(id));
        if is_behind {
            behind_gradients.insert(id);
        } else if matches!(dag.node(id).kind, Kind::Input) || operands.iter().any(|id| found.contains(id)) {
            found.insert(id);
        }
    }
    found
}

/// The trainable parameters that a node reads, itself or through what only shapes them.
fn own_parameters(dag: &Dag, id: NodeId, forward: &HashSet<NodeId>) -> Vec<NodeId> {
    let beside = |id: NodeId| dag.operands(id).into_iter().filter(|operand| !forward.contains(operand));
    let is_trainable =
        |id: &NodeId| matches!(dag.node(*id).kind, Kind::Parameter { kind: ParameterKind::Learned, .. });
    let mut open: Vec<NodeId> = beside(id).collect();
    let mut seen: BTreeSet<NodeId> = open.iter().copied().collect(); // paths may be many more than nodes
    while let Some(id) = open.pop() {
        open.extend(beside(id).filter(|operand| seen.insert(*operand)));
    }
    seen.into_iter().filter(is_trainable).collect()
}

/// The computed values that the parameters' gradients read.
fn kept_nodes(graph: &Graph, dag: &Dag, forward: &HashSet<NodeId>) -> HashSet<NodeId> {
    let copy = graph.copy();
    let is_end = |id: &NodeId| {
        let is_read = dag.consumers(*id).any(|reader| forward.contains(&reader));
        dag.op(*id).is_some() && dag.node(*id).ty.dtype == Dtype::Real && !is_read
    };
    let ends = forward.iter().copied().filter(is_end).map(|id| copy.var(id));
    // Which numbers flow back does not matter.
    let pairs: Vec<_> = ends.map(|end| (end, copy.fill(end.shape(), 1.0))).collect();
    let Ok(found) = vjp(&pairs, &copy.parameters()) else { return HashSet::new() };
    let (first_gradient, dag) = (dag.len(), copy.dag());
    let needed = ancestors(&dag, found.into_iter().flatten().map(|gradient| gradient.id()));
    let gradients = needed.into_iter().filter(|id| id.index() >= first_gradient);
    let read = gradients.flat_map(|id| dag.operands(id)).filter(|id| id.index() < first_gradient);
    let mut kept: HashSet<NodeId> = read.map(|id| dag.origin(id)).collect();
    // Inputs, parameters and constants are there anyway.
    kept.retain(|id| dag.op(*id).is_some_and(|op| op.constant().is_none()));
    kept
}

/// The pixels of one filter of a convolution; 0 for all else.
fn filter_area(dag: &Dag, id: NodeId) -> usize {
    let types = dag.operand_types(id);
    let axes = dag.op(id).map_or(vec![], |op| op.axes(&types));
    match (&axes[..], &types[..]) {
        ([image, weight], [of, ty])
            if image.plane(of.shape.len()).is_some() && weight.is_whole() && ty.shape.len() == 4 =>
        {
            ty.shape[2] * ty.shape[3]
        }
        _ => 0,
    }
}

/// The nodes that values are computed from, themselves included.
fn ancestors(dag: &Dag, values: impl IntoIterator<Item = NodeId>) -> HashSet<NodeId> {
    let mut open: Vec<NodeId> = values.into_iter().collect();
    let mut found: HashSet<NodeId> = open.iter().copied().collect();
    while let Some(id) = open.pop() {
        open.extend(dag.operands(id).into_iter().filter(|operand| found.insert(*operand)));
    }
    found
}
