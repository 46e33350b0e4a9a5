//! Saliency: which pixels matter for a prediction.
//!
//! Each function returns an array `[N, H, W]`: for each pixel of each image, how much it matters for the logit of a class.

use ndarray::{Array, Array1, Array2, Array3, Array4, ArrayView2, ArrayView3, Axis, Dimension, Zip, s};

use super::maps::{map_name, maps};
use super::tiles::extremes;
use crate::autodiff::gradients;
use crate::compile::Options;
use crate::data::{IMAGES, LABELS};
use crate::error::{Error, Result, SourceLine};
use crate::graph::setting::{self, COUNT, NUMBER};
use crate::graph::{Graph, Mode, Var};
use crate::nn::{Model, Network};
use crate::run::Feed;

/// How many covered images are predicted at once, at most.
const BATCH: usize = 128;
/// The most pixels of images that are computed at once, unless one alone has more.
const PIXELS: usize = 1 << 20;

/// How many images `[C, H, W]` are computed at once: at most so many, and of large ones fewer.
pub(super) fn at_once([_, height, width]: [usize; 3], most: usize) -> usize {
    (PIXELS / (height * width).max(1)).min(most).max(1)
}

/// The size of the gradient of the class's logit in each pixel, the largest over the channels: how strongly a small change
/// moves it (Simonyan and others, *Deep Inside Convolutional Networks*, 2013).
///
/// ```
/// use dagrad::nn::{Model, SimpleConvNet};
/// use dagrad::viz;
///
/// let digits = dagrad::data::mnist_5k()?.test;
/// let mut model = Model::new(SimpleConvNet::default(), digits.image_shape(), 0)?;
/// let (images, classes) = digits.batch(&[0, 1])?;
/// assert_eq!(viz::input_gradient(&mut model, &images, &classes)?.dim(), (2, 28, 28));
/// # Ok::<(), dagrad::Error>(())
/// ```
///
/// # Errors
/// Images that do not fit the model; another number of classes than of images, or a class out of range; a network whose
/// logits have no derivative.
#[track_caller]
pub fn input_gradient<N: Network>(
    model: &mut Model<N>,
    images: &Array4<f32>,
    classes: &Array1<u32>,
) -> Result<Array3<f32>> {
    let here = SourceLine::caller();
    let gradient: Array4<f32> =
        run(model, images, classes, |images, logit, _| Ok(gradients(logit, &[images])?[0]))
            .map_err(|error| error.at(here))?;
    Ok(gradient.mapv(f32::abs).fold_axis(Axis(1), 0.0f32, |most, &size| most.max(size)))
}

/// Grad-CAM: the maps of a layer, each weighted by the mean gradient of the class's logit in it, summed, rectified, and
/// enlarged to the image's size (Selvaraju and others, *Grad-CAM*, 2017). It shows which region supports the class.
///
/// `layer` names a layer or a value whose maps are taken; by default the last that are larger than one pixel.
///
/// ```
/// use dagrad::nn::{DeepConvNet, Model};
/// use dagrad::viz;
///
/// let digits = dagrad::data::mnist_5k()?.test;
/// let mut model = Model::new(DeepConvNet::default(), digits.image_shape(), 0)?;
/// let (images, classes) = digits.batch(&[0, 1])?;
/// let heat = viz::grad_cam(&mut model, &images, &classes, Some("conv4"))?;
/// assert_eq!(heat.dim(), (2, 28, 28));
/// assert!(heat.iter().all(|heat| *heat >= 0.0));
/// # Ok::<(), dagrad::Error>(())
/// ```
///
/// # Errors
/// As [`input_gradient`]; a network without such a layer, with the names of those that it has.
#[track_caller]
pub fn grad_cam<N: Network>(
    model: &mut Model<N>,
    images: &Array4<f32>,
    classes: &Array1<u32>,
    layer: Option<&str>,
) -> Result<Array3<f32>> {
    let (batch, _, height, width) = images.dim();
    let here = SourceLine::caller();
    let heat = run(model, images, classes, |_, logit, graph| {
        let known = maps(graph);
        let found = known.iter().rev().find(|map| layer.is_none_or(|name| map_name(**map) == name));
        let Some(&map) = found else {
            let names = known.iter().map(|map| map_name(*map)).collect::<Vec<_>>().join(", ");
            let wanted =
                layer.map_or("there are no maps".to_string(), |layer| format!("{layer:?} has no maps"));
            return Err(Error::setting("layer", format!("{wanted}; layers that have: {names}")));
        };
        let weights = gradients(logit, &[map])?[0].mean_keep(&[2, 3]);
        let heat = (map * weights).sum_keep(&[1]).relu();
        Ok(heat.upsample_bilinear([height, width], false).reshape([batch, height, width]))
    });
    heat.map_err(|error| error.at(here))
}

