//! Counts of steps and what follows from them: exact for more steps than anyone takes, in either precision.

use super::{Number, adam, assert_follows, numbers, trainer};
use dagrad::data::Dataset;
use dagrad::nn::{self, Model};
use dagrad::optim::{Adam, AdamW, Groups, LearningRate, Momentum, Optimizer, Sgd, minimize};
use dagrad::train::{Epoch, FitOptions, Observer, Progress, Training, fit_observed};
use dagrad::{Feed, Graph, Init, Plan, Precision, Real, Store, Trainer, Var, Workspace};
use ndarray::{ArrayD, arr0, arr1};

const LOW: u64 = 1 << 24;

/// Steps at which single precision, or a count of 32 bits, might stumble.
const STEPS: [u64; 14] = [
    0,
    1,
    2,
    999,
    1000,
    LOW - 1,
    LOW,
    LOW + 1,
    3 * LOW + 7,
    999_999_999,
    1_000_000_000,
    u32::MAX as u64 - 1,
    u32::MAX as u64,
    u32::MAX as u64 + 12345,
];

/// A count as the store keeps it.
fn count<T: Real>(step: u64) -> ArrayD<T> {
    arr1(&[step % LOW, step / LOW].map(|part| T::of(part as f64))).into_dyn()
}

/// The rate at a step, and the count after it.
fn rate_and_count<T: Precision>(rate: LearningRate, step: u64) -> (f64, ArrayD<T>) {
    let graph = Graph::new();
    let plan = Plan::<T>::compile(&graph, &[rate.record(&graph)]).unwrap();
    let (mut store, mut workspace) = (Store::new(0), Workspace::new(1).unwrap());
    store.set("learning_rate.step", &count(step)).unwrap();
    let found = plan.run(&mut store, &mut workspace, &[]).unwrap().scalar(0).unwrap().into_f64();
    (found, store.get("learning_rate.step").unwrap().to_owned())
}

/// A schedule and its formula, written down in another way. (1 − 10⁻⁹ is rounded, and what is lost counts after 10⁹ steps.)
type Schedule = (LearningRate, fn(u64) -> f64);

#[test]
fn schedules_are_exact_for_four_billion_steps() {
    const DAY: u32 = 1_000_000_000;
    let schedules: [Schedule; 8] = [
        (LearningRate::polynomial(0.3, u32::MAX, 2.0), |t| {
            let left = (u32::MAX as f64 - t as f64).max(0.0) / f64::from(u32::MAX);
            0.3 * left * left
        }),
        (LearningRate::cosine(0.3, DAY), |t| {
            0.15 * (1.0 + (std::f64::consts::PI * (t as f64 / f64::from(DAY)).min(1.0)).cos())
        }),
        (LearningRate::cosine(0.3, u32::MAX), |t| {
            0.15 * (1.0 + (std::f64::consts::PI * (t as f64 / f64::from(u32::MAX)).min(1.0)).cos())
        }),
        (LearningRate::exponential(0.3, 1.0 - 1e-9), |t| {
            0.3 * (t as f64 * (1.0 - 1e-9 - 1.0_f64).ln_1p()).exp()
        }),
        (LearningRate::exponential(0.3, 1.0 - 1e-9).warmup(DAY), |t| {
            let warm = ((t + 1) as f64 / f64::from(DAY)).min(1.0);
            0.3 * (t as f64 * (1.0 - 1e-9 - 1.0_f64).ln_1p()).exp() * warm
        }),
        (LearningRate::staircase(0.3, 1000, 1.0 - 1e-6), |t| {
            0.3 * ((t / 1000) as f64 * (1.0 - 1e-6 - 1.0_f64).ln_1p()).exp()
        }),
        (LearningRate::staircase(0.3, 3 * LOW as u32, 0.5), |t| {
            (0..t / (3 * LOW)).fold(0.3, |rate, _| rate / 2.0)
        }),
        (LearningRate::from(0.3).warmup(u32::MAX), |t| 0.3 * ((t + 1) as f64 / f64::from(u32::MAX)).min(1.0)),
    ];
    for (rate, formula) in schedules {
        for step in STEPS {
            let expected = formula(step);
            // What 1 + cos loses near its end is the formula's loss here, not the rate's.
            let near = |found: f64, digits: f64| (found - expected).abs() <= expected * digits + 1e-16;
            let (found, next) = rate_and_count::<f64>(rate, step);
            assert!(near(found, 1e-10) && found == rate.at(step), "{rate:?} at {step}: {found}, {expected}");
            assert_eq!(next, count(step + 1), "{rate:?}");
            let (found, next) = rate_and_count::<f32>(rate, step);
            assert_eq!(found, f64::from(rate.at(step) as f32), "{rate:?} at {step} is rounded once");
            assert_eq!(next, count(step + 1), "{rate:?}");
        }
    }
}

