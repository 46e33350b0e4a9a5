//! What a network is, layer by layer, read off its graph.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::table::{Table, count};
use crate::autodiff::vjp;
use crate::graph::dag::{Dag, Kind, NodeId};
use crate::graph::{Dtype, Graph, Meta, Var};
use crate::shape::Window;

/// The layers of a network, and what they come to. It prints as a table.
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
/// assert_eq!((pool.name.as_str(), pool.sees), ("max_pool2d", Some([4, 4])));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
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
}

/// A layer of a [`Summary`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its name; of a single operation the names of its parameters, if it has some.
    pub name: String,
    /// Its operations, in order.
    pub operations: String,
    /// What it hands on.
    pub output: Meta,
    /// Its trainable numbers that no layer before it has.
    pub parameters: usize,
    /// Multiplications with their additions, for the whole batch.
    pub macs: usize,
    /// Bytes in `f32` of the values it makes that the gradients of the parameters read: they are kept from the forward
    /// pass to the backward pass. 0 where the network has no gradient. (A plan may do with less by fusing operations.)
    pub kept: usize,
    /// Height and width of what a pixel of its output sees of the first picture; see [`receptive_field`].
    pub sees: Option<[usize; 2]>,
}

impl Graph {
    /// What is recorded on the graph and computed from its inputs, layer by layer. Gradients and updates are left out.
    pub fn summary(&self) -> Summary {
        let dag = self.dag();
        Summary::over(self, dag.ids().collect())
    }
}

impl Summary {
    /// The layers that a value is computed from.
    pub fn of(value: Var<'_>) -> Self {
        let ancestors = ancestors(&value.graph().dag(), [value.id()]);
        Self::over(value.graph(), ancestors)
    }

    /// The layers among these nodes.
    fn over(graph: &Graph, nodes: HashSet<NodeId>) -> Self {
        let dag = graph.dag();
        let forward = forward_nodes(&dag);
        let is_picture = |id: &NodeId| {
            let node = dag.node(*id);
            matches!(node.kind, Kind::Input) && node.meta.shape.len() == 4 && node.meta.dtype == Dtype::Real
        };
        let views = dag.ids().find(is_picture).map(|image| views(&dag, image));
        let kept = kept_nodes(graph);
        let mut counted = HashSet::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut layers: Vec<Layer> = Vec::new();
        let mut weights_per_filter_pair = 0;
        for id in dag.ids().filter(|id| nodes.contains(id) && forward.contains(id)) {
            let (Some(op), node) = (dag.op(id), dag.node(id)) else { continue };
            let metas = dag.operand_metas(id);
            let parameters = own_parameters(&dag, id, &forward);
            let next = layers.len();
            let place = node.layer.as_deref().map_or(next, |layer| *places.entry(layer).or_insert(next));
            if place == next {
                let names = || parameters.iter().filter_map(|id| dag.node(*id).label.as_deref());
                let label = node.layer.as_deref().or(node.label.as_deref());
                let name = label.map_or_else(|| names().collect::<Vec<_>>().join(" "), str::to_string);
                layers.push(Layer::new(name, node.meta.clone()));
            }
            let layer = &mut layers[place];
            layer.mention(op.name());
            layer.output = node.meta.clone();
            layer.macs += op.macs(&metas, &node.meta);
            let new = parameters.iter().filter(|id| counted.insert(**id));
            layer.parameters += new.map(|id| dag.node(*id).meta.shape.count()).sum::<usize>();
            layer.kept += if kept.contains(&id) { node.meta.shape.count() * size_of::<f32>() } else { 0 };
            let view = views.as_ref().and_then(|views| views[id.index()].flatten());
            layer.sees = view.map(|view| view.size);
            if op.window().is_some() {
                weights_per_filter_pair += metas.get(1).map_or(0, |meta| filter_area(meta));
            }
        }
        Self {
            parameters: layers.iter().map(|layer| layer.parameters).sum(),
            macs: layers.iter().map(|layer| layer.macs).sum(),
            kept: layers.iter().map(|layer| layer.kept).sum(),
            layers,
            weights_per_filter_pair,
        }
    }
}

