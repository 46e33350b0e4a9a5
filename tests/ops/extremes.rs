//! Losses and reductions at extremes: infinities, where what never happens costs nothing and pulls at nothing, and numbers whose
//! squares are infinite or 0. The cases are the table in `docs/testing.md`, which
//! `DAGRAD_WRITE_LISTINGS=1 cargo test --test ops extremes` writes.

use std::fmt::Write;

use crate::common::root;
use dagrad::nn::{self, BatchNorm};
use dagrad::{CrossEntropy, Element, Graph, Mode, Precision, Reduction::Sum, Var, gradients};
use ndarray::{ArrayD, IxDyn};

const INF: f64 = f64::INFINITY;
/// ln(1 + e), the loss of the second of the logits 0 and 1.
const LN_1_E: f64 = 1.313_261_687_518_222_8;
const SIGMOID: f64 = 0.731_058_578_630_004_9; // σ(1)

/// What is given.
enum Given {
    /// Numbers, and the gradient in them.
    Reals(&'static str, &'static [usize], &'static [f64], &'static [f64]),
    Labels(&'static [u32]),
}
use Given::{Labels, Reals};

/// A name in the table, a loss, what it is of, and its value.
struct Case {
    name: &'static str,
    loss: for<'g> fn(&[Var<'g>]) -> Var<'g>,
    given: &'static [Given],
    value: f64,
}

const fn case(
    name: &'static str,
    loss: for<'g> fn(&[Var<'g>]) -> Var<'g>,
    given: &'static [Given],
    value: f64,
) -> Case {
    Case { name, loss, given, value }
}

fn binary<'g>(v: &[Var<'g>]) -> Var<'g> {
    v[0].binary_cross_entropy_with_logits(v[1], Sum)
}

