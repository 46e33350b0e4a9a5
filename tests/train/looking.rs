//! Looking changes nothing: whatever only asks of a store, a model or a trainer leaves every number, the step and all later
//! training as they were.
//!
//! The public functions that take one of these are read from the [list](../documents/public.txt) of the public interface, so
//! a new one is asked about because it exists.

use std::collections::BTreeSet;

use crate::common::{assert_mentions, message, public};
use dagrad::data::Dataset;
use dagrad::inspect::diagnose;
use dagrad::nn::{self, BatchNorm, Filters, Model};
use dagrad::optim::{Adam, Momentum, Optimizer, averages};
use dagrad::train::{
    Checkpoints, FitOptions, Goal, Inputs, Learner, Progress, Trainable, evaluate, fit, save_checkpoint,
};
use dagrad::viz::{self, Occlusion, Report, Start};
use dagrad::weights::Weights;
use dagrad::{Feed, Graph, Mode, Precision, Store, Trainer, Var, Workspace, check};
use ndarray::{Array1, Array4};

/// Functions that are there to change something, or to make it, or to hand it over.
const CHANGING: &str = "Store::new Store::get_mut Store::prepare Store::reset_optimizer Store::set Store::set_step compile::Plan::run nn::Model::new \
    nn::Model::with_workspace nn::Model::into_predictor nn::Model::parts nn::Model::store_mut train::Trainer::new train::Trainer::with \
    train::Trainer::parts train::Trainer::step train::Trainer::into_store train::fit \
    train::fit_observed train::Checkpoints::resume train::Learner::load train::Learner::new train::Learner::parts train::Learner::store_mut \
    train::Learner::with_workspace train::Trainable::parts nn::Model::load weights::Weights::load weights::Weights::load_lenient";

/// What is looked at.
struct World {
    model: Model<fn(Var<'_>) -> Var<'_>>,
    trainer: Trainer,
    learner: Learner<for<'a, 'g> fn(&'a Inputs<'g>) -> Goal<'g>>,
    data: Dataset,
    images: Array4<f32>,
    labels: Array1<u32>,
}

/// What may not change: every name with its numbers to the bit, and the step, of all stores; the epochs; and what the model predicts.
type State = (Vec<(String, Vec<u32>)>, [u64; 4], Vec<u32>);

/// A network whose running statistics move and whose masks are drawn anew with every training step.
fn network(images: Var<'_>) -> Var<'_> {
    let h = nn::conv2d(images, "conv", Filters::new(3, 3));
    let h = nn::batch_norm(h, "norm", BatchNorm::default()).tanh().avg_pool2d(2).flatten();
    nn::linear(h.dropout(0.5), "classes", 3)
}

/// The network as an objective.
fn objective<'g>(inputs: &Inputs<'g>) -> Goal<'g> {
    let logits = network(inputs.get("images"));
    Goal::new(logits.softmax_cross_entropy(inputs.get("labels"))).output("logits", logits)
}

/// Its loss on a batch.
fn loss(graph: &Graph, batch: usize) -> Var<'_> {
    let logits = network(graph.input("images", [batch, 1, 8, 8]));
    logits.softmax_cross_entropy(graph.labels("labels", [batch]))
}

