//! Indices, borders, other sizes and extrema beside PyTorch's values and gradients: repeats, ties, NaN, corners.

use crate::common::{array, assert_close, assert_mentions, message, run, try_run, value};
use dagrad::error::Problem;
use dagrad::graph::{Call, Dtype, Gradient, Op, TensorType, VjpInputs};
use dagrad::{Graph, Plan, Real, Store, Var, Workspace, vjp};
use ndarray::{ArrayD, array};

const NAN: f64 = f64::NAN;

/// sin(step · i + start) for each element i.
fn wave(shape: &[usize], step: f64, start: f64) -> ArrayD<f64> {
    let mut i = -1.0;
    ArrayD::from_shape_simple_fn(shape, || {
        i += 1.0;
        f64::sin(step * i + start)
    })
}

/// Compares what `record` makes of a 2×3 image of two channels, and its gradient, with PyTorch's.
fn agrees(name: &str, record: impl for<'g> Fn(Var<'g>) -> Var<'g>, values: &[f64], derivatives: &[f64]) {
    println!("{name}");
    let graph = Graph::new();
    let x = graph.input("x", [1, 2, 2, 3]);
    let y = record(x);
    let upstream = graph.constant(wave(&y.shape(), 0.7, 0.2));
    let gradient = vjp(&[(y, upstream)], &[x]).unwrap()[0].unwrap();
    let found = run(&[y, gradient], &[x.feed(&wave(&[1, 2, 2, 3], 1.3, 0.4))]);
    assert_close(&found[0], &array(&y.shape(), values), 1e-11);
    assert_close(&found[1], &array(&[1, 2, 2, 3], derivatives), 1e-11);
}

/// The indices that a plan computes.
fn indices(y: Var<'_>, feeds: &[dagrad::Feed<'_>]) -> Vec<u32> {
    let plan = Plan::<f64>::compile(y.graph(), &[y]).unwrap();
    let (mut store, mut workspace) = (Store::new(0), Workspace::new(1).unwrap());
    let outputs = plan.run(&mut store, &mut workspace, feeds).unwrap();
    outputs.indices(0).unwrap().iter().copied().collect()
}

