//! All about one trained network.

use maud::{Markup, html};
use ndarray::{Array1, Array4, ArrayD, Axis};

use super::classes::Answers;
use super::drawing::draw;
use super::memory::memory_part;
use super::part;
use super::time::time_part;
use crate::autodiff::gradients;
use crate::compile::Plan;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::graph::dag::NodeId;
use crate::graph::{Graph, Mode, Var};
use crate::nn::{IMAGES, LABELS, Model, Network};
use crate::optim::{Optimizer, minimize};
use crate::run::Feed;
use crate::viz::picture::{address, grid, planes};

/// The most filters or maps of a layer that are shown,
const MAPS: usize = 32;
/// of the most layers.
const LAYERS: usize = 12;
/// Images of the step that is timed.
const BATCH: usize = 100;
/// How wide a pixel of a filter is shown,
const FILTER_SCALE: usize = 8;
/// and how wide pictures of a whole image are.
const IMAGE_WIDTH: usize = 168;

/// A network's first filters before it learns.
#[derive(Debug, Clone)]
pub struct Start {
    filters: Option<(String, ArrayD<f32>)>,
}

impl Start {
    /// The first filters of a model as they are now: its first parameter of four axes. A network may have none.
    pub fn of<N: Network>(model: &Model<N>) -> Self {
        let graph = Graph::with_mode(Mode::Evaluate);
        model.record(&graph, 1);
        let first = graph.parameters().into_iter().find(|parameter| parameter.shape().len() == 4);
        let filters = first.and_then(|parameter| {
            let name = parameter.name();
            let values = model.store().get(&name)?.to_owned();
            Some((name, values))
        });
        Self { filters }
    }
}

#[track_caller]
pub fn section<N: Network>(
    number: usize,
    name: &str,
    start: &Start,
    model: &mut Model<N>,
    optimizer: &dyn Optimizer,
    test: &Dataset,
) -> Result<Markup> {
    if test.is_empty() {
        return Err(Error::setting("report", "there are no images to show"));
    }
    let answers = Answers::of(model, test)?;
    let (image, _) = test.batch(&[0])?;
    let parts = [
        filters_part(start, model)?,
        maps_part(model, &image)?,
        saliency_part(model, test, &answers)?,
        answers.confusion_part(),
        answers.worst_part(|sample| address(&picture(&test.batch(&[sample])?.0)))?,
        graph_part(model, &image)?,
        cost_parts(model, optimizer, test)?,
    ];
    Ok(html! {
        section.network id=(format!("network{number}")) {
            h2 { (name) }
            @for part in &parts { (part) }
        }
    })
}

fn filters_part<N: Network>(start: &Start, model: &Model<N>) -> Result<Markup> {
    let Some((name, before)) = &start.filters else { return Ok(html! {}) };
    let Some(after) = model.store().get(name).map(|values| values.to_owned()) else { return Ok(html! {}) };
    let show = |values: &ArrayD<f32>| {
        let mut tiles = planes(values);
        tiles.truncate(MAPS);
        let picture = grid(&tiles, 8);
        address(&picture).map(|address| (address, picture.width() as usize * FILTER_SCALE))
    };
    let shown = [("before learning", show(before)?), ("after learning", show(&after)?)];
    let about = format!("{name}, the first filters: each from black, its least weight, to white, its most.");
    Ok(part(
        "Filters",
        &about,
        html! {
            div.gallery {
                @for (when, (address, width)) in &shown {
                    figure { img src=(address) width=(width) alt=(format!("filters {when}")); figcaption { (when) } }
                }
            }
        },
    ))
}

/// What each layer makes of an image.
fn maps_part<N: Network>(model: &mut Model<N>, image: &Array4<f32>) -> Result<Markup> {
    let graph = Graph::with_mode(Mode::Evaluate);
    model.record(&graph, 1);
    let shown: Vec<Var<'_>> = {
        let dag = graph.dag();
        let is_map = |id: &NodeId| {
            let pixels: usize = dag.node(*id).meta.shape.iter().skip(2).product();
            let is_layer = dag.op(*id).is_some_and(|op| {
                op.window().is_some() || (op.elementwise().is_some() && dag.operands(*id).len() == 1)
            });
            dag.node(*id).meta.shape.len() == 4 && pixels > 1 && is_layer
        };
        dag.ids().filter(is_map).map(|id| graph.var(id)).take(LAYERS).collect()
    };
    if shown.is_empty() {
        return Ok(html! {});
    }
    let plan = Plan::compile(&graph, &shown)?;
    let (store, workspace) = model.parts();
    let outputs = plan.run(store, workspace, &[Feed::new(IMAGES, image)])?;
    let mut figures = Vec::new();
    for var in &shown {
        let Some(values) = outputs.get(*var).map(|values| values.to_owned()) else { continue };
        let mut tiles = planes(&values);
        tiles.truncate(MAPS);
        figures.push((var.name(), var.shape().to_string(), address(&grid(&tiles, 8))?));
    }
    Ok(part(
        "Feature maps",
        "What each layer makes of the first test image, at most 32 channels.",
        html! {
            div.gallery {
                figure {
                    img src=(address(&picture(image))?) width=(IMAGE_WIDTH) alt="the image";
                    figcaption { "the image" }
                }
                @for (name, shape, address) in &figures {
                    figure {
                        img src=(address) width="320" alt=(format!("answers of {name}"));
                        figcaption { (name) " " (shape) }
                    }
                }
            }
        },
    ))
}

