//! Every optimizer against its formula, written down once more for single numbers.

mod counts;
mod groups;
mod several;

use crate::common::{assert_mentions, message, numbers};
use dagrad::optim::{
    AdaGrad, Adam, AdamW, LearningRate, Momentum, Nesterov, Optimizer, RmsProp, Sgd, minimize,
};
use dagrad::{Feed, Graph, Init, Plan, Precision, Real, Store, Trainer, Var, Workspace};
use ndarray::ArrayD;

/// A parameter of some shape whose gradient is whatever is fed as `g`: the loss is Σ p g.
fn trainer<T: Precision>(optimizer: &impl Optimizer, start: &ArrayD<T>) -> Trainer<T> {
    let graph = Graph::new();
    let p = graph.param("p", start.shape(), Init::ZEROS);
    let loss = (p * graph.input("g", start.shape())).sum_all();
    let mut store = Store::new(0);
    store.set("p", start).unwrap();
    Trainer::with(loss, optimizer, store, Workspace::new(1).unwrap()).unwrap()
}

/// The parameter after steps with these gradients.
fn after<T: Precision>(
    optimizer: &impl Optimizer,
    start: &ArrayD<T>,
    gradients: &[ArrayD<f64>],
) -> ArrayD<T> {
    let mut trainer = trainer(optimizer, start);
    for g in gradients {
        trainer.step(&[Feed::new("g", g)]).unwrap();
    }
    trainer.store().get("p").unwrap().to_owned()
}

/// One number, what an optimizer remembers of it, and how many steps came before the present one, plus one.
#[derive(Default)]
struct Number {
    p: f64,
    a: f64,
    b: f64,
    t: i32,
}

/// Gradients of changing size and sign, one of them zero.
fn gradients(shape: &[usize], steps: u64) -> Vec<ArrayD<f64>> {
    let scale = |step: u64| if step == 6 { 0.0 } else { 10f64.powi((step % 4) as i32 - 2) };
    (1..=steps).map(|step| numbers(shape, step) * scale(step)).collect()
}

/// Compares an optimizer with its formula after each of 15 steps.
#[track_caller]
fn assert_follows(optimizer: impl Optimizer, rule: impl Fn(&mut Number, f64)) {
    let shape = [2, 3];
    let start = numbers(&shape, 99);
    let mut expected = start.mapv(|p| Number { p, ..Number::default() });
    let mut trainer = trainer(&optimizer, &start);
    for (step, g) in gradients(&shape, 15).iter().enumerate() {
        let loss = trainer.step(&[Feed::new("g", g)]).unwrap();
        let before: f64 = expected.iter().zip(g).map(|(number, g)| number.p * g).sum();
        assert!((loss - before).abs() < 1e-12, "step {step}: a loss of {loss} instead of {before}");
        for (number, &g) in expected.iter_mut().zip(g) {
            number.t += 1;
            rule(number, g);
        }
        for (&found, number) in trainer.store().get("p").unwrap().iter().zip(&expected) {
            let gap = (found - number.p).abs() / number.p.abs().max(1.0);
            assert!(gap < 1e-12, "step {step}: {found} instead of {}", number.p);
        }
    }
}

#[test]
fn sgd_follows_its_formula() {
    assert_follows(Sgd::new(0.3), |n, g| n.p -= 0.3 * g);
}

#[test]
fn momentum_follows_its_formula() {
    assert_follows(Momentum { learning_rate: 0.2.into(), momentum: 0.8 }, |n, g| {
        n.a = 0.8 * n.a - 0.2 * g;
        n.p += n.a;
    });
    assert_eq!(Momentum::new(0.1), Momentum { learning_rate: 0.1.into(), momentum: 0.9 });
}

