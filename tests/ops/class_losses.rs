//! Cross entropy of images beside PyTorch's values and gradients: ignored labels, weights, smoothing, infinite logits.

use crate::common::{array, assert_close, run};
use dagrad::{CrossEntropy, Graph, Reduction, Var, gradients};
use ndarray::{ArrayD, array};

const LOW: f64 = f64::NEG_INFINITY;
const REDUCTIONS: [Reduction; 3] = [Reduction::Mean, Reduction::Sum, Reduction::None];

/// The loss of logits `[2, 3, 2]` for labels of which the last is ignored, and the gradient of its sum.
fn loss(logits: &ArrayD<f64>, options: impl for<'g> Fn(&'g Graph) -> CrossEntropy<'g>) -> Vec<ArrayD<f64>> {
    let graph = Graph::new();
    let (x, labels) = (graph.input("x", [2, 3, 2]), graph.labels("labels", [2, 2]));
    let y = x.cross_entropy(labels, options(&graph).ignore(255));
    let gradient = gradients(y.sum_all(), &[x]).unwrap()[0];
    run(&[y, gradient], &[x.feed(logits), labels.feed(&array![[1_u32, 2], [0, 255]])])
}

fn weights(graph: &Graph) -> Var<'_> {
    graph.constant(array![0.5, 2.0, 1.5])
}

/// Compares the three reductions with PyTorch's losses and gradients.
fn agree<'a>(
    logits: &ArrayD<f64>,
    options: impl for<'g> Fn(&'g Graph) -> CrossEntropy<'g>,
    expected: impl IntoIterator<Item = (&'a [f64], &'a [f64])>,
) {
    let rows: Vec<_> = expected.into_iter().collect();
    assert_eq!(rows.len(), 3);
    for (reduction, (losses, derivatives)) in REDUCTIONS.into_iter().zip(rows) {
        let found = loss(logits, |graph| options(graph).reduction(reduction));
        let shape: &[usize] = if reduction == Reduction::None { &[2, 2] } else { &[] };
        assert_close(&found[0], &array(shape, losses), 1e-11);
        assert_close(&found[1], &array(&[2, 3, 2], derivatives), 1e-11);
    }
}

#[test]
#[rustfmt::skip]
fn infinite_logits_of_other_classes_do_no_harm() {
    let logits = array(&[2, 3, 2], &[0.3, LOW, 1.0, 2.0, LOW, 0.5, 2.0, 1.0, 0.0, -1.0, 1.0, LOW]);
    agree(&logits, |_| CrossEntropy::new(), [
        (&[0.837401763771][..],
            &[0.110604075944, 0.0, -0.110604075944, 0.272524825398, 0.0, -0.272524825398, -0.111586348075, 0.0, 0.0300101910568, 0.0, 0.0815761570183, 0.0][..]),
        (&[2.51220529131][..],
            &[0.331812227832, 0.0, -0.331812227832, 0.817574476194, 0.0, -0.817574476194, -0.334759044225, 0.0, 0.0900305731704, 0.0, 0.244728471055, 0.0][..]),
        (&[0.403186048885, 1.70141327798, 0.407605964444, 0.0][..],
            &[0.331812227832, 0.0, -0.331812227832, 0.817574476194, 0.0, -0.817574476194, -0.334759044225, 0.0, 0.0900305731704, 0.0, 0.244728471055, 0.0][..]),
    ]);
    agree(&logits, |graph| CrossEntropy::new().weights(weights(graph)), [
        (&[0.890573749242][..],
            &[0.165906113916, 0.0, -0.165906113916, 0.306590428573, 0.0, -0.306590428573, -0.0418448805281, 0.0, 0.0112538216463, 0.0, 0.0305910588818, 0.0][..]),
        (&[3.56229499697][..],
            &[0.663624455664, 0.0, -0.663624455664, 1.22636171429, 0.0, -1.22636171429, -0.167379522113, 0.0, 0.0450152865852, 0.0, 0.122364235527, 0.0][..]),
        (&[0.806372097771, 2.55211991697, 0.203802982222, 0.0][..],
            &[0.663624455664, 0.0, -0.663624455664, 1.22636171429, 0.0, -1.22636171429, -0.167379522113, 0.0, 0.0450152865852, 0.0, 0.122364235527, 0.0][..]),
    ]);
}

