//! What stands for the result of a misuse has the axes of that result, so that code which reads them goes on.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{HUGE, digits, image, rows, rows_again};
use crate::common::public;
use dagrad::kernels::Function;
use dagrad::nn::{self, BatchNorm, Filters};
use dagrad::ops::Binary;
use dagrad::ops::example::{Example, Sample, Values};
use dagrad::{Conv2dOptions, CrossEntropy, Graph, Init, Reduction, Var};

/// What an example works on, which stands for a misuse or not.
fn operand<'g>(graph: &'g Graph, name: &str, sample: &Sample, poisoned: bool) -> Var<'g> {
    let record = || match sample.values {
        Values::Below(_) => graph.labels(name, &sample.shape),
        _ => graph.input(name, &sample.shape),
    };
    // The second of one name is a misuse.
    if poisoned { (record(), record()).1 } else { record() }
}

/// Records an example of which some operands stand for misuses.
fn recorded<'g>(graph: &'g Graph, example: &Example, poisoned: impl Fn(usize) -> bool) -> Var<'g> {
    let operands: Vec<Var<'g>> = (0..example.operands.len())
        .map(|i| operand(graph, &i.to_string(), &example.operands[i], poisoned(i)))
        .collect();
    (example.build)(graph, &operands)
}

#[test]
fn an_operation_on_what_is_misused_has_the_rank_of_its_result() {
    for (family, examples) in dagrad::ops::families() {
        for example in &examples {
            let rank = recorded(&Graph::new(), example, |_| false).shape().len();
            for poisoned in 0..example.operands.len() {
                let graph = Graph::new();
                let shape = recorded(&graph, example, |i| i == poisoned).shape();
                assert_eq!(shape.len(), rank, "{family}, {}, operand {poisoned}: {shape}", example.name);
                assert!(graph.check().is_ok() || !shape.contains(&0), "{family}, {}: {shape}", example.name);
            }
        }
    }
}

