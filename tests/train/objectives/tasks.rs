//! Networks of many kinds learn what they are asked for.

use super::{Table, learner, noise, options};
use crate::common::{assert_mentions, message};
use dagrad::nn::{self, Filters};
use dagrad::optim::{Adam, Sgd};
use dagrad::train::{Epoch, Goal, Inputs, Learner, Metric, Objective, evaluate, fit};
use dagrad::{CrossEntropy, Feed, Reduction, Var, gradients};

/// Trains, and returns the first and the last epoch.
fn trained<O: Objective>(objective: O, data: &Table, epochs: usize) -> (Learner<O>, Epoch, Epoch) {
    let mut learner = learner(objective, data);
    let history = fit(&mut learner, &Adam::new(0.01), data, data, options(epochs, 16)).unwrap();
    let (first, last) = (history[0].clone(), history[epochs - 1].clone());
    assert!(last.loss < first.loss, "{first:?} {last:?}");
    (learner, first, last)
}

/// Images with a bright square: where it is, and how bright.
fn square(sample: usize, pixel: usize) -> f32 {
    let (row, column) = (pixel / 8, pixel % 8);
    let (top, left) = (sample % 5, sample / 5 % 5);
    let inside = (top..top + 3).contains(&row) && (left..left + 3).contains(&column);
    if inside { 0.5 + 0.5 * noise(sample) } else { 0.2 * noise(64 * sample + pixel) }
}

#[test]
fn several_labels_a_sample() {
    let objective = dagrad::train::objective(|inputs: &Inputs<'_>| {
        let (x, y) = (inputs.get("x"), inputs.get("y"));
        let logits = nn::linear(nn::linear(x, "fc1", 24).relu(), "fc2", 3);
        let loss = logits.binary_cross_entropy_with_logits(y, Reduction::Mean);
        Goal::new(loss).judge(Metric::binary_accuracy(logits, y)).output("probabilities", logits.sigmoid())
    });
    let x = |sample: usize, element: usize| noise(4 * sample + element) - 0.5;
    let label = move |sample: usize, label: usize| {
        f32::from(u8::from(
            [x(sample, 0) > 0.0, x(sample, 1) + x(sample, 2) > 0.0, x(sample, 3) < 0.2][label],
        ))
    };
    let data = Table::default().real("x", 200, &[4], x).real("y", 200, &[3], label);
    let (mut learner, _, last) = trained(objective, &data, 40);
    assert!(last.test.get("binary accuracy").unwrap() > 0.95, "{last:?}");
    let predicted = learner.predict(&[Feed::new("x", &data.array("x"))]).unwrap();
    let (probabilities, labels) = (&predicted["probabilities"], data.array("y"));
    let right = probabilities.iter().zip(&labels).filter(|(p, y)| (**p > 0.5) == (**y > 0.5));
    assert_eq!(right.count() as f64 / 600.0, last.test.get("binary accuracy").unwrap());
}

/// Down to half the size and up again, with what the large size had seen.
fn small_unet<'g>(images: Var<'g>) -> Var<'g> {
    let wide = nn::conv2d(images, "down", Filters::new(6, 3).padding(1)).relu();
    let deep = nn::conv2d(wide.max_pool2d(2), "deep", Filters::new(8, 3).padding(1)).relu();
    let up = deep.upsample_nearest_by(2);
    let both = images.graph().concat(&[wide, up], 1);
    nn::conv2d(both, "pixels", Filters::new(2, 3).padding(1))
}

#[test]
fn a_class_for_each_pixel() {
    let objective = dagrad::train::objective(|inputs: &Inputs<'_>| {
        let (logits, labels) = (small_unet(inputs.get("images")), inputs.get("masks"));
        Goal::new(logits.cross_entropy(labels, CrossEntropy::new()))
            .judge(Metric::accuracy(logits, labels))
            .judge(Metric::mean_iou(logits, labels))
    });
    let mask = |sample: usize, pixel: usize| u32::from(square(sample, pixel) >= 0.5);
    let data = Table::default().real("images", 64, &[1, 8, 8], square).index("masks", 64, &[8, 8], mask);
    let (_, _, last) = trained(objective, &data, 30);
    assert!(last.test.get("mean IoU").unwrap() > 0.95 && last.test.accuracy() > 0.97, "{last:?}");
}