#[test]
#[rustfmt::skip]
fn smoothing_with_weights_and_an_ignored_label_is_that_of_pytorch() {
    let mut i = -1.0;
    let logits = ArrayD::from_shape_simple_fn(&[2, 3, 2][..], || { i += 1.0; f64::sin(1.3 * i + 0.4) });
    agree(&logits, |graph| CrossEntropy::new().weights(weights(graph)).label_smoothing(0.3), [
        (&[1.14471329484][..],
            &[0.197733690727, 0.187785609585, -0.235990985835, -0.0202772231685, 0.0382572951077, -0.167508386416, -0.00457059667409, 0.0, -0.0360326850286, 0.0, 0.0406032817027, 0.0][..]),
        (&[4.57885317936][..],
            &[0.790934762908, 0.751142438339, -0.943963943339, -0.0811088926738, 0.153029180431, -0.670033545665, -0.0182823866963, 0.0, -0.144130740114, 0.0, 0.162413126811, 0.0][..]),
        (&[1.92023022583, 1.73769231856, 0.920930634968, 0.0][..],
            &[0.790934762908, 0.751142438339, -0.943963943339, -0.0811088926738, 0.153029180431, -0.670033545665, -0.0182823866963, 0.0, -0.144130740114, 0.0, 0.162413126811, 0.0][..]),
    ]);
}

#[test]
fn the_mean_over_no_labels_is_nan_and_moves_nothing() {
    let graph = Graph::new();
    let (x, labels) = (graph.input("x", [2, 3]), graph.labels("labels", [2]));
    for options in [CrossEntropy::new(), CrossEntropy::new().weights(weights(&graph)).label_smoothing(0.1)] {
        let y = x.cross_entropy(labels, options.ignore(9));
        let gradient = gradients(y, &[x]).unwrap()[0];
        let found = run(
            &[y, gradient],
            &[x.feed(&crate::common::numbers(&[2, 3], 1)), labels.feed(&array![9_u32, 9])],
        );
        assert!(found[0].iter().all(|loss| loss.is_nan()));
        assert_eq!(found[1], array(&[2, 3], &[0.0; 6]));
    }
}

#[test]
fn constant_labels_may_be_ignored_beyond_the_classes() {
    let graph = Graph::new();
    let x = graph.constant(array![[0.0, 0.0], [5.0, 1.0]]);
    let y = x.cross_entropy(graph.indices(array![1, 255]), CrossEntropy::new().ignore(255));
    assert_close(&run(&[y], &[])[0], &array(&[], &[2.0_f64.ln()]), 1e-15);
}

#[test]
fn probabilities_have_weights_and_smoothing_too() {
    let logits = array![[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]].into_dyn();
    let probabilities = array![[0.2, 0.5, 0.3], [0.0, 0.9, 0.1]].into_dyn();
    let graph = Graph::new();
    let (x, p) = (graph.input("x", [2, 3]), graph.input("p", [2, 3]));
    let options = CrossEntropy::new().weights(graph.constant(array![1.0, 2.0, 0.5])).label_smoothing(0.2);
    let y = x.cross_entropy(p, options);
    let derivatives = gradients(y, &[x, p]).unwrap();
    let sum = x.cross_entropy(p, options.reduction(Reduction::Sum));
    let found = run(&[y, derivatives[0], derivatives[1], sum], &[x.feed(&logits), p.feed(&probabilities)]);
    assert_close(&found[0], &array(&[], &[3.0775706201970556]), 1e-14);
    let (of_logits, of_probabilities) = (
        [
            0.0017740241719574321,
            -0.4409827435522486,
            0.4392087193802912,
            0.5821305589194123,
            -0.6103333092420119,
            0.028202750322599546,
        ],
        [
            0.6965245186628629,
            2.593049037325726,
            0.04826225933143141,
            0.13226904376288964,
            1.2645380875257795,
            0.5161345218814448,
        ],
    );
    assert_close(&found[1], &array(&[2, 3], &of_logits), 1e-14);
    assert_close(&found[2], &array(&[2, 3], &of_probabilities), 1e-14);
    assert_close(&found[3], &array(&[], &[6.155141240394111]), 1e-14);
}
