//! What is misused is reported at the user's line, whichever function of the public interface finds it.
//!
//! The functions that fail are read from the [list](../documents/public.txt) of the public interface, so a new one is asked
//! about because it exists.

use std::collections::BTreeSet;
use std::path::Path;

use crate::common::{public, root};
use dagrad::data::folder::{self, Fit};
use dagrad::data::{Augmented, ChannelStatistics, Dataset, Normalised, Subset, TensorDataset, idx, npz};
use dagrad::inspect::diagnose;
use dagrad::nn::{self, Filters, Model, Predictor};
use dagrad::ops::example::{Example, normal};
use dagrad::optim::{self, LearningRate, Optimizer, Sgd, minimize};
use dagrad::train::{
    self, Checkpoints, FitOptions, Goal, Inputs, Learner, Progress, evaluate, fit, fit_observed,
    read_checkpoint, save_checkpoint,
};
use dagrad::viz::{self, Occlusion, Report, Start, TensorBoard, Tiles};
use dagrad::weights::Weights;
use dagrad::{
    Feed, Graph, Init, Mode, Options, Plan, Pool2dOptions, Result, Store, Trainer, Var, Workspace, check,
    col2im, gradients, hessian, hvp, im2col, jacobian, jvp, vjp,
};
use ndarray::{Array1, Array2, Array3, Array4, ArrayD};

/// Functions that no misuse makes fail, or whose errors name a file or an earlier line.
const OTHERWISE: &str = "Store::copy optim::averages Workspace::for_this_machine data::idx::load data::idx::read_images \
    data::idx::read_labels data::Samples::describe data::Samples::write data::cifar::load data::cifar::read data::mnist_5k graph::Graph::check inspect::receptive_field train::Observer::begin train::Observer::end \
    train::Observer::epoch train::Observer::step train::Checkpoints::new train::Checkpoints::save train::save_checkpoint train::Trainable::check \
    viz::Report::to_html viz::Report::write viz::TensorBoard::create viz::TensorBoard::flush viz::TensorBoard::scalar \
    weights::Weights::from_bytes weights::Weights::load_lenient weights::Weights::of weights::Weights::read";

/// What is misused.
struct World {
    model: Model<fn(Var<'_>) -> Var<'_>>,
    trainer: Trainer,
    predictor: Predictor,
    learner: Learner<for<'a, 'g> fn(&'a Inputs<'g>) -> Goal<'g>>,
    data: Dataset,
    images: Array4<f32>,
    labels: Array1<u32>,
    /// Images of another shape.
    wide: Array4<f32>,
    /// A dataset of such.
    wide_data: Dataset,
}

fn network(images: Var<'_>) -> Var<'_> {
    let h = nn::conv2d(images, "conv", Filters::new(3, 3)).relu();
    nn::linear(h.max_pool2d(2).flatten(), "classes", 3)
}

fn objective<'g>(inputs: &Inputs<'g>) -> Goal<'g> {
    let logits = network(inputs.get("images"));
    Goal::new(logits.softmax_cross_entropy(inputs.get("labels"))).output("logits", logits)
}

/// A step that needs the input `x` and the parameter `w`.
fn loss(graph: &Graph) -> Var<'_> {
    (graph.input("x", [2]) * graph.param("w", [2], Init::ONES)).sum_all()
}

fn dataset(width: usize) -> Dataset {
    let pixels = (0..4 * 8 * width).map(|i| (i * 37 % 251) as u8).collect();
    Dataset::new(pixels, [1, 8, width], vec![0, 1, 2, 0], 3).unwrap()
}

fn augmented(world: &World) -> Augmented<&Dataset> {
    Augmented::new(&world.data, &["images"]).unwrap()
}

/// A file of NumPy.
fn types() -> std::path::PathBuf {
    root().join("tests/golden/weights/types.npz")
}

fn workspace() -> Workspace {
    Workspace::new(1).unwrap()
}

