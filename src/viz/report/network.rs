//! The section of one trained network.

use maud::{Markup, html};
use ndarray::{Array1, Array4, Axis};

use super::classes::Predictions;
use super::graph::graph_parts;
use super::memory::memory_part;
use super::part;
use super::time::time_part;
use crate::compile::Plan;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::graph::{Graph, Mode, Var};
use crate::nn::{IMAGES, LABELS, Model, Network};
use crate::optim::{Optimizer, minimize};
use crate::run::Feed;
use crate::viz::maps::{FeatureMaps, feature_maps, filter_tiles};
use crate::viz::saliency::{Occlusion, grad_cam, input_gradient, occlusion, overlay};
use crate::viz::tiles::Tiles;

/// The most filters or maps of a layer that are shown,
const MAPS: usize = 32;
/// of the most layers.
const LAYERS: usize = 24;
/// Images of the step that is timed.
const BATCH: usize = 100;
/// The most pixels that filters and maps are wide, unless they are wider by themselves,
const FILTERS_WIDTH: usize = 420;
const MAPS_WIDTH: usize = 480;
/// and that single images are.
const IMAGE_WIDTH: usize = 224;

/// A network's first filters before training.
#[derive(Debug, Clone)]
pub struct Start {
    filters: Option<(String, Array4<f32>)>,
}

impl Start {
    /// The first filters of a model as they are now: its first parameter of four axes. A network may have none.
    pub fn of<N: Network>(model: &Model<N>) -> Self {
        let graph = Graph::with_mode(Mode::Evaluate);
        model.record(&graph, 1);
        let first = graph.parameters().into_iter().find(|parameter| parameter.shape().len() == 4);
        let named = |parameter: Var<'_>| Some((parameter.name(), filters(model, &parameter.name())?));
        Self { filters: first.and_then(named) }
    }
}

fn filters<N: Network>(model: &Model<N>, name: &str) -> Option<Array4<f32>> {
    Some(model.store().get(name)?.into_dimensionality().ok()?.to_owned())
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
    model.check_labels("test data", test.labels())?;
    let predictions = Predictions::of(model, test)?;
    let (image, _) = test.batch(&[0])?;
    let image_of = |sample| Tiles::of_image(test.batch(&[sample])?.0.index_axis(Axis(0), 0)).data_url();
    Ok(html! {
        section.network id=(format!("network{number}")) {
            h2 { (name) }
            (filters_part(start, model)?)
            (maps_part(model, &image)?)
            (saliency_part(model, test, &predictions)?)
            (predictions.confusion_part())
            (predictions.worst_part(image_of)?)
            (graph_parts(model, &image)?)
            (cost_parts(model, optimizer, test)?)
        }
    })
}

fn filters_part<N: Network>(start: &Start, model: &Model<N>) -> Result<Markup> {
    let Some((name, before)) = &start.filters else { return Ok(html! {}) };
    let Some(after) = filters(model, name) else { return Ok(html! {}) };
    let about = format!("{name}, the first filters, each from black (least weight) to white (greatest).");
    let shown = |when: &str, values: &Array4<f32>| {
        let tiles = filter_tiles(values.view()).columns(8).first(MAPS);
        figure(tiles, FILTERS_WIDTH, &format!("filters {when}"), when)
    };
    let figures = html! { (shown("before training", before)?) (shown("after training", &after)?) };
    Ok(part("Filters", &about, html! { div.gallery { (figures) } }))
}

/// Tiles as large as fits a width, with a text instead of them and a caption.
fn figure(tiles: Tiles, most: usize, text: &str, caption: &str) -> Result<Markup> {
    let (tiles, width) = tiles.fitted(most)?;
    Ok(html! {
        figure { img src=(tiles.data_url()?) width=(width) alt=(text); figcaption { (caption) } }
    })
}