fn summed<'g>() -> CrossEntropy<'g> {
    CrossEntropy::new().reduction(Sum)
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    // Classes.
    case("`softmax_cross_entropy`", |v| v[0].softmax_cross_entropy(v[1]),
        &[Reals("x", &[1, 3], &[-INF, 0.0, 1.0], &[0.0, -SIGMOID, SIGMOID]), Labels(&[1])], LN_1_E),
    case("`softmax_cross_entropy`", |v| v[0].softmax_cross_entropy(v[1]),
        &[Reals("x", &[1, 3], &[-INF, 0.0, 1.0], &[0.0, -SIGMOID, SIGMOID]),
          Reals("t", &[1, 3], &[0.0, 1.0, 0.0], &[INF, LN_1_E, LN_1_E - 1.0])], LN_1_E),
    case("`softmax_cross_entropy`", |v| v[0].softmax_cross_entropy(v[1]),
        &[Reals("x", &[1, 3], &[-INF, 0.0, 1.0], &[-1.0, 1.0 - SIGMOID, SIGMOID]),
          Reals("t", &[1, 3], &[1.0, 0.0, 0.0], &[INF, LN_1_E, LN_1_E - 1.0])], INF),
    case("`softmax_cross_entropy`, t = softmax(z)", |v| v[0].softmax_cross_entropy(v[1].softmax(1)),
        &[Reals("x", &[1, 3], &[-INF, 0.0, 0.0], &[0.0, 0.0, 0.0]),
          Reals("z", &[1, 3], &[-INF, 0.0, 0.0], &[0.0, 0.0, 0.0])], std::f64::consts::LN_2),
    case("`softmax_cross_entropy`", |v| v[0].softmax_cross_entropy(v[1]),
        &[Reals("x", &[1, 2], &[1e25, -1e25], &[1.0, -1.0]), Labels(&[1])], 2e25),
    case("`cross_entropy`", |v| v[0].cross_entropy(v[1], summed()),
        &[Reals("x", &[1, 3], &[-INF, 0.0, 1.0], &[0.0, -SIGMOID, SIGMOID]), Labels(&[1])], LN_1_E),
    case("`cross_entropy`", |v| v[0].cross_entropy(v[1], CrossEntropy::new()),
        &[Reals("x", &[1, 3], &[-INF, 0.0, 1.0], &[0.0, -SIGMOID, SIGMOID]),
          Reals("t", &[1, 3], &[0.0, 1.0, 0.0], &[INF, LN_1_E, LN_1_E - 1.0])], LN_1_E),
    case("`cross_entropy`, label 2 ignored", |v| v[0].cross_entropy(v[1], summed().ignore(2)),
        &[Reals("x", &[3, 2], &[INF, 0.0, -INF, -INF, 0.0, 1.0], &[0.0, 0.0, 0.0, 0.0, -SIGMOID, SIGMOID]),
          Labels(&[2, 2, 0])], LN_1_E),
    case("`cross_entropy`, label 2 ignored, smoothed by 0.5", |v| {
        v[0].cross_entropy(v[1], CrossEntropy::new().ignore(2).label_smoothing(0.5).weights(v[2]))
    }, &[Reals("x", &[2, 2], &[INF, 0.0, 0.0, 0.0], &[0.0, 0.0, -0.25, 0.25]), Labels(&[2, 0]),
         Reals("w", &[2], &[1.0, 1.0], &[-0.25 * std::f64::consts::LN_2, 0.25 * std::f64::consts::LN_2])],
        std::f64::consts::LN_2),
    case("`cross_entropy`, smoothed by 1", |v| v[0].cross_entropy(v[1], summed().label_smoothing(1.0)),
        &[Reals("x", &[1, 2], &[-INF, 0.0], &[-0.5, 0.5]), Labels(&[0])], INF),
    case("`cross_entropy`, smoothed by 1", |v| v[0].cross_entropy(v[1], summed().label_smoothing(1.0)),
        &[Reals("x", &[1, 2], &[-INF, 0.0], &[-0.5, 0.5]), Reals("t", &[1, 2], &[0.0, 1.0], &[0.0, 0.0])], INF),
    case("`cross_entropy` with weights", |v| v[0].cross_entropy(v[1], summed().weights(v[2])),
        &[Reals("x", &[1, 3], &[-INF, 0.0, 1.0], &[0.0, 0.0, 0.0]), Labels(&[0]),
          Reals("w", &[3], &[0.0, 1.0, 3.0], &[INF, 0.0, 0.0])], 0.0),
    case("`cross_entropy` with weights", |v| v[0].cross_entropy(v[1], summed().weights(v[2])),
        &[Reals("x", &[1, 3], &[-INF, 0.0, 1.0], &[0.0, -0.5 * SIGMOID, 0.5 * SIGMOID]),
          Reals("t", &[1, 3], &[0.5, 0.5, 0.0], &[0.0, LN_1_E, 3.0 * (LN_1_E - 1.0)]),
          Reals("w", &[3], &[0.0, 1.0, 3.0], &[INF, 0.5 * LN_1_E, 0.0])], 0.5 * LN_1_E),
    case("`nll_loss`", |v| v[0].nll_loss(v[1], summed()),
        &[Reals("x", &[1, 2], &[-INF, -2.0], &[0.0, -1.0]), Reals("t", &[1, 2], &[0.0, 1.0], &[INF, 2.0])], 2.0),
    case("`nll_loss`, label 2 ignored, smoothed by 0.5", |v| {
        v[0].nll_loss(v[1], summed().ignore(2).label_smoothing(0.5).weights(v[2]))
    }, &[Reals("x", &[2, 2], &[-INF, -INF, -1.0, -1.0], &[0.0, 0.0, -0.75, -0.25]), Labels(&[2, 0]),
         Reals("w", &[2], &[1.0, 1.0], &[0.75, 0.25])], 1.0),
    case("`nll_loss`, label 2 ignored, smoothed by 0.5", |v| {
        v[0].nll_loss(v[1], summed().ignore(2).label_smoothing(0.5).weights(v[2]))
    }, &[Reals("x", &[2, 2], &[f64::NAN, 0.0, -1.0, -1.0], &[0.0, 0.0, -0.75, -0.25]), Labels(&[2, 0]),
         Reals("w", &[2], &[1.0, 1.0], &[0.75, 0.25])], 1.0),
    case("`cross_entropy`, label 2 ignored", |v| v[0].cross_entropy(v[1], summed().ignore(2)),
        &[Reals("x", &[2, 2], &[f64::NAN, 0.0, 0.0, 1.0], &[0.0, 0.0, -SIGMOID, SIGMOID]), Labels(&[2, 0])], LN_1_E),
    case("`multi_margin_loss`, margin 1", |v| v[0].multi_margin_loss(v[1], 1.0, Sum),
        &[Reals("x", &[1, 2], &[INF, 0.0], &[0.0, 0.0]), Labels(&[0])], 0.0),
    case("`multi_margin_loss`, margin 1", |v| v[0].multi_margin_loss(v[1], 1.0, Sum),
        &[Reals("x", &[1, 2], &[INF, 0.0], &[0.5, -0.5]), Labels(&[1])], INF),
    case("`multi_margin_loss`, margin 1", |v| v[0].multi_margin_loss(v[1], 1.0, Sum),
        &[Reals("x", &[1, 2], &[1e25, 0.0], &[0.5, -0.5]), Labels(&[1])], 5e24),
    // Yes or no.
    case("`binary_cross_entropy_with_logits`", binary,
        &[Reals("x", &[2], &[-INF, 1.0], &[0.0, SIGMOID]), Reals("t", &[2], &[0.0, 0.0], &[INF, -1.0])], LN_1_E),
    case("`binary_cross_entropy_with_logits`", binary,
        &[Reals("x", &[2], &[INF, 1.0], &[0.0, SIGMOID]), Reals("t", &[2], &[1.0, 0.0], &[-INF, -1.0])], LN_1_E),
    case("`binary_cross_entropy_with_logits`", binary,
        &[Reals("x", &[1], &[INF], &[1.0]), Reals("t", &[1], &[0.0], &[-INF])], INF),
    case("`binary_cross_entropy_with_logits`", binary,
        &[Reals("x", &[1], &[-INF], &[-0.5]), Reals("t", &[1], &[0.5], &[INF])], INF),
    case("`binary_cross_entropy_with_logits`", binary,
        &[Reals("x", &[2], &[1e25, -1e25], &[0.5, -0.5]), Reals("t", &[2], &[0.5, 0.5], &[-1e25, 1e25])], 1e25),
    case("`weighted_binary_cross_entropy_with_logits`", |v| {
        v[0].weighted_binary_cross_entropy_with_logits(v[1], v[2], Sum)
    }, &[Reals("x", &[1], &[-INF], &[0.0]), Reals("t", &[1], &[0.0], &[INF]), Reals("w", &[1], &[3.0], &[0.0])], 0.0),
    case("`weighted_binary_cross_entropy_with_logits`", |v| {
        v[0].weighted_binary_cross_entropy_with_logits(v[1], v[2], Sum)
    }, &[Reals("x", &[1], &[-INF], &[0.0]), Reals("t", &[1], &[1.0], &[0.0]), Reals("w", &[1], &[0.0], &[INF])], 0.0),
    case("`hinge_loss`", |v| v[0].hinge_loss(v[1], Sum),
        &[Reals("x", &[2], &[INF, -INF], &[0.0, 0.0]), Reals("t", &[2], &[1.0, -1.0], &[0.0, 0.0])], 0.0),
    case("`hinge_loss`", |v| v[0].hinge_loss(v[1], Sum),
        &[Reals("x", &[1], &[-INF], &[-1.0]), Reals("t", &[1], &[1.0], &[INF])], INF),
    case("`hinge_loss`", |v| v[0].hinge_loss(v[1], Sum),
        &[Reals("x", &[1], &[1e25], &[1.0]), Reals("t", &[1], &[-1.0], &[-1e25])], 1e25),
    // Distances and distributions.
    case("`kl_divergence`", |v| v[0].kl_divergence(v[1], Sum),
        &[Reals("x", &[3], &[-INF, -1.0, 0.0], &[0.0, -1.0, 0.0]), Reals("t", &[3], &[0.0, 1.0, 0.0], &[INF, 2.0, 0.0])], 1.0),
    case("`kl_divergence`", |v| v[0].kl_divergence(v[1], Sum),
        &[Reals("x", &[1], &[-INF], &[-1.0]), Reals("t", &[1], &[1.0], &[INF])], INF),
    case("`mse_loss`", |v| v[0].mse_loss(v[1], Sum),
        &[Reals("x", &[2], &[INF, 1.0], &[INF, 2.0]), Reals("t", &[2], &[0.0, 0.0], &[-INF, -2.0])], INF),
    case("`mse_loss`", |v| v[0].mse_loss(v[1], Sum),
        &[Reals("x", &[1], &[1e25], &[2e25]), Reals("t", &[1], &[0.0], &[-2e25])], 1e50),
    case("`mse_loss`", |v| v[0].mse_loss(v[1], Sum),
        &[Reals("x", &[1], &[1e-25], &[2e-25]), Reals("t", &[1], &[0.0], &[-2e-25])], 1e-50),
    case("`l1_loss`", |v| v[0].l1_loss(v[1], Sum),
        &[Reals("x", &[2], &[-INF, 1e25], &[-1.0, 1.0]), Reals("t", &[2], &[0.0, 0.0], &[1.0, -1.0])], INF),
    case("`huber_loss`, δ = 2", |v| v[0].huber_loss(v[1], 2.0, Sum),
        &[Reals("x", &[2], &[INF, 1.0], &[2.0, 1.0]), Reals("t", &[2], &[0.0, 0.0], &[-2.0, -1.0])], INF),
    case("`huber_loss`, δ = 2", |v| v[0].huber_loss(v[1], 2.0, Sum),
        &[Reals("x", &[1], &[1e25], &[2.0]), Reals("t", &[1], &[0.0], &[-2.0])], 2e25),
    case("`huber_loss`, δ = ∞", |v| v[0].huber_loss(v[1], INF, Sum),
        &[Reals("x", &[2], &[INF, 3.0], &[INF, 3.0]), Reals("t", &[2], &[0.0, 0.0], &[-INF, -3.0])], INF),
    case("`smooth_l1_loss`, β = 1e-25", |v| v[0].smooth_l1_loss(v[1], 1e-25, Sum),
        &[Reals("x", &[2], &[1e25, -1e25], &[1.0, -1.0]), Reals("t", &[2], &[0.0, 0.0], &[-1.0, 1.0])], 2e25),
    case("`smooth_l1_loss`, β = 2", |v| v[0].smooth_l1_loss(v[1], 2.0, Sum),
        &[Reals("x", &[1], &[-INF], &[-1.0]), Reals("t", &[1], &[0.0], &[1.0])], INF),
    // Angles.
    case("`cosine_similarity`, ε = 1e-30", |v| v[0].cosine_similarity(v[1], 0, 1e-30),
        &[Reals("x", &[2], &[3e25, 4e25], &[4.48e-27, -3.36e-27]), Reals("y", &[2], &[4e25, 3e25], &[-3.36e-27, 4.48e-27])], 0.96),
    case("`cosine_similarity`, ε = 1e-30", |v| v[0].cosine_similarity(v[1], 0, 1e-30),
        &[Reals("x", &[2], &[3e-25, 4e-25], &[4.48e23, -3.36e23]), Reals("y", &[2], &[4e-25, 3e-25], &[-3.36e23, 4.48e23])], 0.96),
    case("`cosine_similarity`, ε = 1e-8", |v| v[0].cosine_similarity(v[1], 0, 1e-8),
        &[Reals("x", &[2], &[3e-25, 4e-25], &[4e-9, 3e-9]), Reals("y", &[2], &[4e-25, 3e-25], &[3e-9, 4e-9])], 2.4e-33),
    case("`cosine_similarity`, ε = 1e-8", |v| v[0].cosine_similarity(v[1], 0, 1e-8),
        &[Reals("x", &[2], &[0.0, 0.0], &[8e7, 6e7]), Reals("y", &[2], &[4e25, 3e25], &[0.0, 0.0])], 0.0),
    case("`cosine_embedding_loss`", |v| v[0].cosine_embedding_loss(v[1], v[2], 0.0, Sum),
        &[Reals("x", &[1, 2], &[3e25, 4e25], &[-4.48e-27, 3.36e-27]), Reals("y", &[1, 2], &[4e25, 3e25], &[3.36e-27, -4.48e-27]),
          Reals("t", &[1], &[1.0], &[])], 0.04),
    // Reductions.
    case("`norm`", |v| v[0].norm(&[0]), &[Reals("x", &[2], &[3e25, 4e25], &[0.6, 0.8])], 5e25),
    case("`norm`", |v| v[0].norm(&[0]), &[Reals("x", &[2], &[3e-25, -4e-25], &[0.6, -0.8])], 5e-25),
    case("x / `norm_keep`", |v| (v[0] / v[0].norm_keep(&[0])).slice(0, 0..1).sum_all(),
        &[Reals("x", &[2], &[3e25, 4e25], &[1.28e-26, -9.6e-27])], 0.6),
    case("`std_dev`, n", |v| v[0].std_dev(&[0], 0), &[Reals("x", &[2], &[1e25, 3e25], &[-0.5, 0.5])], 1e25),
    case("`std_dev`, n", |v| v[0].std_dev(&[0], 0), &[Reals("x", &[2], &[1e-25, 3e-25], &[-0.5, 0.5])], 1e-25),
    case("`std_dev`, n", |v| v[0].std_dev(&[0], 0), &[Reals("x", &[2], &[1e25, 1e25], &[0.0, 0.0])], 0.0),
    case("`variance`, n", |v| v[0].variance(&[0], 0), &[Reals("x", &[2], &[1e25, 3e25], &[-1e25, 1e25])], 1e50),
    case("`variance`, n", |v| v[0].variance(&[0], 0), &[Reals("x", &[2], &[1e-25, 3e-25], &[-1e-25, 1e-25])], 1e-50),
    case("`log_sum_exp`", |v| v[0].log_sum_exp(&[0]), &[Reals("x", &[2], &[-INF, 0.0], &[0.0, 1.0])], 0.0),
    case("`log_sum_exp`", |v| v[0].log_sum_exp(&[0]), &[Reals("x", &[2], &[1e25, -1e25], &[1.0, 0.0])], 1e25),
    case("`prod`", |v| v[0].prod(&[0]), &[Reals("x", &[2], &[1e25, 1e-25], &[1e-25, 1e25])], 1.0),
    case("`mean_all`", |v| v[0].mean_all(), &[Reals("x", &[2], &[1e25, 3e25], &[0.5, 0.5])], 2e25),
    case("`sum_all`", |v| v[0].sum_all(), &[Reals("x", &[2], &[-INF, 1e25], &[1.0, 1.0])], -INF),
    case("`max_all`", |v| v[0].max_all(), &[Reals("x", &[3], &[-INF, 1e25, 1e-25], &[0.0, 1.0, 0.0])], 1e25),
];