#[test]
fn a_cosine_ends_at_0_and_its_last_steps_are_no_noise() {
    let rate = LearningRate::cosine(1.0, 1_000_000_000);
    assert_eq!([rate.at(0), rate.at(1_000_000_000), rate.at(u64::MAX)], [1.0, 0.0, 0.0]);
    // Near the end it is (π / 2n)² for the last step, and four times that for the one before.
    let last = (std::f64::consts::PI / 2e9).powi(2);
    for (left, expected) in [(1, last), (2, 4.0 * last)] {
        let found = rate.at(1_000_000_000 - left);
        assert!((found / expected - 1.0).abs() < 1e-12, "{found} instead of {expected}");
    }
}

#[test]
fn counts_that_are_no_counts_are_errors_of_nobody() {
    // Whatever somebody writes there, a run neither fails nor overflows.
    for wrong in [[f64::NAN, 0.0], [-3.0, -1.0], [f64::INFINITY, f64::INFINITY], [1e300, 1e300]] {
        let graph = Graph::new();
        let rate = LearningRate::exponential(0.1, 0.9).record(&graph);
        let plan = Plan::<f64>::compile(&graph, &[rate]).unwrap();
        let mut store = Store::new(0);
        store.set("learning_rate.step", &arr1(&wrong).into_dyn()).unwrap();
        let rate = plan.run(&mut store, &mut Workspace::new(1).unwrap(), &[]).unwrap().scalar(0).unwrap();
        assert!((0.0..=0.1).contains(&rate), "{wrong:?}");
    }
    // One that is not split, as it would be set by hand, is one all the same.
    let graph = Graph::new();
    let rate = LearningRate::exponential(0.1, 1.0 - 1e-9);
    let plan = Plan::<f64>::compile(&graph, &[rate.record(&graph)]).unwrap();
    let mut store = Store::new(0);
    store.set("learning_rate.step", &arr1(&[3e9, 0.0]).into_dyn()).unwrap();
    let found = plan.run(&mut store, &mut Workspace::new(1).unwrap(), &[]).unwrap().scalar(0).unwrap();
    assert_eq!(found, rate.at(3_000_000_000));
    assert_eq!(store.get("learning_rate.step").unwrap(), count::<f64>(3_000_000_001));
}

#[test]
fn a_training_in_single_precision_counts_on_where_single_precision_ends() {
    let rate = LearningRate::staircase(0.25, 1 << 24, 0.5);
    let mut trainer = trainer::<f32>(&Sgd::new(rate), &ArrayD::zeros(vec![1]));
    trainer.parts().0.set("learning_rate.step", &count(LOW - 2)).unwrap();
    let one = ArrayD::<f64>::ones(vec![1]);
    let mut moved = Vec::new();
    for _ in 0..4 {
        let before = trainer.store().get("p").unwrap()[[0]];
        trainer.step(&[Feed::new("g", &one)]).unwrap();
        moved.push(before - trainer.store().get("p").unwrap()[[0]]);
    }
    assert_eq!(moved, [0.25, 0.25, 0.125, 0.125]);
    assert_eq!(trainer.store().get("learning_rate.step").unwrap(), count::<f32>(LOW + 2));
}