#[test]
fn nesterov_follows_its_formula_from_the_first_step_on() {
    // At the first step the memory is the gradient itself: μ · 0 + g.
    assert_follows(Nesterov { learning_rate: 0.2.into(), momentum: 0.8 }, |n, g| {
        n.a = if n.t == 1 { g } else { 0.8 * n.a + g };
        n.p -= 0.2 * (g + 0.8 * n.a);
    });
    assert_eq!(Nesterov::new(0.1), Nesterov { learning_rate: 0.1.into(), momentum: 0.9 });
}

#[test]
fn adagrad_follows_its_formula() {
    assert_follows(AdaGrad { learning_rate: 0.2.into(), epsilon: 1e-3 }, |n, g| {
        n.a += g * g;
        n.p -= 0.2 * g / (n.a.sqrt() + 1e-3);
    });
    assert_eq!(AdaGrad::new(0.1), AdaGrad { learning_rate: 0.1.into(), epsilon: 1e-10 });
}

#[test]
fn rmsprop_follows_its_formula() {
    assert_follows(RmsProp { learning_rate: 0.2.into(), decay: 0.7, epsilon: 1e-3 }, |n, g| {
        n.a = 0.7 * n.a + 0.3 * g * g;
        n.p -= 0.2 * g / (n.a.sqrt() + 1e-3);
    });
    assert_eq!(RmsProp::new(0.1), RmsProp { learning_rate: 0.1.into(), decay: 0.99, epsilon: 1e-8 });
}

/// Adam's step with η = 0.2, β = 0.8 and 0.95, ε = 10⁻³.
fn adam(n: &mut Number, g: f64) {
    n.a = 0.8 * n.a + 0.2 * g;
    n.b = 0.95 * n.b + 0.05 * g * g;
    let (m, v) = (n.a / (1.0 - 0.8f64.powi(n.t)), n.b / (1.0 - 0.95f64.powi(n.t)));
    n.p -= 0.2 * m / (v.sqrt() + 1e-3);
}

fn adam_of_the_tests() -> Adam {
    Adam { learning_rate: 0.2.into(), betas: [0.8, 0.95], epsilon: 1e-3 }
}

#[test]
fn adam_follows_its_formula() {
    assert_follows(adam_of_the_tests(), adam);
    assert_eq!(Adam::new(0.1), Adam { learning_rate: 0.1.into(), betas: [0.9, 0.999], epsilon: 1e-8 });
}

#[test]
fn adamw_decays_the_parameter_first_and_then_follows_adam() {
    assert_follows(AdamW { adam: adam_of_the_tests(), weight_decay: 0.1 }, |n, g| {
        n.p *= 1.0 - 0.2 * 0.1;
        adam(n, g);
    });
    assert_follows(AdamW { adam: adam_of_the_tests(), weight_decay: 0.0 }, adam);
    assert_eq!(AdamW::new(0.1), AdamW { adam: Adam::new(0.1), weight_decay: 0.01 });
}

#[test]
fn adams_first_step_is_the_learning_rate_in_single_precision_too() {
    // m̂ and √v̂ are |g| at the first step, whatever the betas. 1 − 0.999 computed in single precision would be
    // off by 10⁻⁵ and show here.
    let g = ndarray::array![3e-3, -0.25, 1.0, -700.0].into_dyn();
    let moved = after(
        &Adam { epsilon: 1e-12, ..Adam::new(0.5) },
        &ArrayD::<f32>::zeros(g.raw_dim()),
        std::slice::from_ref(&g),
    );
    for (&moved, &g) in moved.iter().zip(&g) {
        let error = (moved.into_f64() + 0.5 * g.signum()).abs() / 0.5;
        assert!(error < 4.0 * f64::from(f32::EPSILON), "{moved} for a gradient of {g}");
    }
}

