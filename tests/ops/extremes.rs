//! Losses where 0 meets ∞: what never happens costs nothing, and pulls at nothing.

use dagrad::{CrossEntropy, Graph, Reduction, Var, gradients};
use ndarray::{Array1, ArrayD, IxDyn};

const INF: f64 = f64::INFINITY;
/// ln(1 + e), the loss of the second of the logits 0 and 1.
const LN_1_E: f64 = 1.313_261_687_518_222_8;

/// A loss of logits and targets; the logits, the targets (real numbers, or classes), the loss, and its gradient in the logits.
type Case = (
    &'static str,
    for<'g> fn(Var<'g>, Var<'g>) -> Var<'g>,
    (&'static [usize], &'static [f64]),
    Result<&'static [f64], &'static [u32]>,
    f64,
    &'static [f64],
);

fn cross_entropy<'g>(x: Var<'g>, t: Var<'g>) -> Var<'g> {
    x.cross_entropy(t, CrossEntropy::new())
}

fn weighted<'g>(x: Var<'g>, t: Var<'g>) -> Var<'g> {
    let weights = x.graph().constant(ndarray::arr1(&[0.0, 1.0, 3.0]).into_dyn());
    x.cross_entropy(t, CrossEntropy::new().weights(weights).reduction(Reduction::Sum))
}

fn binary<'g>(x: Var<'g>, t: Var<'g>) -> Var<'g> {
    x.binary_cross_entropy_with_logits(t, Reduction::Sum)
}

const SIGMOID: f64 = 0.731_058_578_630_004_9; // σ(1)

const CASES: &[Case] = &[
    (
        "softmax_cross_entropy",
        |x, t| x.softmax_cross_entropy(t),
        (&[1, 3], &[-INF, 0.0, 1.0]),
        Ok(&[0.0, 1.0, 0.0]),
        LN_1_E,
        &[0.0, -SIGMOID, SIGMOID],
    ),
    (
        "softmax_cross_entropy",
        |x, t| x.softmax_cross_entropy(t),
        (&[1, 3], &[-INF, 0.0, 1.0]),
        Err(&[1]),
        LN_1_E,
        &[0.0, -SIGMOID, SIGMOID],
    ),
    (
        "softmax_cross_entropy of what cannot be",
        |x, t| x.softmax_cross_entropy(t),
        (&[1, 3], &[-INF, 0.0, 1.0]),
        Ok(&[1.0, 0.0, 0.0]),
        INF,
        &[-1.0, 1.0 - SIGMOID, SIGMOID],
    ),
    (
        "cross_entropy",
        cross_entropy,
        (&[1, 3], &[-INF, 0.0, 1.0]),
        Ok(&[0.0, 1.0, 0.0]),
        LN_1_E,
        &[0.0, -SIGMOID, SIGMOID],
    ),
    (
        "cross_entropy",
        cross_entropy,
        (&[1, 3], &[-INF, 0.0, 1.0]),
        Err(&[1]),
        LN_1_E,
        &[0.0, -SIGMOID, SIGMOID],
    ),
    ("cross_entropy, weight 0", weighted, (&[1, 3], &[-INF, 0.0, 1.0]), Err(&[0]), 0.0, &[0.0, 0.0, 0.0]),
    (
        "cross_entropy, weight 0",
        weighted,
        (&[1, 3], &[-INF, 0.0, 1.0]),
        Ok(&[0.5, 0.5, 0.0]),
        0.5 * LN_1_E,
        &[0.0, -0.5 * SIGMOID, 0.5 * SIGMOID],
    ),
    ("binary, no", binary, (&[2], &[-INF, 1.0]), Ok(&[0.0, 0.0]), LN_1_E, &[0.0, SIGMOID]),
    ("binary, yes", binary, (&[2], &[INF, 1.0]), Ok(&[1.0, 0.0]), LN_1_E, &[0.0, SIGMOID]),
    ("binary, wrong", binary, (&[1], &[INF]), Ok(&[0.0]), INF, &[1.0]),
    (
        "kl_divergence",
        |x, t| x.kl_divergence(t, Reduction::Sum),
        (&[3], &[-INF, -1.0, 0.0]),
        Ok(&[0.0, 1.0, 0.0]),
        1.0,
        &[0.0, -1.0, 0.0],
    ),
    (
        "nll_loss",
        |x, t| x.nll_loss(t, CrossEntropy::new()),
        (&[1, 2], &[-INF, -2.0]),
        Ok(&[0.0, 1.0]),
        2.0,
        &[0.0, -1.0],
    ),
    (
        "huber_loss",
        |x, t| x.huber_loss(t, 2.0, Reduction::Sum),
        (&[2], &[INF, 1.0]),
        Ok(&[0.0, 0.0]),
        INF,
        &[2.0, 1.0],
    ),
    (
        "l1_loss",
        |x, t| x.l1_loss(t, Reduction::Sum),
        (&[2], &[-INF, 1.0]),
        Ok(&[0.0, 0.0]),
        INF,
        &[-1.0, 1.0],
    ),
    (
        "hinge_loss",
        |x, t| x.hinge_loss(t, Reduction::Sum),
        (&[2], &[INF, -INF]),
        Ok(&[1.0, -1.0]),
        0.0,
        &[0.0, 0.0],
    ),
];

fn check<T: dagrad::Precision + dagrad::Element>(tolerance: f64) {
    for &(name, loss, (shape, logits), target, expected, slope) in CASES {
        let graph = Graph::new();
        let x = graph.input("x", shape);
        let logits = ArrayD::from_shape_vec(IxDyn(shape), logits.to_vec()).unwrap();
        let (t, feeds): (Var<'_>, Vec<_>);
        let (reals, classes);
        match target {
            Ok(values) => {
                t = graph.input("t", shape);
                reals = ArrayD::from_shape_vec(IxDyn(shape), values.to_vec()).unwrap();
                feeds = vec![x.feed(&logits), t.feed(&reals)];
            }
            Err(values) => {
                t = graph.labels("t", [values.len()]);
                classes = Array1::from(values.to_vec());
                feeds = vec![x.feed(&logits), t.feed(&classes)];
            }
        }
        let loss = loss(x, t);
        let gradient = gradients(loss, &[x]).unwrap()[0];
        let near = |found: f64, expected: f64| found == expected || (found - expected).abs() <= tolerance;
        let found = loss.eval::<T>(&feeds).unwrap().iter().map(|loss| loss.into_f64()).sum::<f64>();
        assert!(near(found, expected), "{name} of {logits} and {target:?} is {found}, not {expected}");
        let found: Vec<f64> =
            gradient.eval::<T>(&feeds).unwrap().iter().map(|slope| slope.into_f64()).collect();
        let agree = found.iter().zip(slope).all(|(found, slope)| near(*found, *slope));
        assert!(agree, "{name} of {logits} and {target:?}: its gradient is {found:?}, not {slope:?}");
    }
}

#[test]
fn losses_are_right_where_0_meets_infinity() {
    check::<f64>(1e-12);
    check::<f32>(1e-6);
}
