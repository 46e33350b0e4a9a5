//! Gradients of pooling, convolution, losses and dropout, where other engines have gone wrong.

use crate::common::{array, assert_close, gradients_of_sum, message, numbers, run, try_run, value};
use dagrad::ops::Example;
use dagrad::ops::example::{distinct, labels, normal};
use dagrad::{
    Conv2dOptions, Feed, Graph, Mode, Options, Plan, Pool2dOptions, Store, Var, Workspace, col2im, gradients,
    im2col, vjp,
};
use ndarray::{ArrayD, Ix2, Ix4};

/// Fails unless a maximum pooling of one plane gives these values and this gradient of their sum, in `f64`
/// and in `f32`.
#[track_caller]
fn check_pool(plane: [usize; 2], values: &[f64], options: Pool2dOptions, expected: &[f64], gradient: &[f64]) {
    let shape = [1, 1, plane[0], plane[1]];
    let graph = Graph::new();
    let x = graph.input("x", shape);
    let y = x.max_pool2d(options);
    let outputs = [y, gradients(y.sum_all(), &[x]).unwrap()[0]];
    let given = array(&shape, values);
    let wide = run(&outputs, &[x.feed(&given)]);
    let narrow = try_run::<f32>(&outputs, &[x.feed(&given)]).unwrap();
    for found in [wide, narrow.into_iter().map(|array| array.mapv(f64::from)).collect()] {
        let same = |a: &f64, b: &f64| a == b || a.is_nan() && b.is_nan();
        let close =
            found[0].len() == expected.len() && found[0].iter().zip(expected).all(|(a, b)| same(a, b));
        assert!(close, "{} instead of {expected:?}", found[0]);
        assert_eq!(found[1], array(&shape, gradient));
    }
}

const NAN: f64 = f64::NAN;
const LOW: f64 = f64::NEG_INFINITY;

#[test]
fn the_largest_of_four_receives_the_whole_gradient() {
    check_pool([2, 2], &[1.0, 2.0, 3.0, 4.0], 2.into(), &[4.0], &[0.0, 0.0, 0.0, 1.0]);
}

#[test]
fn pixels_beyond_the_last_window_receive_nothing() {
    let values: Vec<f64> = (0..25).map(f64::from).collect();
    let mut gradient = [0.0; 25];
    [6, 8, 16, 18].iter().for_each(|&at| gradient[at] = 1.0);
    check_pool([5, 5], &values, 2.into(), &[6.0, 8.0, 16.0, 18.0], &gradient);
}