impl World {
    fn new() -> Self {
        let (data, wide_data) = (dataset(8), dataset(10));
        let (images, labels) = data.batch(&[0, 1]).unwrap();
        let wide = wide_data.batch(&[0, 1]).unwrap().0;
        let network: fn(Var<'_>) -> Var<'_> = network;
        let model = Model::with_workspace(network, [1, 8, 8], 5, workspace()).unwrap();
        let graph = Graph::new();
        let trainer = Trainer::with(loss(&graph), &Sgd::new(0.1), Store::new(0), workspace()).unwrap();
        let objective: for<'a, 'g> fn(&'a Inputs<'g>) -> Goal<'g> = objective;
        let predictor = Model::with_workspace(network, [1, 8, 8], 5, workspace()).unwrap();
        let predictor = predictor.into_predictor(&[1], 1).unwrap();
        let learner = Learner::with_workspace(objective, &data, 5, workspace()).unwrap();
        Self { model, predictor, trainer, learner, data, images, labels, wide, wide_data }
    }
}

/// A store that has the parameter `w` under another shape.
fn other_store<T: dagrad::Real>() -> Store<T> {
    let mut store = Store::new(0);
    store.set("w", &ArrayD::zeros(vec![5])).unwrap();
    store
}

fn options() -> FitOptions {
    FitOptions { epochs: 1, batch: 2, progress: Progress::Quiet, ..FitOptions::default() }
}

/// A network that fails for batches and not for single images.
fn of_one(images: Var<'_>) -> Var<'_> {
    if images.shape()[0] == 1 { network(images) } else { images.reshape([7]) }
}

/// A rate that no optimizer takes.
fn wrong() -> Sgd {
    Sgd::new(f64::NAN)
}

/// A function of the public interface, the line of its misuse, and the misuse.
type Misuse = (&'static str, u32, fn(&mut World) -> Result<()>);

/// Every function that fails when it is misused.
const MISUSES: &[Misuse] = &[
    ("Store::prepare", line!(), |w| other_store().prepare(w.trainer.plan())),
    ("Store::set", line!(), |_| other_store::<f32>().set("w", &ArrayD::zeros(vec![7]))),
    ("Workspace::new", line!(), |_| Workspace::new(0).map(drop)),
    ("check::example", line!(), |_| {
        check::example(&Example::new("wrong", [normal([2])], |v| v[0].gather(0, v[0])))
    }),
    ("check::family", line!(), |_| check::family("none", &[])),
    ("check::network", line!(), |_| {
        check::network(loss(&Graph::new()), &mut Store::new(0), &[], 1).map(drop)
    }),
    ("compile::Options::compile", line!(), |_| {
        Options::new().without("haste").compile::<f32>(&Graph::new(), &[]).map(drop)
    }),
    ("compile::Options::program", line!(), |_| {
        Options::new().program(&Graph::new(), &[loss(&Graph::new())]).map(drop)
    }),
    ("compile::Plan::compile", line!(), |_| {
        Plan::<f32>::compile(&Graph::new(), &[loss(&Graph::new())]).map(drop)
    }),
    ("compile::Plan::compile", line!(), |_| {
        // Each array can be counted, all of them together cannot.
        let graph = Graph::new();
        let inputs = (0..9).map(|i| graph.input(&i.to_string(), [1 << 58]));
        let sum = inputs.reduce(|a, b| a + b).unwrap();
        Plan::<f64>::compile(&graph, &[sum.sum_all()]).map(drop)
    }),
    ("compile::Plan::profile", line!(), |w| {
        w.trainer.plan().profile(w.trainer.store(), &mut workspace(), &[]).map(drop)
    }),
    ("compile::Plan::run", line!(), |w| {
        w.trainer.plan().run(&mut Store::new(0), &mut workspace(), &[]).map(drop)
    }),
    ("compile::Plan::run", line!(), |w| {
        w.trainer.plan().run(&mut other_store(), &mut workspace(), &[]).map(drop)
    }),
    ("compile::Plan::run", line!(), |_| {
        let graph = Graph::new();
        let plan = Plan::<f32>::compile(&graph, &[graph.fill([1 << 50], 1.0).relu()])?;
        plan.run(&mut Store::new(0), &mut workspace(), &[]).map(drop)
    }),
    ("compile::Plan::run", line!(), |_| {
        let graph = Graph::new();
        let plan = Plan::<f32>::compile(&graph, &[graph.param("w", [1 << 50], Init::ZEROS).sum_all()])?;
        plan.run(&mut Store::new(0), &mut workspace(), &[]).map(drop)
    }),
    ("compile::Plan::watch", line!(), |w| w.trainer.plan().watch(loss(&Graph::new())).map(drop)),
    ("data::Dataset::batch", line!(), |w| w.data.batch(&[9]).map(drop)),
    ("data::Dataset::batches", line!(), |w| w.data.batches(0, 0, 0).map(drop)),
    ("data::Dataset::copy_batch", line!(), |w| w.data.copy_batch(&[9], &mut [], &mut [])),
    ("data::Dataset::new", line!(), |_| Dataset::new(vec![], [0, 1, 1], vec![], 1).map(drop)),
    ("data::Dataset::split", line!(), |w| w.data.split(0.0, 0).map(drop)),
    ("data::Dataset::split", line!(), |w| w.data.split(0.99, 0).map(drop)),
    ("data::Dataset::subset", line!(), |w| w.data.subset(&[9]).map(drop)),
    ("data::Dataset::with_class_names", line!(), |w| w.data.clone().with_class_names(["a"]).map(drop)),
    ("data::Dataset::with_class_names", line!(), |w| {
        w.data.clone().with_class_names(["a", "a", "b"]).map(drop)
    }),
    ("data::Augmented::new", line!(), |w| Augmented::new(&w.data, &["labels"]).map(drop)),
    ("data::Augmented::new", line!(), |w| Augmented::new(&w.data, &["image"]).map(drop)),
    ("data::Augmented::crop", line!(), |w| augmented(w).crop(9).map(drop)),
    ("data::Augmented::erase", line!(), |w| augmented(w).erase(2.0).map(drop)),
    ("data::Augmented::flip_horizontal", line!(), |w| augmented(w).flip_horizontal(2.0).map(drop)),
    ("data::Augmented::flip_vertical", line!(), |w| augmented(w).flip_vertical(2.0).map(drop)),
    ("data::Augmented::mixup", line!(), |w| augmented(w).mixup(0.2, "label", 3).map(drop)),
    ("data::Augmented::mixup", line!(), |w| augmented(w).mixup(0.2, "images", 3).map(drop)),
    ("data::Augmented::rotate", line!(), |w| augmented(w).rotate(200.0).map(drop)),
    ("data::Augmented::shift", line!(), |w| augmented(w).shift(2.0).map(drop)),
    ("data::ChannelStatistics::of", line!(), |w| ChannelStatistics::of(&w.data, "image").map(drop)),
    ("data::ChannelStatistics::of", line!(), |w| {
        let few = augmented(w).mixup(0.2, "labels", 1).unwrap();
        ChannelStatistics::of(&few, "labels").map(drop)
    }),
    ("data::Normalised::new", line!(), |w| {
        let statistics = ChannelStatistics { mean: vec![0.0], std: vec![0.0] };
        Normalised::new(&w.data, "images", &statistics).map(drop)
    }),
    ("data::Subset::new", line!(), |w| Subset::new(&w.data, vec![9]).map(drop)),
    ("data::Subset::split", line!(), |w| Subset::split(&w.data, 2.0, 0).map(drop)),
    ("data::Subset::split_by_class", line!(), |w| {
        Subset::split_by_class(&w.data, "images", 0.5, 0).map(drop)
    }),
    ("data::Subset::split_by_class", line!(), |w| Subset::split_by_class(&w.data, "label", 0.5, 0).map(drop)),
    ("data::TensorDataset::with", line!(), |_| TensorDataset::new().with("x", &ndarray::arr0(1.0)).map(drop)),
    ("data::TensorDataset::with", line!(), |_| {
        TensorDataset::new().with("x", &ndarray::arr1(&[-1])).map(drop)
    }),
    ("data::TensorDataset::with", line!(), |_| {
        TensorDataset::new().with("x", &ndarray::arr1(&[1e39])).map(drop)
    }),
    ("data::TensorDataset::with_class_names", line!(), |_| {
        TensorDataset::new().with("labels", &ndarray::arr1(&[1])).unwrap().with_class_names(["a"]).map(drop)
    }),
    ("data::TensorDataset::with_indices", line!(), |_| TensorDataset::new().with_indices("x").map(drop)),
    ("data::TensorDataset::with_shape", line!(), |_| TensorDataset::new().with_shape("x", [1]).map(drop)),
    ("data::folder::load", line!(), |_| folder::load("none", [2, 1, 1], Fit::Exact).map(drop)),
    ("data::folder::load_split", line!(), |_| folder::load_split("none", [1, 0, 1], Fit::Exact).map(drop)),
    ("data::npz::read", line!(), |_| npz::read(types(), &[("x", "none")]).map(drop)),
    ("data::npz::read", line!(), |_| npz::read(types(), &[("x", "scalar")]).map(drop)),
    ("data::npz::read", line!(), |_| npz::read(types(), &[("x", "<i8"), ("x", "<i8")]).map(drop)),
    ("data::idx::load_with_classes", line!(), |_| {
        idx::load_with_classes(root().join("tests/golden"), 0).map(drop)
    }),
    ("data::idx::read", line!(), |_| {
        let here = root().join("Cargo.toml");
        idx::read(&here, &here, 0).map(drop)
    }),
    ("gradients", line!(), |_| gradients(loss(&Graph::new()), &[Graph::new().fill([], 0.0)]).map(drop)),
    ("gradients", line!(), |_| {
        let graph = Graph::new();
        gradients(loss(&graph), &[graph.input("aside", [])]).map(drop)
    }),
    ("graph::Var::eval", line!(), |_| loss(&Graph::new()).eval::<f64>(&[]).map(drop)),
    ("graph::Var::eval", line!(), |_| {
        Graph::new().indices(Array1::from_vec(vec![1])).eval::<f64>(&[]).map(drop)
    }),
    ("gradients", line!(), |_| gradients(loss(&Graph::new()), &[loss(&Graph::new())]).map(drop)),
    ("hessian", line!(), |_| hessian(loss(&Graph::new()), loss(&Graph::new())).map(drop)),
    ("hvp", line!(), |_| hvp(loss(&Graph::new()), &[(loss(&Graph::new()), loss(&Graph::new()))]).map(drop)),
    ("inspect::diagnose", line!(), |_| {
        let graph = Graph::new();
        diagnose::<f32>(graph.input("x", [2]), &mut Store::new(0), &mut workspace(), &[]).map(drop)
    }),
    ("inspect::diagnose", line!(), |_| {
        diagnose::<f32>(loss(&Graph::new()), &mut Store::new(0), &mut workspace(), &[]).map(drop)
    }),
    ("jacobian", line!(), |_| jacobian(loss(&Graph::new()), loss(&Graph::new())).map(drop)),
    ("jvp", line!(), |_| {
        jvp(&[loss(&Graph::new())], &[(loss(&Graph::new()), loss(&Graph::new()))]).map(drop)
    }),
    ("nn::Model::accuracy", line!(), |w| w.model.accuracy(&w.wide, &w.labels).map(drop)),
    ("nn::Model::accuracy", line!(), |w| w.model.accuracy(&w.images, &Array1::zeros(3)).map(drop)),
    ("nn::Model::diagnose", line!(), |w| w.model.diagnose(&w.wide, &w.labels).map(drop)),
    ("nn::Model::gradient", line!(), |w| w.model.gradient(&w.images, &Array1::from_elem(2, 9)).map(drop)),
    ("nn::Model::loss", line!(), |w| w.model.loss(&w.images, &Array1::zeros(3)).map(drop)),
    ("nn::Model::new", line!(), |_| Model::new(nn::SimpleConvNet::default(), [1, 2, 2], 0).map(drop)),
    ("nn::Model::numerical_gradient", line!(), |w| w.model.numerical_gradient(&w.wide, &w.labels).map(drop)),
    ("nn::Model::predict", line!(), |w| w.model.predict(&w.wide).map(drop)),
    ("nn::Model::predict", line!(), |w| {
        Model::new(nn::network(|images| images.sum_all()), [1, 8, 8], 0)?.predict(&w.images).map(drop)
    }),
    ("nn::Model::with_workspace", line!(), |_| {
        Model::<_, f64>::with_workspace(nn::LeNet5 { output: 3 }, [1, 4, 4], 0, workspace()).map(drop)
    }),
    ("ops::col2im", line!(), |_| {
        col2im(Array2::<f32>::zeros((1, 1)).view(), [1, 1, 3, 3], Pool2dOptions::new(2)).map(drop)
    }),
    ("ops::col2im", line!(), |_| {
        col2im(Array2::<f32>::zeros((1, 1)).view(), [1, 1, 3, 3], Pool2dOptions::new(9)).map(drop)
    }),
    ("ops::im2col", line!(), |w| im2col(w.images.view(), Pool2dOptions::new(99)).map(drop)),
    ("optim::minimize", line!(), |_| minimize(loss(&Graph::new()), &wrong())),
    ("train::Checkpoints::newest", line!(), |w| {
        in_folder(|folder| {
            let mut checkpoints = Checkpoints::new(folder).unwrap();
            checkpoints.save(w.model.store()).unwrap();
            checkpoints.newest::<f64>().map(drop)
        })
    }),
    ("train::Checkpoints::resume", line!(), |w| {
        in_folder(|folder| {
            let mut checkpoints = Checkpoints::new(folder).unwrap();
            checkpoints.save(w.trainer.store()).unwrap();
            checkpoints.resume(&mut w.model).map(drop)
        })
    }),
    ("train::read_checkpoint", line!(), |w| {
        in_folder(|folder| {
            save_checkpoint(folder.join("file"), w.trainer.store()).unwrap();
            read_checkpoint::<f64>(folder.join("file")).map(drop)
        })
    }),
    ("train::Trainer::new", line!(), |_| Trainer::new(loss(&Graph::new()), &wrong()).map(drop)),
    ("train::Trainer::new", line!(), |_| {
        let graph = Graph::new();
        graph.param("aside", [], Init::ONES);
        Trainer::new(loss(&graph), &Sgd::new(0.1)).map(drop)
    }),
    ("nn::Model::into_predictor", line!(), |_| World::new().model.into_predictor(&[0], 1).map(drop)),
    ("nn::Predictor::predict", line!(), |w| w.predictor.predict(&w.wide).map(drop)),
    ("train::Learner::load", line!(), |w| w.learner.load(root().join(TIED)).map(drop)),
    ("train::Learner::new", line!(), |w| {
        let misspelt = train::objective(|inputs| Goal::new(inputs.get("pictures").mean_all()));
        Learner::new(misspelt, &w.data, 0).map(drop)
    }),
    ("train::Learner::predict", line!(), |w| w.learner.predict(&[]).map(drop)),
    ("train::Learner::predict", line!(), |w| w.learner.predict(&[Feed::new("images", &w.wide)]).map(drop)),
    ("train::Learner::save", line!(), |w| w.learner.save("net.pkl")),
    ("train::Learner::with_workspace", line!(), |w| {
        let none = train::objective(|inputs| Goal::new(inputs.get("images").argmax(7)));
        Learner::with_workspace(none, &w.data, 0, workspace()).map(drop)
    }),
    ("train::Trainer::profile", line!(), |w| w.trainer.profile(&[]).map(drop)),
    ("train::Trainer::step", line!(), |w| w.trainer.step(&[]).map(drop)),
    ("train::Trainer::step", line!(), |w| {
        w.trainer.step(&[Feed::new("x", &Array1::<f32>::zeros(3))]).map(drop)
    }),
    ("train::Trainer::with", line!(), |_| {
        Trainer::with(loss(&Graph::new()), &Sgd::new(0.1), other_store::<f64>(), workspace()).map(drop)
    }),
    ("train::evaluate", line!(), |w| evaluate(&mut w.model, &w.wide_data).map(drop)),
    ("train::evaluate", line!(), |w| evaluate(&mut w.learner, &w.wide_data).map(drop)),
    ("train::fit", line!(), |w| {
        fit(&mut w.model, &Sgd::new(0.1), &w.data, &w.wide_data, options()).map(drop)
    }),
    ("train::fit", line!(), |w| fit(&mut w.model, &wrong(), &w.data, &w.data, options()).map(drop)),
    ("train::fit", line!(), |w| {
        let options = FitOptions { batch: 0, ..options() };
        fit(&mut w.model, &Sgd::new(0.1), &w.data, &w.data, options).map(drop)
    }),
    ("train::fit", line!(), |w| {
        fit(&mut w.model, &Sgd::new(1e30), &w.data, &w.data, FitOptions { epochs: 9, ..options() }).map(drop)
    }),
    ("train::fit_observed", line!(), |w| {
        fit_observed(&mut w.model, &wrong(), &w.data, &w.data, options(), &mut ()).map(drop)
    }),
    ("viz::Report::network", line!(), |w| {
        let start = Start::of(&w.model);
        Report::new("").network("", &start, &mut w.model, &Sgd::new(0.1), &w.wide_data)
    }),
    ("viz::Report::network", line!(), |w| {
        Report::new("").network("", &Start::of(&w.model), &mut w.model, &wrong(), &w.data)
    }),
    ("viz::TensorBoard::image", line!(), |_| {
        let folder = std::env::temp_dir().join(format!("dagrad-lines-{}", std::process::id()));
        let outcome = TensorBoard::create(&folder)?.image("", 0, &Tiles::new([Array3::zeros((2, 1, 1))]));
        std::fs::remove_dir_all(folder).unwrap();
        outcome
    }),
    ("viz::Tiles::to_image", line!(), |_| Tiles::new([Array3::zeros((2, 1, 1))]).to_image().map(drop)),
    ("viz::Tiles::to_image", line!(), |_| {
        Tiles::new([Array3::zeros((1, 1, 1))]).zoom(usize::MAX).to_image().map(drop)
    }),
    ("viz::Tiles::to_png", line!(), |_| Tiles::new([Array3::zeros((2, 1, 1))]).to_png().map(drop)),
    ("viz::Tiles::write", line!(), |_| Tiles::new([Array3::zeros((2, 1, 1))]).write("/none")),
    ("viz::feature_maps", line!(), |w| viz::feature_maps(&mut w.model, &w.wide).map(drop)),
    ("viz::filters", line!(), |w| viz::filters(w.model.store(), "none").map(drop)),
    ("viz::grad_cam", line!(), |w| viz::grad_cam(&mut w.model, &w.images, &w.labels, Some("none")).map(drop)),
    ("viz::input_gradient", line!(), |w| {
        viz::input_gradient(&mut w.model, &w.images, &Array1::from_elem(2, 9)).map(drop)
    }),
    ("viz::Report::objective", line!(), |w| {
        Report::new("").objective("", &mut w.learner, &Sgd::new(0.1), &w.wide_data)
    }),
    ("viz::occlusion", line!(), |w| {
        viz::occlusion(&mut w.model, &w.images, &Array1::from_elem(2, 9), Occlusion::default()).map(drop)
    }),
    ("viz::overlay", line!(), |_| {
        viz::overlay(Array3::zeros((1, 2, 2)).view(), Array2::zeros((3, 3)).view()).map(drop)
    }),
    ("viz::read_image", line!(), |_| viz::read_image("none.png", 2).map(drop)),
    ("nn::Model::load", line!(), |w| w.model.load(root().join(TIED)).map(drop)),
    ("nn::Model::save", line!(), |w| w.model.save("net.pkl")),
    ("weights::Weights::get", line!(), |_| tied().get::<f32>("none").map(drop)),
    ("weights::Weights::load", line!(), |_| tied().load(&mut other_store::<f32>()).map(drop)),
    ("weights::Weights::rename", line!(), |_| tied().rename("none", "").map(drop)),
    ("weights::Weights::save", line!(), |_| tied().save("net.pkl")),
    ("weights::Weights::strip_prefix", line!(), |_| {
        tied().rename("0.bias", "x.1.bias")?.strip_prefix("x.").map(drop)
    }),
    ("weights::Weights::under", line!(), |_| tied().under("none").map(drop)),
    ("vjp", line!(), |_| vjp(&[(loss(&Graph::new()), loss(&Graph::new()))], &[]).map(drop)),
    ("", line!(), |_| Ok(())),
];

/// With a folder that is deleted afterwards.
fn in_folder(misuse: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("dagrad-misuse-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let outcome = misuse(&folder);
    std::fs::remove_dir_all(folder).unwrap();
    outcome
}

/// A file with the arrays `0.bias`, `0.weight` and `1.bias`.
const TIED: &str = "tests/golden/weights/tied.safetensors";

fn tied() -> Weights {
    Weights::read(root().join(TIED)).unwrap()
}

/// The public functions that return an error of the crate, by their paths.
fn fallible(list: &str) -> BTreeSet<String> {
    let of = |line: &str| {
        let result = line.rsplit_once("-> Result<")?.1;
        if line.starts_with("kernels::") || result.ends_with(", Problem>") {
            return None;
        }
        let (owner, declaration) = match line.split_once(": pub fn ") {
            Some((path, _)) => return Some(path.to_string()),
            None => line.split_once("::pub fn ").or_else(|| line.split_once("::fn "))?,
        };
        Some(format!("{owner}::{}", declaration.split(['(', '<']).next()?))
    };
    list.lines().filter_map(of).collect()
}

#[test]
fn whoever_fails_is_misused() {
    let known = MISUSES.iter().map(|(name, ..)| *name).filter(|name| !name.is_empty());
    let known = known.chain(OTHERWISE.split_whitespace()).map(str::to_string).collect();
    assert_eq!(fallible(&public()), known);
}

/// The lines of this file that a text names.
fn lines(text: &str) -> Vec<u32> {
    let here = format!("{}:", file!());
    let named = text.split(&here).skip(1);
    named.filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()).collect()
}

#[test]
fn a_misuse_is_reported_at_the_line_of_the_call() {
    let (mut world, mut failures) = (World::new(), Vec::new());
    for (misuse, next) in MISUSES.iter().zip(&MISUSES[1..]) {
        let (name, line, call) = *misuse;
        let text = call(&mut world).expect_err(name).to_string();
        let first = lines(text.lines().next().unwrap());
        let is_there = first.first().is_some_and(|first| (line..next.1).contains(first));
        // Under the name of the function that was called, where that records.
        let called = ["gradients", "hessian", "hvp", "jacobian", "jvp", "vjp"].contains(&name);
        let is_named = !called || text.starts_with(name) || text.starts_with("gradient at");
        if !is_there || !is_named || text.contains(" src/") {
            failures.push(format!("{name} at line {line}: {text}"));
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// The types of the public interface that implement a trait.
fn implementors(of: &str) -> BTreeSet<String> {
    let list = public();
    let lines = list.lines().filter_map(|line| line.split_once(&format!(": impl {of} for ")));
    lines.map(|(path, _)| path.to_string()).collect()
}

#[test]
fn a_misuse_in_a_network_of_the_crate_is_reported_where_it_is_used() {
    use dagrad::nn::{AlexNet, DeepConvNet, LeNet5, Network, ResNet, SimpleConvNet, Vgg};
    fn outcome(network: impl Network) -> (u32, String) {
        let graph = Graph::new();
        let boxed: &dyn Network = &network;
        boxed.logits(graph.input("images", [1, 1, 1, 1]));
        assert!(graph.check().is_err());
        for shape in [&[2, 3][..], &[3, 32, 32], &[1, 1, 3, 32, 32]] {
            let graph = Graph::new();
            assert_eq!(boxed.logits(graph.input("images", shape)).shape().len(), 2);
            let text = graph.check().unwrap_err().to_string();
            let name = std::any::type_name_of_val(&network).rsplit("::").next().unwrap();
            assert!(
                text.starts_with(name) && text.contains("is not [batch, channels, height, width]"),
                "{text}"
            );
        }
        let line = line!() + 1;
        let outcome = Model::new(network, [1, 1, 1], 0);
        (line, outcome.map(drop).unwrap_err().to_string())
    }
    let known: [(&str, (u32, String)); 6] = [
        ("nn::AlexNet", outcome(AlexNet::default())),
        ("nn::DeepConvNet", outcome(DeepConvNet { dropout: 2.0, ..DeepConvNet::default() })),
        ("nn::LeNet5", outcome(LeNet5::default())),
        ("nn::ResNet", outcome(ResNet { blocks: 1, width: 0, output: 3 })),
        ("nn::SimpleConvNet", outcome(SimpleConvNet::default())),
        ("nn::Vgg", outcome(Vgg::sixteen(4, 4, 4))),
    ];
    let names = known.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(implementors("Network"), names);
    for (name, (line, text)) in known {
        assert!(text.starts_with(name.trim_start_matches("nn::")), "{name}: {text}");
        assert!(lines(&text).iter().all(|found| *found == line), "{name} at {line}: {text}");
        assert!(!lines(&text).is_empty() && !text.contains("src/"), "{name} at {line}: {text}");
    }
}

#[test]
fn a_misuse_in_a_function_of_the_users_is_reported_at_its_line() {
    let mut world = World::new();
    let line = line!() + 1;
    let seven = nn::network(|images| images.reshape([7]));
    let text = Model::new(seven, [1, 8, 8], 0).map(drop).unwrap_err().to_string();
    assert!(text.contains(&format!("reshape at {}:{line}: ", file!())), "{text}");

    let of_one: fn(Var<'_>) -> Var<'_> = of_one;
    let mut model = Model::with_workspace(of_one, [1, 8, 8], 0, workspace()).unwrap();
    let text = model.predict(&world.images).unwrap_err().to_string();
    assert!(text.starts_with("reshape at ") && text.contains(file!()), "{text}");

    /// An optimizer of the user's.
    struct Own;
    impl Optimizer for Own {
        fn step<'g>(&self, graph: &'g Graph, parameters: &[(Var<'g>, Var<'g>)]) {
            graph.fill([2], 1.0).assign(parameters[0].1);
        }
    }
    let text = fit(&mut world.model, &Own, &world.data, &world.data, options()).unwrap_err().to_string();
    assert!(text.starts_with("assign at ") && text.contains(file!()), "{text}");
}

#[test]
fn a_setting_of_an_optimizer_is_reported_where_it_is_used() {
    use optim::{AdaGrad, Adam, AdamW, Groups, Momentum, Nesterov, RmsProp};
    fn rates() -> impl Iterator<Item = LearningRate> {
        let schedules =
            [LearningRate::exponential(0.1, f64::NAN), LearningRate::staircase(f64::NAN, 3, 0.5).warmup(2)];
        [LearningRate::from(-1.0), LearningRate::cosine(f64::INFINITY, 3)].into_iter().chain(schedules)
    }
    type Kind = (&'static str, fn(LearningRate) -> Box<dyn Optimizer>);
    let kinds: [Kind; 8] = [
        ("optim::AdaGrad", |rate| Box::new(AdaGrad::new(rate).clip_norm(1.0))),
        ("optim::Adam", |rate| Box::new(Adam::new(rate))),
        ("optim::AdamW", |rate| Box::new(AdamW::new(rate).weight_decay(0.1))),
        ("optim::Groups", |rate| Box::new(Groups::new(Sgd::new(0.1)).group("w*", Sgd::new(rate)))),
        ("optim::Momentum", |rate| Box::new(Momentum::new(rate))),
        ("optim::Nesterov", |rate| Box::new(Nesterov::new(rate))),
        ("optim::RmsProp", |rate| Box::new(RmsProp::new(rate))),
        ("optim::Sgd", |rate| Box::new(Sgd::new(rate).clip_value(1.0))),
    ];
    let mut known: BTreeSet<String> = kinds.iter().map(|(name, _)| name.to_string()).collect();
    known.extend(implementors("Optimizer").into_iter().filter(|name| name == "optim::Adjusted"));
    assert_eq!(implementors("Optimizer"), known);
    for (name, make) in kinds {
        for rate in rates() {
            let (graph, optimizer) = (Graph::new(), make(rate));
            let line = line!() + 1;
            let text = Trainer::new(loss(&graph), &*optimizer).map(drop).unwrap_err().to_string();
            assert_eq!(lines(text.lines().next().unwrap()), [line], "{name}: {text}");
        }
    }
}

#[test]
fn what_the_crate_records_is_at_the_users_line() {
    let (graph, start) = (Graph::with_mode(Mode::Train), line!());
    let images = graph.input("images", [2, 3, 32, 32]);
    let logits = nn::Network::logits(&nn::ResNet { blocks: 1, width: 4, output: 3 }, images);
    let loss =
        logits.softmax_cross_entropy(graph.labels("labels", [2])) + nn::autoencoder(images, 4).mean_all();
    minimize(loss, &optim::AdamW::new(LearningRate::staircase(0.1, 3, 0.5).warmup(2)).clip_norm(1.0))
        .unwrap();
    let plan = Plan::<f32>::compile(&graph, &[loss]).unwrap();
    let end = line!();
    for step in plan.steps() {
        assert_eq!(step.site.file, file!(), "{step}");
        assert!((start..end).contains(&step.site.line), "{step} at {}", step.site);
    }
}
