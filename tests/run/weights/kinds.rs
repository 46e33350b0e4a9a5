//! The store knows what is learned, what is the network's state, and what belongs to an optimizer.

use dagrad::graph::ParameterKind::{self, Learned, Optimizer as Optimizing, State};
use dagrad::nn::{self, BatchNorm};
use dagrad::optim::{
    AdaGrad, Adam, AdamW, LearningRate, Momentum, Nesterov, Optimizer, RmsProp, Sgd, minimize,
};
use dagrad::weights::Weights;
use dagrad::{Graph, Init, Mode, Plan, Store, Trainer, Var, Workspace};
use ndarray::{Array2, arr0};

use crate::common::{assert_mentions, message, numbers};

fn loss(graph: &Graph) -> Var<'_> {
    let rows = graph.input("rows", [4, 3]);
    nn::linear(nn::batch_norm(rows, "bn", BatchNorm::default()), "fc", 2).powi(2).mean_all()
}

/// An optimizer of a user's own, which keeps a count under a name that nobody else knows.
struct Own;

impl Optimizer for Own {
    fn step<'g>(&self, graph: &'g Graph, parameters: &[(Var<'g>, Var<'g>)]) {
        let seen = graph.state("seen", [], Init::ZEROS);
        seen.assign(seen + 1.0);
        for &(p, g) in parameters {
            // It may read the network's state without making it its own.
            let _mean = graph.state("bn.running_mean", [3], Init::ZEROS);
            p.assign(p - g * 0.1);
        }
    }
}

const WEIGHTS: [&str; 7] = [
    "bn.bias",
    "bn.num_batches_tracked",
    "bn.running_mean",
    "bn.running_var",
    "bn.weight",
    "fc.bias",
    "fc.weight",
];

#[test]
fn what_an_optimizer_keeps_is_no_weight() {
    let rate = || LearningRate::cosine(0.1, 10).warmup(2).adjustable();
    let optimizers: Vec<Box<dyn Optimizer>> = vec![
        Box::new(Sgd::new(rate())),
        Box::new(Momentum::new(rate())),
        Box::new(Nesterov::new(rate()).clip_norm(1.0)),
        Box::new(AdaGrad::new(rate())),
        Box::new(RmsProp::new(rate()).weight_decay(0.1)),
        Box::new(Adam::new(rate())),
        Box::new(AdamW::new(rate())),
        Box::new(dagrad::optim::Groups::new(Adam::new(rate())).group("*.bias", Momentum::new(rate()))),
        Box::new(Own),
    ];
    for optimizer in optimizers {
        let graph = Graph::new();
        let mut trainer = Trainer::new(loss(&graph), &optimizer).unwrap();
        let rows = numbers(&[4, 3], 1).mapv(|value| value as f32);
        trainer.step(&[dagrad::Feed::new("rows", &rows)]).unwrap();
        let (weights, store) = (Weights::of(trainer.store()).unwrap(), trainer.store());
        assert_eq!(weights.names().collect::<Vec<_>>(), WEIGHTS);
        assert_eq!(store.trainable().count(), 4);
        let kinds: Vec<ParameterKind> = store.names().filter_map(|name| store.kind(name)).collect();
        assert_eq!(kinds.len(), store.names().count());
        assert_eq!(kinds.iter().filter(|kind| **kind == State).count(), 2);
        assert!(kinds.contains(&Optimizing) && kinds.contains(&Learned));
    }
}

#[test]
fn an_optimizer_that_is_stepped_by_hand_keeps_its_state_to_itself() {
    let graph = Graph::new();
    let w = graph.param("w", [2], Init::ONES);
    let gradient = dagrad::gradients(w.powi(2).sum_all(), &[w]).unwrap()[0];
    Adam::new(LearningRate::exponential(0.1, 0.9)).step(&graph, &[(w, gradient)]);
    let own = graph.state("own", [1], Init::ZEROS);
    let plan = Plan::<f32>::compile(&graph, &[w, own]).unwrap();
    let mut store = Store::new(0);
    plan.run(&mut store, &mut Workspace::new(1).unwrap(), &[]).unwrap();
    assert_eq!(Weights::of(&store).unwrap().names().collect::<Vec<_>>(), ["own", "w"]);
}

#[test]
fn a_rate_that_is_set_before_the_training_is_no_parameter() {
    let mut store = Store::<f32>::new(0);
    store.set(LearningRate::FACTOR, &arr0(0.5).into_dyn()).unwrap();
    let graph = Graph::new();
    let w = graph.param("w", [2], Init::ONES);
    let rule = Sgd::new(LearningRate::from(0.5).adjustable());
    let trainer = Trainer::with(w.powi(2).sum_all(), &rule, store, Workspace::new(1).unwrap()).unwrap();
    assert_eq!(trainer.store().trainable().collect::<Vec<_>>(), ["w"]);
    assert_eq!(Weights::of(trainer.store()).unwrap().names().collect::<Vec<_>>(), ["w"]);
}

#[test]
fn kinds_are_the_same_whichever_plan_comes_first() {
    let record = |mode, trains: bool| {
        let graph = Graph::with_mode(mode);
        let loss = loss(&graph);
        if trains {
            minimize(loss, &Own).unwrap();
        }
        Plan::<f32>::compile(&graph, &[loss]).unwrap()
    };
    let mut store = Store::new(0);
    let rows = Array2::<f32>::eye(4).slice(ndarray::s![.., ..3]).to_owned();
    store.prepare(&record(Mode::Evaluate, false)).unwrap();
    for (mode, trains) in [(Mode::Train, true), (Mode::Evaluate, false)] {
        let plan = record(mode, trains);
        plan.run(&mut store, &mut Workspace::new(1).unwrap(), &[dagrad::Feed::new("rows", &rows)]).unwrap();
        assert_eq!(Weights::of(&store).unwrap().names().collect::<Vec<_>>(), WEIGHTS);
    }
    assert_eq!(store.kind("seen"), Some(Optimizing));
    assert_eq!(store.copy().unwrap().kind("seen"), Some(Optimizing));
    assert_eq!(store.kind("nobody"), None);
}

#[test]
fn only_matrices_that_last_can_be_transposed_in_files() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 2]);
    let _ = x.relu().transposed_in_files();
    assert_mentions(&message(graph.check()), &["transposed_in_files", "kinds.rs", "matrix", "[2, 2]"]);
    let graph = Graph::new();
    let _ = graph.param("b", [2], Init::ZEROS).transposed_in_files();
    assert_mentions(&message(graph.check()), &["transposed_in_files", "param \"b\""]);
}