/// How far Adam moves at step t, from 1, for a gradient of 1 and averages of 0.
fn first_move<T: Precision>(adam: Adam, t: u64) -> f64 {
    let mut trainer = trainer::<T>(&adam, &ArrayD::zeros(vec![1]));
    trainer.parts().0.set("p.adam.step", &count(t - 1)).unwrap();
    trainer.step(&[Feed::new("g", &ArrayD::<f64>::ones(vec![1]))]).unwrap();
    assert_eq!(trainer.store().get("p.adam.step").unwrap(), count::<T>(t));
    -trainer.store().get("p").unwrap()[[0]].into_f64()
}

#[test]
fn adams_correction_is_exact_for_a_billion_steps() {
    let adam = Adam { betas: [0.999_999, 0.999_999_999], epsilon: 1e-12, ..Adam::new(0.5) };
    for t in [1, 2, 10, 1000, LOW - 1, LOW, LOW + 1, 1_000_000_000, u32::MAX.into()] {
        let unbiased = |rest: f64| rest / -((t as f64) * (-rest).ln_1p()).exp_m1();
        let expected = 0.5 * unbiased(1e-6) / unbiased(1e-9).sqrt();
        let (wide, narrow) = (first_move::<f64>(adam, t), first_move::<f32>(adam, t));
        assert!((wide / expected - 1.0).abs() < 1e-7, "step {t}: {wide} instead of {expected}");
        assert!((narrow / expected - 1.0).abs() < 1e-6, "step {t}: {narrow} instead of {expected}");
    }
}

#[test]
fn a_parameter_that_joins_later_begins_as_if_it_were_alone() {
    // One plan moves a alone, another one a and b, over one store; they take turns.
    let plan = |names: &[&str]| {
        let graph = Graph::new();
        let sum = names.iter().map(|name| graph.param(name, [], Init::ZEROS) * 0.3).reduce(|a, b| a + b);
        minimize(sum.unwrap(), &Adam::new(0.125)).unwrap();
        Plan::<f64>::compile(&graph, &[sum.unwrap()]).unwrap()
    };
    let (one, both) = (plan(&["a"]), plan(&["a", "b"]));
    let (mut store, mut workspace) = (Store::new(0), Workspace::new(1).unwrap());
    store.prepare(&both).unwrap();
    let (mut a, mut b) = (0.0, 0.0);
    for turn in 0..12 {
        let plan = if turn >= 5 && turn % 2 == 1 { &both } else { &one };
        plan.run(&mut store, &mut workspace, &[]).unwrap();
        // With a gradient that never changes, every step has the size of the rate.
        a -= 0.125;
        b -= if std::ptr::eq(plan, &both) { 0.125 } else { 0.0 };
        for (name, expected) in [("a", a), ("b", b)] {
            let found = store.get(name).unwrap()[[]];
            assert!((found - expected).abs() < 1e-6, "{name} after turn {turn}: {found}, not {expected}");
        }
    }
    assert_eq!(store.get("a.adam.step").unwrap(), count::<f64>(12));
    assert_eq!(store.get("b.adam.step").unwrap(), count::<f64>(4));
}