#[test]
#[rustfmt::skip]
fn borders_and_sizes_are_those_of_pytorch() {
    agrees("reflect", |x| x.pad_reflect(&[[0, 0], [0, 0], [1, 0], [2, 1]]),
        &[0.578439764388, -0.631266637872, -0.916165936749, -0.631266637872, 0.578439764388, -0.631266637872, 0.14112000806, 0.991664810452, 0.389418342309, 0.991664810452, 0.14112000806, 0.991664810452, 0.578439764388, -0.631266637872, -0.916165936749, -0.631266637872, 0.578439764388, -0.631266637872, 0.845746831143, 0.740375889952, -0.449647464535, 0.740375889952, 0.845746831143, 0.740375889952, -0.980936230066, -0.0751511204618, 0.94073055668, -0.0751511204618, -0.980936230066, -0.0751511204618, 0.845746831143, 0.740375889952, -0.449647464535, 0.740375889952, 0.845746831143, 0.740375889952],
        &[-0.464602179414, 0.2882466476, -0.15793421004, 0.455552492152, -0.282632076402, 0.154857911064, -0.434565622072, 0.332081552471, -0.147723754372, 0.426100997607, -0.325613149333, 0.1448463383]);
    agrees("replicate", |x| x.pad_replicate(&[[0, 0], [0, 0], [0, 3], [2, 1]]),
        &[0.389418342309, 0.389418342309, 0.389418342309, 0.991664810452, 0.14112000806, 0.14112000806, -0.916165936749, -0.916165936749, -0.916165936749, -0.631266637872, 0.578439764388, 0.578439764388, -0.916165936749, -0.916165936749, -0.916165936749, -0.631266637872, 0.578439764388, 0.578439764388, -0.916165936749, -0.916165936749, -0.916165936749, -0.631266637872, 0.578439764388, 0.578439764388, -0.916165936749, -0.916165936749, -0.916165936749, -0.631266637872, 0.578439764388, 0.578439764388, 0.94073055668, 0.94073055668, 0.94073055668, -0.0751511204618, -0.980936230066, -0.980936230066, -0.449647464535, -0.449647464535, -0.449647464535, 0.740375889952, 0.845746831143, 0.845746831143, -0.449647464535, -0.449647464535, -0.449647464535, 0.740375889952, 0.845746831143, 0.845746831143, -0.449647464535, -0.449647464535, -0.449647464535, 0.740375889952, 0.845746831143, 0.845746831143, -0.449647464535, -0.449647464535, -0.449647464535, 0.740375889952, 0.845746831143, 0.845746831143],
        &[1.98156984346, 0.745705212177, -0.388716132849, -2.30241318451, 0.229200529313, 1.78383812829, 0.230257983996, -0.965888154236, -1.32493927808, 2.08560527056, 0.68026715645, -0.536292588232]);
    agrees("nearest 5x4", |x| x.upsample_nearest([5, 4]),
        &[0.389418342309, 0.389418342309, 0.991664810452, 0.14112000806, 0.389418342309, 0.389418342309, 0.991664810452, 0.14112000806, 0.389418342309, 0.389418342309, 0.991664810452, 0.14112000806, -0.916165936749, -0.916165936749, -0.631266637872, 0.578439764388, -0.916165936749, -0.916165936749, -0.631266637872, 0.578439764388, 0.94073055668, 0.94073055668, -0.0751511204618, -0.980936230066, 0.94073055668, 0.94073055668, -0.0751511204618, -0.980936230066, 0.94073055668, 0.94073055668, -0.0751511204618, -0.980936230066, -0.449647464535, -0.449647464535, 0.740375889952, 0.845746831143, -0.449647464535, -0.449647464535, 0.740375889952, 0.845746831143],
        &[0.343797916248, 0.841639393001, 0.818831871689, -0.510124468818, -0.312511285788, -0.152850589719, 1.65743159234, 0.384349253134, -0.219195647104, -0.450392287223, 0.0897727429049, 0.279879115582]);
    agrees("nearest 1x2", |x| x.upsample_nearest([1, 2]),
        &[0.389418342309, 0.991664810452, 0.94073055668, -0.0751511204618],
        &[0.198669330795, 0.783326909627, 0.0, 0.0, 0.0, 0.0, 0.999573603042, 0.745705212177, 0.0, 0.0, 0.0, 0.0]);
    agrees("bilinear 3x5", |x| x.upsample_bilinear([3, 5], false),
        &[0.389418342309, 0.630316929566, 0.991664810452, 0.481337929017, 0.14112000806, -0.26337379722, -0.0859446438162, 0.18019908629, 0.28794756625, 0.359779886224, -0.916165936749, -0.802206217199, -0.631266637872, 0.094557203484, 0.578439764388, 0.94073055668, 0.534377885823, -0.0751511204618, -0.618622186225, -0.980936230066, 0.245541546073, 0.280369881542, 0.332612384745, 0.0924881342211, -0.0675946994618, -0.449647464535, 0.0263618772602, 0.740375889952, 0.803598454667, 0.845746831143],
        &[0.11826678395, 0.865038259939, 0.556722475586, 0.842633976332, 0.437607212188, -0.501169116565, -0.792354400457, -0.637932302965, 0.294575894287, -0.457444091823, 0.486320095952, 0.836919609457]);
    agrees("bilinear 3x5 aligned", |x| x.upsample_bilinear([3, 5], true),
        &[0.389418342309, 0.690541576381, 0.991664810452, 0.566392409256, 0.14112000806, -0.26337379722, -0.0415873554652, 0.18019908629, 0.269989486257, 0.359779886224, -0.916165936749, -0.773716287311, -0.631266637872, -0.0264134367421, 0.578439764388, 0.94073055668, 0.432789718109, -0.0751511204618, -0.528043675264, -0.980936230066, 0.245541546073, 0.289076965409, 0.332612384745, 0.132508842642, -0.0675946994618, -0.449647464535, 0.145364212709, 0.740375889952, 0.793061360548, 0.845746831143],
        &[0.0875141966822, 0.947131259454, 0.505382063339, 0.790319945842, 0.479136576058, -0.490384449945, -0.736565615366, -0.69847271911, 0.299327525341, -0.450131597091, 0.532472361407, 0.783454849271]);
    agrees("bilinear 1x2", |x| x.upsample_bilinear([1, 2], false),
        &[-0.152480576343, 0.314884686241, 0.267309255741, 0.03245707159],
        &[0.0745009990481, 0.122749530053, 0.29374759111, 0.0745009990481, 0.122749530053, 0.29374759111, 0.374840101141, 0.218159851902, 0.279639454566, 0.374840101141, 0.218159851902, 0.279639454566]);
    agrees("bilinear 1x2 aligned", |x| x.upsample_bilinear([1, 2], true),
        &[0.389418342309, 0.14112000806, 0.94073055668, -0.980936230066],
        &[0.198669330795, 0.0, 0.783326909627, 0.0, 0.0, 0.0, 0.999573603042, 0.0, 0.745705212177, 0.0, 0.0, 0.0]);
}