/// The feature maps of each layer.
fn maps_part<N: Network>(model: &mut Model<N>, image: &Array4<f32>) -> Result<Markup> {
    let maps = feature_maps(model, image)?;
    if maps.is_empty() {
        return Ok(html! {});
    }
    let layers = match maps.len() {
        ..=LAYERS => "each layer".to_string(),
        count => format!("the first {LAYERS} of {count} layers"),
    };
    let about = format!("The output of {layers} for the first test image, at most {MAPS} channels.");
    let image = Tiles::of_image(image.index_axis(Axis(0), 0));
    let mut figures = vec![figure(image, IMAGE_WIDTH, "the image", "the image")?];
    for FeatureMaps { name, shape, tiles } in maps.into_iter().take(LAYERS) {
        let name = format!("{name} {shape}");
        figures.push(figure(tiles.first(MAPS), MAPS_WIDTH, &name, &name)?);
    }
    Ok(part("Feature maps", &about, html! { div.gallery { @for figure in figures { (figure) } } }))
}

/// Saliency, in three ways.
fn saliency_part<N: Network>(model: &mut Model<N>, test: &Dataset, all: &Predictions) -> Result<Markup> {
    let samples: Vec<usize> = (0..test.len().min(3)).chain(all.worst().into_iter().take(3)).collect();
    let (images, _) = test.batch(&samples)?;
    let classes = Array1::from_iter(samples.iter().map(|&sample| all.predicted(sample) as u32));
    // As many positions for a large image as for a small one: a quarter of it is covered at a time.
    let side = images.dim().2.max(images.dim().3);
    let cover = Occlusion { patch: side.div_ceil(4), stride: side.div_ceil(14), value: 0.0 };
    let mut heats = vec![
        ("gradient", input_gradient(model, &images, &classes)?),
        ("occlusion", occlusion(model, &images, &classes, cover)?),
    ];
    // A network without maps has no Grad-CAM.
    heats.extend(grad_cam(model, &images, &classes, None).ok().map(|heat| ("Grad-CAM", heat)));
    let names =
        ["image"].into_iter().chain(heats.iter().map(|(name, _)| *name)).collect::<Vec<_>>().join(", ");
    let drawn = |name: &str, tiles: Tiles| -> Result<Markup> {
        Ok(html! { img src=(tiles.data_url()?) width="84" alt=(name) title=(name); })
    };
    let content = html! {
        div.gallery {
            @for (position, image) in images.outer_iter().enumerate() {
                figure {
                    div.row {
                        (drawn("image", Tiles::of_image(image))?)
                        @for (name, heat) in &heats {
                            @let laid = overlay(image, heat.index_axis(Axis(0), position))?;
                            (drawn(name, Tiles::new([laid]).between(0.0, 1.0))?)
                        }
                    }
                    figcaption { "predicted " (classes[position]) ": " (names) }
                }
            }
        }
    };
    let about = format!(
        "Which pixels support the predicted class, hot where they matter most: the gradient of its logit in each pixel \
         (gradient), how far the logit falls when a patch of {0}×{0} pixels is covered (occlusion), and the feature maps \
         of the last layer that has some, weighted by their gradients (Grad-CAM; it stays cold where their mean gradients \
         are against the class). Three first and three worst images.",
        cover.patch
    );
    Ok(part("Saliency", &about, content))
}

/// Time and memory of a training step.
fn cost_parts<N: Network>(model: &mut Model<N>, optimizer: &dyn Optimizer, test: &Dataset) -> Result<Markup> {
    let batch = test.len().min(BATCH);
    let samples: Vec<usize> = (0..batch).collect();
    let (images, labels) = test.batch(&samples)?;
    let graph = Graph::with_mode(Mode::Train);
    let (.., loss) = model.record_loss(&graph, batch);
    minimize(loss, optimizer)?;
    let plan = Plan::compile(&graph, &[loss])?;
    let feeds = [Feed::new(IMAGES, &images), Feed::new(LABELS, &labels)];
    let (store, workspace) = model.parts();
    let time = time_part(&plan.profile(store, workspace, &feeds)?, batch);
    Ok(html! { (time) (memory_part(&plan)) })
}