#[test]
fn adams_correction_stays_right_over_a_thousand_steps_in_single_precision() {
    // With a gradient that never changes every step has the size of the learning rate.
    let g = ndarray::array![0.3, -2.0].into_dyn();
    let steps: Vec<ArrayD<f64>> = vec![g.clone(); 1000];
    let moved = after(&Adam::new(1.0 / 1024.0), &ArrayD::<f32>::zeros(g.raw_dim()), &steps);
    for (&moved, &g) in moved.iter().zip(&g) {
        let expected = -g.signum() * 1000.0 / 1024.0;
        assert!((moved.into_f64() - expected).abs() < 2e-5, "{moved} instead of {expected}");
    }
}

/// Calls `$with!(name, optimizer)` for each optimizer, with a rate that suits the regression below.
macro_rules! each_optimizer {
    ($with:ident) => {
        $with!("sgd", Sgd::new(0.3));
        $with!("momentum", Momentum::new(0.05));
        $with!("nesterov", Nesterov::new(0.05));
        $with!("adagrad", AdaGrad::new(0.5));
        $with!("rmsprop", RmsProp::new(0.02));
        $with!("adam", Adam::new(0.1));
        $with!("adamw", AdamW { adam: Adam::new(0.1), weight_decay: 1e-4 });
    };
}

#[test]
fn every_optimizer_descends_on_a_small_regression() {
    macro_rules! descend {
        ($name:expr, $optimizer:expr) => {
            let losses = regression(&$optimizer, 200);
            let (first, last) = (losses[0], losses[199]);
            assert!(last < 1e-3 * first, "{}: from {first} to {last}", $name);
        };
    }
    each_optimizer!(descend);
}

/// The losses of steps that fit z = x · w + b to a plane.
fn regression(optimizer: &impl Optimizer, steps: usize) -> Vec<f64> {
    let graph = Graph::new();
    let (x, z) = (graph.input("x", [32, 3]), graph.input("z", [32, 1]));
    let w = graph.param("w", [3, 1], Init::Normal { std: 0.1 });
    let b = graph.param("b", [1], Init::ZEROS);
    let loss = (x.matmul(w) + b - z).powi(2).mean_all();
    let xs = numbers(&[32, 3], 4);
    let plane = |row: ndarray::ArrayView1<'_, f64>| 1.5 * row[0] - 2.0 * row[1] + 0.5 * row[2] + 0.7;
    let zs = xs.rows().into_iter().map(plane).collect::<ndarray::Array1<f64>>();
    let zs = zs.into_shape_with_order([32, 1]).unwrap();
    let mut trainer =
        Trainer::<f64>::with(loss, optimizer, Store::new(0), Workspace::new(1).unwrap()).unwrap();
    (0..steps).map(|_| trainer.step(&[x.feed(&xs), z.feed(&zs)]).unwrap()).collect()
}

#[test]
fn without_a_gradient_nothing_moves_and_nothing_becomes_nan() {
    let start = numbers(&[5], 3);
    let nothing = vec![ArrayD::zeros(start.raw_dim()); 4];
    macro_rules! stay {
        ($name:expr, $optimizer:expr) => {
            let expected =
                if $name == "adamw" { &start * (1.0f64 - 0.1 * 1e-4).powi(4) } else { start.clone() };
            for (&found, &expected) in after(&$optimizer, &start, &nothing).iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-15, "{}: {found} instead of {expected}", $name);
            }
        };
    }
    each_optimizer!(stay);
}

#[test]
fn memory_outlives_a_gradient_that_vanishes() {
    let (start, push) =
        (numbers(&[1], 1), vec![ndarray::array![1.0].into_dyn(), ndarray::array![0.0].into_dyn()]);
    let found = after(&Momentum { learning_rate: 0.5.into(), momentum: 0.5 }, &start, &push);
    assert!((found[[0]] - (start[[0]] - 0.5 - 0.25)).abs() < 1e-15);
}