#[test]
fn pixels_are_shuffled_as_in_pytorch() {
    let graph = Graph::new();
    let channels =
        graph.constant(ArrayD::from_shape_fn(&[1, 4, 2, 2][..], |i| (i[1] * 4 + i[2] * 2 + i[3]) as f64));
    let expected = [0.0, 4.0, 1.0, 5.0, 8.0, 12.0, 9.0, 13.0, 2.0, 6.0, 3.0, 7.0, 10.0, 14.0, 11.0, 15.0];
    assert_eq!(value(channels.pixel_shuffle(2), &[]), array(&[1, 1, 4, 4], &expected));
    let pixels = graph.constant(ArrayD::from_shape_fn(&[1, 1, 2, 6][..], |i| (i[2] * 6 + i[3]) as f64));
    let expected = [0.0, 2.0, 4.0, 1.0, 3.0, 5.0, 6.0, 8.0, 10.0, 7.0, 9.0, 11.0];
    assert_eq!(value(pixels.pixel_unshuffle(2), &[]), array(&[1, 4, 1, 3], &expected));
}

#[test]
fn nearest_neighbours_at_whole_factors_are_blocks() {
    // In single precision 1/49 · 49 is less than 1: the 50th pixel would read its neighbour.
    for factor in [2, 41, 47, 49, 55] {
        let graph = Graph::new();
        let x = graph.constant(array![[[[0.0, 1.0, 2.0]]]]);
        let found = value(x.upsample_nearest_by([1, factor]), &[]);
        assert!(
            found.iter().enumerate().all(|(i, &pixel)| pixel == (i / factor) as f64),
            "{factor}: {found}"
        );
    }
}

#[test]
fn the_first_of_equal_numbers_wins_and_nan_beats_all() {
    let graph = Graph::new();
    let low = f64::NEG_INFINITY;
    let x = graph.constant(array![
        [1.0, 3.0, 3.0, NAN],
        [2.0, NAN, NAN, 5.0],
        [low, low, low, low],
        [0.0, -0.0, -1.0, 0.0]
    ]);
    assert_eq!(indices(x.argmax(1), &[]), [3, 1, 0, 0]);
    assert_eq!(indices(x.argmin(-1), &[]), [3, 1, 0, 2]);
    assert_eq!(indices(x.argmax(0), &[]), [1, 1, 1, 0]);
    assert_eq!(indices(x.argmin(0), &[]), [2, 1, 1, 0]);
    let same = |found: ArrayD<f64>, expected: [f64; 4]| {
        let agrees = found.iter().zip(expected).all(|(&a, b)| a == b || a.is_nan() && b.is_nan());
        assert!(agrees, "{found} instead of {expected:?}");
    };
    same(value(x.max(&[1]), &[]), [NAN, NAN, low, 0.0]);
    same(value(x.min(&[1]), &[]), [NAN, NAN, low, -1.0]);
    assert!(value(x.max_all(), &[]).iter().all(|largest| largest.is_nan()));
}

#[test]
fn the_first_of_equal_numbers_receives_the_gradient() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 3]);
    let upstream = graph.constant(array![3.0, 5.0]);
    let gradient = |y, values: ArrayD<f64>| {
        let gradient = vjp(&[(y, upstream)], &[x]).unwrap()[0].unwrap();
        value(gradient, &[x.feed(&values)])
    };
    let expected = array(&[2, 3], &[0.0, 3.0, 0.0, 5.0, 0.0, 0.0]);
    assert_eq!(gradient(x.max(&[1]), array(&[2, 3], &[1.0, 4.0, 4.0, 2.0, 2.0, 2.0])), expected);
    let expected = array(&[2, 3], &[3.0, 0.0, 0.0, 5.0, 0.0, 0.0]);
    assert_eq!(gradient(x.min(&[1]), array(&[2, 3], &[1.0, 4.0, 1.0, 2.0, 2.0, 2.0])), expected);
}