/// Where a small change of the image would change the answer most.
fn saliency_part<N: Network>(model: &mut Model<N>, test: &Dataset, answers: &Answers) -> Result<Markup> {
    let samples: Vec<usize> = (0..test.len().min(3)).chain(answers.worst().into_iter().take(3)).collect();
    let (images, _) = test.batch(&samples)?;
    let classes = Array1::from_iter(samples.iter().map(|&sample| answers.answer(sample) as u32));
    let graph = Graph::with_mode(Mode::Evaluate);
    let (input, logits) = model.record(&graph, samples.len());
    let chosen = logits.pick(graph.labels(LABELS, [samples.len()])).sum_all();
    let slopes = gradients(chosen, &[input])?;
    let plan = Plan::compile(&graph, &slopes)?;
    let (store, workspace) = model.parts();
    let outputs = plan.run(store, workspace, &[Feed::new(IMAGES, &images), Feed::new(LABELS, &classes)])?;
    let Some(slopes) = outputs.at(0).map(|slopes| slopes.mapv(f32::abs)) else { return Ok(html! {}) };
    let mut pairs = Vec::new();
    for (position, slope) in slopes.outer_iter().enumerate() {
        let image = images.index_axis(Axis(0), position).insert_axis(Axis(0)).to_owned();
        let strongest = slope.fold_axis(Axis(0), 0.0f32, |a, &b| a.max(b)).into_dyn();
        pairs.push((address(&picture(&image))?, address(&grid(&planes(&strongest), 1))?, classes[position]));
    }
    let about = "How strongly each pixel moves the logit of the class that the network answers: the size of its gradient \
                 (Simonyan et al., 2013), white where it is largest. Three first and three worst images.";
    Ok(part(
        "Saliency",
        about,
        html! {
            div.gallery {
                @for (image, slope, class) in &pairs {
                    figure {
                        div.gallery {
                            img src=(image) width="84" alt="an image";
                            img src=(slope) width="84" alt="its saliency";
                        }
                        figcaption { "says " (class) }
                    }
                }
            }
        },
    ))
}

/// The graph, forward alone and with its gradients, and the panel that shows what is known of a node.
#[track_caller]
fn graph_part<N: Network>(model: &Model<N>, image: &Array4<f32>) -> Result<Markup> {
    let [_, height, width] = model.image_shape();
    let about = "For one image. Blue: what is given; yellow: parameters; white: operations; red: gradients. Choose a node to \
                 see what it costs, and how much of the image one of its pixels sees.";
    Ok(part(
        "Graph",
        about,
        html! {
            div.switch {
                button data-which="forward" aria-pressed="true" { "forward" } " "
                button data-which="both" aria-pressed="false" { "forward and backward" }
            }
            div.drawing data-which="forward" { (drawing(model, false)?) }
            div.drawing data-which="both" hidden { (drawing(model, true)?) }
            div.details {
                div.facts { h4 {} dl {} }
                figure.field {
                    svg viewBox=(format!("0 0 {width} {height}")) {
                        image href=(address(&picture(image))?) width=(width) height=(height)
                            style="image-rendering: pixelated" {}
                        rect {}
                    }
                    figcaption {}
                }
            }
        },
    ))
}

/// The drawing of the loss on one image, on demand with its gradients.
#[track_caller]
fn drawing<N: Network>(model: &Model<N>, with_gradients: bool) -> Result<Markup> {
    let graph = Graph::with_mode(Mode::Train);
    let (input, logits) = model.record(&graph, 1);
    let loss = logits.softmax_cross_entropy(graph.labels(LABELS, [1]));
    if with_gradients {
        gradients(loss, &graph.parameters())?;
    }
    graph.check()?;
    Ok(draw(&graph, input))
}

/// Time and memory of a training step.
fn cost_parts<N: Network>(model: &mut Model<N>, optimizer: &dyn Optimizer, test: &Dataset) -> Result<Markup> {
    let batch = test.len().min(BATCH);
    let samples: Vec<usize> = (0..batch).collect();
    let (images, labels) = test.batch(&samples)?;
    let graph = Graph::with_mode(Mode::Train);
    let (_, logits) = model.record(&graph, batch);
    let loss = logits.softmax_cross_entropy(graph.labels(LABELS, [batch]));
    minimize(loss, optimizer)?;
    let plan = Plan::compile(&graph, &[loss])?;
    let seed = model.store().seed();
    let feeds = [Feed::new(IMAGES, &images), Feed::new(LABELS, &labels)];
    let time = time_part(&plan, seed, model.parts().1, &feeds, batch)?;
    Ok(html! { (time) (memory_part(&plan)) })
}

/// An image as it is: its first channel.
fn picture(image: &Array4<f32>) -> image::GrayImage {
    let plane = image.index_axis(Axis(0), 0);
    grid(&[plane.index_axis(Axis(0), 0)], 1)
}