#[test]
fn each_parameter_has_memory_of_its_own_that_is_not_trained() {
    let graph = Graph::new();
    let w = graph.param("w", [2, 1], Init::ONES);
    let b = graph.param("b", [1], Init::ONES);
    let loss = (graph.input("x", [3, 2]).matmul(w) + b).powi(2).mean_all();
    minimize(loss, &Adam::new(0.1)).unwrap();
    let plan = Plan::<f64>::compile(&graph, &[loss]).unwrap();
    let mut store = Store::new(0);
    store.prepare(&plan).unwrap();
    assert_eq!(store.trainable().collect::<std::collections::BTreeSet<_>>(), ["b", "w"].into());
    for (name, shape) in
        [("w.adam.m", vec![2, 1]), ("w.adam.v", vec![2, 1]), ("b.adam.m", vec![1]), ("b.adam.v", vec![1])]
    {
        assert_eq!(store.get(name).unwrap().shape(), shape, "{name}");
    }
    for name in ["w.adam.step", "b.adam.step"] {
        assert_eq!(store.get(name).unwrap().shape(), [2], "{name}");
    }
    assert_eq!(store.names().count(), 2 + 4 + 2, "two parameters, four memories, two counts");
}

#[test]
fn parameters_that_the_loss_does_not_reach_are_named() {
    let graph = Graph::new();
    let used = graph.param("used", [2], Init::ONES);
    graph.param("forgotten", [3], Init::ONES);
    let text = message(minimize(used.sum_all(), &Sgd::new(0.1)));
    assert_mentions(&text, &["forgotten"]);
    assert!(!text.contains("\"used\"") && graph.updates().is_empty());
}

#[test]
fn a_loss_of_many_numbers_is_an_error() {
    let graph = Graph::new();
    let loss = graph.param("p", [3], Init::ONES).powi(2);
    assert_mentions(&message(Trainer::new(loss, &Sgd::new(0.1))), &["one number", "[3]", "sum_all"]);
}

#[test]
fn schedules_follow_their_formulas() {
    let follows = |rate: LearningRate, formula: fn(f64) -> f64| {
        assert_follows(Sgd::new(rate), |n, g| {
            n.p -= formula(f64::from(n.t - 1)) * g;
        });
        assert_follows(
            AdamW { adam: Adam { learning_rate: rate, ..adam_of_the_tests() }, weight_decay: 0.1 },
            |n, g| {
                let rate = formula(f64::from(n.t - 1));
                let mut step = Number { p: 0.0, ..*n };
                adam(&mut step, g);
                (n.a, n.b) = (step.a, step.b);
                n.p = n.p * (1.0 - rate * 0.1) + step.p * rate / 0.2;
            },
        );
    };
    follows(LearningRate::cosine(0.3, 10), |t| {
        0.15 * (1.0 + (std::f64::consts::PI * (t / 10.0).min(1.0)).cos())
    });
    follows(LearningRate::polynomial(0.3, 10, 0.9), |t| 0.3 * (1.0 - (t / 10.0).min(1.0)).powf(0.9));
    follows(LearningRate::polynomial(0.3, 7, 1.0).warmup(2), |t| {
        0.3 * (1.0 - (t / 7.0).min(1.0)) * ((t + 1.0) / 2.0).min(1.0)
    });
    follows(LearningRate::exponential(0.3, 0.9), |t| 0.3 * 0.9f64.powf(t));
    follows(LearningRate::staircase(0.3, 3, 0.5), |t| 0.3 * 0.5f64.powf((t / 3.0).floor()));
    follows(LearningRate::from(0.3).warmup(4), |t| 0.3 * ((t + 1.0) / 4.0).min(1.0));
    follows(LearningRate::exponential(0.3, 0.9).warmup(5), |t| {
        0.3 * 0.9f64.powf(t) * ((t + 1.0) / 5.0).min(1.0)
    });
}

