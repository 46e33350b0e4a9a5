//! Losses beside the values and gradients of PyTorch 2.15: at ties, kinks and 0, far out, with infinities and NaN.

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

use crate::common::{array, assert_pair, assert_same, gradients_of_sum, run, try_run, value};
use dagrad::{Graph, Reduction, Var};
use ndarray::arr1;

const NONE: Reduction = Reduction::None;

/// Predictions and targets whose errors are none, at a bound, beyond it, infinite and missing.
const X: [f64; 9] = [0.0, 1.0, -1.0, 2.0, INF, -INF, NAN, 0.5, -0.25];
const TARGET: [f64; 9] = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, INF, 0.0];

/// Checks a loss of errors, of which the gradient in the targets is the negative of that in x.
#[track_caller]
fn check_errors(name: &str, loss: crate::common::Pair, values: [f64; 9], derivatives: [f64; 9]) {
    assert_pair(
        name,
        loss,
        &[9],
        [&X, &TARGET],
        [&values, &derivatives, &derivatives.map(|gradient| -gradient)],
    );
}

#[test]
fn losses_of_errors() {
    check_errors(
        "mse",
        |x, t| x.mse_loss(t, NONE),
        [0.0, 1.0, 1.0, 4.0, INF, INF, NAN, INF, 0.0625],
        [0.0, 2.0, -2.0, 4.0, INF, -INF, NAN, -INF, -0.5],
    );
    check_errors(
        "huber",
        |x, t| x.huber_loss(t, 1.0, NONE),
        [0.0, 0.5, 0.5, 1.5, INF, INF, NAN, INF, 0.03125],
        [0.0, 1.0, -1.0, 1.0, 1.0, -1.0, NAN, -1.0, -0.25],
    );
    check_errors(
        "smooth l1",
        |x, t| x.smooth_l1_loss(t, 0.5, NONE),
        [0.0, 0.75, 0.75, 1.75, INF, INF, NAN, INF, 0.0625],
        [0.0, 1.0, -1.0, 1.0, 1.0, -1.0, NAN, -1.0, -0.5],
    );
    // Here PyTorch's gradient of NaN is 0; a NaN that does not stay hides that training has failed.
    let (values, derivatives) =
        ([0.0, 1.0, 1.0, 2.0, INF, INF, NAN, INF, 0.25], [0.0, 1.0, -1.0, 1.0, 1.0, -1.0, NAN, -1.0, -1.0]);
    check_errors("l1", |x, t| x.l1_loss(t, NONE), values, derivatives);
    check_errors("smooth l1 without a bound", |x, t| x.smooth_l1_loss(t, 0.0, NONE), values, derivatives);
}

const LOGITS: [f64; 12] = [0.0, 0.0, 1e4, -1e4, 1e4, -1e4, INF, -INF, INF, NAN, 2.0, -3.0];
const TARGETS: [f64; 12] = [0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.3, 0.75];

#[test]
fn binary_cross_entropy() {
    let values = [
        std::f64::consts::LN_2,
        std::f64::consts::LN_2,
        0.0,
        1e4,
        1e4,
        0.0,
        // PyTorch's are NaN: what is certain and right costs nothing. What another target would cost is infinite.
        0.0,
        0.0,
        INF,
        NAN,
        1.5269280110429724,
        2.298587351573742,
    ];
    let derivatives =
        [0.5, -0.5, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, 1.0, NAN, 0.5807970779778824, -0.7025741268224333];
    let in_targets = [-0.0, -0.0, -1e4, 1e4, -1e4, 1e4, -INF, INF, -INF, NAN, -2.0, 3.0];
    let plain: crate::common::Pair = |x, t| x.binary_cross_entropy_with_logits(t, NONE);
    assert_pair("plain", plain, &[12], [&LOGITS, &TARGETS], [&values, &derivatives, &in_targets]);

    let values = [
        std::f64::consts::LN_2,
        2.0794415416798357,
        0.0,
        3e4,
        1e4,
        0.0,
        0.0,
        0.0,
        INF,
        NAN,
        1.603084817668756,
        6.871468378934355,
    ];
    let derivatives =
        [0.5, -1.5, 0.0, -3.0, 1.0, 0.0, 0.0, 0.0, 1.0, NAN, 0.5092753247646116, -2.131435317056083];
    let in_targets = [
        1.3862943611198904,
        1.3862943611198904,
        -1e4,
        3e4,
        -1e4,
        3e4,
        -INF,
        INF,
        -INF,
        NAN,
        -1.746143977914055,
        9.097174703147484,
    ];
    let weighted: crate::common::Pair = |x, t| x.weighted_binary_cross_entropy_with_logits(t, 3.0, NONE);
    assert_pair("weighted", weighted, &[12], [&LOGITS, &TARGETS], [&values, &derivatives, &in_targets]);
}

