//! Normalisation with learned scale and shift, and running statistics.

use crate::error::Problem;
use crate::graph::setting::FINITE;
use crate::graph::{Attributes, Graph, Init, Mode, Var};
use crate::shape::Shape;

/// How a batch normalisation learns; PyTorch's defaults.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchNorm {
    /// ε, added to the variance.
    pub epsilon: f64,
    /// The weight of the batch: running ← (1 − momentum) · running + momentum · batch at each step.
    pub momentum: f64,
    /// Whether a scale and a shift are learned.
    pub affine: bool,
}

impl Default for BatchNorm {
    fn default() -> Self {
        Self { epsilon: 1e-5, momentum: 0.1, affine: true }
    }
}

/// Batch normalisation of `[N, C]` or `[N, C, …]` (Ioffe and Szegedy, *Batch Normalization*, 2015):
/// γ (x − mean) / √(variance + ε) + β for each channel.
///
/// γ is the parameter `{name}.weight` and β is `{name}.bias`, of shape `[C]`. The running statistics are the state
/// `{name}.running_mean` and `{name}.running_var`.
///
/// On a graph for training, mean and variance are those of the batch. A step moves the running statistics towards them, with
/// the variance of a sample (divided by n − 1). On a graph for evaluation the running statistics take their place. A step may
/// see several batches, as that of a Siamese network does. The running statistics then take in one after the other, in the
/// order of recording.
///
/// Training needs two values for each channel. So rows `[N, C]` are trained on two or more samples at a time.
///
/// ```
/// use dagrad::nn::{self, BatchNorm};
/// use dagrad::Graph;
///
/// let graph = Graph::new();
/// let image = graph.input("image", [8, 3, 5, 5]);
/// assert_eq!(nn::batch_norm(image, "bn1", BatchNorm::default()).shape(), [8, 3, 5, 5].into());
/// ```
///
/// # Errors
/// Recorded on the graph: fewer than two axes; while training, a single value for each channel, which has no variance; an ε
/// that is negative, infinite or NaN; a momentum outside of \[0, 1\].
#[track_caller]
pub fn batch_norm<'g>(x: Var<'g>, name: &str, options: BatchNorm) -> Var<'g> {
    let (graph, shape) = (x.graph(), x.shape());
    let (_layer, _at) = (graph.layer(name), graph.at_caller());
    let attributes = Attributes::new().with("epsilon", options.epsilon).with("momentum", options.momentum);
    let _composite = graph.composed("batch_norm", attributes.with("affine", options.affine));
    graph.require("batch_norm", "epsilon", options.epsilon, FINITE);
    graph.require("batch_norm", "momentum", options.momentum, 0.0..=1.0);
    let &[batch, channels, ..] = &shape[..] else {
        let problem =
            Problem::new(format!("{shape} has no axis of channels")).hint("it takes [batch, channels, ..]");
        return graph.refuse("batch_norm", &["x"], &[x], problem).or_rank(2);
    };
    let count = batch * shape[2..].iter().product::<usize>();
    // [C, 1, …] goes along the channels.
    let along: Shape = std::iter::once(channels).chain(shape[2..].iter().map(|_| 1)).collect();
    let mean = graph.state(&format!("{name}.running_mean"), [channels], Init::ZEROS);
    let variance = graph.state(&format!("{name}.running_var"), [channels], Init::ONES);
    let parameters = options.affine.then(|| scale_and_shift(graph, name, [channels]));
    if graph.mode() == Mode::Evaluate {
        // One scale and one shift for each channel follow from parameters alone: a plan computes them once.
        let deviation = (variance + options.epsilon).sqrt();
        let scale = parameters.map_or(1.0 / deviation, |[scale, _]| scale / deviation);
        let shift = parameters.map_or(-mean * scale, |[_, shift]| shift - mean * scale);
        return affine(x, [scale, shift], &along);
    }
    if count < 2 {
        let values = if count == 1 { "a single value" } else { "no value" };
        let text = format!("{values} for each channel of {shape} has no variance");
        let problem = Problem::new(text).hint("train on larger batches (of rows [batch, channels] on two or more), or record the graph for evaluation");
        return graph.refuse("batch_norm", &["x"], &[x], problem);
    }
    let axes: Vec<isize> = (0..shape.len() as isize).filter(|&axis| axis != 1).collect();
    let (normalised, moments) = x.standardised(&axes, options.epsilon);
    let of_batch = |moment: Var<'g>| moment.stop_gradient().reshape([channels]);
    let unbiased = of_batch(moments.variance) * (count as f64 / (count - 1) as f64);
    let (new, old) = (options.momentum, 1.0 - options.momentum);
    mean.update(|mean| mean * old + of_batch(moments.mean) * new);
    variance.update(|variance| variance * old + unbiased * new);
    parameters.map_or(normalised, |parameters| affine(normalised, parameters, &along))
}