#[test]
fn an_autoencoder() {
    let objective = dagrad::train::objective(|inputs: &Inputs<'_>| {
        let images = inputs.get("images");
        let code = nn::linear(images.flatten(), "encoder", 10).relu();
        let again = nn::linear(code, "decoder", 64).sigmoid().reshape(images.shape());
        Goal::new((again - images).powi(2).mean_all()).output("again", again).output("code", code)
    });
    let data = Table::default().real("images", 75, &[1, 8, 8], square);
    let (mut learner, first, last) = trained(objective, &data, 40);
    assert!(last.test.loss < 0.4 * first.test.loss, "{first:?} {last:?}");
    let predicted = learner.predict(&[Feed::new("images", &data.array("images"))]).unwrap();
    assert_eq!((predicted["again"].shape(), predicted["code"].shape()), (&[75, 1, 8, 8][..], &[75, 10][..]));
    let error =
        (&predicted["again"] - &data.array("images")).mapv(|x| f64::from(x) * f64::from(x)).mean().unwrap();
    assert!((error - last.test.loss).abs() < 1e-6 * error.max(1.0), "{error} {last:?}");
}

#[test]
fn two_inputs_through_shared_weights() {
    // Do both images show the square in the same row?
    let objective = dagrad::train::objective(|inputs: &Inputs<'_>| {
        let embed = |name| nn::linear(inputs.get(name).flatten(), "embed", 12).tanh();
        let apart = (embed("left") - embed("right")).powi(2);
        let logit = nn::linear(apart, "same", 1).reshape([inputs.batch()]);
        let same = inputs.get("same");
        Goal::new(logit.binary_cross_entropy_with_logits(same, Reduction::Mean))
            .judge(Metric::binary_accuracy(logit, same))
    });
    let other = |sample: usize| sample * 7 % 25;
    let same = |sample: usize, _: usize| f32::from(u8::from(sample % 5 == other(sample) % 5));
    let data = Table::default()
        .real("left", 100, &[1, 8, 8], |sample, pixel| square(sample % 25, pixel))
        .real("right", 100, &[1, 8, 8], |sample, pixel| square(other(sample), pixel))
        .real("same", 100, &[], same);
    let (learner, _, last) = trained(objective, &data, 40);
    assert!(last.test.get("binary accuracy").unwrap() > 0.95, "{last:?}");
    let weight = |name: &&str| *name == "embed.weight" || *name == "embed.bias";
    assert_eq!(learner.store().names().filter(weight).count(), 2);
}

#[test]
fn weighted_losses_and_a_penalty_on_a_gradient() {
    // A value and its slope: the second derivative of the network trains it, too.
    let objective = dagrad::train::objective(|inputs: &Inputs<'_>| {
        let (x, y, slope) = (inputs.get("x"), inputs.get("y"), inputs.get("slope"));
        let predicted = nn::linear(nn::linear(x, "fc1", 32).tanh(), "fc2", 1);
        let derivative = match gradients(predicted.sum_all(), &[x]) {
            Ok(found) => found[0],
            Err(_) => x, // the misuse is on the graph
        };
        let loss = (predicted - y).powi(2).mean_all() + 0.1 * (derivative - slope).powi(2).mean_all();
        Goal::new(loss)
            .judge(Metric::mean_absolute_error(predicted, y))
            .judge(Metric::mean("slope error", (derivative - slope).abs()))
            .output("y", predicted)
    });
    let x = |sample: usize, _: usize| 4.0 * noise(sample) - 2.0;
    let data = Table::default()
        .real("x", 128, &[1], x)
        .real("y", 128, &[1], |sample, element| x(sample, element).sin())
        .real("slope", 128, &[1], |sample, element| x(sample, element).cos());
    let (_, first, last) = trained(objective, &data, 60);
    for name in ["mean absolute error", "slope error"] {
        let [before, after] = [&first, &last].map(|epoch| epoch.test.get(name).unwrap());
        assert!(after < 0.6 * before && after < 0.15, "{name}: {before} to {after}");
    }
}

