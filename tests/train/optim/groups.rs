//! Several optimizers in one step.

use super::trainer;
use crate::common::{array, assert_close, assert_mentions, message};
use dagrad::data::mnist_5k;
use dagrad::nn::{self, BatchNorm, Filters, Model};
use dagrad::optim::{Adam, AdamW, Groups, Momentum, Optimizer, RmsProp, Sgd, minimize};
use dagrad::train::{FitOptions, Progress, fit};
use dagrad::viz::{Report, Start};
use dagrad::{Feed, Graph, Init, Mode, Plan, Store, Trainer, Var, Workspace};
use ndarray::ArrayD;

/// A loss that pulls each of some parameters in its own way.
fn pulls<'g>(graph: &'g Graph, names: &[&str]) -> Var<'g> {
    let pull = |(number, name): (usize, &&str)| {
        let p = graph.param(name, [3], Init::Normal { std: 1.0 });
        (p * p * (1.0 + number as f64) - p).sum_all()
    };
    names.iter().enumerate().map(pull).reduce(|a, b| a + b).unwrap()
}

const NAMES: [&str; 5] = ["backbone.conv.weight", "backbone.conv.bias", "head.weight", "head.bias", "scale"];

/// The parameters of that loss after four steps.
fn trained(names: &[&str], optimizer: &dyn Optimizer) -> Vec<ArrayD<f64>> {
    let graph = Graph::new();
    let loss = pulls(&graph, names);
    let mut trainer = Trainer::with(loss, optimizer, Store::new(6), Workspace::new(1).unwrap()).unwrap();
    for _ in 0..4 {
        trainer.step(&[]).unwrap();
    }
    names.iter().map(|name| trainer.store().get(name).unwrap().to_owned()).collect()
}

fn groups() -> Groups {
    Groups::new(Adam { betas: [0.7, 0.9], ..Adam::new(0.1) })
        .group("*.bias", Momentum::new(0.02))
        .group("backbone.*", Sgd::new(0.01).weight_decay(0.1))
        .group("head.*", AdamW::new(0.05))
}

#[test]
fn each_parameter_follows_the_first_group_whose_pattern_matches() {
    let found = trained(&NAMES, &groups());
    let alone: [&dyn Optimizer; 5] = [
        &Sgd::new(0.01).weight_decay(0.1),
        &Momentum::new(0.02),
        &AdamW::new(0.05),
        &Momentum::new(0.02),
        &Adam { betas: [0.7, 0.9], ..Adam::new(0.1) },
    ];
    for (number, optimizer) in alone.into_iter().enumerate() {
        // The same parameter under one optimizer for all.
        assert_close(&found[number], &trained(&NAMES, optimizer)[number], 1e-14);
    }
    let boxed: Box<dyn Optimizer + Send + Sync> = Box::new(groups());
    assert_eq!(trained(&NAMES, &Groups::new(boxed)), found, "groups within a group, chosen while running");
}

#[test]
fn frozen_parameters_stay_have_no_state_and_no_share_in_the_norm() {
    let rule = || Groups::new(Momentum::new(0.1)).frozen("backbone.*").group("*.bias", Sgd::new(0.1));
    let start = trained(&NAMES, &Sgd::new(0.0));
    let found = trained(&NAMES, &rule());
    for (number, name) in NAMES.iter().enumerate() {
        assert_eq!(found[number] == start[number], name.starts_with("backbone"), "{name}");
    }
    let graph = Graph::new();
    let loss = pulls(&graph, &NAMES);
    minimize(loss, &rule()).unwrap();
    let mut store = Store::<f64>::new(0);
    store.prepare(&Plan::compile(&graph, &[loss]).unwrap()).unwrap();
    let state: Vec<&str> = store.names().filter(|name| !NAMES.contains(name)).collect();
    assert_eq!(state, ["head.weight.momentum", "scale.momentum"]);
    // The bound holds for what moves: as if the others were numbers.
    let bounded = |names: [&str; 3], rule: &dyn Optimizer| {
        let graph = Graph::new();
        let [a, b, c] = names.map(|name| graph.param(name, [], Init::ZEROS));
        let store = Store::<f64>::new(0);
        let mut trainer =
            Trainer::with(a * 3.0 + b * 4.0 + c * 1e6, rule, store, Workspace::new(1).unwrap()).unwrap();
        trainer.step(&[]).unwrap();
        names.map(|name| trainer.store().get(name).unwrap()[[]])
    };
    let rule = Groups::new(Sgd::new(1.0)).group("b", Sgd::new(2.0)).frozen("c").clip_norm(1.0);
    let [a, b, c] = bounded(["a", "b", "c"], &rule);
    assert!(
        (a + 0.6).abs() < 1e-6 && (b + 1.6).abs() < 1e-6 && c == 0.0,
        "{a} {b} {c}: one norm of both groups"
    );
}