/// Records the network on the images and what `wanted` makes of the images and the sum of the classes' logits, and runs it.
#[track_caller]
fn run<N: Network, D: Dimension>(
    model: &mut Model<N>,
    images: &Array4<f32>,
    classes: &Array1<u32>,
    wanted: impl for<'g> FnOnce(Var<'g>, Var<'g>, &'g Graph) -> Result<Var<'g>>,
) -> Result<Array<f32, D>> {
    let batch = images.dim().0;
    check(model, images, classes)?;
    let graph = Graph::with_mode(Mode::Evaluate);
    let (input, logits) = model.record(&graph, batch);
    let chosen = logits.pick(graph.labels(LABELS, [batch])).sum_all();
    let wanted = wanted(input, chosen, &graph)?;
    let plan = Options::new().without_assignments().compile(&graph, &[wanted])?;
    let (store, workspace) = model.parts();
    let outputs = plan.run(store, workspace, &[Feed::new(IMAGES, images), Feed::new(LABELS, classes)])?;
    let Some(found) = outputs.at(0).and_then(|values| values.into_dimensionality().ok()) else {
        return Err(Error::setting("network", "its result is not logits [batch, classes]"));
    };
    Ok(found.to_owned())
}

#[track_caller]
fn check<N: Network>(model: &Model<N>, images: &Array4<f32>, classes: &Array1<u32>) -> Result<()> {
    let (batch, taken) = (images.dim().0, model.image_shape());
    if batch == 0 || images.shape()[1..] != taken {
        let message =
            format!("{:?} are not images [N, {}, {}, {}]", images.shape(), taken[0], taken[1], taken[2]);
        return Err(Error::setting("images", message));
    }
    if classes.len() != batch {
        return Err(Error::setting("classes", format!("{} do not fit {batch} images", classes.len())));
    }
    model.check_labels("classes", classes)
}

/// What covers parts of an image in [`occlusion`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Occlusion {
    /// Height and width of the patch.
    pub patch: usize,
    /// How far it moves at a time.
    pub stride: usize,
    /// What the covered pixels become.
    pub value: f32,
}

impl Default for Occlusion {
    fn default() -> Self {
        Self { patch: 7, stride: 2, value: 0.0 }
    }
}