impl World {
    fn new() -> Self {
        let pixels = (0..12 * 64).map(|i| (i * 37 % 251) as u8).collect();
        let data = Dataset::new(pixels, [1, 8, 8], (0..12).map(|i| i % 3).collect(), 3).unwrap();
        let (images, labels) = data.batch(&[0, 1, 2, 3]).unwrap();
        let workspace = || Workspace::new(1).unwrap();
        let network: fn(Var<'_>) -> Var<'_> = network;
        let model = Model::with_workspace(network, [1, 8, 8], 5, workspace()).unwrap();
        let graph = Graph::with_mode(Mode::Train);
        let trainer =
            Trainer::with(loss(&graph, 4), &Momentum::new(0.05), Store::new(3), workspace()).unwrap();
        let objective: for<'a, 'g> fn(&'a Inputs<'g>) -> Goal<'g> = objective;
        let learner = Learner::with_workspace(objective, &data, 8, workspace()).unwrap();
        let mut world = Self { model, trainer, learner, data, images, labels };
        world.train(); // so that momentum, statistics and step are not what they start from
        world
    }

    /// Some training, the same each time.
    fn train(&mut self) {
        let progress = Progress::Quiet;
        let options = FitOptions { epochs: 1, batch: 4, seed: 1, progress, ..FitOptions::default() };
        fit(&mut self.model, &Adam::new(0.01), &self.data, &self.data, options).unwrap();
        fit(&mut self.learner, &Adam::new(0.01), &self.data, &self.data, options).unwrap();
        for _ in 0..3 {
            self.trainer.step(&feeds(&self.images, &self.labels)).unwrap();
        }
    }

    fn state(&mut self) -> State {
        let stores = [self.model.store(), self.trainer.store(), self.learner.store()];
        let mut numbers: Vec<(String, Vec<u32>)> = Vec::new();
        for store in stores {
            numbers.extend(all(store).into_iter().map(|(name, values)| {
                (name, values.into_iter().map(|value| (value as f32).to_bits()).collect())
            }));
        }
        let counts = [stores[0].step(), stores[1].step(), stores[2].step(), stores[0].epochs()];
        let predicted = self.model.predict(&self.images).unwrap();
        (numbers, counts, predicted.iter().map(|logit| logit.to_bits()).collect())
    }
}

fn all<T: Precision>(store: &Store<T>) -> Vec<(String, Vec<f64>)> {
    let values = |name: &str| store.get(name).unwrap().iter().map(|value| value.into_f64()).collect();
    store.names().map(|name| (name.to_string(), values(name))).collect()
}

fn feeds<'a>(images: &'a Array4<f32>, labels: &'a Array1<u32>) -> [Feed<'a>; 2] {
    [Feed::new("images", images), Feed::new("labels", labels)]
}