#[test]
fn groups_with_schedules_share_a_count_that_each_step_raises_once() {
    let graph = Graph::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| graph.param(name, [], Init::ZEROS));
    let rates = [LearningRate::exponential(0.5, 0.5), LearningRate::from(1.0).warmup(4)];
    let last = LearningRate::cosine(1.0, 4);
    let adam = Adam { epsilon: 1e-12, ..Adam::new(last) };
    let rule = Groups::new(Sgd::new(rates[0])).group("b", Sgd::new(rates[1])).group("c", adam);
    let mut trainer =
        Trainer::<f64>::with(a + b + c, &rule, Store::new(0), Workspace::new(1).unwrap()).unwrap();
    for _ in 0..3 {
        trainer.step(&[]).unwrap();
    }
    let moved = ["a", "b", "c"].map(|name| -trainer.store().get(name).unwrap()[[]]);
    let sum = |rate: LearningRate| (0..3).map(|step| rate.at(step)).sum::<f64>();
    for (found, rate) in moved.into_iter().zip([rates[0], rates[1], last]) {
        assert!((found - sum(rate)).abs() < 1e-9, "{rate:?}: {found}");
    }
    assert_eq!(trainer.store().get("learning_rate.step").unwrap(), count::<f64>(3));
}

#[test]
fn an_adjustable_rate_is_multiplied_by_a_number_in_the_store() {
    // With the factor 1 it trains to the same bits.
    let rates = [LearningRate::from(0.3), LearningRate::cosine(0.3, 20).warmup(3)];
    for rate in rates {
        let optimizers: [[&dyn Optimizer; 2]; 3] = [
            [&Sgd::new(rate), &Sgd::new(rate.adjustable())],
            [&Momentum::new(rate), &Momentum::new(rate.adjustable())],
            [&AdamW::new(rate), &AdamW::new(rate.adjustable())],
        ];
        for pair in optimizers {
            let trained = pair.map(|optimizer| {
                let graph = Graph::new();
                let loss = (graph.param("p", [5], Init::Normal { std: 1.0 }) - 0.5).powi(2).sum_all();
                let (store, workspace) = (Store::new(1), Workspace::new(1).unwrap());
                let mut trainer = Trainer::<f32>::with(loss, optimizer, store, workspace).unwrap();
                for _ in 0..9 {
                    trainer.step(&[]).unwrap();
                }
                trainer
            });
            let [plain, adjustable] = trained.each_ref().map(|trainer| trainer.store().get("p").unwrap());
            assert_eq!(plain, adjustable);
            let [plain, adjustable] =
                trained.each_ref().map(|trainer| trainer.store().get(LearningRate::FACTOR));
            assert!(plain.is_none() && adjustable.is_some_and(|factor| factor[[]] == 1.0));
        }
    }
    // Set before the first step and between steps, for a schedule and all groups at once.
    let rate = LearningRate::exponential(0.5, 0.5).adjustable();
    let rule = Groups::new(Sgd::new(rate)).group("b", Sgd::new(LearningRate::from(1.0).adjustable()));
    let graph = Graph::new();
    let [a, b] = ["a", "b"].map(|name| graph.param(name, [], Init::ZEROS));
    let (store, workspace) = (Store::new(0), Workspace::new(1).unwrap());
    let mut trainer = Trainer::<f64>::with(a + b, &rule, store, workspace).unwrap();
    trainer.parts().0.set(LearningRate::FACTOR, &arr0(2.0).into_dyn()).unwrap();
    trainer.step(&[]).unwrap();
    trainer.parts().0.get_mut(LearningRate::FACTOR).unwrap().fill(0.25);
    trainer.step(&[]).unwrap();
    assert_eq!(trainer.store().get("a").unwrap()[[]], -(2.0 * 0.5 + 0.25 * 0.25));
    assert_eq!(trainer.store().get("b").unwrap()[[]], -(2.0 * 1.0 + 0.25 * 1.0));
    assert_eq!(trainer.store().trainable().collect::<Vec<_>>().len(), 2);
}