#[test]
fn of_equal_maxima_the_first_receives_everything() {
    check_pool([2, 2], &[7.0; 4], 2.into(), &[7.0], &[1.0, 0.0, 0.0, 0.0]);
    check_pool(
        [2, 4],
        &[0.0, -1.0, 5.0, 5.0, 0.0, 0.0, 5.0, 5.0],
        2.into(),
        &[0.0, 5.0],
        &[1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    );
    let three = Pool2dOptions::new(3).stride(1);
    check_pool(
        [3, 4],
        &[0.0; 12],
        three,
        &[0.0, 0.0],
        &[1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    );
}

#[test]
fn a_pixel_that_wins_in_several_windows_receives_all_their_gradients() {
    let values = [1.0, 2.0, 3.0, 4.0, 9.0, 5.0, 6.0, 7.0, 8.0];
    let overlapping = Pool2dOptions::new(2).stride(1);
    check_pool([3, 3], &values, overlapping, &[9.0; 4], &[0.0, 0.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn axes_of_a_pooling_are_not_mistaken_for_each_other() {
    let values: Vec<f64> = (0..24).map(|i| f64::from((i * 7) % 24)).collect();
    let options = Pool2dOptions::new([3, 2]).stride([1, 3]).padding([1, 0]);
    // Rows of 8: windows of 3×2 at rows −1, 0, 1 and columns 0, 3, 6.
    let plane = |row: usize, column: usize| values[row * 8 + column];
    let mut gradient = [0.0; 24];
    let mut expected = Vec::new();
    for rows in [0..2, 0..3, 1..3] {
        for columns in [0..2, 3..5, 6..8] {
            let window = rows.clone().flat_map(|row| columns.clone().map(move |column| (row, column)));
            let best = window.max_by(|a, b| plane(a.0, a.1).total_cmp(&plane(b.0, b.1))).unwrap();
            gradient[best.0 * 8 + best.1] += 1.0;
            expected.push(plane(best.0, best.1));
        }
    }
    check_pool([3, 8], &values, options, &expected, &gradient);
}

#[test]
fn nan_is_the_maximum_wherever_it_stands() {
    for at in 0..4 {
        let mut values = [1.0, 5.0, 6.0, 2.0];
        values[at] = NAN;
        let mut gradient = [0.0; 4];
        gradient[at] = 1.0;
        check_pool([2, 2], &values, 2.into(), &[NAN], &gradient);
        values[at] = f64::INFINITY;
        check_pool([2, 2], &values, 2.into(), &[f64::INFINITY], &gradient);
    }
    check_pool([2, 2], &[1.0, NAN, f64::INFINITY, NAN], 2.into(), &[NAN], &[0.0, 1.0, 0.0, 0.0]);
}

#[test]
fn windows_without_a_number_send_their_gradient_to_a_pixel_of_their_own() {
    for lowest in [LOW, NAN, f64::from(f32::MIN)] {
        let values = [1.0, 2.0, lowest, lowest, 3.0, 4.0, lowest, lowest];
        check_pool([2, 4], &values, 2.into(), &[4.0, lowest], &[0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
        let all = [lowest; 9];
        let padded = Pool2dOptions::new(2).padding(1);
        check_pool([3, 3], &all, padded, &[lowest; 4], &[1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    }
}

#[test]
fn padding_never_wins_against_negative_numbers() {
    let padded = Pool2dOptions::new(2).padding(1);
    check_pool([2, 2], &[-4.0, -3.0, -2.0, -1.0], padded, &[-4.0, -3.0, -2.0, -1.0], &[1.0; 4]);
}

#[test]
fn a_mean_counts_padding_forwards_and_backwards_alike() {
    let graph = Graph::new();
    let x = graph.input("x", [1, 1, 2, 3]);
    let y = x.avg_pool2d(Pool2dOptions::new([2, 3]).padding([1, 0]).stride([1, 1]));
    let given = array(&[1, 1, 2, 3], &[6.0, 12.0, 18.0, 24.0, 30.0, 36.0]);
    assert_eq!(value(y, &[x.feed(&given)]), array(&[1, 1, 3, 1], &[6.0, 21.0, 15.0]));
    let gradient = gradients_of_sum(y, &[x], &[x.feed(&given)]).remove(0);
    assert_close(&gradient, &array(&[1, 1, 2, 3], &[1.0 / 3.0; 6]), 1e-15);
}

/// Sizes of a convolution: image, weight, stride, padding.
type Sizes = ([usize; 4], [usize; 4], [usize; 2], [usize; 2]);

const CONVOLUTIONS: [Sizes; 9] = [
    ([2, 3, 6, 5], [4, 3, 3, 2], [1, 1], [0, 0]),
    ([2, 3, 7, 7], [4, 3, 5, 5], [1, 1], [2, 2]),
    ([1, 2, 8, 7], [3, 2, 3, 2], [3, 2], [0, 0]),
    ([2, 1, 9, 4], [2, 1, 2, 3], [4, 1], [1, 2]),
    ([1, 1, 5, 11], [1, 1, 2, 2], [3, 4], [0, 1]),
    ([3, 4, 5, 5], [6, 4, 1, 1], [2, 2], [0, 0]),
    ([2, 2, 3, 4], [5, 2, 3, 4], [1, 1], [0, 0]),
    ([1, 1, 3, 3], [2, 1, 2, 2], [16, 16], [0, 0]),
    ([2, 17, 6, 6], [33, 17, 3, 3], [1, 1], [1, 1]),
];

fn options((_, _, stride, padding): Sizes) -> Conv2dOptions {
    Conv2dOptions::new().stride(stride).padding(padding)
}

fn window((_, weight, stride, padding): Sizes) -> Pool2dOptions {
    Pool2dOptions::new([weight[2], weight[3]]).stride(stride).padding(padding)
}

/// The convolution spelled out: patches as rows, times filters as columns.
fn spelled_out<'g>(x: Var<'g>, w: Var<'g>, sizes: Sizes) -> Var<'g> {
    let (image, weight, ..) = sizes;
    let positions = window(sizes).window().output_size([image[2], image[3]]).unwrap();
    let filters = w.reshape([weight[0], weight[1] * weight[2] * weight[3]]).transpose();
    let rows = x.im2col(window(sizes)).matmul(filters);
    rows.reshape([image[0], positions[0], positions[1], weight[0]]).permute(&[0, 3, 1, 2])
}

#[test]
fn a_convolution_and_both_gradients_equal_patches_times_filters() {
    for sizes in CONVOLUTIONS {
        let graph = Graph::new();
        let (x, w) = (graph.input("x", sizes.0), graph.input("w", sizes.1));
        let (direct, reference) = (x.conv2d(w, options(sizes)), spelled_out(x, w, sizes));
        let u = graph.constant(numbers(&direct.shape(), 3));
        let all = |y: Var<'_>| {
            let found = gradients((y * u).sum_all(), &[x, w]).unwrap();
            let (image, weight) = (numbers(&sizes.0, 1), numbers(&sizes.1, 2));
            run(&[y, found[0], found[1]], &[x.feed(&image), w.feed(&weight)])
        };
        for (found, expected) in all(direct).iter().zip(all(reference)) {
            assert_close(found, &expected, 1e-12);
        }
    }
}

#[test]
fn the_three_views_of_a_convolution_are_adjoint() {
    let dot = |a: &ArrayD<f64>, b: &ArrayD<f64>| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    for sizes in CONVOLUTIONS {
        let graph = Graph::new();
        let (x, w) = (graph.input("x", sizes.0), graph.input("w", sizes.1));
        let y = x.conv2d(w, options(sizes));
        let u = graph.input("u", y.shape());
        let found = vjp(&[(y, u)], &[x, w]).unwrap();
        let (image, weight, upstream) = (numbers(&sizes.0, 1), numbers(&sizes.1, 2), numbers(&y.shape(), 3));
        let feeds = [x.feed(&image), w.feed(&weight), u.feed(&upstream)];
        let values = run(&[y, found[0].unwrap(), found[1].unwrap()], &feeds);
        let form = dot(&values[0], &upstream);
        assert!((form - dot(&values[1], &image)).abs() <= 1e-12 * form.abs().max(1.0), "{sizes:?}");
        assert!((form - dot(&values[2], &weight)).abs() <= 1e-12 * form.abs().max(1.0), "{sizes:?}");
    }
}

#[test]
fn second_derivatives_pass_through_a_whole_network() {
    let operands = [distinct([2, 1, 6, 6]), normal([3, 1, 2, 2]), normal([3]), labels([2], 3)];
    let net = Example::new("network", operands, |v| {
        let h = v[0].max_pool2d(Pool2dOptions::new(2).stride(1));
        let h = h.conv2d(v[1], Conv2dOptions::new()) + v[2].reshape([3, 1, 1]);
        let scores = h.tanh().avg_pool2d(4).flatten();
        scores.softmax(1).softmax_cross_entropy(v[3])
    });
    dagrad::check::example(&net).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_bias_sums_its_gradient_over_images_and_positions() {
    let graph = Graph::new();
    let (x, w, b) = (graph.input("x", [2, 1, 3, 4]), graph.input("w", [3, 1, 2, 2]), graph.input("b", [3]));
    let y = x.conv2d(w, Conv2dOptions::new()) + b.reshape([3, 1, 1]);
    let u = numbers(&[2, 3, 2, 3], 5);
    let gradient = gradients((y * graph.constant(u.clone())).sum_all(), &[b]).unwrap()[0];
    let expected = u.sum_axis(ndarray::Axis(3)).sum_axis(ndarray::Axis(2)).sum_axis(ndarray::Axis(0));
    assert_close(&value(gradient, &[]), &expected, 1e-14);
}

#[test]
fn patches_have_the_book_s_shapes_and_come_back_added_up() {
    let window = Pool2dOptions::new(5).stride(1);
    let images = |batch| numbers(&[batch, 3, 7, 7], 1).into_dimensionality::<Ix4>().unwrap();
    assert_eq!(im2col(images(1).view(), window).unwrap().dim(), (9, 75));
    let columns = im2col(images(10).view(), window).unwrap();
    assert_eq!(columns.dim(), (90, 75));
    // Row 0 is the first patch of the first image: channel by channel, row by row.
    assert_eq!(columns[[0, 0]], images(10)[[0, 0, 0, 0]]);
    assert_eq!(columns[[0, 5]], images(10)[[0, 0, 1, 0]]);
    assert_eq!(columns[[0, 25]], images(10)[[0, 1, 0, 0]]);
    assert_eq!(columns[[1, 0]], images(10)[[0, 0, 0, 1]]);
    assert_eq!(columns[[9, 0]], images(10)[[1, 0, 0, 0]]);

    let other = numbers(&[90, 75], 2).into_dimensionality::<Ix2>().unwrap();
    let back = col2im(other.view(), [10, 3, 7, 7], window).unwrap();
    let (left, right) = ((&columns * &other).sum(), (&images(10) * &back).sum());
    assert!((left - right).abs() <= 1e-12 * left.abs().max(1.0), "{left} and {right}");
    // Overlapping patches add up: the middle pixel of 7×7 is in every one of the nine patches.
    let ones = col2im(ndarray::Array2::<f64>::ones((9, 75)).view(), [1, 3, 7, 7], window).unwrap();
    assert_eq!((ones[[0, 0, 3, 3]], ones[[0, 2, 0, 0]], ones[[0, 1, 0, 3]]), (9.0, 1.0, 3.0));
    assert!(message(col2im(other.view(), [1, 3, 7, 7], window)).contains("[9, 75]"));
    assert!(message(im2col(images(1).view(), 8)).contains("larger"));
    // A view that is not contiguous gives the same patches.
    let turned = images(2).permuted_axes([0, 1, 3, 2]);
    assert_eq!(
        im2col(turned.view(), window).unwrap(),
        im2col(turned.as_standard_layout().view(), window).unwrap()
    );
}

/// Logits, classes and their loss.
fn loss<'g>(graph: &'g Graph, shape: [usize; 2]) -> [Var<'g>; 3] {
    let (x, classes) = (graph.input("x", shape), graph.labels("classes", [shape[0]]));
    [x, classes, x.softmax_cross_entropy(classes)]
}

#[test]
fn the_gradient_of_cross_entropy_is_softmax_minus_one_hot_over_the_batch() {
    let graph = Graph::new();
    let [x, classes, loss] = loss(&graph, [4, 3]);
    let (logits, labels) = (numbers(&[4, 3], 1) * 5.0, ndarray::array![2u32, 0, 0, 1]);
    let feeds = [x.feed(&logits), classes.feed(&labels)];
    let gradient = gradients(loss, &[x]).unwrap()[0];
    let tripled = gradients(loss * 3.0, &[x]).unwrap()[0];
    let added = gradients(loss + (loss * 0.5).exp(), &[x]).unwrap()[0];
    let found = run(&[x.softmax(1), loss, gradient, tripled, added], &feeds);
    let mut expected = found[0].clone();
    let mut mean = 0.0;
    for (row, &class) in labels.iter().enumerate() {
        mean -= found[0][[row, class as usize]].ln() / 4.0;
        expected[[row, class as usize]] -= 1.0;
    }
    expected /= 4.0;
    assert!((found[1].sum() - mean).abs() < 1e-14);
    assert_close(&found[2], &expected, 1e-15);
    assert_close(&found[3], &(&expected * 3.0), 1e-15);
    assert_close(&found[4], &(&expected * (1.0 + 0.5 * (0.5 * mean).exp())), 1e-14);
}

#[test]
fn classes_and_one_hot_rows_agree() {
    let graph = Graph::new();
    let [x, classes, by_class] = loss(&graph, [3, 4]);
    let weights = graph.input("weights", [3, 4]);
    let by_weight = x.softmax_cross_entropy(weights);
    let mut hot = ArrayD::zeros(vec![3, 4]);
    [(0, 1), (1, 3), (2, 0)].iter().for_each(|&(row, class)| hot[[row, class]] = 1.0);
    let (logits, labels) = (numbers(&[3, 4], 1), ndarray::array![1u32, 3, 0]);
    let feeds = [x.feed(&logits), classes.feed(&labels), weights.feed(&hot)];
    let derivatives = [by_class, by_weight].map(|loss| gradients(loss, &[x]).unwrap()[0]);
    let found = run(&[by_class, by_weight, derivatives[0], derivatives[1]], &feeds);
    assert_close(&found[1], &found[0], 1e-15);
    assert_close(&found[3], &found[2], 1e-15);
    // One class is not mistaken for one-hot rows: the loss is 0 and so is its gradient.
    let graph = Graph::new();
    let [x, classes, loss] = self::loss(&graph, [1, 1]);
    let (logits, labels) = (array(&[1, 1], &[3.0]), ndarray::array![0u32]);
    let feeds = [x.feed(&logits), classes.feed(&labels)];
    assert_eq!(value(loss, &feeds).sum(), 0.0);
    assert_eq!(value(gradients(loss, &[x]).unwrap()[0], &feeds).sum(), 0.0);
}

#[test]
fn logits_of_any_size_give_finite_losses_and_gradients() {
    for size in [1e4, 1e30] {
        let graph = Graph::new();
        let [x, classes, loss] = loss(&graph, [2, 3]);
        let logits = array(&[2, 3], &[size, -size, 0.0, -size, size, 0.0]);
        let labels = ndarray::array![0u32, 0]; // the first is right, the second could not be more wrong
        let feeds = [x.feed(&logits), classes.feed(&labels)];
        let outputs = [loss, gradients(loss, &[x]).unwrap()[0], x.log_softmax(1), x.softmax(1)];
        let narrow = try_run::<f32>(&outputs, &feeds).unwrap().into_iter().map(|array| array.mapv(f64::from));
        for found in [run(&outputs, &feeds), narrow.collect()] {
            assert_close(&found[0], &array(&[], &[size]), 1e-6);
            assert_close(&found[1], &array(&[2, 3], &[0.0, 0.0, 0.0, -0.5, 0.5, 0.0]), 1e-15);
            let expected = array(&[2, 3], &[0.0, -2.0 * size, -size, -2.0 * size, 0.0, -size]);
            assert_close(&found[2], &expected, 1e-6);
            assert_close(&found[3], &array(&[2, 3], &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]), 0.0);
        }
    }
    let graph = Graph::new();
    let x = graph.input("x", [1, 3]);
    let masked = array(&[1, 3], &[0.0, LOW, 0.0]);
    assert_eq!(value(x.softmax(1), &[x.feed(&masked)]), array(&[1, 3], &[0.5, 0.0, 0.5]));
}

/// A dropout, its gradient and the gradient of its square, over the steps of one store.
fn dropouts(graph: &Graph, drop: f64, seed: u64, steps: usize) -> Vec<Vec<ArrayD<f64>>> {
    let x = graph.input("x", [1000]);
    let y = x.dropout(drop);
    let gradient = gradients(y.sum_all(), &[x]).unwrap()[0];
    let count = graph.state("count", [], dagrad::Init::ZEROS);
    count.assign(count + 1.0);
    let plan = Plan::<f64>::compile(graph, &[y, gradient]).unwrap();
    let (mut store, mut workspace) = (Store::new(seed), Workspace::new(2).unwrap());
    let given = ArrayD::from_elem(vec![1000], 2.0);
    let feeds: [Feed<'_>; 1] = [x.feed(&given)];
    let mut once = || {
        let outputs = plan.run(&mut store, &mut workspace, &feeds).unwrap();
        [0, 1].map(|i| outputs.at(i).unwrap().to_owned()).to_vec()
    };
    (0..steps).map(|_| once()).collect()
}

#[test]
fn dropout_uses_one_mask_in_both_directions_and_a_new_one_each_step() {
    let steps = dropouts(&Graph::new(), 0.25, 3, 3);
    for step in &steps {
        assert_eq!(step[0], &step[1] * 2.0, "forwards and backwards differ");
        assert!(step[1].iter().all(|&m| m == 0.0 || m == 1.0 / 0.75));
        let kept = step[1].iter().filter(|&&m| m > 0.0).count();
        assert!((700..800).contains(&kept), "{kept} of 1000 are kept");
    }
    assert_ne!(steps[0], steps[1]);
    assert_ne!(steps[1], steps[2]);
    assert_eq!(steps, dropouts(&Graph::new(), 0.25, 3, 3), "the same seed draws the same masks");
    assert_ne!(steps[0], dropouts(&Graph::new(), 0.25, 4, 1)[0]);
}

#[test]
fn dropout_of_everything_nothing_and_in_evaluation() {
    let all = dropouts(&Graph::new(), 1.0, 1, 2);
    assert!(all.iter().flatten().flatten().all(|&value| value == 0.0));
    for (graph, drop) in [(Graph::new(), 0.0), (Graph::with_mode(Mode::Evaluate), 0.9)] {
        let none = dropouts(&graph, drop, 1, 2);
        assert!(
            none.iter().all(|step| step[0].iter().all(|&y| y == 2.0) && step[1].iter().all(|&m| m == 1.0))
        );
    }
}

#[test]
fn two_dropouts_of_one_graph_draw_different_masks() {
    let graph = Graph::new();
    let ones = graph.fill([1000], 1.0);
    let found = run(&[ones.dropout(0.5), ones.dropout(0.5)], &[]);
    assert_ne!(found[0], found[1]);
    let plain = Options::plain().compile::<f64>(&graph, &[ones.dropout(0.5)]).unwrap();
    let step = crate::common::run_plan(&plain, &mut Store::new(0), &[]).unwrap().remove(0);
    assert!(step.iter().any(|&value| value == 0.0) && step != found[0]);
}