/// ln(1 + e⁻ˣ) of what is nearly certain, to all digits of single precision. (Those of PyTorch in double precision; in
/// single precision the second of its own is off in the third digit.)
#[test]
fn small_binary_cross_entropies_keep_their_digits() {
    let graph = Graph::new();
    let (x, targets) = (graph.input("x", [4]), graph.constant(arr1(&[1.0, 0.0, 1.0, 1.0])));
    let loss = x.binary_cross_entropy_with_logits(targets, NONE);
    let found =
        try_run::<f32>(&[loss], &[x.feed(&array(&[4], &[10.0, -10.0, 16.0, 30.0]))]).unwrap().remove(0);
    let expected = [4.5398898e-5_f32, 4.5398898e-5, 1.1253517e-7, 9.357623e-14];
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-6 * expected, "{found} instead of {expected}");
    }
}

#[test]
fn divergence() {
    let x = [-1.0, -2.0, -INF, -INF, -1.0, NAN, -1.0, -0.5];
    let target = [0.0, 0.5, 0.0, 0.5, -1.0, 0.5, NAN, 1.0];
    let values = [0.0, 0.6534264097200273, 0.0, INF, NAN, NAN, NAN, 0.5];
    let derivatives = [-0.0, -0.5, -0.0, -0.5, 1.0, -0.5, NAN, -1.0];
    // PyTorch's are NaN where the target is 0; here they are −x.
    let in_targets = [1.0, 2.3068528194400546, INF, INF, NAN, NAN, NAN, 1.5];
    let loss: crate::common::Pair = |x, t| x.kl_divergence(t, NONE);
    assert_pair("divergence", loss, &[8], [&x, &target], [&values, &derivatives, &in_targets]);
}

#[test]
fn hinge() {
    let x = [0.0, 1.0, -1.0, 3.0, -2.0, INF, NAN, 0.25];
    let target = [1.0, 1.0, -1.0, 1.0, 1.0, 1.0, 1.0, -1.0];
    let values = [1.0, 0.0, 0.0, 0.0, 3.0, 0.0, NAN, 1.25];
    let derivatives = [-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, -1.0, 1.0];
    let in_targets = [0.0, 0.0, 0.0, 0.0, 2.0, 0.0, NAN, -0.25];
    assert_pair(
        "hinge",
        |x, t| x.hinge_loss(t, NONE),
        &[8],
        [&x, &target],
        [&values, &derivatives, &in_targets],
    );
}

#[test]
fn cosines() {
    let x = [0.0, 0.0, 3.0, 4.0, 1.0, 0.0, -1.0, -2.0, 1e200, 0.0];
    let y = [1.0, 2.0, 1.0, 2.0, 0.0, 2.0, 1.0, 2.0, 1.0, 2.0];
    let values = [0.0, 0.9838699100999074, 0.0, -1.0, 0.4472135954999579];
    let left = [
        44721359.549995795,
        89442719.09999159,
        -0.028621670111997302,
        0.021466252583997952,
        0.0,
        1.0,
        0.0,
        0.0,
        0.0,
        0.0,
    ];
    let right = [
        0.0,
        0.0,
        0.07155417527999322,
        -0.03577708763999665,
        0.5,
        0.0,
        0.0,
        0.0,
        0.35777087639996635,
        -0.17888543819998318,
    ];
    let cosine: crate::common::Pair = |x, y| x.cosine_similarity(y, 1, 1e-8);
    assert_pair("cosine", cosine, &[5, 2], [&x, &y], [&values, &left, &right]);
}

/// Each length is compared with ε on its own, not their product.
#[test]
fn a_vector_shorter_than_epsilon_counts_as_one_of_its_length() {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [1, 2]), graph.constant(ndarray::arr2(&[[1.0, 2.0]])));
    let cosine = x.cosine_similarity(y, -1, 1e-8);
    let found = value(cosine, &[x.feed(&array(&[1, 2], &[1e-9, 0.0]))]);
    assert_same("cosine", &found, &[0.044721359549995794], 1e-15);
}

