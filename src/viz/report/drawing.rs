//! A graph drawn in layers: what is computed from what, from top to bottom.

use maud::{Markup, html};
use rust_sugiyama::configure::Config;

use super::{NAME, count, grouped};
use crate::graph::dag::{Dag, Kind, NodeId};
use crate::graph::{Dtype, Graph, ParameterKind, TensorType, Var};
use crate::inspect::{Layer, NoField, Origin, ReceptiveField, Summary, receptive_fields, shortened};

/// Width and height of a node's box.
const BOX: (f64, f64) = (156.0, 44.0);
/// Between boxes.
const GAP: f64 = 30.0;
/// As many letters of a name fit a box.
const ROOM: usize = 20;
/// A drawing of more boxes is not made: nobody could read it.
const MOST: usize = 600;
/// Of more edges not all are drawn,
const EDGES: usize = 2000;
/// and boxes are laid out by the first of those, which span so many rows together: room is kept for an edge in each.
const SPAN: usize = 12_000;

/// A box of a drawing.
struct Node {
    class: &'static str,
    name: String,
    ty: TensorType,
    /// Facts about it: names and values.
    facts: Vec<(&'static str, String)>,
    field: Result<ReceptiveField, NoField>,
}

/// Whether so many nodes can be drawn.
pub fn is_drawable(nodes: usize) -> bool {
    nodes <= MOST
}

fn too_many() -> Markup {
    html! { p { "There are more than " (MOST) " nodes, too many to draw." } }
}

/// Draws a network layer by layer, below its inputs.
pub fn draw_layers(graph: &Graph, summary: &Summary, image: Var<'_>) -> Markup {
    let (dag, layers) = (graph.dag(), &summary.layers);
    let inputs: Vec<NodeId> = dag.ids().filter(|id| matches!(dag.node(*id).kind, Kind::Input)).collect();
    if !is_drawable(inputs.len() + layers.len()) {
        return too_many();
    }
    let fields = receptive_fields(&dag, image.id());
    let number = |origin: &Origin| match origin {
        Origin::Input(name) => inputs.iter().position(|id| dag.node(*id).label.as_deref() == Some(name)),
        Origin::Layer(layer) => Some(inputs.len() + layer),
    };
    let reads = layers.iter().zip(inputs.len()..);
    let edges =
        reads.flat_map(|(layer, to)| layer.reads.iter().filter_map(number).map(move |from| (from, to)));
    let given = inputs.iter().map(|&id| Node::of_operation(&dag, id, fields[id.index()].clone()));
    drawing(&given.chain(layers.iter().map(Node::of_layer)).collect::<Vec<_>>(), &edges.collect::<Vec<_>>())
}

/// Draws every node of a graph.
pub fn draw_operations(graph: &Graph, image: Var<'_>) -> Markup {
    let dag = graph.dag();
    if !is_drawable(dag.len()) {
        return too_many();
    }
    let fields = receptive_fields(&dag, image.id());
    let edges = dag.ids().flat_map(|id| {
        let mut operands = dag.operands(id);
        operands.sort_unstable();
        operands.dedup(); // x · x is one edge
        operands.into_iter().map(move |operand| (operand.index(), id.index()))
    });
    let nodes = dag.ids().map(|id| Node::of_operation(&dag, id, fields[id.index()].clone()));
    drawing(&nodes.collect::<Vec<_>>(), &edges.collect::<Vec<_>>())
}

/// Draws boxes, and which is computed from which.
fn drawing(nodes: &[Node], edges: &[(usize, usize)]) -> Markup {
    let edges = in_order(nodes.len(), edges);
    let corners = lay_out(nodes.len(), &edges);
    let edges: Vec<_> = edges.into_iter().map(|(edge, _)| edge).collect();
    let right = corners.iter().map(|corner| corner.0).fold(0.0, f64::max) + BOX.0;
    let bottom = corners.iter().map(|corner| corner.1).fold(0.0, f64::max) + BOX.1;
    html! {
        @if edges.len() > EDGES { p { (grouped(edges.len() - EDGES)) " more edges are not drawn." } }
        svg.graph viewBox=(format!("-4 -4 {} {}", right + 8.0, bottom + 8.0))
            width=(right + 8.0) height=(bottom + 8.0) role="img" {
            @for &(from, to) in edges.iter().take(EDGES) { (edge(corners[from], corners[to])) }
            @for (node, &corner) in nodes.iter().zip(&corners) { (node.markup(corner)) }
        }
    }
}

/// Edges and how many rows they span: first the shortest to each node, then the second to each, and so on. A node's row is
/// below those of all that it reads, and what reads nothing is right above its first reader.
fn in_order(nodes: usize, edges: &[(usize, usize)]) -> Vec<((usize, usize), usize)> {
    let (mut rows, mut first) = (vec![0usize; nodes], vec![usize::MAX; nodes]);
    edges.iter().for_each(|&(from, to)| rows[to] = rows[to].max(rows[from] + 1));
    edges.iter().for_each(|&(from, to)| first[from] = first[from].min(rows[to]));
    let row = |node: usize| if rows[node] > 0 { rows[node] } else { first[node].saturating_sub(1) };
    let length = |&(from, to): &(usize, usize)| row(to).abs_diff(row(from));
    let mut found: Vec<_> = edges.iter().map(|edge| (*edge, length(edge))).collect();
    found.sort_by_key(|(_, length)| *length);
    let mut turns = vec![0; nodes];
    let turn = |edge: ((usize, usize), usize)| {
        turns[edge.0.1] += 1;
        (turns[edge.0.1], edge)
    };
    let mut found: Vec<_> = found.into_iter().map(turn).collect();
    found.sort_by_key(|(turn, _)| *turn);
    found.into_iter().map(|(_, edge)| edge).collect()
}

/// The upper left corner of each box. Parts that do not hang together lie side by side.
fn lay_out(nodes: usize, edges: &[((usize, usize), usize)]) -> Vec<(f64, f64)> {
    let vertices: Vec<(u32, (f64, f64))> = (0..nodes as u32).map(|node| (node, BOX)).collect();
    let mut span = 0;
    let is_short = |(_, length): &&((usize, usize), usize)| {
        span += length;
        span <= SPAN
    };
    let edges: Vec<(u32, u32)> = edges
        .iter()
        .take(EDGES)
        .take_while(is_short)
        .map(|&((from, to), _)| (from as u32, to as u32))
        .collect();
    let config = Config { vertex_spacing: GAP, ..Config::default() };
    let mut corners = vec![(0.0, 0.0); nodes];
    let mut left = 0.0;
    for (layout, ..) in rust_sugiyama::from_vertices_and_edges(&vertices, &edges, &config) {
        let least = |pick: fn(&(f64, f64)) -> f64| {
            layout.iter().map(|(_, corner)| pick(corner)).fold(f64::INFINITY, f64::min)
        };
        let (x, y) = (least(|corner| corner.0), least(|corner| corner.1));
        let mut end = left;
        for &(node, corner) in &layout {
            let corner = (left + corner.0 - x, corner.1 - y);
            end = f64::max(end, corner.0 + BOX.0 + GAP);
            corners[node] = corner;
        }
        left = end;
    }
    corners
}

/// A curve from the bottom of one box to the top of another.
fn edge(from: (f64, f64), to: (f64, f64)) -> Markup {
    let (x, y) = (from.0 + BOX.0 / 2.0, from.1 + BOX.1);
    let (u, v) = (to.0 + BOX.0 / 2.0, to.1);
    let bend = (v - y) / 2.0;
    html! { path d=(format!("M{x:.1} {y:.1}C{x:.1} {:.1} {u:.1} {:.1} {u:.1} {v:.1}", y + bend, v - bend)) {} }
}

impl Node {
    fn of_layer(layer: &Layer) -> Self {
        let name = if layer.name.is_empty() { &layer.operations } else { &layer.name };
        let facts = vec![
            ("shape", layer.output.to_string()),
            ("operations", layer.operations.clone()),
            ("parameters", count(layer.parameters)),
            ("MACs", count(layer.macs)),
            ("bytes", bytes(&layer.output)),
            ("kept, bytes", count(layer.kept)),
        ];
        let field = layer.receptive_field.clone();
        Self { class: "operation", name: name.clone(), ty: layer.output.clone(), facts, field }
    }