#[test]
fn a_loss_need_not_reach_what_is_frozen() {
    let graph = Graph::new();
    let x = graph.input("x", [4, 3]);
    let features = nn::linear(x, "backbone", 5).relu().stop_gradient();
    let loss = nn::linear(features, "head", 1).powi(2).mean_all();
    assert_mentions(&message(minimize(loss, &Sgd::new(0.1))), &["backbone.weight"]);
    minimize(loss, &Groups::new(Sgd::new(0.1)).frozen("backbone.*")).unwrap();
    assert_eq!(graph.updates().len(), 2);
}

#[test]
fn a_star_stands_for_any_letters() {
    let matches = |pattern: &str, name: &str| !Groups::new(Sgd::new(0.1)).frozen(pattern).moves(name);
    for (pattern, name) in [
        ("*", ""),
        ("*", "a.b"),
        ("a", "a"),
        ("", ""),
        ("a*", "a"),
        ("*.bias", "x.y.bias"),
        ("*.bias", ".bias.bias"),
        ("a*b*c", "abc"),
        ("a*b*c", "a.b.b.c.c"),
        ("**a**", "a"),
        ("*ab*ab*", "abab"),
        ("größe*", "größe.weight"),
        ("*ß*", "größe"),
        ("a.b", "a.b"),
    ] {
        assert!(matches(pattern, name), "{pattern} {name}");
    }
    for (pattern, name) in [
        ("", "a"),
        ("a", "ab"),
        ("a", "A"),
        ("a.b", "axb"),
        ("*.bias", "bias"),
        ("a*a", "a"),
        ("ab*bc", "abc"),
        ("*ab*ab*", "aba"),
        ("a*b*c", "acb"),
        ("*b", "abc"),
        ("b*", "abc"),
        ("?", "a"),
    ] {
        assert!(!matches(pattern, name), "{pattern} {name}");
    }
}

#[test]
fn a_pattern_that_matches_nothing_is_named_with_its_line_and_the_nearest_name() {
    let text = |rule: &dyn Optimizer| {
        let graph = Graph::new();
        message(Trainer::new(pulls(&graph, &NAMES), rule))
    };
    let line = line!() + 1;
    let rule = Groups::new(Sgd::new(0.1)).group("backbon.*.bias", Sgd::new(0.1));
    let site = format!("group at {}:{line}", file!());
    assert_mentions(
        &text(&rule),
        &[&site, "\"backbon.*.bias\" matches no parameter; the nearest is \"backbone.conv.bias\""],
    );
    assert_mentions(
        &text(&Groups::new(Sgd::new(0.1)).frozen("heads.*").clip_norm(1.0)),
        &["frozen at", file!(), "\"heads.*\" matches no parameter; the nearest is \"head."],
    );
    // What is far from every name is no slip of the pen: all names are told, or the first of them.
    let names = NAMES.map(|name| format!("{name:?}")).join(", ");
    let text_of_none = text(&Groups::new(Sgd::new(0.1)).frozen("qqqqqqqq"));
    assert_mentions(&text_of_none, &[&format!("\"qqqqqqqq\" matches no parameter; there are {names}")]);
    assert!(!text_of_none.contains("nearest"), "{text_of_none}");
    // The last part of a name tells what is meant.
    let named = text(&Groups::new(Sgd::new(0.1)).frozen("classifier_of_digits.weight"));
    assert_mentions(&named, &["the nearest is \"", ".weight\""]);
    // One that comes too late is no better.
    let late = Groups::new(Sgd::new(0.1)).group("head.*", Sgd::new(0.2)).frozen("head.bias");
    assert_mentions(
        &text(&late),
        &["frozen at", "\"head.bias\"", "belongs to the earlier \"head.*\"", "hint: the first pattern"],
    );
    // Settings of a group are checked as any.
    assert_mentions(
        &text(&Groups::new(Sgd::new(0.1)).group("head.*", Sgd::new(f64::NAN))),
        &["the rate is NaN"],
    );
    let nothing = Graph::new();
    let loss = nothing.fill([], 1.0);
    assert_mentions(
        &message(minimize(loss, &Groups::new(Sgd::new(0.1)).frozen("*"))),
        &["matches no parameter"],
    );
}

