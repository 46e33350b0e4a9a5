//! What is another training is refused before the first step, with all that differs.

use super::{Folder, Net, StopAfter, by, data, digits, fresh, go_on, model, network, rule, state, train};
use crate::common::{alone, assert_mentions, assert_setting_error, message};
use dagrad::data::Dataset;
use dagrad::nn::{self, Filters};
use dagrad::optim::{Adam, AdamW, LearningRate, Momentum, Optimizer};
use dagrad::train::{FitOptions, fit, fit_observed, read_checkpoint};
use dagrad::{Graph, Var};

/// A folder with a training that stopped after seven steps.
fn stopped(name: &str) -> Folder {
    let folder = Folder::new(name);
    train(&mut fresh(), &rule(), 3, &mut (folder.checkpoints(), StopAfter(7))).unwrap();
    folder
}

/// A model that goes on from there.
fn resumed(folder: &Folder) -> Net {
    let mut model = fresh();
    folder.checkpoints().resume(&mut model).unwrap().unwrap();
    model
}

#[test]
fn what_differs_is_listed_with_both_values() {
    let folder = stopped("differs");
    let (split, options) = (data(), by(2));
    let other = digits(49, 20).train;
    let mut pixels: Vec<u8> = (0..50).flat_map(|i| split.train.pixels(i).unwrap().to_vec()).collect();
    pixels[1234] ^= 1;
    let touched = Dataset::new(pixels, [1, 28, 28], split.train.labels().to_vec(), 10).unwrap();
    let mut labels = split.train.labels().to_vec();
    labels.swap(0, 1);
    let pixels = (0..50).flat_map(|i| split.train.pixels(i).unwrap().to_vec()).collect();
    let relabelled = Dataset::new(pixels, [1, 28, 28], labels, 10).unwrap();
    type Case<'a> = (&'a dyn Optimizer, &'a Dataset, &'a Dataset, FitOptions, &'a [&'a str]);
    let (train, test, own) = (&split.train, &split.test, rule());
    let cases: [Case<'_>; 10] = [
        (&own, train, test, FitOptions { batch: 10, ..options }, &["batch: 12 in the checkpoint, 10 now"]),
        (&own, train, test, FitOptions { seed: 8, ..options }, &["seed: 7 in the checkpoint, 8 now"]),
        (&own, train, test, FitOptions { drop_last: true, ..options }, &["drop_last: false in", "true now"]),
        (&own, &other, test, options, &["training data: 50 images 1x28x28", "49 images 1x28x28"]),
        (&own, &touched, test, options, &["training data: 50 images", "checksum"]),
        (&own, &relabelled, test, options, &["training data: 50 images", "checksum"]),
        (&own, train, train, options, &["test data: 20 images", "50 images"]),
        (&Adam { betas: [0.8, 0.999], ..own }, train, test, options, &["optimizer: Adam", "0.9,", "0.8,"]),
        (&Momentum::new(0.1), train, test, options, &["optimizer: Adam", "Momentum"]),
        (
            &AdamW::new(LearningRate::cosine(0.02, 13).warmup(4)),
            &other,
            test,
            FitOptions { seed: 1, ..options },
            &["seed: 7", "Cosine(12)", "Cosine(13)", "training data: 50", "hint: `train::read_checkpoint`"],
        ),
    ];
    for (rule, train, test, options, parts) in cases {
        let mut model = resumed(&folder);
        let before = state(model.store());
        for _ in 0..2 {
            let outcome = fit(&mut model, rule, train, test, options);
            assert_setting_error(outcome, "resume", parts);
            assert!(state(model.store()) == before, "nothing has happened");
        }
        // What it was goes on, and from then on everything may change as in any training.
        fit(&mut model, &own, &split.train, &split.test, by(1)).unwrap();
        fit(&mut model, &own, &split.train, &split.test, FitOptions { batch: 10, ..by(1) }).unwrap();
    }
    // A store by itself promises nothing.
    let mut model = fresh();
    *model.store_mut() = read_checkpoint(folder.file(&super::name(7))).unwrap();
    fit(&mut model, &Adam::new(0.1), train, test, FitOptions { batch: 10, ..options }).unwrap();
}