/// How much the class's logit falls when a patch covers the pixel, the mean over all positions of the patch that do; below 0
/// where covering helps, 0 where no patch comes (Zeiler and Fergus, *Visualizing and Understanding Convolutional Networks*, 2013). It needs no
/// gradients, but a prediction for each position.
///
/// ```
/// use dagrad::nn::{Model, SimpleConvNet};
/// use dagrad::viz::{self, Occlusion};
///
/// let digits = dagrad::data::mnist_5k()?.test;
/// let mut model = Model::new(SimpleConvNet::default(), digits.image_shape(), 0)?;
/// let (images, classes) = digits.batch(&[0])?;
/// let heat = viz::occlusion(&mut model, &images, &classes, Occlusion::default())?;
/// assert_eq!(heat.dim(), (1, 28, 28));
/// # Ok::<(), dagrad::Error>(())
/// ```
///
/// # Errors
/// As [`input_gradient`]; a patch or stride of 0; a value that is infinite or NaN.
#[track_caller]
pub fn occlusion<N: Network>(
    model: &mut Model<N>,
    images: &Array4<f32>,
    classes: &Array1<u32>,
    options: Occlusion,
) -> Result<Array3<f32>> {
    let here = SourceLine::caller();
    check(model, images, classes)?;
    let Occlusion { patch, stride, value } = options;
    setting::require("patch", patch, COUNT)?;
    setting::require("stride", stride, COUNT)?;
    setting::require("value", f64::from(value), NUMBER)?;
    let (_, channels, height, width) = images.dim();
    let most = at_once(model.image_shape(), BATCH);
    // The last row and column of patches end with the image.
    let below = |start: usize, size: usize| start..start.saturating_add(patch).min(size);
    let starts = |size: usize| {
        let last = size.saturating_sub(patch);
        let mut starts: Vec<usize> = (0..=last).step_by(stride).collect();
        starts.extend((starts.last() != Some(&last)).then_some(last));
        starts
    };
    let columns = starts(width);
    let corners: Vec<[usize; 2]> =
        starts(height).into_iter().flat_map(|top| columns.iter().map(move |&left| [top, left])).collect();
    let mut heat = Array3::zeros((images.dim().0, height, width));
    for ((image, &class), mut heat) in images.outer_iter().zip(classes).zip(heat.outer_iter_mut()) {
        let mut covers = Array2::<f32>::zeros((height, width));
        let mut logit = |covered: &Array4<f32>| -> Result<Vec<f32>> {
            Ok(model.predict(covered)?.column(class as usize).to_vec())
        };
        let whole = logit(&image.to_owned().insert_axis(Axis(0))).map_err(|error| error.at(here))?[0];
        // All batches are of one size, so that one plan is compiled for them.
        let batch = corners.len().min(most);
        let mut covered = Array4::zeros((batch, channels, height, width));
        for some in corners.chunks(batch) {
            for (mut covered, &[top, left]) in covered.outer_iter_mut().zip(some) {
                covered.assign(&image);
                covered.slice_mut(s![.., below(top, height), below(left, width)]).fill(value);
            }
            for (&[top, left], rest) in some.iter().zip(logit(&covered).map_err(|error| error.at(here))?) {
                let patch = s![below(top, height), below(left, width)];
                heat.slice_mut(patch).mapv_inplace(|heat| heat + (whole - rest));
                covers.slice_mut(patch).mapv_inplace(|count| count + 1.0);
            }
        }
        Zip::from(&mut heat).and(&covers).for_each(|heat, &count| *heat /= count.max(1.0));
    }
    Ok(heat)
}

/// Heat laid over an image: the image in grey, and above it red and, where the heat is greatest, yellow. Heat of 0 and below is
/// not shown. The result is `[3, H, W]` from 0 to 1, a tile of [`Tiles`](super::Tiles).
///
/// ```
/// use dagrad::viz::{self, Tiles};
/// use ndarray::{Array2, Array3};
///
/// let (image, heat) = (Array3::zeros((1, 8, 8)), Array2::from_elem((8, 8), 1.0));
/// let tiles = Tiles::new([viz::overlay(image.view(), heat.view())?]).between(0.0, 1.0);
/// # Ok::<(), dagrad::Error>(())
/// ```
///
/// # Errors
/// Image and heat of different sizes.
#[track_caller]
pub fn overlay(image: ArrayView3<'_, f32>, heat: ArrayView2<'_, f32>) -> Result<Array3<f32>> {
    let (_, height, width) = image.dim();
    if heat.dim() != (height, width) {
        let message = format!("heat {:?} does not fit {:?}", heat.shape(), image.shape());
        return Err(Error::setting("overlay", message));
    }
    let grey = image.mean_axis(Axis(0)).unwrap_or_else(|| Array2::zeros((height, width)));
    let (black, white) = extremes(&grey);
    let hottest = extremes(heat).1.max(0.0);
    let share = |value: f32, low: f32, high: f32| {
        let share = (value - low) / (high - low);
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    };
    Ok(Array3::from_shape_fn((3, height, width), |(channel, y, x)| {
        let heat = share(heat[[y, x]], 0.0, hottest);
        let colour = if channel < 2 { (2.0 * heat - channel as f32).clamp(0.0, 1.0) } else { 0.0 };
        let cover = 0.85 * heat.sqrt();
        (1.0 - cover) * share(grey[[y, x]], black, white) + cover * colour
    }))
}
