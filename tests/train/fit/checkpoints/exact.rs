//! Resumed is uninterrupted, to the bit: every optimizer, every schedule, every step.

use std::fs;
use std::path::PathBuf;

use super::{Folder, State, StopAfter, by, data, fresh, go_on, name, network, rule, state, train};
use crate::common::public;
use dagrad::nn::Model;
use dagrad::optim::{
    AdaGrad, Adam, AdamW, Groups, LearningRate, Momentum, Nesterov, Optimizer, RmsProp, Sgd,
};
use dagrad::train::{
    Checkpoints, Observer, TrainStep, Training, fit_observed, read_checkpoint, save_checkpoint,
};
use dagrad::weights::Weights;
use dagrad::{Graph, Init, Result, Store, Trainer, Var, Workspace};

/// Copies the file that a checkpoint has just been written to, as it would be left by a `kill -9` at this moment.
struct Copies {
    from: PathBuf,
    to: PathBuf,
}

impl Observer for Copies {
    fn step(&mut self, step: &TrainStep, _: &mut Training<'_>) -> Result<()> {
        let to = self.to.join(step.number.to_string());
        fs::create_dir(&to).unwrap();
        fs::copy(self.from.join(name(step.number)), to.join(name(step.number))).unwrap();
        Ok(())
    }
}

/// Each optimizer, each with another schedule.
fn rules() -> Vec<(&'static str, Box<dyn Optimizer>)> {
    let adjustable = LearningRate::from(0.01).adjustable();
    vec![
        ("Sgd", Box::new(Sgd::new(0.05))),
        ("Momentum", Box::new(Momentum::new(LearningRate::exponential(0.05, 0.9)))),
        ("Nesterov", Box::new(Nesterov::new(LearningRate::staircase(0.05, 4, 0.5)))),
        ("AdaGrad", Box::new(AdaGrad::new(LearningRate::cosine(0.02, 12)))),
        ("RmsProp", Box::new(RmsProp::new(LearningRate::cosine(0.01, 9).warmup(6)))),
        ("Adam", Box::new(rule())),
        ("AdamW", Box::new(AdamW::new(adjustable))),
        ("Adjusted", Box::new(Momentum::new(0.05).weight_decay(1e-3).clip_norm(1.0))),
        ("Groups", Box::new(Groups::new(Adam::new(0.01)).group("*.bias", Sgd::new(0.1)).frozen("conv.*"))),
    ]
}

#[test]
fn every_optimizer_is_asked() {
    let list = public();
    let implementors = list.lines().filter_map(|line| line.strip_suffix(": impl Optimizer"));
    let mut known: Vec<&str> = rules().iter().map(|(name, _)| *name).collect();
    for implementor in implementors {
        let name = implementor.rsplit("::").next().unwrap().split('<').next().unwrap();
        assert!(name == "Box" || known.contains(&name), "{name} is resumed nowhere");
        known.retain(|known| *known != name);
    }
}

#[test]
fn a_training_goes_on_from_any_step_as_if_it_had_not_stopped() {
    for (what, rule) in rules() {
        let (whole, killed) = (Folder::new(&format!("whole-{what}")), Folder::new(&format!("killed-{what}")));
        let mut model = fresh();
        let checkpoints = whole.checkpoints().every_steps(1).keep(1);
        let copies = Copies { from: whole.0.clone(), to: killed.0.clone() };
        let expected = train(&mut model, &*rule, 3, &mut (checkpoints, copies)).unwrap();
        let end = state(model.store());
        assert_eq!((expected.len(), end.1), (3, [15, 3, 3]));
        assert!(
            state(&read_checkpoint(whole.file(&name(15))).unwrap()) == end,
            "{what}: the last checkpoint"
        );

        // The middle of epochs; their last steps, before the evaluation; and the very last.
        let steps: &[u64] = if what == "Adam" { &(1..=15).collect::<Vec<_>>() } else { &[1, 5, 8, 15] };
        for step in steps {
            let (resumed, figures, found) = go_on(&killed.file(&step.to_string()), &*rule, 3);
            let resumed = resumed.unwrap();
            assert_eq!((resumed.step, resumed.epochs), (*step, (step - 1) / 5), "{what}");
            assert_eq!(figures, expected[resumed.epochs as usize..], "{what} after step {step}");
            assert!(found == end, "{what} after step {step}");
        }
    }
}

#[test]
fn a_boundary_is_no_place_to_lose_anything_and_more_epochs_are_the_same_training() {
    let (mut model, expected) = (fresh(), 3);
    let expected = train(&mut model, &rule(), expected, &mut ()).unwrap();
    let folder = Folder::new("boundary");
    let mut found = Vec::new();
    for until in [1, 2, 2, 3] {
        let (resumed, figures, _) = go_on(&folder.0, &rule(), until);
        assert_eq!(resumed.map(|resumed| resumed.epochs), (!found.is_empty()).then_some(found.len() as u64));
        found.extend(figures);
    }
    assert_eq!(found, expected);
    let newest: Store<f32> = read_checkpoint(folder.file(&name(15))).unwrap();
    assert!(state(&newest) == state(model.store()));
}

#[test]
fn a_stop_is_a_checkpoint_whatever_the_rule() {
    let folder = Folder::new("stop");
    let mut model = fresh();
    let checkpoints = folder.checkpoints().every_epochs(0);
    // The one that stops may come after the one that saves.
    train(&mut model, &rule(), 3, &mut (checkpoints, StopAfter(7))).unwrap();
    assert_eq!(folder.names(), [name(7)]);
    let mut whole = fresh();
    let expected = train(&mut whole, &rule(), 3, &mut ()).unwrap();
    let (_, figures, found) = go_on(&folder.0, &rule(), 3);
    assert_eq!(figures, expected[1..]);
    assert!(found == state(whole.store()));
}