#[test]
fn another_network_is_refused() {
    let folder = stopped("network");
    let wider: fn(Var<'_>) -> Var<'_> = |images| {
        let h = nn::conv2d(images, "conv", Filters::new(4, 7).stride(3)).relu().max_pool2d(2);
        nn::linear(h.flatten(), "fc", 10)
    };
    let mut other = model(wider, 3, 1);
    let before = state(other.store());
    let text = message(folder.checkpoints().resume(&mut other));
    let parts =
        ["parameter conv.weight: [3, 1, 7, 7] in the checkpoint, [4, 1, 7, 7] now", "conv.bias", "fc.weight"];
    assert_mentions(&text, &parts);
    assert_mentions(&text, &["parameter norm.running_mean: [3] in the checkpoint, none now", "refused.rs"]);
    assert!(state(other.store()) == before);

    // The same parameters, computed with otherwise.
    let same: fn(Var<'_>) -> Var<'_> = |images| network(images) * 1.5;
    let mut other = model(same, 3, 1);
    folder.checkpoints().resume(&mut other).unwrap().unwrap();
    let split = data();
    let outcome = fit(&mut other, &rule(), &split.train, &split.test, by(2));
    assert_setting_error(outcome, "resume", &["network: ", "operations", "checksum"]);
    // Another line of the source is no other network.
    let moved: fn(Var<'_>) -> Var<'_> = |images| {
        let h = nn::conv2d(images, "conv", Filters::new(3, 7).stride(3));
        let h = nn::batch_norm(h, "norm", nn::BatchNorm::default());
        nn::linear(h.relu().max_pool2d(2).flatten().dropout(0.3), "fc", 10)
    };
    let mut other = model(moved, 3, 1);
    folder.checkpoints().resume(&mut other).unwrap().unwrap();
    fit(&mut other, &rule(), &split.train, &split.test, by(2)).unwrap();
}

/// An optimizer of somebody's own, of whose settings only the graph tells.
struct Own(f64);

impl Optimizer for Own {
    fn step<'g>(&self, _: &'g Graph, parameters: &[(Var<'g>, Var<'g>)]) {
        parameters.iter().for_each(|(p, g)| p.assign(*p - *g * self.0));
    }
}

#[test]
fn the_settings_of_ones_own_optimizer_count_too() {
    let (folder, split) = (Folder::new("own"), data());
    train(&mut fresh(), &Own(0.1), 3, &mut (folder.checkpoints(), StopAfter(7))).unwrap();
    let outcome = fit(&mut resumed(&folder), &Own(0.2), &split.train, &split.test, by(2));
    assert_setting_error(outcome, "resume", &["training step: ", "checksum"]);
    let outcome = fit(&mut resumed(&folder), &rule(), &split.train, &split.test, by(2));
    assert_setting_error(outcome, "resume", &["optimizer: ", "refused::Own", "Adam"]);
    go_on(&folder.0, &Own(0.1), 3);
}

#[test]
#[ignore = "it is a part of the next test"]
fn a_run_on_another_instruction_set() {
    let folder = std::path::PathBuf::from(std::env::var("DAGRAD_FOLDER").unwrap());
    assert_eq!(go_on(&folder, &rule(), 3).1.len(), 2);
}

#[test]
fn another_instruction_set_is_a_warning() {
    let best = dagrad::kernels::Isa::detect();
    let Some(other) = dagrad::kernels::Isa::available().find(|isa| isa.name() != best.name()) else { return };
    let folder = stopped("set");
    let mut command = alone("fit::checkpoints::refused::a_run_on_another_instruction_set");
    let output = command.env("DAGRAD_ISA", other.name()).env("DAGRAD_FOLDER", &folder.0).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    assert_mentions(
        &text,
        &["warning: instruction set at ", best.name(), other.name(), "last bits may differ"],
    );
}

#[test]
fn a_folder_of_another_training_is_not_taken() {
    let folder = stopped("taken");
    let split = data();
    // Without `resume`, a new training would write below what is there.
    let mut model = fresh();
    let mut checkpoints = folder.checkpoints();
    let outcome = fit_observed(&mut model, &rule(), &split.train, &split.test, by(1), &mut checkpoints);
    assert_mentions(
        &message(outcome),
        &["checkpoint of step 7", "is at 0", "`Checkpoints::resume`", "empty folder"],
    );
    assert_eq!(model.store().step(), 0);
    assert_mentions(&message(checkpoints.save(model.store())), &["checkpoint of step 7"]);
    assert_eq!(folder.names(), [super::name(5), super::name(7)]);
}