#[test]
fn cosines_of_broadcast_arrays() {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [2, 1]), graph.input("y", [3]));
    let (column, row) = (array(&[2, 1], &[2.0, -3.0]), array(&[3], &[1.0, 2.0, 2.0]));
    let feeds = [x.feed(&column), y.feed(&row)];
    let expected = 5.0 / (3.0 * 3.0_f64.sqrt());
    assert_same("cosine", &value(x.cosine_similarity(y, 1, 1e-8), &feeds), &[expected, -expected], 1e-15);
}

/// Alike, apart, apart, right at the margin 0, one of length 0, and neither.
#[test]
fn cosine_embedding() {
    fn loss<'g>(x: Var<'g>, y: Var<'g>, margin: f64) -> Var<'g> {
        let target = x.graph().constant(arr1(&[1.0, -1.0, -1.0, -1.0, 1.0, 0.0]));
        x.cosine_embedding_loss(y, target, margin, NONE)
    }
    let x = [1.0, 2.0, 1.0, 2.0, 1.0, -2.0, 3.0, 0.0, 0.0, 0.0, 1.0, 2.0];
    let y = [2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 0.0, 2.0, 1.0, 1.0, 1.0, 2.0];
    let left = [0.24, -0.12, -0.24, 0.12, 0.0, 0.0, 0.0, 0.0, 707106.78118654, 707106.78118654, 0.0, 0.0]
        .map(|s| -s);
    let right = [-0.12, 0.24, 0.12, -0.24, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0].map(|s| -s);
    let (without, with) = ([0.2, 0.8, 0.0, 0.0, 1.0, 0.0], [0.2, 0.3, 0.0, 0.0, 1.0, 0.0]);
    assert_pair("margin 0", |x, y| loss(x, y, 0.0), &[6, 2], [&x, &y], [&without, &left, &right]);
    assert_pair("margin 0.5", |x, y| loss(x, y, 0.5), &[6, 2], [&x, &y], [&with, &left, &right]);
}

#[test]
fn margins_of_classes() {
    let scores = array(&[4, 3], &[1.0, 0.0, 0.5, 0.1, 0.2, -0.3, 2.0, 3.0, 2.0, INF, 1.0, 0.0]);
    let labels = arr1(&[0_u32, 2, 1, 0]);
    let third = 1.0 / 3.0;
    let second = [third, third, -2.0 * third];
    let cases = [
        (
            1.0,
            [0.5 * third, 0.9666666666666668, 0.0, 0.0],
            [[-third, 0.0, third], second, [0.0; 3], [0.0; 3]],
        ),
        (0.5, [0.0, 0.6333333333333333, 0.0, 0.0], [[0.0; 3], second, [0.0; 3], [0.0; 3]]),
        (-0.5, [0.0; 4], [[0.0; 3]; 4]),
    ];
    for (margin, values, derivatives) in cases {
        let graph = Graph::new();
        let (x, classes) = (graph.input("x", [4, 3]), graph.labels("classes", [4]));
        let (loss, feeds) =
            (x.multi_margin_loss(classes, margin, NONE), [x.feed(&scores), classes.feed(&labels)]);
        assert_same("value", &value(loss, &feeds), &values, 1e-15);
        assert_same("gradient", &gradients_of_sum(loss, &[x], &feeds)[0], &derivatives.concat(), 1e-15);
    }
}

#[test]
fn reductions() {
    let graph = Graph::new();
    let (x, t) = (graph.input("x", [2, 3]), graph.input("t", [2, 3]));
    let weights = arr1(&[1.0, 2.0, 0.5]);
    let weighted = |reduction| {
        x.weighted_binary_cross_entropy_with_logits(t, graph.constant(weights.clone()), reduction)
    };
    let losses = [
        x.mse_loss(t, Reduction::Mean),
        x.mse_loss(t, Reduction::Sum),
        x.kl_divergence(t, Reduction::Mean),
        x.kl_divergence(t, Reduction::Sum),
        x.kl_divergence(t, Reduction::Sum) / 2.0, // `batchmean`
        weighted(Reduction::Mean),
        weighted(Reduction::Sum),
    ];
    let logarithms = array(&[2, 3], &[-1.0, -2.0, -0.5, -0.25, -3.0, -1.0]);
    let targets = array(&[2, 3], &[0.2, 0.5, 0.3, 0.6, 0.3, 0.1]);
    let feeds = [x.feed(&logarithms), t.feed(&targets)];
    let expected = [
        3.5254166666666666,
        21.1525,
        0.09540021017977442,
        0.5724012610786465,
        0.28620063053932326,
        1.0197201201171324,
        6.118320720702794,
    ];
    for (found, expected) in run(&losses, &feeds).iter().zip(expected) {
        assert_same("loss", found, &[expected], 1e-14);
    }
}
