//! Whole training runs, and single steps on graphs of one's own.

mod checkpoints;
mod checks;
mod fine_tuning;
mod observers;
mod resume;

use std::process::Output;

use crate::common::{alone, assert_mentions, message};
use dagrad::data::{Dataset, Split, mnist_5k};
use dagrad::nn::{self, DeepConvNet, Filters, Model, Network, SimpleConvNet};
use dagrad::optim::{Adam, Momentum, Optimizer, Sgd};
use dagrad::train::{
    Epoch, FitOptions, Observer, Progress, TrainStep, Training, evaluate, fit, fit_observed,
};
use dagrad::{Graph, Mode, Plan, Result, Store, Trainer, Var, Workspace};
use ndarray::{Array1, Array4};

const NETWORK: SimpleConvNet = SimpleConvNet {
    filters: 8,
    filter_size: 5,
    padding: 0,
    stride: 1,
    hidden: 32,
    output: 10,
    weight_init_std: 0.05,
};

fn digits(train: usize, test: usize) -> Split {
    let Split { train: all, test: held_out } = mnist_5k().unwrap();
    Split { train: all.take(train), test: held_out.take(test) }
}

fn options(epochs: usize, batch: usize, seed: u64) -> FitOptions {
    FitOptions { epochs, batch, seed, progress: Progress::Quiet, ..FitOptions::default() }
}

fn model<N: Network>(network: N, seed: u64, threads: usize) -> Model<N> {
    Model::with_workspace(network, [1, 28, 28], seed, Workspace::new(threads).unwrap()).unwrap()
}

/// Everything about a run but its times, to the bit.
#[derive(Debug, PartialEq)]
struct Run {
    /// Loss and accuracies of each epoch.
    epochs: Vec<[u64; 3]>,
    /// Every parameter and all state at the end.
    values: Vec<(String, Vec<u32>)>,
}

fn train<N: Network>(
    mut model: Model<N>,
    optimizer: &impl Optimizer,
    split: &Split,
    options: FitOptions,
) -> Run {
    let epochs = fit(&mut model, optimizer, &split.train, &split.test, options).unwrap();
    let figures =
        |epoch: &Epoch| [epoch.loss, epoch.train.accuracy(), epoch.test.accuracy()].map(f64::to_bits);
    let store = model.store();
    let bits = |name: &str| store.get(name).unwrap().iter().map(|x| x.to_bits()).collect();
    let values = store.names().map(|name| (name.to_string(), bits(name))).collect();
    Run { epochs: epochs.iter().map(figures).collect(), values }
}

fn all_of(data: &Dataset) -> (Array4<f32>, Array1<u32>) {
    data.batch(&(0..data.len()).collect::<Vec<_>>()).unwrap()
}