#[test]
fn an_operation_on_any_shape_does_not_panic() {
    let shapes: [&[usize]; 9] =
        [&[], &[0], &[3], &[2, 3], &[1, 0, 2], &[2, 3, 4], &[2, 3, 5, 4], &[0, 1, 0, 1], &[2, 1, 3, 1, 2, 2]];
    let mut failures = Vec::new();
    for (family, examples) in dagrad::ops::families() {
        for mut example in examples {
            for other in 0..example.operands.len() {
                let own = example.operands[other].shape.clone();
                for shape in shapes {
                    example.operands[other].shape = shape.into();
                    for poisoned in [false, true] {
                        let record =
                            || drop(recorded(&Graph::new(), &example, |i| poisoned && i == other).shape());
                        if catch_unwind(AssertUnwindSafe(record)).is_err() {
                            failures.push(format!("{family}, {}, operand {other} {shape:?}", example.name));
                        }
                    }
                }
                example.operands[other].shape = own;
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// A misuse, its source, and how many axes its result would have had.
type Case = (&'static str, for<'g> fn(&'g Graph) -> Var<'g>, usize);

macro_rules! ranks {
    ($graph:ident, $($record:expr => $rank:literal;)+) => {
        &[$((stringify!($record), |$graph| $record, $rank)),+]
    };
}

fn signal(graph: &Graph) -> Var<'_> {
    graph.input("signal", [2, 3, 4])
}

fn other_image(graph: &Graph) -> Var<'_> {
    graph.input("other image", [7, 3, 5, 9])
}

/// A value of another graph.
fn elsewhere() -> Var<'static> {
    Box::leak(Box::new(Graph::new())).input("x", [4, 4, 4])
}

const NONE: Reduction = Reduction::None;
const MEAN: Reduction = Reduction::Mean;

/// Every recording method and function, misused.
#[rustfmt::skip]
const MISUSES: &[Case] = ranks! { g,
    // Of classes, a function has as many numbers.
    digits(g).abs() => 1; digits(g).at_least(0.0) => 1; digits(g).at_most(0.0) => 1; digits(g).clamp(1.0, 0.0) => 1;
    digits(g).cos() => 1; digits(g).dropout(0.5) => 1; digits(g).elu(1.0) => 1; digits(g).erf() => 1; digits(g).exp() => 1;
    digits(g).exp_m1() => 1; digits(g).gelu() => 1; digits(g).gelu_tanh() => 1; digits(g).hardswish() => 1;
    digits(g).leaky_relu(0.1) => 1; digits(g).ln() => 1; digits(g).ln_1p() => 1; digits(g).mish() => 1;
    digits(g).powi(2) => 1; digits(g).relu() => 1; digits(g).selu() => 1; digits(g).sigmoid() => 1; digits(g).sign() => 1;
    digits(g).silu() => 1; digits(g).sin() => 1; digits(g).softplus() => 1; digits(g).sqrt() => 1;
    digits(g).tanh() => 1;
    digits(g).recompute(|x| x.exp().unsqueeze(0)) => 2;
    // Of shapes that do not broadcast, it has those of the longer.
    digits(g).maximum(1.0) => 1; digits(g).minimum(1.0) => 1; digits(g).pow(1.0) => 1; digits(g).equal(1.0) => 1; digits(g).not_equal(1.0) => 1;
    rows(g).greater(other_image(g)) => 4; rows(g).greater_equal(other_image(g)) => 4; rows(g).less(other_image(g)) => 4;
    rows(g).less_equal(other_image(g)) => 4; rows(g).maximum(other_image(g)) => 4; rows(g).minimum(other_image(g)) => 4;
    rows(g).pow(other_image(g)) => 4; rows(g).gate(signal(g)) => 3; rows(g).choose(other_image(g), 0.0) => 4;
    image(g).prelu(other_image(g)) => 4; rows(g) + other_image(g) => 4; digits(g) * 2.0 => 1;
    // Axes that go.
    image(g).sum(&[7]) => 3; image(g).sum_keep(&[7]) => 4; digits(g).sum_all() => 0; image(g).mean(&[7, 1]) => 2;
    image(g).mean_keep(&[7]) => 4; g.input("x", [0, 3]).mean_all() => 0; image(g).max(&[7]) => 3; image(g).max_keep(&[7]) => 4;
    g.input("x", [0, 3]).max_all() => 0; image(g).min(&[7]) => 3; image(g).min_keep(&[7]) => 4;
    g.input("x", [0, 3]).min_all() => 0; image(g).argmax(7) => 3; image(g).argmin(7) => 3; image(g).prod(&[7]) => 3;
    image(g).norm(&[7]) => 3; image(g).norm_keep(&[7]) => 4; image(g).log_sum_exp(&[7]) => 3;
    image(g).log_sum_exp_keep(&[7]) => 4; image(g).variance(&[7], 0) => 3; image(g).variance_keep(&[7], 0) => 4;
    g.input("x", [2, 1]).std_dev(&[1], 1) => 1; g.input("x", [2, 1]).std_dev_keep(&[1], 1) => 2;
    rows(g).cosine_similarity(rows_again(g), 5, 1e-8) => 1;
    // Other shapes.
    rows(g).reshape([1, 2, 7, 5]) => 4; rows(g).reshape([HUGE, HUGE, 3]) => 3; rows(g).reshape_inferred(&[-1, 4, 1]) => 3;
    rows(g).reshape_inferred(&[-1, -1, 2, 2]) => 4; rows(g).unsqueeze(7) => 3; image(g).squeeze(&[0]) => 3;
    image(g).flatten_axes(3, 1) => 2; image(g).flatten_axes(2, 7) => 1; image(g).reshape([7]).flatten() => 2; image(g).broadcast_to([2, 2]) => 2;
    image(g).permute(&[0, 0]) => 2; digits(g).transpose() => 2; rows(g).tile(&[HUGE, HUGE, 1]) => 3;
    rows(g).repeat_interleave(7, 2) => 2; rows(g).roll(7, 1) => 2; rows(g).flip(&[7]) => 2; rows(g).slice(7, ..) => 2;
    rows(g).slice_step(0, .., 0) => 2; rows(g).split(1, &[9, 9])[1] => 2; rows(g).pad(&[[1, 1]], 0.0) => 2;
    rows(g).pad_reflect(&[[9, 9], [0, 0]]) => 2; rows(g).pad_replicate(&[[1, 1]]) => 2;
    // Images.
    rows(g).conv2d(image(g), Conv2dOptions::new()) => 4; rows(g).conv1d(image(g), Conv2dOptions::new()) => 3;
    rows(g).conv_transpose2d(image(g), Conv2dOptions::new(), 0) => 4; rows(g).max_pool2d(2) => 4; rows(g).avg_pool2d(2) => 4;
    rows(g).adaptive_avg_pool2d(2) => 4; rows(g).global_avg_pool2d() => 4; rows(g).global_max_pool2d() => 4;
    rows(g).dropout2d(0.5) => 4; rows(g).upsample_nearest(2) => 4; rows(g).upsample_nearest_by(2) => 4;
    rows(g).upsample_bilinear(2, false) => 4; rows(g).pixel_shuffle(2) => 4; rows(g).pixel_unshuffle(2) => 4;
    rows(g).im2col(2) => 2; image(g).im2col(99) => 2; rows(g).col2im([1, 1, 3, 3], 2) => 4;
    rows(g).local_response_norm(3, 1.0, 1.0, 1.0) => 4;
    // Products, indices.
    rows(g).matmul(other_image(g)) => 4; rows(g).matmul(g.input("v", [5])) => 1; g.input("v", [6]).matmul(image(g)) => 3;
    g.input("v", [5]).matmul(g.input("u", [4])) => 0; rows(g).gather(7, rows_again(g)) => 2; rows(g).gather(0, digits(g)) => 2;
    image(g).index_select(7, digits(g)) => 4; image(g).scatter_add(7, digits(g), 3) => 4; rows(g).one_hot(3) => 3;
    image(g).pick(digits(g)) => 1; g.einsum("ij,jk->ki", &[image(g), rows(g)]) => 2; g.einsum("ij", &[image(g)]) => 8;
    g.einsum("...i,j->...", &[image(g)]) => 8; g.concat(&[], 0) => 8; g.stack(&[], 0) => 8;
    g.concat(&[image(g), rows(g)], 0) => 4; g.concat(&[image(g)], 7) => 4; g.stack(&[rows(g), image(g)], 0) => 3;
    g.fill([HUGE, 2, HUGE], 1.0) => 3;
    // Losses and normalisations.
    rows(g).mse_loss(signal(g), MEAN) => 0; rows(g).l1_loss(digits(g), NONE) => 2; rows(g).huber_loss(digits(g), 1.0, NONE) => 2;
    rows(g).smooth_l1_loss(digits(g), 1.0, NONE) => 2; rows(g).hinge_loss(digits(g), NONE) => 2;
    rows(g).kl_divergence(digits(g), NONE) => 2; rows(g).binary_cross_entropy_with_logits(digits(g), NONE) => 2;
    rows(g).weighted_binary_cross_entropy_with_logits(rows_again(g), g.input("w", [7, 7, 7]), MEAN) => 0;
    rows(g).cosine_embedding_loss(rows_again(g), image(g), 0.0, NONE) => 1;
    rows(g).softmax_cross_entropy(signal(g)) => 0; signal(g).cross_entropy(digits(g), CrossEntropy::new()) => 0;
    signal(g).cross_entropy(digits(g), CrossEntropy::new().reduction(NONE)) => 2;
    signal(g).nll_loss(digits(g), CrossEntropy::new().reduction(NONE)) => 2;
    signal(g).multi_margin_loss(digits(g), 1.0, NONE) => 1; signal(g).multi_margin_loss(digits(g), 1.0, MEAN) => 0;
    rows(g).softmax(7) => 2; rows(g).log_softmax(7) => 2; rows(g).normalise(&[7], 1e-5) => 2; rows(g).layer_norm(7, 1e-5) => 2;
    rows(g).rms_norm(7, 1e-5) => 2; digits(g).group_norm(2, 1e-5) => 2;
    // Parameters and layers.
    { rows(g); g.input("rows", [3, 2, 1]) } => 3; { rows(g); g.labels("rows", [3, 2, 1]) } => 3;
    { rows(g); g.param("rows", [3, 2, 1], Init::ZEROS) } => 3; { rows(g); g.state("rows", [0, 2, 1], Init::ZEROS) } => 3;
    g.param("w", [HUGE, HUGE], Init::ZEROS) => 2; g.param("w", [2], Init::ZEROS).update(|w| w.reshape([3, 3])) => 2;
    g.record(Binary(Function::Add), &[rows(g), elsewhere()]) => 3; rows(g) * elsewhere() => 3; elsewhere().matmul(rows(g)) => 3;
    nn::conv2d(rows(g), "c", Filters::new(2, 3)) => 4; nn::linear(digits(g), "l", 3) => 2; nn::linear(image(g), "l", 3) => 4;
    nn::batch_norm(digits(g), "n", BatchNorm::default()) => 2; nn::group_norm(digits(g), "n", 1, 1e-5) => 2;
    nn::layer_norm(rows(g), "n", 7, 1e-5) => 2; nn::rms_norm(rows(g), "n", 7, 1e-5) => 2;
    nn::residual_block(rows(g), "r", 8, 2) => 4; nn::autoencoder(rows(g), 4) => 4;
};

/// Methods that take whatever they are given, or return no value of their own.
const OTHERWISE: [&str; 8] =
    ["constant", "indices", "network", "operands", "parameters", "refuse", "stop_gradient", "values"];

#[test]
fn a_misused_operation_has_the_rank_of_its_result() {
    let mut failures = Vec::new();
    for &(source, record, rank) in MISUSES {
        let graph = Graph::new();
        let outcome = catch_unwind(AssertUnwindSafe(|| record(&graph).shape()));
        match outcome {
            Ok(shape) if shape.len() == rank && shape.iter().all(|&size| size > 0) => {}
            other => failures.push(format!("{source}: {other:?}, not {rank} axes")),
        }
        let Err(error) = graph.check() else {
            // Of values of two graphs, one knows of it.
            if !source.contains("elsewhere") {
                failures.push(format!("{source} is accepted"));
            }
            continue;
        };
        if !error.to_string().lines().next().is_some_and(|first| first.contains(file!())) {
            failures.push(format!("{source}: {error}"));
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// An operation that is made of others refuses what it was given under the names that it was given by, not what it has made
/// of it on the way.
#[test]
fn an_error_lists_what_the_user_gave() {
    let mut failures = Vec::new();
    for &(source, record, _) in MISUSES {
        let graph = Graph::new();
        let _ = record(&graph);
        let text = graph.check().err().map_or_else(String::new, |error| error.to_string());
        for line in text.lines().filter(|line| line.contains("] ") && line.contains(file!())) {
            let Some((_, made)) = line.split_once("] ") else { continue };
            let name = made.split(' ').next().unwrap_or_default();
            let is_leaf = ["input", "param", "state", "poisoned"].contains(&name);
            // The cosines themselves, which are made of two values.
            let is_of_two = source.contains("cosine_embedding_loss") && name == "sum";
            if line.starts_with("  ") && !is_leaf && !is_of_two && !source.contains(&format!("{name}(")) {
                failures.push(format!("{source}: {line}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_recording_function_is_misused() {
    let list = public();
    let mut missing = BTreeSet::new();
    for line in list.lines().filter(|line| line.contains("-> Var<") || line.contains("-> Vec<Var<")) {
        let records =
            ["graph::Var::pub fn ", "graph::Graph::pub fn "].iter().find_map(|of| line.strip_prefix(of));
        let layer = || line.strip_prefix("nn::")?.split_once(": pub fn ").map(|(_, function)| function);
        let Some(name) = records.or_else(layer).and_then(|function| function.split(['(', '<']).next()) else {
            continue;
        };
        let calls =
            |source: &str| [".", "::"].iter().any(|before| source.contains(&format!("{before}{name}(")));
        if !OTHERWISE.contains(&name) && !MISUSES.iter().any(|(source, ..)| calls(source)) {
            missing.insert(name.to_owned());
        }
    }
    assert_eq!(missing, BTreeSet::new());
}