    fn of_operation(dag: &Dag, id: NodeId, field: Result<ReceptiveField, NoField>) -> Self {
        let node = dag.node(id);
        let class = match (&node.kind, node.gradient_of) {
            (Kind::Input, _) => "input",
            (Kind::Parameter { .. }, _) => "parameter",
            (_, Some(_)) => "gradient",
            _ => "operation",
        };
        let name = match (&node.kind, &node.label) {
            (Kind::Op(op), Some(label)) => format!("{} {label}", op.name()),
            (_, Some(label)) => label.to_string(),
            _ => node.source(),
        };
        Self { class, name, ty: node.ty.clone(), facts: facts(dag, id), field }
    }

    /// The node carries its facts for the page's script: a line for each, name and value apart by a tab.
    fn markup(&self, (x, y): (f64, f64)) -> Markup {
        let known = self.facts.iter().filter(|(_, value)| !value.is_empty());
        let facts = known.map(|(name, value)| format!("{name}\t{value}")).collect::<Vec<_>>().join("\n");
        let middle = x + BOX.0 / 2.0;
        html! {
            g.node .(self.class) tabindex="0" role="button" data-name=(shortened(&self.name, NAME)) data-facts=(facts)
                data-field=(self.field()) {
                rect x=(x) y=(y) width=(BOX.0) height=(BOX.1) rx="6" {}
                text x=(middle) y=(y + 18.0) { (shortened(&self.name, ROOM)) }
                text.shape x=(middle) y=(y + 35.0) { (self.ty.to_string()) }
            }
        }
    }