/// A function of the public interface, and a call of it.
type Look = (&'static str, fn(&mut World));

/// Every function that only asks.
const LOOKING: &[Look] = &[
    ("Store::copy", |w| drop(w.model.store().copy().unwrap())),
    ("Store::epochs", |w| assert!(w.model.store().epochs() > 0)),
    ("Store::get", |w| drop(w.model.store().get("conv.weight").unwrap().to_owned())),
    ("Store::kind", |w| assert!(w.model.store().kind("conv.weight").is_some())),
    ("Store::names", |w| assert!(w.model.store().names().count() > 4)),
    ("Store::seed", |w| assert_eq!(w.model.store().seed(), 5)),
    ("Store::step", |w| assert!(w.model.store().step() > 0)),
    ("Store::trainable", |w| assert!(w.model.store().trainable().count() > 3)),
    ("check::network", |_| {
        let graph = Graph::with_mode(Mode::Train);
        let (images, labels) = World::new().data.batch(&[0, 1, 2, 3]).unwrap();
        let images = images.mapv(f64::from);
        let feeds = [Feed::new("images", &images), Feed::new("labels", &labels)];
        let mut store = Store::new(3);
        check::network(loss(&graph, 4), &mut store, &feeds, 2).unwrap();
        assert_eq!(store.names().count(), 0);
        let before = (all(&store), store.step());
        let graph = Graph::with_mode(Mode::Train);
        check::network(loss(&graph, 4), &mut store, &feeds, 2).unwrap();
        assert_eq!((all(&store), store.step()), before);
    }),
    ("compile::Plan::profile", |w| {
        let (plan, mut workspace) = (w.trainer.plan(), Workspace::new(2).unwrap());
        plan.profile(w.trainer.store(), &mut workspace, &feeds(&w.images, &w.labels)).unwrap();
    }),
    ("inspect::diagnose", |w| {
        let graph = Graph::with_mode(Mode::Train);
        let loss = loss(&graph, 4);
        let (store, workspace) = w.trainer.parts();
        diagnose(loss, store, workspace, &feeds(&w.images, &w.labels)).unwrap();
    }),
    ("nn::Model::accuracy", |w| _ = w.model.accuracy(&w.images, &w.labels).unwrap()),
    ("nn::Model::classes", |w| assert_eq!(w.model.classes(), 3)),
    ("nn::Model::diagnose", |w| drop(w.model.diagnose(&w.images, &w.labels).unwrap())),
    ("nn::Model::gradient", |w| {
        let first = w.model.gradient(&w.images, &w.labels).unwrap();
        assert_eq!(first, w.model.gradient(&w.images, &w.labels).unwrap());
    }),
    ("nn::Model::image_shape", |w| assert_eq!(w.model.image_shape(), [1, 8, 8])),
    ("nn::Model::loss", |w| {
        let first = w.model.loss(&w.images, &w.labels).unwrap();
        assert_eq!(first, w.model.loss(&w.images, &w.labels).unwrap());
    }),
    ("nn::Model::network", |w| _ = w.model.network()),
    ("nn::Model::numerical_gradient", |w| {
        let numerical = w.model.numerical_gradient(&w.images, &w.labels).unwrap();
        for (name, gradient) in w.model.gradient(&w.images, &w.labels).unwrap() {
            let apart = (&gradient - &numerical[&name]).mapv(f32::abs);
            assert!(apart.iter().all(|apart| *apart < 0.01), "{name}: {gradient} and {}", numerical[&name]);
        }
    }),
    ("nn::Model::predict", |w| drop(w.model.predict(&w.images).unwrap())),
    ("nn::Model::record", |w| drop(w.model.record(&Graph::new(), 7).1.shape())),
    ("nn::Model::save", |w| {
        let path = std::env::temp_dir().join(format!("dagrad-looking-{}.npz", std::process::id()));
        w.model.save(&path).unwrap();
        std::fs::remove_file(path).unwrap();
    }),
    ("nn::Model::store", |w| _ = w.model.store()),
    ("optim::averages", |w| drop(averages(w.model.store()).unwrap())),
    ("train::Learner::objective", |w| _ = w.learner.objective()),
    ("train::Learner::predict", |w| drop(w.learner.predict(&[Feed::new("images", &w.images)]).unwrap())),
    ("train::Learner::save", |w| {
        let path = std::env::temp_dir().join(format!("dagrad-looking-learner-{}.npz", std::process::id()));
        w.learner.save(&path).unwrap();
        std::fs::remove_file(path).unwrap();
    }),
    ("train::Learner::store", |w| _ = w.learner.store()),
    ("train::Trainable::check", |w| w.learner.check("data", &w.data).unwrap()),
    ("train::Trainable::record", |w| drop(evaluate(&mut w.learner, &w.data).unwrap())), // records
    ("train::Trainable::store", |w| _ = Trainable::store(&w.model)),
    ("train::Checkpoints::save", |w| {
        let folder = std::env::temp_dir().join(format!("dagrad-looking-folder-{}", std::process::id()));
        Checkpoints::new(&folder).unwrap().save(w.model.store()).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
    }),
    ("train::save_checkpoint", |w| {
        let path = std::env::temp_dir().join(format!("dagrad-looking-{}.checkpoint", std::process::id()));
        save_checkpoint(&path, w.trainer.store()).unwrap();
        std::fs::remove_file(path).unwrap();
    }),
    ("train::Trainer::plan", |w| assert!(w.trainer.plan().trains())),
    ("train::Trainer::profile", |w| drop(w.trainer.profile(&feeds(&w.images, &w.labels)).unwrap())),
    ("train::Trainer::store", |w| _ = w.trainer.store()),
    ("train::evaluate", |w| {
        evaluate(&mut w.model, &w.data).unwrap();
        evaluate(&mut w.learner, &w.data).unwrap();
    }),
    ("weights::Weights::of", |w| drop(Weights::of(w.trainer.store()).unwrap())),
    ("viz::Report::network", |w| {
        let (start, optimizer): (_, &dyn Optimizer) = (Start::of(&w.model), &Adam::new(0.1));
        Report::new("").network("", &start, &mut w.model, optimizer, &w.data).unwrap();
    }),
    ("viz::Report::objective", |w| {
        Report::new("").objective("", &mut w.learner, &Adam::new(0.1), &w.data).unwrap();
        Report::new("").objective("", &mut w.model, &Adam::new(0.1), &w.data).unwrap();
    }),
    ("viz::Start::of", |w| drop(Start::of(&w.model))),
    ("viz::feature_maps", |w| drop(viz::feature_maps(&mut w.model, &w.images).unwrap())),
    ("viz::filters", |w| drop(viz::filters(w.model.store(), "conv.weight").unwrap())),
    ("viz::grad_cam", |w| drop(viz::grad_cam(&mut w.model, &w.images, &w.labels, None).unwrap())),
    ("viz::input_gradient", |w| drop(viz::input_gradient(&mut w.model, &w.images, &w.labels).unwrap())),
    ("viz::occlusion", |w| {
        let options = Occlusion::default();
        drop(viz::occlusion(&mut w.model, &w.images, &w.labels, options).unwrap());
    }),
];

/// The public functions that take a store, a model or a trainer, by their paths.
fn takers(list: &str) -> BTreeSet<String> {
    let of = |line: &str| {
        let (owner, declaration) = line
            .split_once(": pub fn ")
            .or_else(|| line.split_once("::pub fn "))
            .or_else(|| line.split_once("::fn "))?;
        let (name, _) = declaration.split_once(['(', '<'])?;
        let arguments = declaration.split(" -> ").next().unwrap_or(declaration);
        let is_method =
            ["Store", "nn::Model", "train::Learner", "train::Trainable", "train::Trainer"].contains(&owner);
        let takes = ["Store<", "Model<", "Trainer<", "Trainable"].iter().any(|kind| arguments.contains(kind));
        let path = if line.contains(&format!("{owner}: pub fn")) {
            owner.to_string()
        } else {
            format!("{owner}::{name}")
        };
        (is_method || takes).then_some(path)
    };
    list.lines().filter_map(of).collect()
}

#[test]
fn whoever_takes_a_store_is_known_to_look_or_to_change() {
    let known = LOOKING.iter().map(|(name, _)| *name).chain(CHANGING.split_whitespace());
    let known: BTreeSet<String> = known.map(str::to_string).collect();
    assert_eq!(takers(&public()), known);
}

#[test]
fn looking_changes_nothing() {
    let (mut world, mut twin) = (World::new(), World::new());
    let before = world.state();
    assert_eq!(before, twin.state());
    for (name, look) in LOOKING {
        look(&mut world);
        assert!(world.state() == before, "{name} changes what it looks at");
    }
    world.train();
    twin.train();
    assert!(world.state() == twin.state(), "training goes on differently after looking");
    assert!(world.state() != before, "training changes something");
}

/// A question, which a store without parameters cannot answer.
type Ask = fn(&mut World) -> dagrad::Result<()>;

#[test]
fn looking_at_an_empty_store_is_an_error_and_starts_nothing() {
    let asks: [Ask; 9] = [
        |w| w.model.predict(&w.images).map(drop),
        |w| w.model.loss(&w.images, &w.labels).map(drop),
        |w| w.model.gradient(&w.images, &w.labels).map(drop),
        |w| w.model.numerical_gradient(&w.images, &w.labels).map(drop),
        |w| w.model.accuracy(&w.images, &w.labels).map(drop),
        |w| evaluate(&mut w.model, &w.data).map(drop),
        |w| viz::feature_maps(&mut w.model, &w.images).map(drop),
        |w| viz::input_gradient(&mut w.model, &w.images, &w.labels).map(drop),
        |w| viz::occlusion(&mut w.model, &w.images, &w.labels, Occlusion::default()).map(drop),
    ];
    let mut world = World::new();
    *world.model.store_mut() = Store::new(5);
    for ask in asks {
        assert_mentions(&message(ask(&mut world)), &["parameter ", "does not have it", "Store::prepare"]);
        assert_eq!(world.model.store().names().count(), 0);
    }
    world.train();
    asks.into_iter().for_each(|ask| ask(&mut world).unwrap());
}

#[test]
fn numerical_gradients_have_the_names_of_gradients() {
    let mut world = World::new();
    world.model.store_mut().set("of another network", &ndarray::ArrayD::zeros(vec![2])).unwrap();
    let names = world.model.gradient(&world.images, &world.labels).unwrap().into_keys();
    let numerical = world.model.numerical_gradient(&world.images, &world.labels).unwrap();
    assert!(names.eq(numerical.into_keys()));
}
