//! The section of one trained network.

use maud::{Markup, html};
use ndarray::{Array1, Array3, Array4, Axis};

use super::classes::Predictions;
use super::graph::{Shown, graph_parts};
use super::memory::memory_part;
use super::time::time_part;
use super::{NAME, part};
use crate::compile::Plan;
use crate::data::{Dataset, IMAGES, LABELS};
use crate::error::{Error, Result};
use crate::graph::{Graph, Mode, Var};
use crate::inspect::shortened;
use crate::nn::{Model, Network};
use crate::optim::{Optimizer, minimize};
use crate::run::Feed;
use crate::viz::maps::{Bounds, FeatureMaps, bounded_maps, filter_tiles};
use crate::viz::saliency::{Occlusion, at_once, grad_cam, input_gradient, occlusion, overlay};
use crate::viz::tiles::Tiles;

/// The most filters or maps of a layer that are shown,
const MAPS: usize = 32;
/// of the most layers.
const LAYERS: usize = 16;
/// Images of the step that is timed, at most.
const BATCH: usize = 100;
/// Samples that are explained: so many first and so many worst, at most; of large images fewer, whose pixels are so many.
const EXPLAINED: usize = 3;
const EXPLAINED_PIXELS: usize = 1 << 19;
/// Covered pixels that are predicted for all of them, about.
const COVERED_PIXELS: usize = 1 << 26;
/// Width and height in pixels within which filters are shown,
const FILTERS_SIZE: [usize; 2] = [420, 840];
/// and maps,
const MAPS_SIZE: [usize; 2] = [480, 480];
/// and the image itself.
const IMAGE_SIZE: [usize; 2] = [224, 224];
/// The longer side of a small image on the page,
const SMALL: usize = 84;
/// and the most pixels that it has.
const SMALL_PIXELS: usize = 112;

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
    let batch = at_once(test.image_shape(), BATCH).min(test.len());
    let least = least_batch(model, batch);
    let predictions = Predictions::of(model, test)?;
    let (image, _) = test.batch(&[0])?;
    let graph = Graph::with_mode(Mode::Train);
    let (input, _, loss) = model.record_loss(&graph, least);
    let shown = Shown::new(image.index_axis(Axis(0), 0))?;
    let worst_image = |sample| {
        let image = Tiles::of_image(test.batch(&[sample])?.0.index_axis(Axis(0), 0));
        small(image, &format!("test image {sample}"))
    };
    Ok(html! {
        section.network id=(format!("network{number}")) {
            h2 { (name) }
            (filters_part(start, model)?)
            (maps_part(model, &image)?)
            (saliency_part(model, test, &predictions)?)
            (predictions.confusion_part())
            (predictions.worst_part(worst_image)?)
            (graph_parts(loss, input, (least, "image"), Some(&shown))?)
            (cost_parts(model, optimizer, test, batch.max(least))?)
        }
    })
}

/// On how many images a network can be trained: some need two numbers for a variance, or a whole batch.
fn least_batch<N: Network>(model: &Model<N>, batch: usize) -> usize {
    let can_train = |images: &usize| {
        let graph = Graph::with_mode(Mode::Train);
        model.record_loss(&graph, *images);
        graph.check().is_ok()
    };
    [1, 2].into_iter().find(can_train).unwrap_or(batch)
}

fn filters_part<N: Network>(start: &Start, model: &Model<N>) -> Result<Markup> {
    let Some((name, before)) = &start.filters else { return Ok(html! {}) };
    let Some(after) = filters(model, name) else { return Ok(html! {}) };
    let about = format!("{name}, the first filters, each from black (least weight) to white (greatest).");
    let shown = |when: &str, values: &Array4<f32>| {
        let tiles = filter_tiles(values.view()).columns(8).first(MAPS);
        figure(tiles, FILTERS_SIZE, &format!("filters {when}"), when)
    };
    let figures = html! { (shown("before training", before)?) (shown("after training", &after)?) };
    Ok(part("Filters", &about, html! { div.gallery { (figures) } }))
}

/// Tiles as large as fits a width and a height, with a text instead of them and a caption.
fn figure(tiles: Tiles, [width, height]: [usize; 2], text: &str, caption: &str) -> Result<Markup> {
    let image = tiles.fitted(width, height).to_image()?;
    Ok(html! {
        figure { img src=(image.data_url()?) width=(image.width()) alt=(text); figcaption { (caption) } }
    })
}

