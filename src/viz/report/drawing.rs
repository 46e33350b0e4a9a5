//! A graph drawn in layers: what is computed from what, from top to bottom.

use std::collections::HashMap;

use maud::{Markup, html};
use rust_sugiyama::configure::Config;

use super::grouped;
use crate::graph::dag::{Dag, Kind, NodeId};
use crate::graph::{Dtype, Graph, Var};
use crate::inspect::receptive_field;

/// Width and height of a node's box.
const BOX: (f64, f64) = (156.0, 44.0);
/// Between boxes.
const GAP: f64 = 30.0;
/// A graph of more nodes is not drawn: nobody could read it.
const MOST: usize = 600;

/// Draws the whole graph. Each node carries its facts for the page's script: shape, parameters, MACs, bytes, line,
/// and what it sees of `image`.
pub fn draw(graph: &Graph, image: Var<'_>) -> Markup {
    let dag = graph.dag();
    if dag.len() > MOST {
        return html! { p { "The graph has " (grouped(dag.len())) " nodes, too many to draw." } };
    }
    let places = lay_out(&dag);
    let right = places.values().map(|place| place.0).fold(0.0, f64::max) + BOX.0;
    let bottom = places.values().map(|place| place.1).fold(0.0, f64::max) + BOX.1;
    let edges = dag.ids().flat_map(|id| dag.operands(id).into_iter().map(move |operand| (operand, id)));
    html! {
        svg.graph viewBox=(format!("-4 -4 {} {}", right + 8.0, bottom + 8.0))
            width=(right + 8.0) height=(bottom + 8.0) role="img" {
            @for (from, to) in edges { (edge(places[&from], places[&to])) }
            @for id in dag.ids() {
                // Which pixel is the largest is seen by whoever looks that up; what the index itself sees is not said.
                @let field = receptive_field(graph.var(id), image);
                (node(&dag, id, places[&id], field.filter(|_| dag.node(id).meta.dtype == Dtype::Real)))
            }
        }
    }
}

/// The upper left corner of each node's box. Parts of the graph that hang together lie side by side.
fn lay_out(dag: &Dag) -> HashMap<NodeId, (f64, f64)> {
    let vertices: Vec<(u32, (f64, f64))> = dag.ids().map(|id| (id.index() as u32, (BOX.0, BOX.1))).collect();
    let edges: Vec<(u32, u32)> = dag
        .ids()
        .flat_map(|id| {
            let mut operands = dag.operands(id);
            operands.sort_unstable();
            operands.dedup(); // x · x is one edge
            operands.into_iter().map(move |operand| (operand.index() as u32, id.index() as u32))
        })
        .collect();
    let config = Config { vertex_spacing: GAP, ..Config::default() };
    let mut places = HashMap::new();
    let mut left = 0.0;
    for (layout, ..) in rust_sugiyama::from_vertices_and_edges(&vertices, &edges, &config) {
        let corner = |pick: fn(&(f64, f64)) -> f64| {
            layout.iter().map(|(_, place)| pick(place)).fold(f64::INFINITY, f64::min)
        };
        let (x, y) = (corner(|place| place.0), corner(|place| place.1));
        let mut end = left;
        for &(vertex, place) in &layout {
            let place = (left + place.0 - x, place.1 - y);
            end = f64::max(end, place.0 + BOX.0 + GAP);
            places.insert(NodeId::new(vertex), place);
        }
        left = end;
    }
    places
}

/// A curve from the bottom of one box to the top of another.
fn edge(from: (f64, f64), to: (f64, f64)) -> Markup {
    let (x, y) = (from.0 + BOX.0 / 2.0, from.1 + BOX.1);
    let (u, v) = (to.0 + BOX.0 / 2.0, to.1);
    let bend = (v - y) / 2.0;
    html! { path d=(format!("M{x:.1} {y:.1}C{x:.1} {:.1} {u:.1} {:.1} {u:.1} {v:.1}", y + bend, v - bend)) {} }
}

fn node(dag: &Dag, id: NodeId, (x, y): (f64, f64), field: Option<[usize; 2]>) -> Markup {
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
    let field = field.map_or_else(|| "all".to_string(), |[height, width]| format!("{height} {width}"));
    let middle = x + BOX.0 / 2.0;
    html! {
        g.node .(class) tabindex="0" role="button" data-name=(name) data-facts=(facts(dag, id)) data-field=(field) {
            rect x=(x) y=(y) width=(BOX.0) height=(BOX.1) rx="6" {}
            text x=(middle) y=(y + 18.0) { (shortened(&name)) }
            text.shape x=(middle) y=(y + 35.0) { (node.meta.to_string()) }
        }
    }
}

/// What is to be known of a node: a line for each fact, name and value apart by a tab.
fn facts(dag: &Dag, id: NodeId) -> String {
    let node = dag.node(id);
    let count = node.meta.shape.count();
    let mut facts = vec![("shape", node.meta.to_string())];
    match &node.kind {
        Kind::Op(op) => {
            facts.push(("operation", op.name().to_string()));
            facts.push(("attributes", op.attributes()));
            let macs = op.macs(&dag.operand_metas(id), &node.meta);
            facts.push(("MACs", if macs > 0 { grouped(macs) } else { String::new() }));
        }
        Kind::Parameter { trainable, init } => {
            facts.push(("parameters", if *trainable { grouped(count) } else { String::new() }));
            facts.push(("starts from", init.to_string()));
        }
        Kind::Input | Kind::Poison => {}
    }
    let element = if node.meta.dtype == Dtype::Index { size_of::<u32>() } else { size_of::<f32>() };
    facts.push(("bytes", grouped(count * element)));
    facts.push(("layer", node.layer.as_deref().unwrap_or_default().to_string()));
    facts.push(("line", node.site.to_string()));
    let known = facts.into_iter().filter(|(_, value)| !value.is_empty());
    known.map(|(name, value)| format!("{name}\t{value}")).collect::<Vec<_>>().join("\n")
}

/// As much of a name as a box has room for.
fn shortened(name: &str) -> String {
    const ROOM: usize = 20;
    if name.chars().count() <= ROOM {
        return name.to_string();
    }
    name.chars().take(ROOM - 1).chain(['…']).collect()
}
