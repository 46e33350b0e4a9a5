//! Settings are checked where they are given: a number outside its range, as NaN is of every range, is refused with its name
//! and the user's line.
//!
//! The settings are read from the [list](../documents/public.txt) of the public interface: fields and arguments that are
//! numbers. So a new one is asked about because it exists.

use std::collections::BTreeSet;

use crate::common::public;
use dagrad::data::folder::{self, Fit};
use dagrad::data::{Augmented, Dataset, Subset, idx};
use dagrad::nn::{self, BatchNorm, Filters, Model, Units};
use dagrad::optim::{self, LearningRate, Optimizer, Sgd};
use dagrad::train::{FitOptions, Metric, Progress, fit};
use dagrad::viz::{self, Occlusion, Tiles};
use dagrad::{
    Conv2dOptions, CrossEntropy, Graph, Init, Pool2dOptions, Reduction, Result, Store, Trainer, Var,
    Workspace, check,
};
use ndarray::{Array1, Array3, Array4};

/// Modules and types whose numbers are results, or positions and sizes of what is at hand.
const RESULTS: &str = "Outputs Pair Real check::NetworkCheck compile:: error:: graph::AnyKernel graph::AnyOp graph::Attribute graph::Axis \
    graph::BatchSplit graph::Call graph::Kernel graph::Lowered graph::NodeRef graph::Op inspect:: kernels:: ops::example \
    train::Epoch train::Figures train::Resumed train::TrainStep";

/// Numbers that may be anything, or whose ranges follow from shapes (the table of misuses has these).
const ANY: &str = "data::Augmented::outside_mask.class data::Dataset::pixels.sample data::Dataset::take.samples data::Number::Real.0 \
    data::Samples::write.field data::Samples::write.sample graph::Graph::fill.value \
    graph::Init::he.fan_in graph::Init::xavier.fan_in graph::Init::xavier.fan_out \
    graph::Var::conv_transpose2d.output_padding graph::Var::pad.value graph::Var::repeat_interleave.times \
    graph::Var::scatter_add.size graph::Var::std_dev.correction graph::Var::std_dev_keep.correction \
    graph::Var::variance.correction graph::Var::variance_keep.correction nn::Model::record.batch nn::SimpleConvNet.padding \
    nn::conv_transpose2d.output_padding \
    ops::Conv2dOptions::window.image optim::LearningRate::warmup.steps ops::CrossEntropy::ignore.label ops::Conv2dOptions::window.kernel ops::Pool2dOptions::padding.padding \
    train::Checkpoints::keep.newest train::EarlyStopping::least.patience train::EarlyStopping::least_loss.patience train::EarlyStopping::most.patience \
    train::FitOptions.epochs train::Labels::ignoring.label viz::TensorBoard::scalar.value viz::Tiles::first.count viz::Tiles::fitted.width viz::Tiles::fitted.height";

/// Settings, numbers that are in range and out of it, what the error says, and what uses the setting.
type Setting = (&'static str, &'static [f64], &'static [f64], &'static str, fn(f64) -> Result<()>);

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;
/// What ε, standard deviations and rates are not.
const NEGATIVE: &[f64] = &[-1e-9, -1.0, -INF, INF, NAN, LARGE, SMALL];
/// What shares are not.
const NO_SHARE: &[f64] = &[-1e-9, 1.1, INF, -INF, NAN, SMALL];
const SHARES: &[f64] = &[0.0, 0.5, 1.0];
/// What leaves nothing for one part.
const NO_PART: &[f64] = &[0.0, 0.999, 1.0, -0.1, INF, NAN, SMALL];
const NOT_FINITE: &[f64] = &[INF, -INF, NAN, LARGE, -LARGE];
/// What `f32` takes for infinite, and for 0.
const LARGE: f64 = 1e39;
const SMALL: f64 = 1e-60;

/// Settings of what is recorded.
fn on(record: impl FnOnce(&Graph)) -> Result<()> {
    let graph = Graph::new();
    record(&graph);
    graph.check()
}

fn rows(graph: &Graph) -> Var<'_> {
    graph.input("rows", [4, 6])
}

fn image(graph: &Graph) -> Var<'_> {
    graph.input("image", [2, 4, 8, 8])
}

fn target(graph: &Graph) -> Var<'_> {
    graph.input("target", [4, 6])
}

/// Settings of an optimizer.
fn by(optimizer: &dyn Optimizer) -> Result<()> {
    let graph = Graph::new();
    let loss = graph.param("w", [2], Init::ONES).sum_all();
    Trainer::<f32>::with(loss, optimizer, Store::new(0), Workspace::new(1)?).map(drop)
}

