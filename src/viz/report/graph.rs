//! The network itself: a table of its layers, and its graph.

use maud::{Markup, html};
use ndarray::ArrayView3;

use super::drawing::{draw_layers, draw_operations, is_drawable};
use super::{NAME, count, grouped, part, table};
use crate::autodiff::gradients;
use crate::error::Result;
use crate::graph::Var;
use crate::inspect::{Summary, shortened};
use crate::viz::tiles::Tiles;

/// How many layers are listed.
const LISTED: usize = 500;
/// The most pixels of the image on which receptive fields are shown.
const IMAGE: usize = 224;

/// An image on which receptive fields are shown: height, width, and what to draw.
pub struct Shown {
    size: [usize; 2],
    url: String,
}

impl Shown {
    pub fn new(image: ArrayView3<'_, f32>) -> Result<Self> {
        let (_, height, width) = image.dim();
        let drawn = Tiles::of_image(image).fitted(IMAGE, IMAGE).zoom(1).to_image()?;
        Ok(Self { size: [height, width], url: drawn.data_url()? })
    }
}

/// The network layer by layer, and its graph on so many samples, called so: layers, operations, and on demand with the gradients
/// of the loss. `input` is what receptive fields lie in.
#[track_caller]
pub fn graph_parts(
    loss: Var<'_>,
    input: Var<'_>,
    samples: (usize, &str),
    shown: Option<&Shown>,
) -> Result<Markup> {
    let graph = loss.graph();
    graph.check()?;
    let summary = graph.summary();
    let (layers, operations) = (draw_layers(graph, &summary, input), draw_operations(graph, input));
    if is_drawable(graph.len()) {
        gradients(loss, &graph.parameters())?;
    }
    let drawings =
        [("layers", layers), ("operations", operations), ("with gradients", draw_operations(graph, input))];
    let given = match samples {
        (1, name) => format!("For one {name}"),
        (count, name) => format!("For {count} {name}s"),
    };
    Ok(html! { (layers_part(&summary, &given)) (graph_part(drawings, &given, shown)) })
}

fn layers_part(summary: &Summary, given: &str) -> Markup {
    let about = format!(
        "{given}: trainable numbers, multiplications with their additions, bytes that are kept for the backward pass, and \
         receptive fields."
    );
    let rest = summary.layers.len().saturating_sub(LISTED);
    let rows = html! {
        @for layer in summary.layers.iter().take(LISTED) {
            tr {
                td { (shortened(&layer.name, NAME)) }
                td.long { (layer.operations) }
                td { (layer.output.to_string()) }
                td { (count(layer.parameters)) }
                td { (count(layer.macs)) }
                td { (count(layer.kept)) }
                td {
                    @match &layer.receptive_field {
                        Ok(field) => (field.to_string()),
                        Err(reason) => span title=(reason.to_string()) { "–" },
                    }
                }
            }
        }
        @if rest > 0 { tr { td { "… and " (grouped(rest)) " more" } } }
        tr {
            th { "total" } td {} td {}
            th { (count(summary.parameters)) }
            th { (count(summary.macs)) }
            th { (count(summary.kept)) }
            td {}
        }
    };
    let columns = ["layer", "operations", "output", "parameters", "MACs", "kept, bytes", "receptive field"];
    part("Layers", &about, table("three-words", &columns, &rows))
}

/// Drawings, one of which is visible, and the panel that shows the facts of a node.
fn graph_part(drawings: [(&str, Markup); 3], given: &str, shown: Option<&Shown>) -> Markup {
    let field = if shown.is_some() { ", and the receptive field of its middle pixel" } else { "" };
    let about = format!(
        "{given}. Blue: inputs; yellow: parameters; red: gradients; white: all else. Choose a node to see what it costs{field}."
    );
    let content = html! {
        div.switch {
            @for (number, (name, _)) in drawings.iter().enumerate() {
                button data-which=(number) aria-pressed=(number == 0) { (name) } " "
            }
        }
        @for (number, (_, drawing)) in drawings.iter().enumerate() {
            div.drawing data-which=(number) hidden[number > 0] { (drawing) }
        }
        div.details {
            div.facts { h4 {} dl {} }
            @if let Some(Shown { size: [height, width], url }) = shown {
                figure.field {
                    svg viewBox=(format!("0 0 {width} {height}")) {
                        image href=(url) width=(width) height=(height) style="image-rendering: pixelated" {}
                        rect {}
                    }
                    figcaption {}
                }
            }
        }
    };
    part("Graph", &about, content)
}