/// Layer normalisation over the last `axes` axes, with parameters `{name}.weight` and `{name}.bias` of their sizes; see
/// [`Var::layer_norm`].
///
/// # Errors
/// As [`Var::layer_norm`].
#[track_caller]
pub fn layer_norm<'g>(x: Var<'g>, name: &str, axes: usize, epsilon: f64) -> Var<'g> {
    let (_layer, _called, shape) = (x.graph().layer(name), x.graph().called("layer_norm"), x.shape());
    let sizes: Shape = shape[shape.len().saturating_sub(axes)..].into();
    affine(x.layer_norm(axes, epsilon), scale_and_shift(x.graph(), name, &sizes), &sizes)
}

/// Root mean square normalisation over the last `axes` axes, with a parameter `{name}.weight` of their sizes; see
/// [`Var::rms_norm`].
///
/// # Errors
/// As [`Var::rms_norm`].
#[track_caller]
pub fn rms_norm<'g>(x: Var<'g>, name: &str, axes: usize, epsilon: f64) -> Var<'g> {
    let (_layer, _called, shape) = (x.graph().layer(name), x.graph().called("rms_norm"), x.shape());
    let sizes: Shape = shape[shape.len().saturating_sub(axes)..].into();
    x.rms_norm(axes, epsilon) * x.graph().param(&format!("{name}.weight"), sizes, Init::ONES)
}

/// Group normalisation of `[N, C, …]`, with parameters `{name}.weight` and `{name}.bias` `[C]`; see [`Var::group_norm`].
///
/// # Errors
/// As [`Var::group_norm`].
#[track_caller]
pub fn group_norm<'g>(x: Var<'g>, name: &str, groups: usize, epsilon: f64) -> Var<'g> {
    let (_layer, _called, shape) = (x.graph().layer(name), x.graph().called("group_norm"), x.shape());
    let normalised = x.group_norm(groups, epsilon);
    let Some(&channels) = shape.get(1) else { return normalised };
    let along: Shape = std::iter::once(channels).chain(shape[2..].iter().map(|_| 1)).collect();
    affine(normalised, scale_and_shift(x.graph(), name, [channels]), &along)
}

/// The parameters γ and β of a normalisation.
#[track_caller]
fn scale_and_shift<'g>(graph: &'g Graph, name: &str, sizes: impl Into<Shape>) -> [Var<'g>; 2] {
    let sizes = sizes.into();
    let scale = graph.param(&format!("{name}.weight"), &sizes, Init::ONES);
    [scale, graph.param(&format!("{name}.bias"), &sizes, Init::ZEROS)]
}

/// γ x + β, where γ and β are broadcast from another shape of as many elements.
#[track_caller]
fn affine<'g>(x: Var<'g>, [scale, shift]: [Var<'g>; 2], along: &Shape) -> Var<'g> {
    x * scale.reshape(along) + shift.reshape(along)
}