/// Settings of a network.
fn of(network: impl nn::Network) -> Result<()> {
    Model::<_, f32>::with_workspace(network, [1, 32, 32], 0, Workspace::new(1)?).map(drop)
}

fn augmented() -> Result<Augmented<Dataset>> {
    Augmented::new(data(), &["images"])
}

fn data() -> Dataset {
    Dataset::new(vec![7; 4 * 64], [1, 8, 8], vec![0, 1, 0, 1], 2).unwrap()
}

fn model() -> Model<fn(Var<'_>) -> Var<'_>> {
    let network: fn(Var<'_>) -> Var<'_> = |images| nn::linear(images.flatten(), "classes", 2);
    Model::with_workspace(network, [1, 8, 8], 0, Workspace::new(1).unwrap()).unwrap()
}

fn occlusion(options: Occlusion) -> Result<()> {
    viz::occlusion(&mut model(), &Array4::zeros((1, 1, 8, 8)), &Array1::zeros(1), options).map(drop)
}

fn tiles(change: impl FnOnce(Tiles) -> Tiles) -> Result<()> {
    change(Tiles::new([Array3::zeros((1, 2, 2))])).to_image().map(drop)
}

fn simple() -> nn::SimpleConvNet {
    nn::SimpleConvNet::default()
}

fn vgg(stack: [usize; 2]) -> nn::Vgg {
    nn::Vgg { stacks: vec![stack], hidden: 2, output: 2 }
}

fn alex() -> nn::AlexNet {
    nn::AlexNet { width: 6, hidden: 2, output: 2, first: [2, 1] }
}

/// Every setting.
#[rustfmt::skip]
const SETTINGS: &[Setting] = &[
    ("Workspace::new.threads", &[1.0], &[0.0, 1025.0], "threads", |x| Workspace::new(x as usize).map(drop)),
    ("check::network.elements", &[1.0], &[0.0], "elements", |x| {
        let graph = Graph::new();
        let loss = graph.param("w", [2], Init::ONES).powi(2).sum_all();
        check::network(loss, &mut Store::new(0), &[], x as usize).map(drop)
    }),
    ("data::Augmented::crop.padding", &[0.0, 8.0], &[9.0, 1e19], "padding", |x| augmented()?.crop(x as usize).map(drop)),
    ("data::Augmented::erase.probability", SHARES, NO_SHARE, "probability", |x| augmented()?.erase(x).map(drop)),
    ("data::Augmented::flip_horizontal.probability", SHARES, NO_SHARE, "probability", |x| augmented()?.flip_horizontal(x).map(drop)),
    ("data::Augmented::flip_vertical.probability", SHARES, NO_SHARE, "probability", |x| augmented()?.flip_vertical(x).map(drop)),
    ("data::Augmented::mixup.alpha", &[1e-9, 1.0, 100.0], &[0.0, -1.0, 101.0, INF, NAN, SMALL], "alpha", |x| augmented()?.mixup(x, "labels", 3).map(drop)),
    ("data::Augmented::mixup.classes", &[1.0], &[0.0], "classes", |x| augmented()?.mixup(0.2, "labels", x as usize).map(drop)),
    ("data::Augmented::rotate.degrees", &[0.0, 180.0], &[-1e-9, 181.0, INF, NAN, SMALL], "degrees", |x| augmented()?.rotate(x).map(drop)),
    ("data::Augmented::shift.fraction", SHARES, NO_SHARE, "fraction", |x| augmented()?.shift(x).map(drop)),
    ("data::Dataset::split.fraction", &[0.01, 0.5], NO_PART, "fraction", |x| data().split(x, 0).map(drop)),
    ("data::Subset::split.fraction", &[0.01, 0.5], NO_PART, "fraction", |x| Subset::split(&data(), x, 0).map(drop)),
    ("data::Subset::split_by_class.fraction", &[0.01, 0.5], NO_PART, "fraction", |x| Subset::split_by_class(&data(), "labels", x, 0).map(drop)),
    ("data::folder::load.image_shape", &[], &[0.0, 1e19], "image_shape", |x| folder::load("none", [1, x as usize, 9], Fit::Exact).map(drop)),
    ("data::folder::load_split.image_shape", &[], &[0.0, 1e19], "image_shape", |x| folder::load_split("none", [1, 9, x as usize], Fit::Exact).map(drop)),
    ("data::Dataset::batches.batch_size", &[1.0], &[0.0], "batch_size", |x| data().batches(x as usize, 0, 0).map(drop)),
    ("data::Dataset::new.classes", &[1.0], &[0.0], "classes", |x| Dataset::new(vec![], [1, 1, 1], vec![], x as usize).map(drop)),
    ("data::Dataset::new.image_shape", &[1.0], &[0.0], "image_shape", |x| Dataset::new(vec![], [1, 1, x as usize], vec![], 1).map(drop)),
    ("data::idx::load_with_classes.classes", &[], &[0.0], "classes", |x| idx::load_with_classes("none", x as usize).map(drop)),
    ("data::idx::read.classes", &[], &[0.0], "classes", |x| idx::read("none", "none", x as usize).map(drop)),
    ("graph::Init::Constant.0", &[-1.0, INF, -INF], &[NAN, LARGE, SMALL], "the start is ", |x| on(|g| _ = g.param("w", [2], Init::Constant(x)))),
    ("graph::Init::Normal.std", &[0.0, 1.0], NEGATIVE, "std", |x| on(|g| _ = g.param("w", [2], Init::Normal { std: x }))),
    ("graph::Init::Uniform.limit", &[0.0, 1.0], NEGATIVE, "limit", |x| on(|g| _ = g.state("w", [2], Init::Uniform { limit: x }))),
    ("graph::Var::adaptive_avg_pool2d.output", &[1.0], &[0.0], "no 0×0 parts", |x| on(|g| _ = image(g).adaptive_avg_pool2d(x as usize))),
    ("graph::Var::at_least.bound", &[INF, -INF], &[NAN], "bound", |x| on(|g| _ = rows(g).at_least(x))),
    ("graph::Var::at_most.bound", &[INF, -INF], &[NAN], "bound", |x| on(|g| _ = rows(g).at_most(x))),
    ("graph::Var::clamp.least", &[INF, -INF], &[NAN], "bound", |x| on(|g| _ = rows(g).clamp(x, 1.0))),
    ("graph::Var::clamp.most", &[INF, -INF], &[NAN], "bound", |x| on(|g| _ = rows(g).clamp(0.0, x))),
    ("graph::Var::cosine_embedding_loss.margin", &[-1.0, 0.5], NOT_FINITE, "margin", |x| on(|g| {
        rows(g).cosine_embedding_loss(target(g), g.input("t", [4]), x, Reduction::Mean);
    })),
    ("graph::Var::cosine_similarity.epsilon", &[0.0, 1.0], NEGATIVE, "epsilon", |x| on(|g| _ = rows(g).cosine_similarity(target(g), 1, x))),
    ("graph::Var::dropout.drop", &[0.0, 1.0], NO_SHARE, "the probability to drop", |x| on(|g| _ = rows(g).dropout(x))),
    ("graph::Var::dropout2d.drop", &[0.0, 1.0], NO_SHARE, "the probability to drop", |x| on(|g| _ = image(g).dropout2d(x))),
    ("graph::Var::elu.alpha", &[-1.0, 1.0], NOT_FINITE, "alpha", |x| on(|g| _ = rows(g).elu(x))),
    ("graph::Var::group_norm.epsilon", &[0.0, 1.0], NEGATIVE, "epsilon", |x| on(|g| _ = image(g).group_norm(2, x))),
    ("graph::Var::group_norm.groups", &[1.0, 4.0], &[0.0, 3.0, 8.0], "groups", |x| on(|g| _ = image(g).group_norm(x as usize, 1e-5))),
    ("graph::Var::huber_loss.delta", &[1.0, INF], &[0.0, -1.0, NAN, LARGE, SMALL], "delta", |x| on(|g| _ = rows(g).huber_loss(target(g), x, Reduction::Mean))),
    ("graph::Var::layer_norm.axes", &[1.0, 2.0], &[0.0, 3.0], "ax", |x| on(|g| _ = rows(g).layer_norm(x as usize, 1e-5))),
    ("graph::Var::layer_norm.epsilon", &[0.0, 1.0], NEGATIVE, "epsilon", |x| on(|g| _ = rows(g).layer_norm(1, x))),
    ("graph::Var::leaky_relu.slope", &[-1.0, 1.0], NOT_FINITE, "slope", |x| on(|g| _ = rows(g).leaky_relu(x))),
    ("graph::Var::local_response_norm.alpha", &[0.0, 1.0], NOT_FINITE, "alpha", |x| on(|g| _ = image(g).local_response_norm(3, x, 0.75, 2.0))),
    ("graph::Var::local_response_norm.beta", &[0.0, 1.0], NOT_FINITE, "beta", |x| on(|g| _ = image(g).local_response_norm(3, 1.0, x, 2.0))),
    ("graph::Var::local_response_norm.channels", &[1.0, 3.0, 99.0], &[0.0], "channels", |x| on(|g| {
        image(g).local_response_norm(x as usize, 1.0, 0.75, 2.0);
    })),
    ("graph::Var::local_response_norm.k", &[0.0, 1.0], NOT_FINITE, "k is", |x| on(|g| _ = image(g).local_response_norm(3, 1.0, 0.75, x))),
    ("graph::Var::multi_margin_loss.margin", &[0.0, 1.0], NOT_FINITE, "margin", |x| on(|g| {
        rows(g).multi_margin_loss(g.labels("l", [4]), x, Reduction::Mean);
    })),
    ("graph::Var::normalise.epsilon", &[0.0, 1.0], NEGATIVE, "epsilon", |x| on(|g| _ = rows(g).normalise(&[0], x))),
    ("graph::Var::one_hot.classes", &[1.0], &[0.0], "the number of classes", |x| on(|g| _ = g.labels("l", [4]).one_hot(x as usize))),
    ("graph::Var::pixel_shuffle.factor", &[1.0, 2.0], &[0.0, 3.0], "factor", |x| on(|g| _ = image(g).pixel_shuffle(x as usize))),
    ("graph::Var::pixel_unshuffle.factor", &[1.0, 2.0], &[0.0, 3.0], "factor", |x| on(|g| _ = image(g).pixel_unshuffle(x as usize))),
    ("graph::Var::rms_norm.axes", &[1.0, 2.0], &[0.0, 3.0], "ax", |x| on(|g| _ = rows(g).rms_norm(x as usize, 1e-5))),
    ("graph::Var::rms_norm.epsilon", &[0.0, 1.0], NEGATIVE, "epsilon", |x| on(|g| _ = rows(g).rms_norm(1, x))),
    ("graph::Var::smooth_l1_loss.beta", &[0.0, 1.0], NEGATIVE, "beta", |x| on(|g| _ = rows(g).smooth_l1_loss(target(g), x, Reduction::Mean))),
    ("graph::Var::upsample_bilinear.size", &[1.0], &[0.0], "cannot become 0×0", |x| on(|g| _ = image(g).upsample_bilinear(x as usize, false))),
    ("graph::Var::upsample_nearest.size", &[1.0], &[0.0], "cannot become 0×0", |x| on(|g| _ = image(g).upsample_nearest(x as usize))),
    ("graph::Var::upsample_nearest_by.factor", &[1.0], &[0.0], "cannot become 0×0", |x| on(|g| _ = image(g).upsample_nearest_by(x as usize))),
    ("nn::AlexNet.first", &[2.0], &[0.0], "the window's height", |x| of(nn::AlexNet { first: [x as usize, 1], ..alex() })),
    ("nn::AlexNet.hidden", &[2.0], &[0.0], "the number of units", |x| of(nn::AlexNet { hidden: x as usize, ..alex() })),
    ("nn::AlexNet.output", &[2.0], &[0.0], "the number of units", |x| of(nn::AlexNet { output: x as usize, ..alex() })),
    ("nn::AlexNet.width", &[6.0], &[0.0], "the number of filters", |x| of(nn::AlexNet { width: x as usize, ..alex() })),
    ("nn::BatchNorm.epsilon", &[0.0, 1.0], NEGATIVE, "epsilon", |x| on(|g| {
        nn::batch_norm(rows(g), "bn", BatchNorm { epsilon: x, ..BatchNorm::default() });
    })),
    ("nn::BatchNorm.momentum", &[0.0, 1.0], NO_SHARE, "momentum", |x| on(|g| {
        nn::batch_norm(rows(g), "bn", BatchNorm { momentum: x, ..BatchNorm::default() });
    })),
    ("nn::DeepConvNet.dropout", &[0.0, 1.0], NO_SHARE, "the probability to drop", |x| of(nn::DeepConvNet { dropout: x, ..Default::default() })),
    ("nn::DeepConvNet.hidden", &[2.0], &[0.0], "the number of units", |x| of(nn::DeepConvNet { hidden: x as usize, ..Default::default() })),
    ("nn::DeepConvNet.output", &[2.0], &[0.0], "the number of units", |x| of(nn::DeepConvNet { output: x as usize, ..Default::default() })),
    ("nn::Filters::dilation.dilation", &[1.0], &[0.0], "the dilation", |x| on(|g| _ = nn::conv2d(image(g), "c", Filters::new(2, 3).dilation(x as usize)))),
    ("nn::Filters::groups.groups", &[1.0], &[0.0, 3.0], "groups", |x| on(|g| _ = nn::conv2d(image(g), "c", Filters::new(2, 3).groups(x as usize)))),
    ("nn::Filters::new.count", &[1.0], &[0.0], "the number of filters", |x| on(|g| _ = nn::conv2d(image(g), "c", Filters::new(x as usize, 3)))),
    ("nn::Filters::new.kernel", &[1.0], &[0.0], "the window's height", |x| on(|g| _ = nn::conv2d(image(g), "c", Filters::new(2, x as usize)))),
    ("nn::Filters::stride.stride", &[1.0], &[0.0], "the stride", |x| on(|g| _ = nn::conv2d(image(g), "c", Filters::new(2, 3).stride(x as usize)))),
    ("nn::LeNet5.output", &[2.0], &[0.0], "the number of units", |x| of(nn::LeNet5 { output: x as usize })),
    ("nn::Model::new.image_shape", &[1.0], &[0.0], "image_shape", |x| {
        Model::new(nn::network(|images| nn::linear(images.flatten(), "fc", 2)), [x as usize, 1, 1], 0).map(drop)
    }),
    ("nn::Model::with_workspace.image_shape", &[1.0], &[0.0], "image_shape", |x| {
        let network = nn::network(|images| nn::linear(images.flatten(), "fc", 2));
        Model::<_, f64>::with_workspace(network, [1, 1, x as usize], 0, Workspace::new(1)?).map(drop)
    }),
    ("nn::ResNet.blocks", &[1.0], &[0.0], "the number of blocks", |x| of(nn::ResNet { blocks: x as usize, width: 2, output: 2 })),
    ("nn::ResNet.output", &[1.0], &[0.0], "the number of units", |x| of(nn::ResNet { blocks: 1, width: 2, output: x as usize })),
    ("nn::ResNet.width", &[1.0], &[0.0], "the number of filters", |x| of(nn::ResNet { blocks: 1, width: x as usize, output: 2 })),
    ("nn::SimpleConvNet.filter_size", &[1.0], &[0.0], "the window's height", |x| of(nn::SimpleConvNet { filter_size: x as usize, ..simple() })),
    ("nn::SimpleConvNet.filters", &[1.0], &[0.0], "the number of filters", |x| of(nn::SimpleConvNet { filters: x as usize, ..simple() })),
    ("nn::SimpleConvNet.hidden", &[1.0], &[0.0], "the number of units", |x| of(nn::SimpleConvNet { hidden: x as usize, ..simple() })),
    ("nn::SimpleConvNet.output", &[1.0], &[0.0], "the number of units", |x| of(nn::SimpleConvNet { output: x as usize, ..simple() })),
    ("nn::SimpleConvNet.stride", &[1.0], &[0.0], "the stride", |x| of(nn::SimpleConvNet { stride: x as usize, ..simple() })),
    ("nn::SimpleConvNet.weight_init_std", &[0.0, 1.0], NEGATIVE, "std", |x| of(nn::SimpleConvNet { weight_init_std: x, ..simple() })),
    ("nn::Units::new.count", &[1.0], &[0.0], "the number of units", |x| on(|g| _ = nn::linear(rows(g), "fc", Units::new(x as usize)))),
    ("nn::Vgg.hidden", &[1.0], &[0.0], "the number of units", |x| of(nn::Vgg { hidden: x as usize, ..vgg([1, 1]) })),
    ("nn::Vgg.output", &[1.0], &[0.0], "the number of units", |x| of(nn::Vgg { output: x as usize, ..vgg([1, 1]) })),
    ("nn::Vgg.stacks", &[1.0], &[0.0], "the number of filters", |x| of(vgg([x as usize, 1]))),
    ("nn::Vgg.stacks", &[1.0], &[0.0], "the number of convolutions", |x| of(vgg([1, x as usize]))),
    ("nn::Vgg::sixteen.hidden", &[1.0], &[0.0], "the number of units", |x| of(nn::Vgg::sixteen(1, x as usize, 1))),
    ("nn::Vgg::sixteen.output", &[1.0], &[0.0], "the number of units", |x| of(nn::Vgg::sixteen(1, 1, x as usize))),
    ("nn::Vgg::sixteen.width", &[1.0], &[0.0], "the number of filters", |x| of(nn::Vgg::sixteen(x as usize, 1, 1))),
    ("nn::autoencoder.width", &[1.0], &[0.0], "the number of filters", |x| on(|g| _ = nn::autoencoder(image(g), x as usize))),
    ("nn::group_norm.epsilon", &[0.0, 1.0], NEGATIVE, "epsilon", |x| on(|g| _ = nn::group_norm(image(g), "n", 2, x))),
    ("nn::group_norm.groups", &[1.0, 4.0], &[0.0, 3.0], "groups", |x| on(|g| _ = nn::group_norm(image(g), "n", x as usize, 1e-5))),
    ("nn::layer_norm.axes", &[1.0, 2.0], &[0.0, 3.0], "ax", |x| on(|g| _ = nn::layer_norm(rows(g), "n", x as usize, 1e-5))),
    ("nn::layer_norm.epsilon", &[0.0, 1.0], NEGATIVE, "epsilon", |x| on(|g| _ = nn::layer_norm(rows(g), "n", 1, x))),
    ("nn::residual_block.filters", &[4.0], &[0.0], "the number of filters", |x| on(|g| _ = nn::residual_block(image(g), "b", x as usize, 1))),
    ("nn::residual_block.stride", &[1.0], &[0.0], "the stride", |x| on(|g| _ = nn::residual_block(image(g), "b", 4, x as usize))),
    ("nn::rms_norm.axes", &[1.0, 2.0], &[0.0, 3.0], "ax", |x| on(|g| _ = nn::rms_norm(rows(g), "n", x as usize, 1e-5))),
    ("nn::rms_norm.epsilon", &[0.0, 1.0], NEGATIVE, "epsilon", |x| on(|g| _ = nn::rms_norm(rows(g), "n", 1, x))),
    ("ops::Conv2dOptions::dilation.dilation", &[1.0], &[0.0], "the dilation", |x| on(|g| {
        image(g).conv2d(g.input("w", [2, 4, 2, 2]), Conv2dOptions::new().dilation(x as usize));
    })),
    ("ops::Conv2dOptions::groups.groups", &[1.0], &[0.0], "groups", |x| on(|g| {
        image(g).conv2d(g.input("w", [2, 4, 2, 2]), Conv2dOptions::new().groups(x as usize));
    })),
    ("ops::Conv2dOptions::stride.stride", &[1.0], &[0.0], "the stride", |x| on(|g| {
        image(g).conv2d(g.input("w", [2, 4, 2, 2]), Conv2dOptions::new().stride(x as usize));
    })),
    ("ops::CrossEntropy::label_smoothing.share", &[0.0, 1.0], NO_SHARE, "label_smoothing", |x| on(|g| {
        rows(g).cross_entropy(g.labels("l", [4]), CrossEntropy::new().label_smoothing(x));
    })),
    ("ops::Pool2dOptions::dilation.dilation", &[1.0], &[0.0], "the dilation", |x| on(|g| {
        image(g).max_pool2d(Pool2dOptions::new(2).dilation(x as usize));
    })),
    ("ops::Pool2dOptions::new.kernel", &[1.0], &[0.0], "the window's height", |x| on(|g| _ = image(g).avg_pool2d(x as usize))),
    ("ops::Pool2dOptions::stride.stride", &[1.0], &[0.0], "the stride", |x| on(|g| {
        image(g).max_pool2d(Pool2dOptions::new(2).stride(x as usize));
    })),
    ("optim::AdaGrad.epsilon", &[0.0], NEGATIVE, "epsilon", |x| by(&optim::AdaGrad { epsilon: x, ..optim::AdaGrad::new(0.1) })),
    ("optim::Adam.betas", &[0.0], &[-0.1, 1.0, 2.0, NAN, SMALL], "betas", |x| by(&optim::Adam { betas: [x, 0.9], ..optim::Adam::new(0.1) })),
    ("optim::Adam.betas", &[0.0], &[-0.1, 1.0, 2.0, NAN, SMALL], "betas", |x| by(&optim::Adam { betas: [0.9, x], ..optim::Adam::new(0.1) })),
    ("optim::Adam.epsilon", &[0.0], NEGATIVE, "epsilon", |x| by(&optim::Adam { epsilon: x, ..optim::Adam::new(0.1) })),
    ("optim::AdamW.weight_decay", &[0.0], NEGATIVE, "weight_decay", |x| by(&optim::AdamW { weight_decay: x, ..optim::AdamW::new(0.1) })),
    ("optim::LearningRate::polynomial.first", &[0.1], NEGATIVE, "rate", |x| by(&Sgd::new(LearningRate::polynomial(x, 10, 1.0)))),
    ("optim::LearningRate::polynomial.power", &[0.0, 0.9, 2.0], NEGATIVE, "the power", |x| by(&Sgd::new(LearningRate::polynomial(0.1, 10, x)))),
    ("optim::LearningRate::polynomial.steps", &[1.0, 1e9], &[0.0], "the number of steps is 0", |x| by(&Sgd::new(LearningRate::polynomial(0.1, x as u32, 1.0)))),
    ("optim::LearningRate::cosine.peak", &[0.1], NEGATIVE, "rate", |x| by(&Sgd::new(LearningRate::cosine(x, 10)))),
    ("optim::LearningRate::cosine.steps", &[1.0, 1e9], &[0.0], "the number of steps is 0", |x| by(&Sgd::new(LearningRate::cosine(0.1, x as u32)))),
    ("optim::LearningRate::exponential.factor", &[0.9], NEGATIVE, "factor", |x| by(&Sgd::new(LearningRate::exponential(0.1, x)))),
    ("optim::LearningRate::exponential.first", &[0.1], NEGATIVE, "rate", |x| by(&Sgd::new(LearningRate::exponential(x, 0.9)))),
    ("optim::LearningRate::staircase.every", &[1.0, 1e9], &[0.0], "the number of steps is 0", |x| by(&Sgd::new(LearningRate::staircase(0.1, x as u32, 0.5)))),
    ("optim::LearningRate::staircase.factor", &[0.9], NEGATIVE, "factor", |x| by(&Sgd::new(LearningRate::staircase(0.1, 2, x)))),
    ("optim::LearningRate::staircase.first", &[0.1], NEGATIVE, "rate", |x| by(&Sgd::new(LearningRate::staircase(x, 2, 0.9)))),
    ("optim::Momentum.momentum", &[0.0], NEGATIVE, "momentum", |x| by(&optim::Momentum { momentum: x, ..optim::Momentum::new(0.1) })),
    ("optim::Nesterov.momentum", &[0.0], NEGATIVE, "momentum", |x| by(&optim::Nesterov { momentum: x, ..optim::Nesterov::new(0.1) })),
    ("optim::Optimizer::clip_norm.most", &[0.0, INF], &[-1.0, NAN, LARGE, SMALL], "bound", |x| by(&Sgd::new(0.1).clip_norm(x))),
    ("optim::Optimizer::clip_value.most", &[0.0, INF], &[-1.0, NAN, LARGE, SMALL], "bound", |x| by(&Sgd::new(0.1).clip_value(x))),
    ("optim::Optimizer::weight_decay.factor", &[0.0], &[-1.0, INF, NAN, LARGE, SMALL], "weight_decay", |x| by(&Sgd::new(0.1).weight_decay(x))),
    ("optim::RmsProp.decay", &[0.0, 1.0], NO_SHARE, "decay", |x| by(&optim::RmsProp { decay: x, ..optim::RmsProp::new(0.1) })),
    ("optim::RmsProp.epsilon", &[0.0], NEGATIVE, "epsilon", |x| by(&optim::RmsProp { epsilon: x, ..optim::RmsProp::new(0.1) })),
    ("train::FitOptions.batch", &[2.0, 1e15], &[0.0], "batch", |x| {
        let options = FitOptions { batch: x as usize, epochs: 1, progress: Progress::Quiet, ..FitOptions::default() };
        fit(&mut model(), &Sgd::new(0.1), &data(), &data(), options).map(drop)
    }),
    ("nn::Model::into_predictor.threads", &[1.0, 2.0], &[0.0, 1025.0], "threads", |x| model().into_predictor(&[1], x as usize).map(drop)),
    ("optim::Optimizer::accumulate.batches", &[1.0, 1e15], &[0.0], "the number of batches", |x| by(&Sgd::new(0.1).accumulate(x as usize))),
    ("optim::Optimizer::averaged.decay", &[0.0, 0.999, 1.0], NO_SHARE, "the decay", |x| by(&Sgd::new(0.1).averaged(x))),
    ("train::Metric::top_k.k", &[1.0, 9.0], &[0.0], "k ", |x| on(|g| _ = Metric::top_k(x as usize, rows(g), g.labels("l", [4])))),
    ("viz::Occlusion.patch", &[1.0], &[0.0], "patch", |x| occlusion(Occlusion { patch: x as usize, ..Occlusion::default() })),
    ("viz::Occlusion.stride", &[1.0], &[0.0], "stride", |x| occlusion(Occlusion { stride: x as usize, ..Occlusion::default() })),
    ("viz::Occlusion.value", &[-1.0], NOT_FINITE, "value", |x| occlusion(Occlusion { value: x as f32, ..Occlusion::default() })),
    ("viz::Tiles::between.black", &[0.0], NOT_FINITE, "black", |x| tiles(|tiles| tiles.between(x as f32, 1.0))),
    ("viz::Tiles::between.white", &[0.0], NOT_FINITE, "white", |x| tiles(|tiles| tiles.between(0.0, x as f32))),
    ("viz::Tiles::columns.columns", &[1.0], &[0.0], "columns", |x| tiles(|tiles| tiles.columns(x as usize))),
    ("viz::Tiles::zoom.zoom", &[1.0], &[0.0, 1e19], "zoom", |x| tiles(|tiles| tiles.zoom(x as usize))),
    ("viz::read_image.channels", &[], &[0.0, 2.0, 4.0], "channels", |x| viz::read_image("none.png", x as usize).map(drop)),
];

/// The numbers among the fields and arguments of the public interface, by their paths.
fn numbers(list: &str) -> BTreeSet<String> {
    const TYPES: [&str; 8] =
        ["f64", "f32", "u32", "usize", "[f64; 2]", "[usize; 2]", "[usize; 3]", "impl Into<Pair>"];
    let mut found = BTreeSet::new();
    for line in list.lines() {
        let function = line.split_once("::pub fn ").or_else(|| line.split_once("::fn "));
        if let Some((owner, declaration)) = function.or_else(|| line.split_once(": pub fn ")) {
            let (name, arguments) = declaration.split_once('(').unwrap_or_default();
            let name = name.split('<').next().unwrap_or_default();
            let is_free = line.starts_with(&format!("{owner}: pub fn"));
            let path = if is_free { owner.to_string() } else { format!("{owner}::{name}") };
            let arguments = arguments.split(") ->").next().unwrap_or_default().trim_end_matches(')');
            let named = arguments.split(", ").filter_map(|argument| argument.split_once(": "));
            found
                .extend(named.filter(|(_, of)| TYPES.contains(of)).map(|(name, _)| format!("{path}.{name}")));
        } else if let Some((path, of)) = line.split_once(": ")
            && path.contains('.')
            && (TYPES.contains(&of) || of.contains("usize; 2"))
        {
            found.insert(path.to_string());
        } else if let Some(path) = line.strip_suffix("(f64)") {
            found.insert(format!("{path}.0"));
        }
    }
    found
}

#[test]
fn every_number_is_known_as_a_setting_or_not() {
    let is_result = |path: &String| RESULTS.split_whitespace().any(|start| path.starts_with(start));
    let found: BTreeSet<String> = numbers(&public()).into_iter().filter(|path| !is_result(path)).collect();
    let known = SETTINGS.iter().map(|(path, ..)| *path).chain(ANY.split_whitespace());
    let known: BTreeSet<String> = known.map(str::to_string).collect();
    let missing: Vec<_> = found.difference(&known).collect();
    let gone: Vec<_> = known.difference(&found).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not asked about: {missing:#?}; not there: {gone:#?}");
}

#[test]
fn a_setting_out_of_range_is_refused_by_name_at_the_users_line() {
    let mut failures = Vec::new();
    for (path, good, bad, says, given) in SETTINGS {
        for value in *good {
            if let Err(error) = given(*value) {
                failures.push(format!("{path}: {value} is refused: {error}"));
            }
        }
        for value in *bad {
            match given(*value) {
                Ok(()) => failures.push(format!("{path}: {value} is accepted")),
                Err(error) => {
                    let text = error.to_string();
                    if !text.contains(says) || !text.contains(&format!(" at {}:", file!())) {
                        failures.push(format!("{path}: {value}: {text}"));
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn a_setting_that_single_precision_cannot_hold_says_so() {
    for (value, text) in [(LARGE, "1e39"), (SMALL, "1e-60")] {
        let error = by(&Sgd::new(value)).unwrap_err().to_string();
        assert!(error.contains(&format!("the rate is {text}")), "{error}");
        assert!(error.contains("it is 0 or more and finite, and what `f32` has too"), "{error}");
    }
}
