//! All about one trained network.

use maud::{Markup, html};
use ndarray::{Array1, Array4, ArrayD, Axis};

use super::classes::Answers;
use super::drawing::draw;
use super::memory::memory_part;
use super::time::time_part;
use super::{grouped, part};
use crate::autodiff::gradients;
use crate::compile::Plan;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::graph::{Graph, Mode};
use crate::nn::{IMAGES, LABELS, Model, Network};
use crate::optim::{Optimizer, minimize};
use crate::run::Feed;
use crate::viz::maps::{FeatureMaps, feature_maps, filter_tiles};
use crate::viz::saliency::{Occlusion, grad_cam, input_gradient, occlusion, overlay};
use crate::viz::tiles::Tiles;

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
        answers.worst_part(|sample| picture(&test.batch(&[sample])?.0).address())?,
        layers_part(model)?,
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
    let show = |values: &ArrayD<f32>| -> Result<(String, usize)> {
        let tiles = filter_tiles(values).columns(8).first(MAPS);
        Ok((tiles.address()?, tiles.width() * FILTER_SCALE))
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
    let maps = feature_maps(model, image)?;
    if maps.is_empty() {
        return Ok(html! {});
    }
    let mut figures = Vec::new();
    for FeatureMaps { name, shape, tiles } in maps.into_iter().take(LAYERS) {
        figures.push((name, shape.to_string(), tiles.first(MAPS).address()?));
    }
    Ok(part(
        "Feature maps",
        "What each layer makes of the first test image, at most 32 channels.",
        html! {
            div.gallery {
                figure {
                    img src=(picture(image).address()?) width=(IMAGE_WIDTH) alt="the image";
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

/// Where the network looks, in three ways.
fn saliency_part<N: Network>(model: &mut Model<N>, test: &Dataset, answers: &Answers) -> Result<Markup> {
    let samples: Vec<usize> = (0..test.len().min(3)).chain(answers.worst().into_iter().take(3)).collect();
    let (images, _) = test.batch(&samples)?;
    let classes = Array1::from_iter(samples.iter().map(|&sample| answers.answer(sample) as u32));
    // As many places for a large image as for a small one: a quarter of it is covered at a time.
    let side = images.dim().2.max(images.dim().3);
    let cover = Occlusion { patch: side.div_ceil(4), stride: side.div_ceil(14), value: 0.0 };
    let mut heats = vec![
        ("gradient", input_gradient(model, &images, &classes)?),
        ("occlusion", occlusion(model, &images, &classes, cover)?),
    ];
    // A network without maps has no Grad-CAM.
    heats.extend(grad_cam(model, &images, &classes, None).ok().map(|heat| ("Grad-CAM", heat)));
    let mut rows = Vec::new();
    for (position, image) in images.outer_iter().enumerate() {
        let mut pictures = vec![("image", Tiles::new([image.to_owned()]).address()?)];
        for (name, heat) in &heats {
            let laid = overlay(image, heat.index_axis(Axis(0), position))?;
            pictures.push((*name, Tiles::new([laid]).between(0.0, 1.0).address()?));
        }
        rows.push((pictures, classes[position]));
    }
    let about = format!(
        "What speaks for the class that the network answers, hot where it matters most: how strongly a pixel moves its \
         logit (gradient), how far the logit falls when a patch of {0}×{0} pixels is covered (occlusion), and the maps of \
         the last layer that has some, weighted by their gradients (Grad-CAM). Three first and three worst images.",
        cover.patch
    );
    Ok(part(
        "Saliency",
        &about,
        html! {
            div.gallery {
                @for (pictures, class) in &rows {
                    figure {
                        div.row {
                            @for (name, address) in pictures { img src=(address) width="84" alt=(name) title=(name); }
                        }
                        figcaption { "says " (class) ": " (pictures.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")) }
                    }
                }
            }
        },
    ))
}

/// The network layer by layer.
#[track_caller]
fn layers_part<N: Network>(model: &Model<N>) -> Result<Markup> {
    let graph = Graph::with_mode(Mode::Train);
    let (_, logits) = model.record(&graph, 1);
    logits.softmax_cross_entropy(graph.labels(LABELS, [1]));
    graph.check()?;
    let summary = graph.summary();
    let number = |number: usize| if number == 0 { String::new() } else { grouped(number) };
    let about = "For one image: trainable numbers, multiplications with their additions, bytes that are kept for the backward \
                 pass, and how much of the image a pixel sees.";
    Ok(part(
        "Layers",
        about,
        html! {
            div.wide {
                table.three-words {
                    thead { tr { @for name in ["layer", "operations", "output", "parameters", "MACs", "kept, bytes", "sees"] { th { (name) } } } }
                    tbody {
                        @for layer in &summary.layers {
                            tr {
                                td { (layer.name) }
                                td { (layer.operations) }
                                td { (layer.output.to_string()) }
                                td { (number(layer.parameters)) }
                                td { (number(layer.macs)) }
                                td { (number(layer.kept)) }
                                td { @if let Some([height, width]) = layer.sees { (height) "×" (width) } }
                            }
                        }
                        tr {
                            th { "total" } td {} td {}
                            th { (number(summary.parameters)) }
                            th { (number(summary.macs)) }
                            th { (number(summary.kept)) }
                            td {}
                        }
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
                        image href=(picture(image).address()?) width=(width) height=(height)
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
    let feeds = [Feed::new(IMAGES, &images), Feed::new(LABELS, &labels)];
    let (store, workspace) = model.parts();
    let time = time_part(&plan.profile(store, workspace, &feeds)?, batch);
    Ok(html! { (time) (memory_part(&plan)) })
}

/// The first of some images.
fn picture(images: &Array4<f32>) -> Tiles {
    Tiles::new([images.index_axis(Axis(0), 0).to_owned()])
}