fn with_backbone(images: Var<'_>) -> Var<'_> {
    let h = nn::conv2d(images, "backbone.conv", Filters::new(3, 5)).relu().max_pool2d(4);
    let h = nn::batch_norm(h, "backbone.norm", BatchNorm::default());
    nn::linear(h.flatten(), "head", 10)
}

#[test]
fn groups_train_models_and_are_reported() {
    let digits = mnist_5k().unwrap();
    let (train, test) = (digits.train.take(60), digits.test.take(20));
    let mut model = Model::new(with_backbone as fn(Var<'_>) -> Var<'_>, train.image_shape(), 0).unwrap();
    let start = Start::of(&model);
    let rule = Groups::new(Adam::new(0.01))
        .frozen("backbone.conv.weight")
        .group("*.bias", Sgd::new(0.1))
        .clip_norm(10.0);
    let before = model.store().get("backbone.conv.weight").unwrap().to_owned();
    let options = FitOptions { epochs: 2, batch: 20, progress: Progress::Quiet, ..FitOptions::default() };
    let epochs = fit(&mut model, &rule, &train, &test, options).unwrap();
    assert!(epochs[1].loss < epochs[0].loss);
    let store = model.store();
    assert_eq!(store.get("backbone.conv.weight").unwrap(), before);
    assert!(store.get("backbone.norm.weight.adam.m").is_some() && store.get("head.bias.adam.m").is_none());
    Report::new("groups").network("network", &start, &mut model, &rule, &test).unwrap();
}

fn critic(x: Var<'_>) -> Var<'_> {
    let h = nn::batch_norm(nn::linear(x, "critic.1", 4), "critic.norm", BatchNorm::default());
    nn::linear(h.tanh(), "critic.2", 1).mean_all()
}

/// A generator and a critic that sees real and made images; the losses of both.
fn gan(graph: &Graph) -> [Var<'_>; 2] {
    let (noise, real) = (graph.input("noise", [6, 2]), graph.input("real", [6, 3]));
    let made = nn::linear(noise, "generator", 3);
    let (on_real, on_made) = (critic(real), critic(made));
    [on_made - on_real, -on_made]
}

#[test]
fn two_optimizers_move_two_networks_in_one_step() {
    let (noise, real) = (crate::common::numbers(&[6, 2], 1), crate::common::numbers(&[6, 3], 2));
    let feeds = [Feed::new("noise", &noise), Feed::new("real", &real)];
    let of_critic = || Groups::new(RmsProp::new(0.01)).frozen("generator.*");
    let of_generator = || Groups::new(Adam::new(0.02)).frozen("critic.*");
    let run = |record: &dyn Fn(&Graph) -> Var<'_>| {
        let graph = Graph::new();
        let loss = record(&graph);
        let plan = Plan::<f64>::compile(&graph, &[loss]).unwrap();
        let (mut store, mut workspace) = (Store::new(3), Workspace::new(1).unwrap());
        plan.run(&mut store, &mut workspace, &feeds).unwrap();
        store
    };
    let both = run(&|graph| {
        let [critic, generator] = gan(graph);
        minimize(critic, &of_critic()).unwrap();
        minimize(generator, &of_generator()).unwrap();
        critic
    });
    // From the same start, each alone.
    let critic = run(&|graph| {
        let [critic, _] = gan(graph);
        minimize(critic, &of_critic()).unwrap();
        critic
    });
    let generator = run(&|graph| {
        let [_, generator] = gan(graph);
        minimize(generator, &of_generator()).unwrap();
        generator
    });
    for name in both.names() {
        let alone = if name.starts_with("critic") { &critic } else { &generator };
        assert_close(&both.get(name).unwrap().to_owned(), &alone.get(name).unwrap().to_owned(), 1e-13);
    }
    assert_ne!(both.get("critic.1.weight"), generator.get("critic.1.weight"));
    assert_ne!(both.get("generator.weight"), critic.get("generator.weight"));
}

#[test]
fn a_parameter_that_two_optimizers_move_is_an_error_with_both_lines() {
    let graph = Graph::with_mode(Mode::Train);
    let w = graph.param("w", [2], Init::ONES);
    let loss = w.powi(2).sum_all();
    minimize(loss, &Momentum::new(0.1)).unwrap();
    let line = line!() + 1;
    let text = message(minimize(loss * 2.0, &Momentum::new(0.1)));
    let site = format!("minimize at {}:{line}", file!());
    let before = format!("w is moved already, by `minimize` at {}:{}", file!(), line - 2);
    assert_mentions(&text, &[&site, &before, "next value [2]", "hint: ", "Groups::frozen"]);
}

#[test]
fn a_parameter_that_is_updated_before_an_optimizer_moves_it_is_an_error_with_both_lines() {
    type Give = for<'g> fn(Var<'g>) -> u32;
    let givers: [(&str, Give); 2] = [
        ("update", |w| {
            w.update(|w| w.clamp(-1.0, 1.0));
            line!() - 1
        }),
        ("assign", |w| {
            w.assign(w * 0.5);
            line!() - 1
        }),
    ];
    for (by, give) in givers {
        let graph = Graph::new();
        let w = graph.param("w", [2], Init::ONES);
        let before = format!("by `{by}` at {}:{}", file!(), give(w));
        let text = message(minimize(w.powi(2).sum_all(), &Sgd::new(0.1)));
        assert_mentions(&text, &["minimize at", "w is moved already, ", &before, "call `minimize` first"]);
        w.assign(w);
        assert_mentions(&message(graph.check()), &["assign at", "assigned to twice, before ", &before]);
    }
}

#[test]
fn where_everything_is_frozen_nothing_is_left_to_train() {
    let rule = Groups::new(Sgd::new(0.1)).frozen("*");
    let graph = Graph::new();
    let line = line!() + 1;
    let text = message(Trainer::new(pulls(&graph, &NAMES), &rule));
    assert_mentions(
        &text,
        &[&format!("minimize at {}:{line}", file!()), "nothing is left to train", "hint: "],
    );
    let mut model = Model::new(with_backbone as fn(Var<'_>) -> Var<'_>, [1, 28, 28], 0).unwrap();
    let digits = mnist_5k().unwrap().test.take(20);
    let text = message(fit(&mut model, &rule, &digits, &digits, FitOptions::default()));
    assert_mentions(&text, &["nothing is left to train"]);
}

#[test]
fn a_pattern_of_state_alone_says_that_no_optimizer_moves_it() {
    let graph = Graph::new();
    let loss = with_backbone(graph.input("images", [2, 1, 28, 28])).sum_all();
    let text = message(minimize(loss, &Groups::new(Sgd::new(0.1)).frozen("*.running_mean")));
    assert_mentions(
        &text,
        &[
            "frozen at",
            "matches no parameter, only state such as \"backbone.norm.running_mean\"",
            "Graph::in_mode",
        ],
    );
}

#[test]
fn optimizers_share_a_graph_by_the_pairs_they_are_given() {
    let graph = Graph::new();
    let [a, b] = ["a", "b"].map(|name| graph.param(name, [], Init::ZEROS));
    let one = graph.fill([], 1.0);
    Sgd::new(0.5).step(&graph, &[(a, one)]);
    Sgd::new(0.25).step(&graph, &[(b, one)]);
    let plan = Plan::<f64>::compile(&graph, &[one]).unwrap();
    let mut store = Store::new(0);
    plan.run(&mut store, &mut Workspace::new(1).unwrap(), &[]).unwrap();
    assert_eq!(["a", "b"].map(|name| store.get(name).unwrap()[[]]), [-0.5, -0.25]);
}

#[test]
fn an_optimizer_in_a_box_is_that_optimizer() {
    let g = array(&[2], &[0.5, -2.0]);
    let after = |optimizer: &dyn Fn() -> Trainer<f64>| {
        let mut trainer = optimizer();
        trainer.step(&[Feed::new("g", &g)]).unwrap();
        trainer.store().get("p").unwrap().to_owned()
    };
    let start = array(&[2], &[1.0, 2.0]);
    let boxed: Box<dyn Optimizer> = Box::new(Adam::new(0.1).weight_decay(0.1));
    let boxed = boxed.clip_value(0.3);
    let plain = Adam::new(0.1).weight_decay(0.1).clip_value(0.3);
    assert_eq!(after(&|| trainer(&boxed, &start)), after(&|| trainer(&plain, &start)));
}