fn array(shape: &[usize], numbers: &[f64]) -> ArrayD<f64> {
    ArrayD::from_shape_vec(IxDyn(shape), numbers.to_vec()).unwrap()
}

/// What is wrong with a case. Expected numbers are rounded to the precision, so that 1e50 is infinite in `f32`.
fn problems<T: Precision + Element>(case: &Case, tolerance: f64) -> Vec<String> {
    let graph = Graph::new();
    let (mut vars, mut reals, mut arrays, mut classes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (number, given) in case.given.iter().enumerate() {
        vars.push(match given {
            Reals(_, shape, numbers, slope) => {
                let var = graph.input(&format!("v{number}"), *shape);
                arrays.push((var, array(shape, numbers)));
                reals.extend((!slope.is_empty()).then_some((var, *slope)));
                var
            }
            Labels(labels) => {
                let var = graph.labels(&format!("v{number}"), [labels.len()]);
                classes.push((var, ndarray::Array1::from(labels.to_vec())));
                var
            }
        });
    }
    let feeds: Vec<_> = arrays
        .iter()
        .map(|(var, array)| var.feed(array))
        .chain(classes.iter().map(|(var, array)| var.feed(array)))
        .collect();
    let loss = (case.loss)(&vars).sum_all();
    let asked: Vec<_> = reals.iter().map(|(var, _)| *var).collect();
    let slopes = gradients(loss, &asked).unwrap();
    let value = [case.value];
    let expected = [&value[..]].into_iter().chain(reals.iter().map(|(_, slope)| *slope));
    let mut problems = Vec::new();
    for ((var, expected), what) in [loss].into_iter().chain(slopes).zip(expected).zip(0..) {
        let found: Vec<f64> = var.eval::<T>(&feeds).unwrap().iter().map(|number| number.into_f64()).collect();
        let expected: Vec<f64> = expected.iter().map(|&number| T::of(number).into_f64()).collect();
        let size = expected
            .iter()
            .filter(|number| number.is_finite())
            .fold(0.0_f64, |size, number| size.max(number.abs()));
        let near = |(&found, &expected): (&f64, &f64)| {
            found == expected || (found - expected).abs() <= tolerance * size
        };
        if found.len() != expected.len() || !found.iter().zip(&expected).all(near) {
            let what = if what == 0 { "value".to_owned() } else { format!("gradient {what}") };
            problems.push(format!(
                "{} of {}: its {what} is {found:?}, not {expected:?}",
                case.name,
                given(case)
            ));
        }
    }
    problems
}

fn numbers(numbers: &[f64]) -> String {
    let word = |&number: &f64| match number {
        _ if number.is_infinite() => (if number > 0.0 { "∞" } else { "−∞" }).to_owned(),
        _ if number.is_nan() => "NaN".to_owned(),
        _ if number == 0.0 => "0".to_owned(),
        _ if (1e-3..1e4).contains(&number.abs()) => {
            ((number * 1e4).round() / 1e4).to_string().replace('-', "−")
        }
        _ => format!("{number:e}").replace('-', "−"),
    };
    numbers.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn given(case: &Case) -> String {
    let one = |given: &Given| match given {
        Reals(name, _, values, _) => format!("{name} = {}", numbers(values)),
        Labels(labels) => format!("y = {}", labels.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")),
    };
    case.given.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn table() -> String {
    let mut table = "| loss or reduction | of | value | gradients |\n|---|---|---|---|\n".to_owned();
    for case in CASES {
        let slope = |given: &Given| match given {
            Reals(name, _, _, slope) if !slope.is_empty() => Some(format!("{name}: {}", numbers(slope))),
            _ => None,
        };
        let slopes = case.given.iter().filter_map(slope).collect::<Vec<_>>().join("; ");
        writeln!(table, "| {} | {} | {} | {slopes} |", case.name, given(case), numbers(&[case.value]))
            .unwrap();
    }
    table
}

#[test]
fn losses_and_reductions_are_right_at_extremes() {
    let of = |case| [problems::<f64>(case, 1e-12), problems::<f32>(case, 2e-6)];
    let problems: Vec<String> = CASES.iter().flat_map(of).flatten().collect();
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

/// What is divided by the root of a square that `f32` takes for infinite is 0, and so is its gradient: neither is NaN.
#[test]
fn normalisations_of_squares_beyond_single_precision_are_zero() {
    type Normalisation = for<'g> fn(Var<'g>) -> Var<'g>;
    let all: [(&str, Normalisation); 6] = [
        ("normalise", |x| x.normalise(&[0, 2, 3], 1e-5)),
        ("layer_norm", |x| x.layer_norm(3, 1e-5)),
        ("rms_norm", |x| x.rms_norm(3, 1e-5)),
        ("group_norm", |x| x.group_norm(1, 1e-5)),
        ("local_response_norm", |x| x.local_response_norm(3, 1e-4, 0.75, 1.0)),
        ("batch_norm", |x| nn::batch_norm(x, "bn", BatchNorm { affine: false, ..BatchNorm::default() })),
    ];
    for (name, normalise) in all {
        let graph = Graph::with_mode(Mode::Train);
        let x = graph.input("x", [2, 2, 1, 2]);
        let y = normalise(x);
        let slope = gradients((y * x * 1e-25).sum_all(), &[x]).unwrap()[0];
        for sign in [1.0, -1.0] {
            let values =
                array(&[2, 2, 1, 2], &[1.0, 3.0, -2.0, 5.0, -1.0, 2.0, 4.0, -3.0]).mapv(|x| x * sign * 1e25);
            let feeds = [x.feed(&values)];
            let [single, slopes] = [y, slope].map(|var| var.eval::<f32>(&feeds).unwrap());
            assert!(single.iter().chain(&slopes).all(|&number| number == 0.0), "{name}: {single} {slopes}");
            let double = y.eval::<f64>(&feeds).unwrap();
            assert!(double.iter().all(|number| number.is_finite() && *number != 0.0), "{name}: {double}");
        }
    }
}

/// As in NumPy, the squares are summed in single precision's own range. A deviation is relative to the furthest number.
#[test]
fn a_variance_is_infinite_where_a_single_square_is_and_a_deviation_is_not() {
    let graph = Graph::new();
    let x = graph.input("x", [1000]);
    for (distance, is_finite) in [(1.8e19f32, true), (1.9e19, false)] {
        let mut values = ndarray::Array1::zeros(1000);
        values[7] = distance;
        let [variance, deviation] = [x.variance(&[0], 0), x.std_dev(&[0], 0)]
            .map(|of| of.eval::<f32>(&[x.feed(&values)]).unwrap().sum());
        let expected = f64::from(distance) * (0.001f64 * 0.999).sqrt();
        assert!((f64::from(deviation) / expected - 1.0).abs() < 1e-6, "{deviation} {expected}");
        assert_eq!(variance.is_finite(), is_finite, "{distance}: {variance}");
    }
}

/// What is subnormal counts as 0: it is no scale, by which another number could be divided.
#[test]
fn vectors_of_subnormal_numbers_have_no_length() {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [2]), graph.input("y", [2]));
    let (tiny, ones) = (array(&[2], &[1e-40, -2e-40]), array(&[2], &[1.0, 1.0]));
    let feeds = [x.feed(&tiny), y.feed(&ones)];
    let cosine = x.cosine_similarity(y, 0, 1e-8);
    for (value, expected, slopes) in [(x.norm(&[0]), 0.0, 0.0), (cosine, -7.0711e-33, 7.0711e7)] {
        let found = value.eval::<f32>(&feeds).unwrap().sum();
        assert!((found - expected).abs() <= 1e-4 * f32::abs(expected), "{found}");
        let slope = gradients(value, &[x]).unwrap()[0].eval::<f32>(&feeds).unwrap();
        assert!(slope.iter().all(|found| (found - slopes).abs() <= 1e-5 * slopes), "{slope}");
    }
}

#[test]
fn the_table_in_the_document_has_the_cases() {
    let path = root().join("docs/testing.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once("<!-- extremes: begin -->\n").expect("a beginning");
    let (found, after) = rest.split_once("<!-- extremes: end -->").expect("an end");
    if std::env::var_os("DAGRAD_WRITE_LISTINGS").is_some() {
        let text = format!("{before}<!-- extremes: begin -->\n{}<!-- extremes: end -->{after}", table());
        return std::fs::write(&path, text).unwrap();
    }
    assert_eq!(found, table(), "out of date: DAGRAD_WRITE_LISTINGS=1 cargo test --test ops extremes");
}