#[test]
fn elements_that_are_read_again_add_up_their_gradients() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 3]);
    let upstream = graph.constant(array![[1.0, 10.0, 100.0, 1000.0], [2.0, 20.0, 200.0, 2000.0]]);
    let values = array(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let both = |y: Var<'_>| run(&[y, vjp(&[(y, upstream)], &[x]).unwrap()[0].unwrap()], &[x.feed(&values)]);
    let found = both(x.gather(1, graph.indices(array![[2, 2, 0, 2], [1, 1, 1, 0]])));
    assert_eq!(found[0], array(&[2, 4], &[3.0, 3.0, 1.0, 3.0, 5.0, 5.0, 5.0, 4.0]));
    assert_eq!(found[1], array(&[2, 3], &[100.0, 0.0, 1011.0, 2000.0, 222.0, 0.0]));
    let found = both(x.index_select(1, graph.indices(array![1, 0, 1, 1])));
    assert_eq!(found[0], array(&[2, 4], &[2.0, 1.0, 2.0, 2.0, 5.0, 4.0, 5.0, 5.0]));
    assert_eq!(found[1], array(&[2, 3], &[10.0, 1101.0, 0.0, 20.0, 2202.0, 0.0]));
}

#[test]
fn indices_are_in_range_up_to_the_last() {
    let graph = Graph::new();
    let x = graph.constant(array![[1.0, 2.0, 3.0]]);
    let last = graph.indices(array![2]);
    assert_eq!(value(x.index_select(1, last), &[])[[0, 0]], 3.0);
    assert_eq!(value(x.gather(1, last.reshape([1, 1])), &[])[[0, 0]], 3.0);
    assert_eq!(value(last.one_hot(3), &[]), array(&[1, 3], &[0.0, 0.0, 1.0]));
    let none = graph.indices(ndarray::Array1::<u32>::zeros(0));
    assert_eq!(value(graph.fill([2, 0], 1.0).index_select(1, none), &[]).shape(), [2, 0]);
}

#[test]
fn given_indices_are_checked_by_everything_that_reads_them() {
    let graph = Graph::new();
    let (x, given) = (graph.constant(array![[1.0, 2.0, 3.0, 4.0, 5.0]]), graph.labels("given", [1, 2]));
    let (wide, narrow) = (x.gather(1, given), x.slice(1, ..3).index_select(1, given.reshape([2])));
    assert_eq!(value(wide, &[given.feed(&array![[4_u32, 0]])]), array(&[1, 2], &[5.0, 1.0]));
    let text = message(try_run::<f64>(&[wide, narrow], &[given.feed(&array![[2_u32, 3]])]));
    assert_mentions(&text, &["input given", "index 3", "position 1", "index_select", "0 to 2"]);
    let text = message(try_run::<f64>(&[given.one_hot(2)], &[given.feed(&array![[2_u32, 1]])]));
    assert_mentions(&text, &["input given", "index 2", "0 to 1"]);
}

/// An operation that yields indices, and perhaps says how large they are.
#[derive(Debug, PartialEq)]
struct Ones {
    bound: Option<usize>,
}

impl Op for Ones {
    fn name(&self) -> &'static str {
        "ones"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        Ok(TensorType { dtype: Dtype::Index, ..operands[0].clone() })
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        call.indices.fill(1);
    }

    fn vjp<'g>(&self, _: usize, _: VjpInputs<'g>) -> Gradient<'g> {
        Gradient::Constant
    }

    fn index_bound(&self, _: &[&TensorType], _: Option<u32>) -> Option<usize> {
        self.bound
    }
}

#[test]
fn computed_indices_must_be_known_to_be_in_range() {
    let read = |bound: Option<usize>| {
        let graph = Graph::new();
        let x = graph.constant(array![5.0, 6.0]);
        try_run::<f64>(&[x.index_select(0, graph.record(Ones { bound }, &[x]))], &[])
    };
    assert_eq!(read(Some(2)).unwrap()[0], array(&[2], &[6.0, 6.0]));
    assert_mentions(&message(read(Some(3))), &["index_select at", "the indices of ones may reach 2"]);
    assert_mentions(&message(read(None)), &["index_select at", "nothing is known", "`index_bound`"]);
}
