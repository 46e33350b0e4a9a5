//! Figures against the same ones computed by hand, whatever the batches.

use super::{Table, learner, noise};
use dagrad::nn;
use dagrad::optim::Sgd;
use dagrad::train::{Figures, Goal, Inputs, Labels, Metric, evaluate, fit};

/// Judges given logits by given labels. (A parameter is there only because a loss has some.)
fn judged<'g>(inputs: &Inputs<'g>) -> Goal<'g> {
    judged_by(inputs, inputs.get("labels").into())
}

fn judged_by<'g>(inputs: &Inputs<'g>, labels: Labels<'g>) -> Goal<'g> {
    let logits = inputs.get("logits");
    let loss = nn::linear(logits.flatten(), "unused", 1).mean_all();
    Goal::new(loss)
        .judge(Metric::accuracy(logits, labels))
        .judge(Metric::top_k(2, logits, labels))
        .judge(Metric::precision(logits, labels))
        .judge(Metric::recall(logits, labels))
        .judge(Metric::f1(logits, labels))
        .judge(Metric::mean_iou(logits, labels))
}

const NAMES: [&str; 6] = ["accuracy", "top-2 accuracy", "precision", "recall", "F1", "mean IoU"];

/// The same by definition: over pairs of a class that is predicted, the rank of the label, and the label.
fn by_hand(rows: &[(Option<usize>, usize, usize)], classes: usize) -> [f64; 6] {
    let share = |hits: usize| hits as f64 / rows.len() as f64;
    let accuracy = share(rows.iter().filter(|(best, _, label)| *best == Some(*label)).count());
    let top_2 = share(rows.iter().filter(|(best, rank, _)| best.is_some() && *rank <= 2).count());
    let mut means = [0.0; 4];
    let mut occurring = 0;
    for class in 0..classes {
        let taken = rows.iter().filter(|(best, ..)| *best == Some(class)).count() as f64;
        let own = rows.iter().filter(|(.., label)| *label == class).count() as f64;
        let hits =
            rows.iter().filter(|(best, _, label)| *best == Some(class) && *label == class).count() as f64;
        if taken + own == 0.0 {
            continue;
        }
        occurring += 1;
        let precision = if taken == 0.0 { 0.0 } else { hits / taken };
        let recall = if own == 0.0 { 0.0 } else { hits / own };
        let f1 =
            if precision + recall == 0.0 { 0.0 } else { 2.0 * precision * recall / (precision + recall) };
        for (mean, value) in means.iter_mut().zip([precision, recall, f1, hits / (taken + own - hits)]) {
            *mean += value;
        }
    }
    let [precision, recall, f1, iou] = means.map(|mean| mean / f64::from(occurring));
    [accuracy, top_2, precision, recall, f1, iou]
}

/// What is predicted from logits, none where one is NaN, and how many logits are at least that of the label.
fn judge(logits: &[f32], label: usize) -> (Option<usize>, usize, usize) {
    let mut best = 0;
    for (class, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = class;
        }
    }
    let is_number = !logits.iter().any(|logit| logit.is_nan());
    let rank = logits.iter().filter(|logit| **logit >= logits[label]).count();
    (is_number.then_some(best), rank, label)
}

fn assert_close(found: &Figures, expected: [f64; 6]) {
    for (name, expected) in NAMES.iter().zip(expected) {
        let found = found.get(name).unwrap();
        assert!((found - expected).abs() < 1e-12, "{name}: {found}, but it is {expected}");
    }
}

#[test]
fn the_figures_of_classes_are_what_they_are_by_definition() {
    // Of five classes the last never occurs; the second is never predicted. Numbers are equal often, and one is NaN.
    let logit = |sample: usize, class: usize| match (sample, class) {
        (7, 2) => f32::NAN,
        (8, 0) => f32::NEG_INFINITY,
        (_, 1) => -9.0,
        (_, 4) => -10.0,
        _ => (4.0 * noise(5 * sample + class)).floor(),
    };
    let label = |sample: usize, _: usize| (4.0 * noise(900 + sample)) as u32;
    let data = Table::default().real("logits", 601, &[5], logit).index("labels", 601, &[], label);
    let row = |sample: usize| {
        let logits: Vec<f32> = (0..5).map(|class| logit(sample, class)).collect();
        judge(&logits, label(sample, 0) as usize)
    };
    let rows: Vec<_> = (0..601).map(row).collect();
    let expected = by_hand(&rows, 5);
    assert_close(&evaluate(&mut learner(judged, &data), &data).unwrap(), expected);

    // While training, in batches of any size, too; the loss is NaN, as a logit is.
    for batch in [1, 64, 601] {
        let with = dagrad::train::FitOptions { allow_nan: true, ..super::options(1, batch) };
        let epochs = fit(&mut learner(judged, &data), &Sgd::new(1e-9), &data, &data, with).unwrap();
        assert_close(&epochs[0].test, expected);
    }
}