#[test]
fn threads_are_no_matter() {
    let folder = Folder::new("threads");
    train(&mut fresh(), &rule(), 3, &mut (folder.checkpoints(), StopAfter(7))).unwrap();
    let mut model =
        Model::with_workspace(network as fn(Var<'_>) -> Var<'_>, [1, 28, 28], 3, Workspace::new(3).unwrap())
            .unwrap();
    let mut checkpoints = folder.checkpoints();
    checkpoints.resume(&mut model).unwrap().unwrap();
    train(&mut model, &rule(), 3, &mut checkpoints).unwrap();
    let mut whole = fresh();
    train(&mut whole, &rule(), 3, &mut ()).unwrap();
    assert!(state(model.store()) == state(whole.store()));
}

#[test]
fn weights_alone_are_another_training() {
    let folder = Folder::new("weights");
    train(&mut fresh(), &rule(), 3, &mut (folder.checkpoints(), StopAfter(7))).unwrap();
    let end = go_on(&folder.0, &rule(), 3).2;
    let store: Store<f32> = read_checkpoint(folder.file(&name(7))).unwrap();
    let with = |reset: fn(&mut Store<f32>)| -> State {
        let mut model = fresh();
        *model.store_mut() = store.copy().unwrap();
        reset(model.store_mut());
        let left = 3 - model.store().epochs() as usize;
        fit_observed(&mut model, &rule(), &data().train, &data().test, by(left), &mut ()).unwrap();
        state(model.store())
    };
    assert!(with(|_| ()) == end);
    assert!(with(Store::reset_optimizer).0 != end.0, "the optimizer");
    assert!(with(|store| store.set_step(0)).0 != end.0, "the masks");
    let mut model = fresh();
    Weights::of(&store).unwrap().load(model.store_mut()).unwrap();
    train(&mut model, &rule(), 2, &mut ()).unwrap();
    assert!(state(model.store()).0 != end.0, "weights alone");
}

/// A step with moments, in double precision.
fn trainer(store: Store<f64>) -> Trainer<f64> {
    let graph = Graph::new();
    let loss = (graph.param("w", [3], Init::Normal { std: 1.0 }).dropout(0.5) - 2.0).powi(2).sum_all();
    Trainer::with(loss, &Adam::new(LearningRate::cosine(0.1, 20)), store, Workspace::new(1).unwrap()).unwrap()
}

fn bits(store: &Store<f64>) -> Vec<(String, Vec<u64>)> {
    let bits = |name: &str| store.get(name).unwrap().iter().map(|x| x.to_bits()).collect();
    store.names().map(|name| (name.to_string(), bits(name))).collect()
}

#[test]
fn a_loop_of_ones_own_goes_on_too() {
    let folder = Folder::new("loop");
    let mut whole = trainer(Store::new(5));
    (0..10).for_each(|_| _ = whole.step(&[]).unwrap());
    // A file.
    let mut first = trainer(Store::new(5));
    (0..5).for_each(|_| _ = first.step(&[]).unwrap());
    save_checkpoint(folder.file("one"), first.store()).unwrap();
    let mut second = trainer(read_checkpoint(folder.file("one")).unwrap());
    (0..5).for_each(|_| _ = second.step(&[]).unwrap());
    assert_eq!(bits(second.store()), bits(whole.store()));
    assert_eq!((second.store().step(), second.store().seed()), (10, 5));
    fs::remove_file(folder.file("one")).unwrap();
    // A folder, step by step.
    for step in 0..10 {
        let mut checkpoints = folder.checkpoints().keep(2);
        let found = checkpoints.newest::<f64>().unwrap();
        assert_eq!(found.as_ref().map_or(0, |(_, found)| found.step), step);
        let mut trainer = trainer(found.map_or(Store::new(5), |(store, _)| store));
        trainer.step(&[]).unwrap();
        assert_eq!(checkpoints.save(trainer.store()).unwrap(), folder.file(&name(step + 1)));
    }
    assert_eq!(bits(&read_checkpoint(folder.file(&name(10))).unwrap()), bits(whole.store()));
    assert_eq!(folder.names(), [name(9), name(10)]);
}

#[test]
fn a_store_comes_back_as_it_was() {
    let folder = Folder::new("store");
    let mut store = Store::<f32>::new(u64::MAX);
    let odd = [f32::NAN, -0.0, f32::INFINITY, f32::MIN_POSITIVE / 2.0];
    store.set("__metadata__", &ndarray::arr1(&odd).into_dyn()).unwrap();
    store.set("of \"no\" shape\n\\", &ndarray::arr0(1.5).into_dyn()).unwrap();
    store.set("", &ndarray::ArrayD::zeros(vec![0, 3])).unwrap();
    store.set_step(u64::MAX);
    let path = folder.file("odd");
    save_checkpoint(&path, &store).unwrap();
    let found = read_checkpoint::<f32>(&path).unwrap();
    assert_eq!(state(&found), state(&store));
    assert_eq!(found.get("").unwrap().shape(), [0, 3]);
    let checkpoints = Checkpoints::new(&folder.0).unwrap();
    assert!(format!("{checkpoints:?}").contains("store"), "its folder");
}