#[test]
fn gradients_are_decayed_and_clipped() {
    assert_follows(Sgd::new(0.3).weight_decay(0.1), |n, g| n.p -= 0.3 * (g + 0.1 * n.p));
    assert_follows(adam_of_the_tests().weight_decay(0.1), |n, g| adam(n, g + 0.1 * n.p));
    assert_follows(Sgd::new(0.3).clip_value(0.05), |n, g| n.p -= 0.3 * g.clamp(-0.05, 0.05));
    // What is said last happens first.
    assert_follows(Sgd::new(0.3).weight_decay(0.1).clip_value(0.05), |n, g| {
        n.p -= 0.3 * (g.clamp(-0.05, 0.05) + 0.1 * n.p);
    });
    assert_follows(Sgd::new(0.3).clip_value(0.05).weight_decay(0.1), |n, g| {
        n.p -= 0.3 * (g + 0.1 * n.p).clamp(-0.05, 0.05);
    });
}

#[test]
fn what_is_recorded_for_a_changed_gradient_is_read() {
    fn unread(optimizer: impl Optimizer) -> String {
        let graph = Graph::new();
        let p = graph.param("p", [3], Init::ONES);
        minimize((p * p).sum_all(), &optimizer).unwrap();
        let read: Vec<_> = graph.values().into_iter().flat_map(|value| value.operands()).collect();
        let unread =
            graph.values().into_iter().filter(|value| read.iter().all(|other| other.id() != value.id()));
        unread.filter_map(|value| value.op()).map(|op| format!("{} ", op.name())).collect()
    }
    let plain = unread(Sgd::new(0.1));
    for found in [
        unread(Sgd::new(0.1).weight_decay(0.1)),
        unread(Sgd::new(0.1).clip_value(0.1)),
        unread(Sgd::new(0.1).clip_norm(0.1)),
    ] {
        assert_eq!(found, plain);
    }
}

#[test]
fn the_length_of_all_gradients_together_is_clipped() {
    for (most, length) in [(2.0, 2.0 * 6.5 / (6.5 + 1e-6)), (7.0, 6.5), (0.0, 0.0)] {
        let graph = Graph::new();
        let (a, b) = (graph.param("a", [2], Init::ZEROS), graph.param("b", [], Init::ZEROS));
        let derivatives = numbers(&[2], 3);
        let rest = (6.5f64 * 6.5 - derivatives.mapv(|derivative| derivative * derivative).sum()).sqrt();
        let loss = (a * graph.input("derivatives", [2])).sum_all() + b * rest;
        let store = Store::new(0);
        let mut trainer =
            Trainer::<f64>::with(loss, &Sgd::new(1.0).clip_norm(most), store, Workspace::new(1).unwrap())
                .unwrap();
        trainer.step(&[Feed::new("derivatives", &derivatives)]).unwrap();
        crate::common::assert_close(
            &trainer.store().get("a").unwrap().to_owned(),
            &(derivatives * -length / 6.5),
            1e-14,
        );
        crate::common::assert_close(
            &trainer.store().get("b").unwrap().to_owned(),
            &crate::common::array(&[], &[-rest * length / 6.5]),
            1e-14,
        );
    }
}

#[test]
fn bounds_of_gradients_are_positive() {
    let bounds: [(&str, &dyn Optimizer); 3] = [
        ("weight_decay at", &Sgd::new(0.1).weight_decay(f64::NAN)),
        ("clip_value at", &Sgd::new(0.1).clip_value(-1.0)),
        ("clip_norm at", &Sgd::new(0.1).clip_norm(f64::NEG_INFINITY)),
    ];
    for (name, optimizer) in bounds {
        let loss = Graph::new();
        let loss = loss.param("p", [3], Init::ONES).sum_all();
        assert_mentions(&message(minimize(loss, optimizer)), &[name, "hint: it is 0 or more", file!()]);
    }
}

#[test]
fn a_loss_without_parameters_has_nothing_to_clip() {
    let graph = Graph::new();
    let loss = graph.fill([], 1.0);
    minimize(loss, &Sgd::new(0.1).clip_norm(1.0)).unwrap();
}