#[test]
fn a_factor_that_no_rate_follows_is_an_error_until_it_is_1() {
    let rates = [LearningRate::from(0.5), LearningRate::from(0.5).adjustable()];
    for (rate, is_followed) in rates.into_iter().zip([false, true]) {
        let graph = Graph::new();
        let p = graph.param("p", [], Init::ZEROS);
        let (store, workspace) = (Store::new(0), Workspace::new(1).unwrap());
        let mut trainer = Trainer::<f64>::with(p, &Sgd::new(rate), store, workspace).unwrap();
        trainer.step(&[]).unwrap();
        trainer.parts().0.set(LearningRate::FACTOR, &arr0(2.0).into_dyn()).unwrap();
        let outcome = trainer.step(&[]).map_err(|error| error.to_string());
        assert_eq!(outcome.is_ok(), is_followed);
        if let Err(text) = outcome {
            let parts = [LearningRate::FACTOR, file!(), "no learning rate of this training reads it", "as 1"];
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
            assert_eq!(trainer.store().get("p").unwrap()[[]], -0.5, "the parameter has not moved");
        }
        trainer.parts().0.set(LearningRate::FACTOR, &arr0(1.0).into_dyn()).unwrap();
        trainer.step(&[]).unwrap();
    }
}

/// Halves the rate after each epoch.
struct Halve;

impl Observer for Halve {
    fn epoch(&mut self, _: &Epoch, training: &mut Training<'_>) -> dagrad::Result<()> {
        let factor = training.store_mut().get_mut(LearningRate::FACTOR);
        factor.expect("the rate is adjustable").mapv_inplace(|factor| factor / 2.0);
        Ok(())
    }
}

fn network(images: Var<'_>) -> Var<'_> {
    nn::linear(images.flatten(), "fc", 3)
}

#[test]
fn an_observer_changes_the_rate_of_a_training() {
    let pixels = (0..12 * 16).map(|i| (i * 37 % 251) as u8).collect();
    let data = Dataset::new(pixels, [1, 4, 4], (0..12).map(|i| i % 3).collect(), 3).unwrap();
    let train = |rate: LearningRate, observer: &mut dyn Observer| {
        let network: fn(Var<'_>) -> Var<'_> = network;
        let mut model = Model::new(network, [1, 4, 4], 0).unwrap();
        let options = FitOptions { epochs: 3, batch: 4, progress: Progress::Quiet, ..FitOptions::default() };
        fit_observed(&mut model, &Momentum::new(rate), &data, &data, options, observer).unwrap();
        model.store().get("fc.weight").unwrap().to_owned()
    };
    // Three steps are an epoch.
    let expected = train(LearningRate::staircase(0.1, 3, 0.5), &mut ());
    assert_eq!(train(LearningRate::from(0.1).adjustable(), &mut Halve), expected);
    assert_ne!(train(LearningRate::from(0.1).adjustable(), &mut ()), expected);
}

#[test]
fn adam_follows_its_formula_from_a_copy_of_the_store() {
    // The count is part of the store, so a copy goes on where the original was.
    let adam_of = Adam { learning_rate: 0.2.into(), betas: [0.8, 0.95], epsilon: 1e-3 };
    let mut first = trainer::<f64>(&adam_of, &numbers(&[3], 4));
    let g = numbers(&[3], 5);
    let mut expected: Vec<Number> =
        numbers(&[3], 4).iter().map(|&p| Number { p, ..Number::default() }).collect();
    let mut follow = |trainer: &mut Trainer<f64>| {
        trainer.step(&[Feed::new("g", &g)]).unwrap();
        for ((number, &g), &found) in expected.iter_mut().zip(&g).zip(trainer.store().get("p").unwrap()) {
            number.t += 1;
            adam(number, g);
            assert!((number.p - found).abs() < 1e-12);
        }
    };
    (0..3).for_each(|_| follow(&mut first));
    let copy = first.store().copy().unwrap();
    let mut second = trainer::<f64>(&adam_of, &numbers(&[3], 4));
    *second.parts().0 = copy;
    (0..3).for_each(|_| follow(&mut second));
}

#[test]
fn rates_follow_what_they_say_of_themselves() {
    for rate in [LearningRate::cosine(0.3, 10).warmup(4), LearningRate::staircase(0.3, 3, 0.5)] {
        assert_follows(Sgd::new(rate), |n, g| n.p -= rate.at(n.t as u64 - 1) * g);
    }
}