/// A small image of one tile, with a text instead of it.
fn small(tile: Tiles, text: &str) -> Result<Markup> {
    let image = tile.fitted(SMALL_PIXELS, SMALL_PIXELS).zoom(1).to_image()?;
    let longest = image.width().max(image.height()) as usize;
    let width = (SMALL * image.width() as usize / longest).max(1);
    Ok(html! { img src=(image.data_url()?) width=(width) alt=(text) title=(text); })
}

/// The feature maps of each layer.
fn maps_part<N: Network>(model: &mut Model<N>, image: &Array4<f32>) -> Result<Markup> {
    let bounds = Bounds { layers: LAYERS, channels: MAPS, width: MAPS_SIZE[0] };
    let (maps, layers) = bounded_maps(model, image, bounds)?;
    if maps.is_empty() {
        return Ok(html! {});
    }
    let layers = match layers {
        ..=LAYERS => "each layer".to_string(),
        count => format!("the first {LAYERS} of {count} layers"),
    };
    let about = format!("The output of {layers} for the first test image, at most {MAPS} channels.");
    let image = Tiles::of_image(image.index_axis(Axis(0), 0));
    let mut figures = vec![figure(image, IMAGE_SIZE, "the image", "the image")?];
    for FeatureMaps { name, shape, tiles } in maps {
        let name = format!("{} {shape}", shortened(&name, NAME));
        figures.push(figure(tiles, MAPS_SIZE, &name, &name)?);
    }
    Ok(part("Feature maps", &about, html! { div.gallery { @for figure in figures { (figure) } } }))
}

/// Saliency, in three ways.
fn saliency_part<N: Network>(model: &mut Model<N>, test: &Dataset, all: &Predictions) -> Result<Markup> {
    let [_, height, width] = test.image_shape();
    let (pixels, side) = ((height * width).max(1), height.max(width));
    let each = (EXPLAINED_PIXELS / pixels).clamp(1, EXPLAINED);
    let samples: Vec<usize> = (0..test.len().min(each)).chain(all.worst().into_iter().take(each)).collect();
    // A quarter of the image is covered at a time, at many positions if it is small.
    let positions = (COVERED_PIXELS / samples.len() / pixels).isqrt().clamp(4, 14);
    let cover = Occlusion { patch: side.div_ceil(4), stride: side.div_ceil(positions), value: 0.0 };
    let mut figures = Vec::new();
    for samples in samples.chunks(at_once(test.image_shape(), samples.len())) {
        let (images, _) = test.batch(samples)?;
        let classes = Array1::from_iter(samples.iter().map(|&sample| all.predicted(sample) as u32));
        let mut heats = vec![
            ("gradient", input_gradient(model, &images, &classes)?),
            ("occlusion", occlusion(model, &images, &classes, cover)?),
        ];
        // A network without maps has no Grad-CAM.
        heats.extend(grad_cam(model, &images, &classes, None).ok().map(|heat| ("Grad-CAM", heat)));
        for (position, class) in classes.iter().enumerate() {
            figures.push(heats_figure(&images, &heats, position, &all.name(*class as usize))?);
        }
    }
    let about = format!(
        "Which pixels support the predicted class, hot where they matter most: the gradient of its logit in each pixel \
         (gradient), how far the logit falls when a patch of {0}×{0} pixels is covered (occlusion), and the feature maps \
         of the last layer that has some, weighted by their gradients (Grad-CAM; it stays cold where their mean gradients \
         are against the class). First and worst images.",
        cover.patch
    );
    Ok(part("Saliency", &about, html! { div.gallery { @for figure in figures { (figure) } } }))
}

/// An image of a batch, and each heat over it.
fn heats_figure(
    images: &Array4<f32>,
    heats: &[(&str, Array3<f32>)],
    position: usize,
    class: &str,
) -> Result<Markup> {
    let image = images.index_axis(Axis(0), position);
    let mut drawn = vec![small(Tiles::of_image(image), "image")?];
    for (name, heat) in heats {
        let laid = overlay(image, heat.index_axis(Axis(0), position))?;
        drawn.push(small(Tiles::new([laid]).between(0.0, 1.0), name)?);
    }
    let names =
        ["image"].into_iter().chain(heats.iter().map(|(name, _)| *name)).collect::<Vec<_>>().join(", ");
    Ok(html! {
        figure {
            div.row { @for drawn in drawn { (drawn) } }
            figcaption { "predicted " (class) ": " (names) }
        }
    })
}

/// Time and memory of a training step.
fn cost_parts<N: Network>(
    model: &mut Model<N>,
    optimizer: &dyn Optimizer,
    test: &Dataset,
    batch: usize,
) -> Result<Markup> {
    let samples: Vec<usize> = (0..batch).map(|number| number % test.len()).collect();
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