#[test]
fn gradients_beyond_the_root_of_the_largest_number_are_clipped() {
    let graph = Graph::new();
    let (p, q) = (graph.param("p", [2], Init::ZEROS), graph.param("q", [1], Init::ZEROS));
    let loss = (p * 3e25).sum_all() + (q * 4e25).sum_all();
    let mut trainer: Trainer<f32> = Trainer::new(loss, &Sgd::new(1.0).clip_norm(1.0)).unwrap();
    trainer.step(&[]).unwrap();
    let moved =
        |name: &str| trainer.store().get(name).unwrap().iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
    let length = 34_f64.sqrt(); // of 3, 3 and 4
    for (found, expected) in [moved("p"), moved("q")].concat().into_iter().zip([3.0, 3.0, 4.0]) {
        assert!((found + expected / length).abs() < 1e-5, "{found}");
    }
}

#[test]
fn settings_out_of_range_are_named_with_their_range() {
    let betas = |betas| Adam { betas, ..Adam::new(0.1) };
    let settings: &[(&dyn Optimizer, &[&str])] = &[
        (&Sgd::new(f64::NAN), &["learning_rate at", "the rate is NaN", "0 or more and finite"]),
        (&Sgd::new(-1.0), &["the rate is -1"]),
        (&Momentum::new(f64::INFINITY), &["the rate is inf"]),
        (&Momentum { momentum: f64::NAN, ..Momentum::new(0.1) }, &["Momentum at", "momentum is NaN"]),
        (&Nesterov { momentum: -0.1, ..Nesterov::new(0.1) }, &["Nesterov at", "momentum is -0.1"]),
        (&betas([1.0, 0.9]), &["Adam at", "the first of betas is 1", "0 or more, and less than 1"]),
        (&betas([0.9, 2.0]), &["the second of betas is 2"]),
        (&Adam { epsilon: -1e-8, ..Adam::new(0.1) }, &["epsilon is -0.00000001"]),
        (&AdamW { weight_decay: f64::INFINITY, ..AdamW::new(0.1) }, &["AdamW at", "weight_decay is inf"]),
        (
            &RmsProp { decay: 1.5, ..RmsProp::new(0.1) },
            &["RmsProp at", "decay is 1.5", "0 or more, and 1 at most"],
        ),
        (&AdaGrad { epsilon: f64::NAN, ..AdaGrad::new(0.1) }, &["AdaGrad at", "epsilon is NaN"]),
        (&Sgd::new(LearningRate::exponential(0.1, -0.5)), &["learning_rate at", "the factor is -0.5"]),
        (&Sgd::new(LearningRate::staircase(0.1, 2, f64::NAN)), &["the factor is NaN"]),
    ];
    for (optimizer, parts) in settings {
        let graph = Graph::new();
        let loss = graph.param("p", [3], Init::ONES).sum_all();
        assert_mentions(&message(minimize(loss, *optimizer)), parts);
    }
}

/// An optimizer of one's own: steps of one size against the sign of the gradient.
struct Sign(f64);

impl Optimizer for Sign {
    fn step<'g>(&self, _: &'g Graph, parameters: &[(Var<'g>, Var<'g>)]) {
        for &(p, g) in parameters {
            p.assign(p - g / (g * g).sqrt() * self.0);
        }
    }
}

#[test]
fn an_optimizer_of_ones_own_is_a_few_operations() {
    assert_follows_signs(&[0.5, -3.0, 1e-3], &[-0.25, 0.25, -0.25]);
}

fn assert_follows_signs(gradient: &[f64], moves: &[f64]) {
    let shape = [gradient.len()];
    let found =
        after(&Sign(0.25), &ArrayD::<f64>::zeros(&shape[..]), &[crate::common::array(&shape, gradient)]);
    crate::common::assert_close(&found, &crate::common::array(&shape, moves), 1e-15);
}