#[test]
fn the_figures_of_pixels_leave_out_what_is_ignored() {
    const SAMPLES: usize = 7;
    const CLASSES: usize = 3;
    const PIXELS: usize = 6;
    let logit = |sample: usize, element: usize| noise(100 * sample + element);
    let label = |sample: usize, pixel: usize| match noise(10 * sample + pixel + 5000) {
        x if x < 0.3 => 255,
        x => (3.0 * x) as u32,
    };
    let ignoring =
        dagrad::train::objective(|inputs| judged_by(inputs, Labels::ignoring(inputs.get("labels"), 255)));
    let shape = [CLASSES, 2, PIXELS / 2];
    let data = Table::default().real("logits", SAMPLES, &shape, logit);
    let data = data.index("labels", SAMPLES, &[2, PIXELS / 2], label);
    let pixels = (0..SAMPLES).flat_map(|sample| (0..PIXELS).map(move |pixel| (sample, pixel)));
    let counted = pixels.filter(|&(sample, pixel)| label(sample, pixel) != 255);
    let row = |(sample, pixel)| {
        let logits: Vec<f32> = (0..CLASSES).map(|class| logit(sample, class * PIXELS + pixel)).collect();
        judge(&logits, label(sample, pixel) as usize)
    };
    let rows: Vec<_> = counted.map(row).collect();
    assert!(rows.len() > 20 && rows.len() < SAMPLES * PIXELS);
    assert_close(&evaluate(&mut learner(ignoring, &data), &data).unwrap(), by_hand(&rows, CLASSES));
}

#[test]
fn probabilities_stand_for_the_most_probable_class() {
    let logit = |sample: usize, class: usize| noise(5 * sample + class);
    let label = |sample: usize| (5.0 * noise(900 + sample)) as usize;
    let share = |sample: usize, class: usize| if class == label(sample) { 0.6 } else { 0.1 };
    let classes =
        Table::default().real("logits", 50, &[5], logit).index("labels", 50, &[], |i, _| label(i) as u32);
    let shares = Table::default().real("logits", 50, &[5], logit).real("labels", 50, &[5], share);
    let [found, expected] =
        [&shares, &classes].map(|data| evaluate(&mut learner(judged, data), data).unwrap());
    assert_eq!(found, expected);
}

#[test]
fn the_figures_of_numbers_and_of_ones_own() {
    let objective = dagrad::train::objective(|inputs: &Inputs<'_>| {
        let (x, y) = (inputs.get("x"), inputs.get("y"));
        let sums = [x, x.powi(2)].map(|values| values.sum_all().reshape([1]));
        let sums = inputs.graph().concat(&sums, 0);
        Goal::new(nn::linear(x, "unused", 1).mean_all())
            .judge(Metric::mean_absolute_error(x, y))
            .judge(Metric::mean_squared_error(x, y))
            .judge(Metric::binary_accuracy(x - 0.5, y))
            .judge(Metric::of_sums("squares per sum", sums, |sums| sums[1] / sums[0]))
    });
    let x = |sample: usize, element: usize| noise(3 * sample + element);
    let y = |sample: usize, element: usize| noise(3 * sample + element + 700).round();
    let data = Table::default().real("x", 101, &[3], x).real("y", 101, &[3], y);
    let pairs: Vec<(f64, f64)> =
        (0..303).map(|i| (f64::from(x(i / 3, i % 3)), f64::from(y(i / 3, i % 3)))).collect();
    let mean = |of: fn(f64, f64) -> f64| pairs.iter().map(|&(x, y)| of(x, y)).sum::<f64>() / 303.0;
    let expected = [
        ("mean absolute error", mean(|x, y| (x - y).abs())),
        ("mean squared error", mean(|x, y| (x - y).powi(2))),
        ("binary accuracy", mean(|x, y| f64::from(u8::from((x > 0.5) == (y > 0.5))))),
        ("squares per sum", mean(|x, _| x * x) / mean(|x, _| x)),
    ];
    let found = evaluate(&mut learner(objective, &data), &data).unwrap();
    for (name, expected) in expected {
        assert!((found.get(name).unwrap() - expected).abs() < 1e-6, "{name} of {found}, not {expected}");
    }
    assert!(found.to_string().contains("  binary accuracy 0.") && found.accuracy().is_nan());
}
