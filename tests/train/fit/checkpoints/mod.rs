//! A training that is killed and goes on from its checkpoints ends as if it had not been.

mod damage;
mod exact;
mod folder;
mod kills;
mod objectives;
mod refused;

use std::fs;
use std::path::{Path, PathBuf};

use super::{digits, model, options};
use dagrad::data::Split;
use dagrad::nn::{self, BatchNorm, Filters, Model};
use dagrad::optim::{Adam, LearningRate, Optimizer};
use dagrad::train::{Checkpoints, Epoch, FitOptions, Observer, Resumed, TrainStep, Training, fit_observed};
use dagrad::{Result, Store, Var};

/// A folder that is deleted in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dagrad-checkpoints-{name}-{}", std::process::id()));
        _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The names of its checkpoints, and of whatever else does not belong there.
    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| name != "lock");
        names.sort();
        names
    }

    fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(&self.0).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// The name of the checkpoint of a step.
fn name(step: u64) -> String {
    format!("step-{step:08}.checkpoint")
}

type Net = Model<fn(Var<'_>) -> Var<'_>>;

/// A network in which everything depends on how far the training is: masks, running statistics.
fn network(images: Var<'_>) -> Var<'_> {
    let h = nn::conv2d(images, "conv", Filters::new(3, 7).stride(3));
    let h = nn::batch_norm(h, "norm", BatchNorm::default()).relu().max_pool2d(2);
    nn::linear(h.flatten().dropout(0.3), "fc", 10)
}

fn fresh() -> Net {
    model(network as fn(Var<'_>) -> Var<'_>, 3, 1)
}

/// A rule with averages, a count of steps and a schedule.
fn rule() -> Adam {
    Adam::new(LearningRate::cosine(0.02, 12).warmup(4))
}

/// Fifty digits: five steps of an epoch, of 12, 12, 12, 12 and 2.
fn data() -> Split {
    digits(50, 20)
}

fn by(epochs: usize) -> FitOptions {
    options(epochs, 12, 7)
}

/// What an epoch has found, to the bit, without its time.
type Figures = (usize, [u64; 4]);

fn figures(epoch: &Epoch) -> Figures {
    let Epoch { number, loss, train, test, .. } = epoch;
    (*number, [*loss, test.loss, train.accuracy(), test.accuracy()].map(f64::to_bits))
}

/// Every name with its numbers and purpose, in order, and the counts.
type State = (Vec<(String, String, Vec<u32>)>, [u64; 3]);

fn state(store: &Store<f32>) -> State {
    let bits = |name: &str| store.get(name).unwrap().iter().map(|x| x.to_bits()).collect();
    let values = store.names().map(|name| (name.to_string(), format!("{:?}", store.kind(name)), bits(name)));
    (values.collect(), [store.step(), store.epochs(), store.seed()])
}

/// Trains up to an epoch in all.
fn train(
    model: &mut Net,
    rule: &dyn Optimizer,
    until: usize,
    observer: &mut dyn Observer,
) -> Result<Vec<Figures>> {
    let Split { train, test } = data();
    let left = until - model.store().epochs() as usize;
    let epochs = fit_observed(model, rule, &train, &test, by(left), observer)?;
    Ok(epochs.iter().map(figures).collect())
}

/// Goes on in a folder from its newest checkpoint up to an epoch.
fn go_on(folder: &Path, rule: &dyn Optimizer, until: usize) -> (Option<Resumed>, Vec<Figures>, State) {
    let mut model = fresh();
    let mut checkpoints = Checkpoints::new(folder).unwrap();
    let resumed = checkpoints.resume(&mut model).unwrap();
    let figures = train(&mut model, rule, until, &mut checkpoints).unwrap();
    (resumed, figures, state(model.store()))
}

/// Stops after a step.
struct StopAfter(u64);

impl Observer for StopAfter {
    fn step(&mut self, step: &TrainStep, training: &mut Training<'_>) -> Result<()> {
        if step.number == self.0 {
            training.stop();
        }
        Ok(())
    }
}
