//! Filters and feature maps.

use ndarray::{Array4, ArrayView4, Ix4, s};

use super::tiles::Tiles;
use crate::compile::Options;
use crate::data::IMAGES;
use crate::error::{Error, Result, nearest};
use crate::graph::dag::NodeId;
use crate::graph::{AxisMap, Dtype, Graph, Mode, TensorType, Var};
use crate::nn::{Model, Network};
use crate::run::{Feed, Store};
use crate::shape::Shape;

/// The filters of a convolution, its weight `[filters, channels, height, width]`: one tile for each, in colours if there are
/// three channels; otherwise a row of one tile for each channel (in rows of eight if there is one channel).
///
/// ```
/// use dagrad::nn::{Model, SimpleConvNet};
/// use dagrad::viz;
///
/// let model = Model::new(SimpleConvNet::default(), [1, 28, 28], 0)?;
/// let filters = viz::filters(model.store(), "W1")?;
/// assert_eq!(filters.len(), 30);
/// let png = filters.zoom(8).to_png()?; // or .write("filters.png")?
/// # assert!(png.starts_with(b"\x89PNG"));
/// # Ok::<(), dagrad::Error>(())
/// ```
///
/// # Errors
/// A name that no parameter of four axes has, with the names that do.
#[track_caller]
pub fn filters(store: &Store<f32>, name: &str) -> Result<Tiles> {
    let weight = store.get(name).and_then(|weight| weight.into_dimensionality().ok());
    let Some(weight) = weight else {
        let known = filter_names(store);
        let message = match store.get(name) {
            _ if known.is_empty() => "there are no filters: none of the parameters has four axes".to_owned(),
            Some(values) => {
                let (shape, known) = (values.shape(), known.join(", "));
                format!("{shape:?} is not [filters, channels, height, width]; filters are {known}")
            }
            None => format!("the store has no filters of this name{}", nearest(name, known.into_iter())),
        };
        return Err(Error::parameter(name, message));
    };
    Ok(filter_tiles(weight))
}

/// The names of the parameters that are filters.
pub(crate) fn filter_names(store: &Store<f32>) -> Vec<&str> {
    let is_filters = |name: &&str| store.get(name).is_some_and(|values| values.ndim() == 4);
    store.trainable().filter(is_filters).collect()
}

pub(super) fn filter_tiles(weight: ArrayView4<'_, f32>) -> Tiles {
    match weight.dim().1 {
        channels @ (1 | 3) => Tiles::of_planes(weight, channels),
        channels => Tiles::of_planes(weight, 1).columns(channels.max(1)),
    }
}

/// The feature maps of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureMaps {
    /// The name that the value was given, or its layer and operation.
    pub name: String,
    /// `[1, channels, height, width]`.
    pub shape: Shape,
    /// A tile for each channel.
    pub tiles: Tiles,
}

/// The feature maps of each layer for the first of `images` `[N, C, H, W]`: the results of convolutions with their bias,
/// of pools, and of functions such as relu, as long as they have more than one pixel.
///
/// ```
/// use dagrad::nn::{Model, SimpleConvNet};
/// use dagrad::viz;
///
/// let digits = dagrad::data::mnist_5k()?.test;
/// let mut model = Model::new(SimpleConvNet::default(), digits.image_shape(), 0)?;
/// let maps = viz::feature_maps(&mut model, &digits.batch(&[0])?.0)?;
/// assert_eq!(maps[0].shape, [1, 30, 24, 24].into());
/// # Ok::<(), dagrad::Error>(())
/// ```
///
/// # Errors
/// No images, or images of another shape.
#[track_caller]
pub fn feature_maps<N: Network>(model: &mut Model<N>, images: &Array4<f32>) -> Result<Vec<FeatureMaps>> {
    Ok(bounded_maps(model, images, Bounds { layers: usize::MAX, channels: usize::MAX, width: usize::MAX })?.0)
}

/// How much is shown of feature maps.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// The first so many layers,
    pub layers: usize,
    /// of each the first so many channels,
    pub channels: usize,
    /// in an image of about so many pixels in width.
    pub width: usize,
}

impl Bounds {
    /// As much of a map as is shown, computed in the graph: no memory is taken for what nobody sees.
    fn of(self, map: Var<'_>) -> Var<'_> {
        let &[_, channels, height, width] = &map.shape()[..] else { return map };
        let tile = (self.width / channels.clamp(1, 8)).max(1);
        let side = height.max(width).div_ceil(tile);
        let first = if channels > self.channels { map.slice(1, ..self.channels as isize) } else { map };
        if side > 1 {
            first.adaptive_avg_pool2d([height, width].map(|size| size.div_ceil(side)))
        } else {
            first
        }
    }
}

/// The feature maps of the first layers, and how many layers have some.
#[track_caller]
pub(super) fn bounded_maps<N: Network>(
    model: &mut Model<N>,
    images: &Array4<f32>,
    bounds: Bounds,
) -> Result<(Vec<FeatureMaps>, usize)> {
    if images.dim().0 == 0 {
        return Err(Error::setting("images", "there are none"));
    }
    let image = images.slice(s![..1, .., .., ..]);
    let graph = Graph::with_mode(Mode::Evaluate);
    model.record(&graph, 1);
    let found = maps(&graph);
    let shown: Vec<_> = found.iter().take(bounds.layers).map(|&map| bounds.of(map)).collect();
    let plan = Options::new().without_assignments().compile(&graph, &shown)?;
    let (store, workspace) = model.parts();
    let outputs = plan.run(store, workspace, &[Feed::new(IMAGES, &image)])?;
    let show = |(&map, &shown): (&Var<'_>, &Var<'_>)| {
        let values = outputs.get(shown)?.into_dimensionality::<Ix4>().ok()?;
        // Channels are not colours here.
        Some(FeatureMaps { name: map_name(map), shape: map.shape(), tiles: Tiles::of_planes(values, 1) })
    };
    Ok((found.iter().zip(&shown).filter_map(show).collect(), found.len()))
}

/// The feature maps of more than one pixel: of the operations of one named layer only the last.
pub(super) fn maps(graph: &Graph) -> Vec<Var<'_>> {
    let dag = graph.dag();
    let is_map = |id: &NodeId| {
        let TensorType { shape, dtype } = &dag.node(*id).ty;
        let pixels: usize = shape.iter().skip(2).product();
        let is_layer = dag.op(*id).is_some_and(|op| {
            let types = dag.operand_types(*id);
            // A window of one pixel that multiplies nothing only moves numbers.
            let is_window = op.axes(&types).iter().any(AxisMap::has_window);
            let multiplies = op.macs(&types, &dag.node(*id).ty) > 0;
            is_window || multiplies || (op.elementwise().is_some() && dag.operands(*id).len() == 1)
        });
        let layer = &dag.node(*id).layer;
        let goes_on = layer.is_some() && dag.consumers(*id).any(|reader| dag.node(reader).layer == *layer);
        *dtype == Dtype::Real && shape.len() == 4 && pixels > 1 && (is_layer || layer.is_some()) && !goes_on
    };
    dag.ids().filter(|id| dag.op(*id).is_some()).filter(is_map).map(|id| graph.var(id)).collect()
}

/// The name of a map.
pub(super) fn map_name(map: Var<'_>) -> String {
    let dag = map.graph().dag();
    let node = dag.node(map.id());
    let name = node.label.as_deref().or(node.layer.as_deref());
    name.map_or_else(|| node.source(), str::to_string)
}