fn line<'g>(inputs: &Inputs<'g>) -> Goal<'g> {
    let predicted = nn::linear(inputs.get("x"), "line", 1);
    Goal::new((predicted - inputs.get("y")).powi(2).mean_all()).output("y", predicted)
}

fn points() -> Table {
    let x = |sample: usize, _: usize| noise(sample);
    Table::default().real("x", 40, &[1], x).real("y", 40, &[1], |sample, _| 3.0 * noise(sample) - 1.0)
}

#[test]
fn a_line_through_points_is_found_and_kept() {
    let (data, mut learner) = (points(), learner(line, &points()));
    let before = evaluate(&mut learner, &data).unwrap();
    fit(&mut learner, &Sgd::new(0.5), &data, &data, options(60, 10)).unwrap();
    assert!(evaluate(&mut learner, &data).unwrap().loss < 1e-6 * before.loss);
    let weight = learner.store().get("line.weight").unwrap();
    assert!((weight.sum() - 3.0).abs() < 1e-2, "{weight}");

    let path = std::env::temp_dir().join(format!("dagrad-line-{}.safetensors", std::process::id()));
    learner.save(&path).unwrap();
    let mut other = super::learner(line, &data);
    other.load(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(evaluate(&mut other, &data).unwrap(), evaluate(&mut learner, &data).unwrap());
    // What is fed may have any number of samples, one after the other.
    for count in [1, 3, 40, 7, 11, 2, 5, 9, 6, 40] {
        let x = data.array("x").slice_move(ndarray::s![..count, ..]).into_dyn();
        let y = &learner.predict(&[Feed::new("x", &x)]).unwrap()["y"];
        assert!(y.iter().zip(&x).all(|(y, x)| (y - 3.0 * x + 1.0).abs() < 0.01));
    }
}

#[test]
fn misuses_say_what_is_wrong_and_where() {
    let data = points();
    let misspelt = dagrad::train::objective(|inputs: &Inputs<'_>| Goal::new(inputs.get("xx").mean_all()));
    let error = message(Learner::new(misspelt, &data, 0));
    assert_mentions(
        &error,
        &["no field \"xx\"", "there are \"x\", \"y\"", "tests/train/objectives/tasks.rs"],
    );

    let several =
        dagrad::train::objective(|inputs: &Inputs<'_>| Goal::new(nn::linear(inputs.get("x"), "fc", 1)));
    let fitted = fit(&mut learner(several, &data), &Sgd::new(0.1), &data, &data, options(1, 10));
    assert_mentions(&message(fitted), &["minimize at", "one number", "[10, 1]", "loss"]);

    let mut learner = learner(line, &data);
    let other = Table::default().real("x", 40, &[2], |_, _| 0.0).real("y", 40, &[1], |_, _| 0.0);
    let fitted = fit(&mut learner, &Sgd::new(0.1), &other, &data, options(1, 10));
    assert_mentions(&message(fitted), &["training data", "field \"x\" is [2]", "made for [1]"]);
    let none = Table::default().real("x", 40, &[1], |_, _| 0.0);
    assert_mentions(&message(evaluate(&mut learner, &none)), &["evaluation data", "no field \"y\""]);
    assert_mentions(&message(learner.predict(&[])), &["no samples are given"]);
    assert_mentions(&message(learner.predict(&[Feed::new("y", &data.array("y"))])), &["x"]);

    let classes = dagrad::train::objective(|inputs: &Inputs<'_>| {
        let logits = nn::linear(inputs.get("x"), "fc", 2);
        Goal::new(logits.mean_all()).output("class", logits.argmax(1))
    });
    let predicted = super::learner(classes, &data).predict(&[Feed::new("x", &data.array("x"))]);
    assert_mentions(&message(predicted), &["class", "indices"]);
}