    /// The receptive field of its middle pixel, for the page's script: column, row, width and height, or why there is
    /// none.
    fn field(&self) -> String {
        match &self.field {
            Ok(field) => {
                let [rows, columns] = field.of_middle().unwrap_or([0..0, 0..0]); // there may be no pixels
                format!("{} {} {} {}", columns.start, rows.start, columns.len(), rows.len())
            }
            Err(reason) => reason.to_string(),
        }
    }
}

/// Facts about a node of the graph.
fn facts(dag: &Dag, id: NodeId) -> Vec<(&'static str, String)> {
    let node = dag.node(id);
    let own = match &node.kind {
        Kind::Op(op) => vec![
            ("operation", op.name().to_string()),
            ("attributes", op.attributes().to_string()),
            ("MACs", count(op.macs(&dag.operand_types(id), &node.ty))),
        ],
        Kind::Parameter { kind, init, .. } => vec![
            ("parameters", count(if *kind == ParameterKind::Learned { node.ty.shape.count() } else { 0 })),
            ("starts from", init.to_string()),
        ],
        Kind::Input | Kind::Prepared(_) | Kind::Kernel(_) | Kind::Output(_) | Kind::Poison => vec![],
    };
    let layer = node.layer.as_deref().unwrap_or_default().to_string();
    let rest = [("bytes", bytes(&node.ty)), ("layer", layer), ("line", node.site.to_string())];
    [("shape", node.ty.to_string())].into_iter().chain(own).chain(rest).collect()
}

fn bytes(ty: &TensorType) -> String {
    let element = if ty.dtype == Dtype::Index { size_of::<u32>() } else { size_of::<f32>() };
    grouped(ty.shape.count() * element)
}