impl Layer {
    fn new(name: String, output: Meta) -> Self {
        Self { name, operations: String::new(), output, parameters: 0, macs: 0, kept: 0, sees: None }
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
        let heading = ["layer", "operations", "output", "parameters", "MACs", "kept, bytes", "sees"];
        let mut table = Table::new(3, heading);
        for layer in &self.layers {
            let mut operations = layer.operations.clone();
            if operations.chars().count() > ROOM {
                operations = operations.chars().take(ROOM - 1).chain(['…']).collect();
            }
            let sees = layer.sees.map_or(String::new(), |[height, width]| format!("{height}×{width}"));
            let [parameters, macs, kept] = [layer.parameters, layer.macs, layer.kept].map(count);
            table.row([
                layer.name.clone(),
                operations,
                layer.output.to_string(),
                parameters,
                macs,
                kept,
                sees,
            ]);
        }
        let [parameters, macs, kept] = [self.parameters, self.macs, self.kept].map(count);
        table.row(["total".into(), String::new(), String::new(), parameters, macs, kept, String::new()]);
        write!(f, "{table}")
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
    let (mut found, mut open) = (Vec::new(), dag.operands(id).to_vec());
    while let Some(id) = open.pop() {
        match dag.node(id).kind {
            _ if forward.contains(&id) => {}
            Kind::Parameter { trainable: true, .. } => found.push(id),
            _ => open.extend(dag.operands(id)),
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The computed values that the parameters' gradients read.
fn kept_nodes(graph: &Graph) -> HashSet<NodeId> {
    let copy = graph.copy();
    let first_gradient = copy.dag().len();
    let ends: Vec<NodeId> = {
        let dag = copy.dag();
        let forward = forward_nodes(&dag);
        let is_end = |id: &NodeId| {
            let is_read = dag.consumers(*id).any(|reader| forward.contains(&reader));
            dag.op(*id).is_some() && dag.node(*id).meta.dtype == Dtype::Real && !is_read
        };
        forward.iter().copied().filter(is_end).collect()
    };
    // Which numbers flow back does not matter.
    let pairs: Vec<_> =
        ends.iter().map(|&end| (copy.var(end), copy.fill(copy.var(end).shape(), 1.0))).collect();
    let Ok(found) = vjp(&pairs, &copy.parameters()) else { return HashSet::new() };
    let dag = copy.dag();
    let needed = ancestors(&dag, found.into_iter().flatten().map(|gradient| gradient.id()));
    let gradients = needed.into_iter().filter(|id| id.index() >= first_gradient);
    let read = gradients.flat_map(|id| dag.operands(id)).filter(|id| id.index() < first_gradient);
    let mut kept: HashSet<NodeId> = read.map(|id| storage(&dag, id)).collect();
    // Inputs, parameters and constants are there anyway.
    kept.retain(|id| dag.op(*id).is_some_and(|op| op.constant().is_none()));
    kept
}

/// The node in whose memory this one lies.
fn storage(dag: &Dag, mut id: NodeId) -> NodeId {
    while dag.op(id).is_some_and(|op| op.is_alias()) {
        id = dag.operand(id, 0);
    }
    id
}

/// The pixels of one filter, if this is a weight of filters.
fn filter_area(meta: &Meta) -> usize {
    match (&meta.shape[..], meta.dtype) {
        (&[_, _, height, width], Dtype::Real) => height * width,
        _ => 0,
    }
}

/// How much of the image a pixel sees, and how far apart in the image its neighbours look.
#[derive(Clone, Copy)]
struct View {
    size: [usize; 2],
    step: [usize; 2],
}

impl View {
    /// A pixel of the image itself.
    const PIXEL: View = View { size: [1; 2], step: [1; 2] };

    /// What a window over pixels with this view sees.
    fn through(self, window: Window) -> View {
        View {
            size: [0, 1].map(|axis| self.size[axis] + (window.kernel[axis] - 1) * self.step[axis]),
            step: [0, 1].map(|axis| self.step[axis] * window.stride[axis]),
        }
    }

    /// What somebody sees who looks at two pixels.
    fn join(self, other: View) -> View {
        View {
            size: [0, 1].map(|axis| self.size[axis].max(other.size[axis])),
            step: [0, 1].map(|axis| self.step[axis].max(other.step[axis])),
        }
    }
}

/// Height and width of the part of `image` that one pixel of `value` sees, away from borders: a window of
/// size k adds (k − 1) times the product of the strides before it. `None` if `value` does not depend on
/// `image`, or not through windows and elementwise functions alone.
///
/// ```
/// use dagrad::inspect::receptive_field;
/// use dagrad::nn::{self, Filters};
/// use dagrad::Graph;
///
/// let graph = Graph::new();
/// let image = graph.input("image", [1, 1, 28, 28]);
/// let once = nn::conv2d(image, "conv1", Filters::new(16, 3));
/// let twice = nn::conv2d(once, "conv2", Filters::new(16, 3));
/// assert_eq!(receptive_field(twice, image), Some([5, 5]));
/// ```
pub fn receptive_field(value: Var<'_>, image: Var<'_>) -> Option<[usize; 2]> {
    views(&value.graph().dag(), image.id())[value.id().index()]?.map(|view| view.size)
}

/// For nodes that depend on the image: their view, if there is one.
fn views(dag: &Dag, image: NodeId) -> Vec<Option<Option<View>>> {
    let mut views: Vec<Option<Option<View>>> = vec![None; dag.len()];
    views[image.index()] = Some(Some(View::PIXEL));
    for id in dag.ids().filter(|id| *id != image) {
        let Some(op) = dag.op(id) else { continue };
        let seen = dag.operands(id).into_iter().filter_map(|operand| views[operand.index()]);
        let Some(seen) = seen.reduce(|a, b| Some(a?.join(b?))) else { continue };
        // The indices of maxima are chosen from the picture itself, pixel by pixel.
        let keeps_view = op.elementwise().is_some() || dag.node(id).meta.dtype == Dtype::Index;
        views[id.index()] = Some(match op.window() {
            Some(window) => seen.map(|view| view.through(window)),
            None => seen.filter(|_| keeps_view),
        });
    }
    views
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