#[test]
fn a_few_epochs_on_a_few_digits_learn_to_tell_others_apart() {
    let split = digits(500, 200);
    let mut model = model(NETWORK, 0, 2);
    let before = evaluate(&mut model, &split.test).unwrap().accuracy();
    let epochs = fit(&mut model, &Adam::new(3e-3), &split.train, &split.test, options(5, 25, 0)).unwrap();
    assert_eq!(epochs.iter().map(|epoch| epoch.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let (first, last) = (&epochs[0], &epochs[4]);
    assert!(before < 0.3, "an untrained network guesses, but its accuracy is {before}");
    assert!(last.loss < 0.5 * first.loss, "{} after {}", last.loss, first.loss);
    assert!(last.test.accuracy() > 0.75 && last.train.accuracy() > 0.85, "{last:?}");
    assert_eq!(last.test.accuracy(), evaluate(&mut model, &split.test).unwrap().accuracy());
    assert!(epochs.iter().all(|epoch| !epoch.time.is_zero()));
}

#[test]
fn the_same_seeds_make_the_same_bits_with_any_number_of_threads() {
    let split = digits(90, 40);
    let dropping = nn::network(|images| {
        let h = nn::conv2d(images, "conv", Filters::new(6, 5).stride(2)).relu().max_pool2d(2);
        nn::linear(h.flatten().dropout(0.3), "fc", 10)
    });
    let run = |threads| train(model(dropping, 3, threads), &Adam::new(1e-3), &split, options(2, 40, 5));
    let once = run(1);
    assert!(once == run(1), "the same run twice");
    assert!(once == run(2), "two threads");
    assert!(once == run(3), "three threads");
}

#[test]
fn other_seeds_make_other_runs() {
    let split = digits(90, 40);
    let run = |start, order| train(model(NETWORK, start, 2), &Sgd::new(0.1), &split, options(1, 30, order));
    let once = run(0, 0);
    assert_ne!(once.epochs, run(1, 0).epochs, "another start");
    assert_ne!(once.epochs, run(0, 1).epochs, "another order of samples");
}

#[test]
fn every_epoch_has_an_order_of_its_own() {
    // With a learning rate of 0 the loss of an epoch is the same sum in another order.
    let split = digits(60, 10);
    let mut model = model(NETWORK, 0, 1);
    let mut at =
        |epochs| fit(&mut model, &Sgd::new(0.0), &split.train, &split.test, options(epochs, 7, 0)).unwrap();
    let epochs = at(3);
    assert!((epochs[0].loss - epochs[1].loss).abs() < 1e-6);
    let distinct = |a: &Epoch, b: &Epoch| a.loss.to_bits() != b.loss.to_bits();
    assert!(distinct(&epochs[0], &epochs[1]) || distinct(&epochs[1], &epochs[2]), "{epochs:?}");
}

#[test]
fn the_smaller_last_batch_is_used_and_weighed_by_its_size() {
    let split = digits(10, 10);
    let mut still = model(SimpleConvNet { weight_init_std: 0.3, ..NETWORK }, 0, 1);
    let (images, labels) = all_of(&split.train);
    let whole = f64::from(still.loss(&images, &labels).unwrap());
    for (batch, steps) in [(4, 3), (3, 4), (10, 1), (64, 1)] {
        let mut model = model(SimpleConvNet { weight_init_std: 0.3, ..NETWORK }, 0, 1);
        let epochs =
            fit(&mut model, &Sgd::new(0.0), &split.train, &split.test, options(1, batch, 0)).unwrap();
        assert!((epochs[0].loss - whole).abs() < 1e-5 * whole, "{} instead of {whole}", epochs[0].loss);
        assert_eq!(model.store().step(), steps, "batches of {batch}");
    }
    // The mean over batches would be another number.
    let alone: Vec<f64> = (0..10)
        .map(|sample| {
            let (images, labels) = split.train.batch(&[sample]).unwrap();
            f64::from(still.loss(&images, &labels).unwrap())
        })
        .collect();
    let spread = alone.iter().map(|loss| (loss - whole).abs()).fold(0.0, f64::max);
    assert!(spread > 0.1 * whole, "{alone:?}");
}

#[test]
fn an_epoch_is_the_steps_on_its_batches_one_after_another() {
    let split = digits(10, 10);
    let optimizer = Momentum::new(0.1);
    let mut fitted = model(NETWORK, 0, 1);
    fit(&mut fitted, &optimizer, &split.train, &split.test, options(1, 4, 9)).unwrap();

    let mut store = Store::<f32>::new(0);
    let mut order = Vec::new();
    split.train.epoch_order(9, 1, &mut order);
    for samples in order.chunks(4) {
        let (images, labels) = split.train.batch(samples).unwrap();
        let graph = Graph::new();
        let x = graph.input("x", [samples.len(), 1, 28, 28]);
        let y = graph.labels("y", [samples.len()]);
        let loss = NETWORK.logits(x).softmax_cross_entropy(y);
        let mut trainer = Trainer::with(loss, &optimizer, store, Workspace::new(1).unwrap()).unwrap();
        trainer.step(&[x.feed(&images), y.feed(&labels)]).unwrap();
        store = trainer.into_store();
    }
    for name in fitted.store().names() {
        assert_eq!(fitted.store().get(name), store.get(name), "{name}");
    }
}

#[test]
fn evaluating_counts_correct_predictions_over_several_batches() {
    // 1,000 samples are more than one batch of an evaluation.
    let split = digits(300, 1000);
    let mut model = model(NETWORK, 0, 2);
    let epochs = fit(&mut model, &Adam::new(3e-3), &split.train, &split.test, options(2, 30, 0)).unwrap();
    let accuracy = |model: &mut Model<SimpleConvNet>, data: &Dataset, count: usize| {
        let tells = |sample: &usize| {
            let (image, label) = data.batch(&[*sample]).unwrap();
            let logits = model.predict(&image).unwrap();
            let best = (0..10).max_by(|&a, &b| logits[[0, a]].total_cmp(&logits[[0, b]]));
            best == Some(label[0] as usize)
        };
        (0..count).filter(tells).count() as f64 / count as f64
    };
    let expected = accuracy(&mut model, &split.test, 1000);
    assert!((evaluate(&mut model, &split.test).unwrap().accuracy() - expected).abs() < 1e-12);
    assert!((epochs[1].test.accuracy() - expected).abs() < 1e-12);
    assert!((epochs[1].train.accuracy() - accuracy(&mut model, &split.train, 300)).abs() < 1e-12);
    assert!(expected > 0.2, "{expected}");
}

#[test]
fn training_accuracy_is_measured_on_as_many_samples_as_there_are_to_test() {
    let split = digits(100, 30);
    let mut model = model(NETWORK, 1, 2);
    let epochs = fit(&mut model, &Adam::new(3e-3), &split.train, &split.test, options(2, 20, 0)).unwrap();
    let first = split.train.clone().take(30);
    assert_eq!(epochs[1].train.accuracy(), evaluate(&mut model, &first).unwrap().accuracy());
}

#[test]
fn evaluation_does_not_drop() {
    let split = digits(40, 20);
    let net = |dropout| model(DeepConvNet { dropout, ..DeepConvNet::default() }, 0, 2);
    let (mut all, mut none) = (net(1.0), net(0.0));
    let fitted = fit(&mut all, &Sgd::new(0.0), &split.train, &split.test, options(1, 20, 0)).unwrap();
    assert!((fitted[0].loss - 10f64.ln()).abs() < 1e-6, "everything is dropped while training");
    assert_eq!(fitted[0].test.accuracy(), evaluate(&mut none, &split.test).unwrap().accuracy());
    assert_eq!(all.predict(&all_of(&split.test).0).unwrap(), none.predict(&all_of(&split.test).0).unwrap());
}

#[test]
fn training_goes_on_where_it_stopped() {
    let split = digits(60, 20);
    let mut model = model(NETWORK, 0, 1);
    let mut go = || fit(&mut model, &Adam::new(3e-3), &split.train, &split.test, options(2, 20, 0)).unwrap();
    let (first, second) = (go(), go());
    assert!(second[1].loss < first[1].loss, "{second:?} after {first:?}");
    assert_eq!((model.store().step(), model.store().epochs()), (12, 4));
    assert_eq!(second.iter().map(|epoch| epoch.number).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(fit(&mut model, &Sgd::new(0.1), &split.train, &split.test, options(0, 20, 0)).unwrap(), []);
    assert_eq!(model.store().step(), 12);
}

#[test]
fn misuse_of_training_is_an_error() {
    let Split { train, test } = digits(20, 10);
    let fit_on = |train: &Dataset, test: &Dataset, batch| {
        message(fit(&mut model(NETWORK, 0, 1), &Sgd::new(0.1), train, test, options(1, batch, 0)))
    };
    assert_mentions(&fit_on(&train, &test, 0), &["batch", "at least one sample"]);
    let flat = Dataset::new(vec![0; 4 * 784], [1, 16, 49], vec![0; 4], 10).unwrap();
    assert_mentions(&fit_on(&flat, &test, 2), &["[1, 16, 49]", "[1, 28, 28]"]);
    assert_mentions(&fit_on(&train, &flat, 2), &["[1, 16, 49]", "[1, 28, 28]"]);
    assert_mentions(&message(evaluate(&mut model(NETWORK, 0, 1), &flat)), &["[1, 16, 49]", "[1, 28, 28]"]);
    let none = train.clone().take(0);
    assert_mentions(&fit_on(&none, &test, 2), &["no samples"]);
    assert_mentions(&fit_on(&train, &none, 2), &["no samples"]);
    assert_mentions(&message(evaluate(&mut model(NETWORK, 0, 1), &none)), &["no samples"]);

    let few = SimpleConvNet { output: 4, ..NETWORK };
    let text = message(fit(&mut model(few, 0, 1), &Sgd::new(0.1), &train, &test, options(1, 20, 0)));
    assert_mentions(&text, &["training data", "sample 4 has label 4", "4 classes"]);
}

/// A straight line through points: its loss on `batch` of them.
fn line<'g>(graph: &'g Graph, batch: usize) -> (Var<'g>, Var<'g>, Var<'g>) {
    let (x, y) = (graph.input("x", [batch, 1]), graph.input("y", [batch, 1]));
    (x, y, (nn::linear(x, "line", 1) - y).powi(2).mean_all())
}

#[test]
fn a_trainer_moves_the_parameters_of_any_loss() {
    let graph = Graph::new();
    let (x, y, loss) = line(&graph, 4);
    let mut trainer =
        Trainer::<f64>::with(loss, &Sgd::new(0.2), Store::new(0), Workspace::new(2).unwrap()).unwrap();
    let xs = ndarray::array![[-1.0], [0.0], [1.0], [2.0]];
    let ys = xs.mapv(|x| 3.0 * x - 1.0);
    let losses: Vec<f64> = (0..200).map(|_| trainer.step(&[x.feed(&xs), y.feed(&ys)]).unwrap()).collect();
    assert!(losses[199] < 1e-12 && losses[0] > 1e-2, "from {} to {}", losses[0], losses[199]);
    assert!((trainer.store().get("line.weight").unwrap()[[0, 0]] - 3.0).abs() < 1e-5);
    assert!((trainer.store().get("line.bias").unwrap()[[0]] + 1.0).abs() < 1e-5);
    assert_eq!((trainer.store().step(), trainer.plan().trains()), (200, true));
    assert_mentions(&message(trainer.step(&[x.feed(&xs)])), &["input y", "no value"]);
}

#[test]
fn what_is_trained_on_one_batch_size_is_evaluated_and_trained_on_another() {
    let points = |count: usize| {
        let xs = ndarray::Array2::from_shape_fn((count, 1), |(i, _)| i as f64 / count as f64 - 0.5);
        let ys = xs.mapv(|x| 2.0 * x + 0.25);
        (xs, ys)
    };
    let graph = Graph::new();
    let (x, y, loss) = line(&graph, 8);
    let mut trainer =
        Trainer::<f64>::with(loss, &Adam::new(0.05), Store::new(0), Workspace::new(2).unwrap()).unwrap();
    let (xs, ys) = points(8);
    for _ in 0..400 {
        trainer.step(&[x.feed(&xs), y.feed(&ys)]).unwrap();
    }
    let mut store = trainer.into_store();
    let trained = store.get("line.weight").unwrap().to_owned();

    let other = Graph::with_mode(Mode::Evaluate);
    let (x, y, loss) = line(&other, 50);
    let plan = Plan::compile(&other, &[loss]).unwrap();
    let (xs, ys) = points(50);
    let mut workspace = Workspace::new(1).unwrap();
    let found = plan.run(&mut store, &mut workspace, &[x.feed(&xs), y.feed(&ys)]).unwrap().scalar(0).unwrap();
    assert!(found < 1e-4, "{found}");
    assert_eq!(store.get("line.weight").unwrap(), trained, "evaluating changes nothing");

    let third = Graph::new();
    let (x, y, loss) = line(&third, 3);
    let mut trainer = Trainer::with(loss, &Adam::new(0.05), store, workspace).unwrap();
    let (xs, ys) = points(3);
    assert!(trainer.step(&[x.feed(&xs), y.feed(&ys)]).unwrap() < 1e-3, "it goes on from what was learned");
    assert_eq!(trainer.store().step(), 401);
}

#[test]
fn a_store_of_other_shapes_does_not_fit_a_trainer() {
    let graph = Graph::new();
    let (_, _, loss) = line(&graph, 4);
    let mut store = Store::<f64>::new(0);
    store.set("line.weight", &ndarray::ArrayD::zeros(vec![2, 1])).unwrap();
    let text = message(Trainer::with(loss, &Sgd::new(0.1), store, Workspace::new(1).unwrap()));
    assert_mentions(&text, &["line.weight", "[2, 1]", "[1, 1]"]);
}

/// A run for the test below: it is started in a process of its own.
#[test]
#[ignore = "it is a part of another test"]
fn a_short_run_that_prints_what_it_is_told_to() {
    let progress = match std::env::var("DAGRAD_TEST_PROGRESS").as_deref() {
        Ok("quiet") => Progress::Quiet,
        Ok("lines") => Progress::Lines,
        _ => Progress::Auto,
    };
    let Split { train, test } = digits(20, 10);
    let options = FitOptions { progress, ..options(2, 10, 0) };
    fit(&mut model(NETWORK, 0, 1), &Sgd::new(0.1), &train, &test, options).unwrap();
}

#[test]
fn a_quiet_run_prints_nothing_and_others_a_line_for_each_epoch() {
    let printed = |progress: &str| -> String {
        let mut command = alone("fit::a_short_run_that_prints_what_it_is_told_to");
        let Output { status, stderr, .. } = command.env("DAGRAD_TEST_PROGRESS", progress).output().unwrap();
        assert!(status.success());
        String::from_utf8(stderr).unwrap()
    };
    assert_eq!(printed("quiet"), "");
    for progress in ["lines", "auto"] {
        let text = printed(progress);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_mentions(lines[0], &["epoch  1/2", "loss 2.", "accuracy", "test", "samples/s"]);
        assert_mentions(lines[1], &["epoch  2/2"]);
    }
}

/// Keeps what it is told, and has enough after some steps.
struct Listener {
    steps: Vec<TrainStep>,
    epochs: Vec<Epoch>,
    weights: Vec<f32>,
    enough: usize,
}

impl Observer for Listener {
    fn step(&mut self, step: &TrainStep, training: &mut Training<'_>) -> Result<()> {
        self.steps.push(step.clone());
        if self.steps.len() >= self.enough {
            training.stop();
        }
        Ok(())
    }

    fn epoch(&mut self, epoch: &Epoch, training: &mut Training<'_>) -> Result<()> {
        self.epochs.push(epoch.clone());
        self.weights.extend(training.store().get("W3").and_then(|values| values.first().copied()));
        Ok(())
    }
}

#[test]
fn an_observer_is_told_of_every_step_and_epoch_and_may_stop_the_training() {
    let Split { train, test } = mnist_5k().unwrap();
    let (train, test) = (train.take(250), test.take(40));
    let run = |enough: usize| {
        let mut model = Model::new(SimpleConvNet::default(), train.image_shape(), 0).unwrap();
        let mut listener = Listener { steps: Vec::new(), epochs: Vec::new(), weights: Vec::new(), enough };
        let epochs =
            fit_observed(&mut model, &Adam::new(1e-3), &train, &test, options(2, 100, 0), &mut listener);
        (listener, epochs)
    };
    let (listener, epochs) = run(usize::MAX);
    let epochs = epochs.unwrap();
    assert_eq!(listener.epochs, epochs);
    let numbers: Vec<(usize, u64)> = listener.steps.iter().map(|step| (step.epoch, step.number)).collect();
    assert_eq!(numbers, [(1, 1), (1, 2), (1, 3), (2, 4), (2, 5), (2, 6)]);
    // The losses of an epoch's batches, of 100, 100 and 50 samples, make its mean loss.
    for (epoch, steps) in epochs.iter().zip(listener.steps.chunks(3)) {
        let mean = (100.0 * (steps[0].loss + steps[1].loss) + 50.0 * steps[2].loss) / 250.0;
        assert!((mean - epoch.loss).abs() < 1e-12);
        assert!(
            steps
                .iter()
                .all(|step| (0.0..=1.0).contains(&step.so_far.accuracy()) && step.samples_per_second > 0.0)
        );
    }
    // The accuracy is one of whole samples.
    let correct = listener.steps[2].so_far.accuracy() * 250.0;
    assert!((correct - correct.round()).abs() < 1e-9 && correct > 0.0);
    assert!(listener.weights.len() == 2 && listener.weights[0] != listener.weights[1]);

    let (listener, stopped) = run(4);
    assert_eq!(stopped.unwrap(), listener.epochs, "the epochs that were complete");
    assert_eq!((listener.steps.len(), listener.epochs.len()), (4, 1));
}
