//! Misuse of every operation while recording: each is refused with what, where and why, and nothing panics.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};

use common::{message, numbers};
use dagrad::{Conv2dOptions, CrossEntropy, Graph, Init, Plan, Pool2dOptions, Var, gradients};

const HUGE: usize = usize::MAX;

/// A misuse, and what the error must say.
type Case = (&'static str, fn(&Graph), &'static [&'static str]);

/// `name: what is recorded on the graph => what the error says;`
macro_rules! misuses {
    ($graph:ident, $($name:literal: $record:expr => $($part:literal),+;)+) => {
        check(&[$(($name, |$graph| { let _ = $record; }, &[$($part),+])),+])
    };
}

/// Records every case on a graph of its own. The chain goes on after the misuse, and whatever uses the graph
/// afterwards returns the same error.
fn check(cases: &[Case]) {
    let mut failures = Vec::new();
    for (name, record, parts) in cases {
        let graph = Graph::new();
        let text = catch_unwind(AssertUnwindSafe(|| {
            record(&graph);
            let text = message(graph.check());
            let last = graph.fill([], 1.0).relu();
            assert_eq!(message(Plan::<f32>::compile(&graph, &[last])), text);
            text
        }));
        match text {
            Err(_) => failures.push(format!("{name}: panicked or was accepted")),
            Ok(text) => {
                let lost = parts.iter().chain(&[file!()]).filter(|part| !text.contains(**part));
                failures.extend(lost.map(|part| format!("{name}: {part:?} is missing in: {text}")));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

fn image(graph: &Graph) -> Var<'_> {
    graph.input("image", [2, 3, 5, 4])
}

fn rows(graph: &Graph) -> Var<'_> {
    graph.input("rows", [2, 3])
}

fn digits(graph: &Graph) -> Var<'_> {
    graph.labels("digits", [2])
}

fn conv(graph: &Graph, weight: [usize; 4], options: Conv2dOptions) -> Var<'_> {
    conv_of(image(graph), weight, options)
}

fn conv_of<'g>(image: Var<'g>, weight: [usize; 4], options: Conv2dOptions) -> Var<'g> {
    let weight = image.graph().param("weight", weight, Init::ZEROS);
    image.conv2d(weight, options)
}

/// A 2×2 convolution of the image.
fn conv_2x2(graph: &Graph, options: impl Fn(Conv2dOptions) -> Conv2dOptions) -> Var<'_> {
    conv(graph, [4, 3, 2, 2], options(Conv2dOptions::new()))
}

#[test]
fn convolutions_refuse_what_does_not_fit() {
    misuses! { g,
        "an image without a batch": conv_of(g.input("image", [3, 5, 4]), [4, 3, 2, 2], Conv2dOptions::new())
            => "conv2d at", "image [3, 5, 4] is not an array of four axes", "weight [4, 3, 2, 2] param";
        "a weight of two axes": image(g).conv2d(g.param("w", [4, 3], Init::ZEROS), Conv2dOptions::new())
            => "weight [4, 3] is not an array of four axes";
        "classes as an image": conv_of(g.labels("digits", [2, 3, 5, 4]), [4, 3, 2, 2], Conv2dOptions::new())
            => "conv2d at", "image index [2, 3, 5, 4]";
        "channels that differ": conv(g, [4, 1, 2, 2], Conv2dOptions::new())
            => "image has 3 channels but weight expects 1", "param \"weight\"", "input \"image\"";
        "a window higher than the image": conv(g, [4, 3, 6, 2], Conv2dOptions::new())
            => "the window's height 6 is larger than the padded picture's 5", "add padding";
        "a window wider than the padded image": conv(g, [4, 3, 2, 7], Conv2dOptions::new().padding([0, 1]))
            => "the window's width 7 is larger than the padded picture's 6";
        "a window of no rows": conv(g, [4, 3, 0, 2], Conv2dOptions::new()) => "the window's height is 0";
        "a window of no columns": conv(g, [4, 3, 2, 0], Conv2dOptions::new()) => "the window's width is 0";
        "no stride down": conv_2x2(g, |o| o.stride([0, 1])) => "the stride along the height is 0", "hint: ";
        "no stride to the right": conv_2x2(g, |o| o.stride([1, 0])) => "the stride along the width is 0";
        "rows left over": conv_2x2(g, |o| o.stride(2).exact())
            => "a stride of 2 leaves 1 of the height's 5 pixels over", "leave out `exact`";
        "columns left over": conv_2x2(g, |o| o.stride([1, 3]).padding([0, 1]).exact())
            => "a stride of 3 leaves 1 of the width's 6";
        "padding beyond addresses": conv_2x2(g, |o| o.padding(HUGE)) => "a padding of", "beyond any address";
        "padding that wraps": conv_2x2(g, |o| o.padding([0, HUGE / 2])) => "width of 4 is beyond any address";
        "padding beyond memory": conv_2x2(g, |o| o.padding(HUGE / 2 - 8)) => "beyond any memory";
    }
}

#[test]
fn poolings_refuse_what_does_not_fit() {
    misuses! { g,
        "three axes": g.input("x", [3, 5, 4]).max_pool2d(2) => "max_pool2d", "[3, 5, 4] is not [batch";
        "a matrix": rows(g).avg_pool2d(2) => "avg_pool2d at", "[2, 3] is not [batch, channels";
        "classes": g.labels("x", [2, 3, 5, 4]).max_pool2d(2) => "index [2, 3, 5, 4] is not";
        "a window of nothing": image(g).max_pool2d(0) => "the window's height is 0";
        "a window of no width": image(g).avg_pool2d([1, 0]) => "the window's width is 0";
        "no stride": image(g).max_pool2d(Pool2dOptions::new(2).stride(0))
            => "the stride along the height is 0";
        "a mean with no stride": image(g).avg_pool2d(Pool2dOptions::new(2).stride([1, 0]))
            => "along the width is 0";
        "a window too high": image(g).max_pool2d([6, 1]) => "height 6 is larger than the padded picture's 5";
        "a window too wide": image(g).avg_pool2d([1, 5]) => "width 5 is larger than the padded picture's 4";
        "a window of any size": image(g).max_pool2d(HUGE) => "larger than the padded picture's 5";
        "rows left over": image(g).max_pool2d(Pool2dOptions::new(2).exact()) => "leaves 1 of the height's 5";
        "a mean with columns left over": image(g).avg_pool2d(Pool2dOptions::new([1, 3]).exact())
            => "leaves 1 of the width's 4";
        "padding over half the window": image(g).max_pool2d(Pool2dOptions::new(3).padding(2))
            => "a padding of 2 is more than half the window's 3", "padding alone";
        "a mean padded too far": image(g).avg_pool2d(Pool2dOptions::new(2).padding([0, 2]))
            => "a padding of 2 is more than half";
        "padding beyond addresses": image(g).max_pool2d(Pool2dOptions::new(2).padding(HUGE))
            => "more than half the window's 2";
        "padding and window beyond addresses": image(g).max_pool2d(Pool2dOptions::new(HUGE).padding(HUGE / 2))
            => "beyond any address";
        "a plane of more pixels than an index counts": g.input("x", [1, 1, 1 << 17, 1 << 17]).max_pool2d(2)
            => "more pixels than an index counts";
        "patches of a matrix": rows(g).im2col(2) => "im2col at", "[2, 3] is not [batch";
        "patches of classes": g.labels("x", [1, 1, 3, 3]).im2col(2) => "im2col at", "indices";
        "patches larger than the image": image(g).im2col(6) => "height 6 is larger";
        "patches without stride": image(g).im2col(Pool2dOptions::new(1).stride(0))
            => "stride along the height is 0";
        "patches beyond memory": image(g).im2col(Pool2dOptions::new(1).stride(1).padding(1 << 40))
            => "beyond any memory";
        "columns of another image": rows(g).col2im([1, 1, 4, 4], 2)
            => "col2im at", "columns [2, 3] are not the patches [4, 4]";
        "columns of no image": rows(g).col2im([4, 4], 2) => "image [4, 4] is not [batch";
        "columns of a huge image": rows(g).col2im([HUGE, HUGE, 4, 4], 2) => "col2im at", "beyond any memory";
    }
}

#[test]
fn arithmetic_and_matrices_refuse_what_does_not_fit() {
    misuses! { g,
        "shapes that do not broadcast": rows(g) + g.input("other", [3, 2])
            => "add at", "the shapes [2, 3] and [3, 2] do not broadcast", "left [2, 3]", "hint:";
        "a quotient": rows(g) / g.input("other", [4]) => "div at", "[2, 3] and [4]";
        "classes in a sum": digits(g) + g.fill([2], 1.0) => "add at", "not indices", "softmax_cross_entropy";
        "classes and a number": 2.0 * digits(g) => "mul at", "not indices";
        "minus classes": -digits(g) => "neg at", "not indices";
        "classes rectified": digits(g).relu() => "relu at", "not indices";
        "classes raised": digits(g).exp() => "exp at", "x [2] input \"digits\"";
        "a gate of another shape": rows(g).gate(g.input("by", [3])) => "gate at", "[2, 3] and [3]", "by [3]";
        "a power without derivative": rows(g).powi(i32::MIN) => "powi at", "too small", "hint: ";
        "a vector as a matrix": g.input("v", [3]).matmul(rows(g))
            => "matmul at", "not [3] by [2, 3]", "`reshape`";
        "an image as a matrix": image(g).matmul(rows(g)) => "not [2, 3, 5, 4] by [2, 3]", "`flatten`";
        "inner sizes that differ": rows(g).matmul(g.input("b", [2, 3]))
            => "left has 3 columns but right has 2 rows";
        "classes as a matrix": g.labels("l", [2, 2]).matmul(rows(g)) => "matmul at", "not indices";
        "a matrix beyond memory": g.input("a", [1 << 40, 1]).matmul(g.input("b", [1, 1 << 40]))
            => "matmul at", "beyond any memory";
        "a broadcast of other sizes": rows(g).broadcast_to([4, 3])
            => "broadcast_to at", "[2, 3] does not broadcast to [4, 3]";
        "a broadcast to fewer axes": rows(g).broadcast_to([3]) => "[2, 3] does not broadcast to [3]";
        "a broadcast that shrinks": rows(g).broadcast_to([1, 3]) => "does not broadcast to [1, 3]";
        "a broadcast beyond memory": rows(g).broadcast_to([HUGE, 2, 3])
            => "broadcast_to at", "beyond any memory";
        "classes broadcast": digits(g).broadcast_to([2, 2]) => "broadcast_to at", "not indices";
        "dropout of no number": rows(g).dropout(f64::NAN)
            => "dropout at", "NaN is not a probability", "between 0 and 1";
        "dropout below 0": rows(g).dropout(-1.0) => "-1 is not a probability";
        "dropout above 1": rows(g).dropout(2.0) => "2 is not a probability", "x [2, 3] input \"rows\"";
        "endless dropout": rows(g).dropout(f64::INFINITY) => "inf is not a probability";
        "dropout of classes": digits(g).dropout(0.5) => "not indices";
    }
}

#[test]
fn axes_and_shapes_refuse_what_does_not_fit() {
    misuses! { g,
        "a sum over an axis too many": rows(g).sum(&[2])
            => "sum at", "axis 2 does not exist in an array of 2 axes", "count from 0";
        "an axis before the first": rows(g).sum(&[-3]) => "axis -3 does not exist";
        "the smallest axis": rows(g).sum_keep(&[isize::MIN]) => "does not exist";
        "the largest axis": rows(g).mean(&[isize::MAX]) => "does not exist";
        "an axis twice": rows(g).sum(&[1, -1]) => "sum at", "axis -1 is named twice";
        "a mean over an axis twice": rows(g).mean(&[0, 0]) => "axis 0 is named twice";
        "classes summed": digits(g).sum_all() => "sum at", "not indices";
        "a mean of nothing": g.input("x", [0, 3]).mean(&[0]) => "mean at", "[0] of [0, 3] has no elements";
        "a mean of no elements": g.input("x", [0, 3]).mean_all() => "mean at", "has no elements";
        "another number of elements": rows(g).reshape([4])
            => "reshape at", "6 elements do not fill the shape [4]", "hint: ";
        "a shape that wraps around": g.input("x", [4]).reshape([HUGE / 4 + 2, 4])
            => "reshape at", "4 elements do not fill", "more than any memory";
        "a shape beyond memory": rows(g).reshape([HUGE, HUGE]) => "more than any memory holds";
        "nothing as a huge shape": g.input("x", [0]).reshape([HUGE, 0, HUGE])
            => "reshape at", "more than any memory";
        "a vector transposed": g.input("x", [3]).transpose()
            => "transpose at", "an array of 1 axes has no two to swap";
        "a number transposed": g.input("x", []).transpose() => "an array of 0 axes";
        "axes left out": rows(g).permute(&[1]) => "permute at", "1 axes are named, but the array has 2";
        "an axis twice in an order": rows(g).permute(&[0, 0]) => "axis 0 is named twice";
        "an order of other axes": rows(g).permute(&[0, 2]) => "axis 2 does not exist";
        "classes in another order": digits(g).permute(&[0]) => "permute at", "not indices";
        "softmax over no axis": rows(g).softmax(2) => "softmax at", "axis 2 does not exist", "logits [2, 3]";
        "softmax of a number": g.input("x", []).log_softmax(-1)
            => "axis -1 does not exist in an array of 0 axes";
        "softmax of classes": digits(g).softmax(0) => "not indices";
        "an input beyond memory": g.input("x", [HUGE]).relu() => "\"x\" is beyond any memory";
        "an input whose size wraps": g.input("x", [1 << 32, 1 << 32]) => "beyond any memory";
        "labels beyond memory": g.labels("l", [HUGE, 0, HUGE]) => "\"l\" is beyond any memory";
        "a parameter beyond memory": g.param("w", [1 << 60], Init::ZEROS) => "\"w\" is beyond any memory";
        "numbers beyond memory": g.fill([HUGE, 2], 0.0) => "fill at", "beyond any memory";
    }
}

#[test]
fn losses_refuse_what_does_not_fit() {
    misuses! { g,
        "real numbers as classes": rows(g).pick(g.input("l", [2]))
            => "pick at", "the labels are real numbers", "`graph.labels`";
        "too many classes to pick": rows(g).pick(g.labels("l", [3]))
            => "[3] labels do not fit [2, 3] rows", "one label for each row";
        "classes in two axes": rows(g).pick(g.labels("l", [2, 1])) => "[2, 1] labels do not fit";
        "a vector to pick from": g.input("x", [2]).pick(digits(g))
            => "[2] is not [batch, classes]", "rows [2]";
        "too few labels": rows(g).softmax_cross_entropy(g.labels("l", [1])) => "labels do not fit";
        "real labels of another shape": rows(g).softmax_cross_entropy(g.input("l", [2]))
            => "softmax_cross_entropy at", "labels [2] do not fit logits [2, 3]", "`graph.labels`";
        "logits of an image": image(g).softmax_cross_entropy(digits(g))
            => "is not [batch, classes]", "`flatten`";
        "logits of one axis": g.input("x", [2]).softmax_cross_entropy(digits(g))
            => "[2] is not [batch, classes]";
        "classes as logits": digits(g).softmax_cross_entropy(digits_again(g)) => "not indices";
        "an empty batch": g.input("x", [0, 3]).softmax_cross_entropy(g.labels("l", [0]))
            => "mean at", "has no elements";
    }
}

#[test]
fn indices_refuse_what_does_not_fit() {
    use ndarray::array;
    misuses! { g,
        "constant indices beyond an axis": rows(g).index_select(1, g.indices(array![0, 3]))
            => "index_select at", "the indices of indices may reach 3, but there are 3 elements", "hint: ";
        "the largest index": rows(g).index_select(0, g.indices(array![u32::MAX])) => "may reach 4294967295";
        "indices beyond an axis under another shape": rows(g).gather(1, g.indices(array![0, 3]).reshape([2, 1]))
            => "gather at", "may reach 3";
        "indices into nothing": g.input("x", [2, 0]).index_select(1, g.indices(array![0])) => "there are 0 elements";
        "a constant class beyond all": rows(g).softmax_cross_entropy(g.indices(array![0, 7]))
            => "gather at", "may reach 7, but there are 3";
        "a constant class beyond those not ignored":
            rows(g).cross_entropy(g.indices(array![255, 3]), CrossEntropy::new().ignore(255)) => "may reach 3";
        "an ignored label without any class":
            g.input("x", [2, 0]).cross_entropy(digits(g), CrossEntropy::new().ignore(255)) => "there are 0 elements";
        "the place of a maximum in a smaller array": rows(g).gather(1, g.input("y", [2, 4]).argmax(1).reshape([2, 1]))
            => "gather at", "the indices of argmax may reach 3";
        "the place of a minimum in a smaller array":
            g.input("x", [1, 2]).index_select(0, rows(g).argmin(0)) => "the indices of argmax may reach 1";
        "a one-hot row too short": g.indices(array![4]).one_hot(4) => "scatter_add at", "may reach 4";
        "one-hot rows of real numbers": rows(g).one_hot(4) => "the indices are real numbers";
        "one-hot rows beyond memory": digits(g).one_hot(HUGE) => "beyond any memory";
        "values without an index each": rows(g).scatter_add(1, g.labels("l", [2, 2]), 3)
            => "does not have an index for each value";
        "indices scattered": digits(g).scatter_add(0, digits_again(g), 3) => "scatter_add at", "not indices";
        "scattered along no axis": rows(g).scatter_add(2, digits(g), 3) => "scatter_add at", "axis 2 does not exist";
        "scattered beyond memory": rows(g).scatter_add(0, g.labels("l", [2, 3]), HUGE) => "beyond any memory";
        "indices of another rank": rows(g).gather(1, digits(g)) => "indices [2] and array [2, 3]";
        "a table of indices": rows(g).index_select(0, g.labels("l", [2, 1])) => "are not a list";
        "real numbers as indices": rows(g).index_select(0, g.input("l", [2])) => "`graph.labels` or `graph.indices`";
        "the largest of nothing": g.input("x", [0]).max_all() => "no largest of 0 numbers";
        "the smallest index of nothing": g.input("x", [2, 0]).argmin(1) => "no largest of 0 numbers";
        "a global pool of a matrix": rows(g).global_max_pool2d() => "global_max_pool2d at", "[2, 3] is not [batch";
        "a global pool of no pixels": g.input("x", [1, 2, 0, 3]).global_max_pool2d() => "no largest of 0";
        "a mirror of too few": rows(g).pad_reflect(&[[0, 0], [3, 0]])
            => "pad_reflect at", "a padding of 3 mirrors more than the 2 elements of axis 1";
        "a mirror of everything": rows(g).pad_reflect(&[[0, HUGE], [0, 0]]) => "mirrors more than the 1";
        "borders of other axes": rows(g).pad_replicate(&[[1, 1]]) => "pad_replicate at", "1 pairs", "2 axes";
        "borders of nothing": g.input("x", [0, 2]).pad_replicate(&[[1, 0], [0, 0]]) => "axis 0 has no elements";
        "borders beyond memory": rows(g).pad_replicate(&[[0, 0], [HUGE, HUGE]]) => "beyond any memory";
        "borders of indices": digits(g).pad_reflect(&[[1, 0]]) => "not indices";
    }
}

#[test]
fn pictures_of_another_size_refuse_what_does_not_fit() {
    misuses! { g,
        "a matrix enlarged": rows(g).upsample_nearest(4) => "upsample_nearest at", "[2, 3] is not [batch";
        "classes enlarged": g.labels("l", [1, 1, 2, 2]).upsample_bilinear(4, true) => "image index [1, 1, 2, 2]";
        "a picture of no size": image(g).upsample_nearest([0, 4]) => "5×4 pixels cannot become 0×4", "hint: ";
        "no picture enlarged": g.input("x", [1, 1, 0, 3]).upsample_bilinear(2, false) => "0×3 pixels cannot become";
        "no times a picture": image(g).upsample_nearest_by([1, 0]) => "at least one pixel";
        "a picture beyond memory": image(g).upsample_nearest(HUGE) => "beyond any memory";
        "blocks beyond memory": image(g).upsample_nearest_by(HUGE) => "beyond any memory";
        "a mixed picture beyond memory": image(g).upsample_bilinear([2, HUGE], true) => "beyond any memory";
        "channels that do not make blocks": image(g).pixel_shuffle(2) => "pixel_shuffle at", "no pixels of 2×2";
        "no blocks": image(g).pixel_shuffle(0) => "pixel_shuffle at";
        "huge blocks": image(g).pixel_shuffle(HUGE) => "pixel_shuffle at";
        "huge blocks of no channels": g.input("x", [1, 0, 1 << 40, 1]).pixel_shuffle(1 << 31) => "more than any memory";
        "pixels left over": image(g).pixel_unshuffle(2) => "pixel_unshuffle at", "does not consist of blocks 2×2";
        "blocks of no pixels": g.input("x", [1, 1, 0, 0]).pixel_unshuffle(HUGE) => "more than any memory";
        "no factor": image(g).pixel_unshuffle(0) => "pixel_unshuffle at";
    }
}

#[test]
fn functions_of_two_arrays_refuse_what_does_not_fit() {
    misuses! { g,
        "a maximum of other shapes": rows(g).maximum(g.input("x", [3, 2]))
            => "maximum at", "[2, 3] and [3, 2] do not broadcast";
        "a minimum of classes": digits(g).minimum(1.0) => "minimum at", "not indices";
        "a power of another shape": rows(g).pow(g.input("n", [2])) => "pow at", "[2, 3] and [2]";
        "classes as exponents": g.input("x", [2]).pow(digits(g)) => "pow at", "not indices";
        "classes compared": digits(g).greater(0.0) => "greater at", "not indices";
        "classes compared with classes": digits(g).equal(digits_again(g)) => "equal at", "not indices";
        "classes that differ": digits(g).not_equal(3.0) => "equal at", "not indices";
        "less than another shape": rows(g).less(g.input("x", [4])) => "greater at", "do not broadcast";
        "at most another shape": rows(g).less_equal(g.input("x", [4])) => "greater_equal at", "[4]";
        "a mask of another shape": g.input("m", [4]).choose(rows(g), 0.0)
            => "choose at", "the shapes [4], [2, 3] and [4] do not broadcast", "mask [4]";
        "a choice of two shapes": rows(g).choose(g.input("x", [3, 1]), 1.0) => "choose at", "[3, 1]";
        "classes as a mask": digits(g).choose(1.0, 0.0) => "greater at", "not indices";
        "classes to choose": g.input("m", [2]).choose(digits(g), 0.0) => "gate at", "not indices";
        "a comparison beyond memory": g.input("a", [1 << 40, 1]).equal(g.input("b", [1 << 40]))
            => "broadcast_to at", "beyond any memory";
    }
}

#[test]
fn statistics_refuse_what_does_not_fit() {
    misuses! { g,
        "a variance over an axis too many": rows(g).variance(&[2], 0) => "axis 2 does not exist";
        "a variance over an axis twice": rows(g).variance_keep(&[1, -1], 0) => "axis -1 is named twice";
        "a variance of one": g.input("x", [3, 1]).variance(&[1], 1)
            => "variance at", "a variance of 1 elements with a correction of 1", "hint: ";
        "a correction beyond all": rows(g).std_dev(&[0], HUGE) => "variance at", "of 2 elements";
        "a variance of nothing": g.input("x", [0, 3]).std_dev_keep(&[0], 0) => "variance at", "of 0 elements";
        "a deviation of classes": digits(g).std_dev(&[0], 0) => "not indices";
        "a length over an axis before the first": rows(g).norm(&[-3]) => "sum at", "axis -3 does not exist";
        "a length of classes": digits(g).norm_keep(&[0]) => "powi at", "not indices";
        "exponentials over no axis": rows(g).log_sum_exp(&[5]) => "axis 5 does not exist";
        "no exponentials": g.input("x", [2, 0]).log_sum_exp_keep(&[1]) => "argmax at", "largest of 0 numbers";
        "a mean over an axis twice": rows(g).mean_keep(&[0, 0]) => "axis 0 is named twice";
    }
}

#[test]
fn losses_of_numbers_refuse_what_does_not_fit() {
    use dagrad::Reduction::{Mean, None, Sum};
    fn other(graph: &Graph) -> Var<'_> {
        graph.input("other", [2, 1])
    }
    fn weighted<'g>(logits: Var<'g>, weights: Var<'g>) -> Var<'g> {
        logits.weighted_binary_cross_entropy_with_logits(logits.sigmoid(), weights, Mean)
    }
    misuses! { g,
        "targets that would broadcast": rows(g).mse_loss(other(g), Mean)
            => "mse_loss at", "targets [2, 1] do not fit [2, 3]", "not broadcast";
        "classes as targets": g.input("x", [2]).l1_loss(digits(g), Sum) => "l1_loss at", "targets index [2]";
        "huber of another shape": rows(g).huber_loss(other(g), 1.0, None) => "huber_loss at", "do not fit";
        "huber without a bound": rows(g).huber_loss(rows_again(g), 0.0, Mean) => "a δ of 0 is not positive";
        "huber of NaN": rows(g).huber_loss(rows_again(g), f64::NAN, Mean) => "a δ of NaN";
        "smooth l1 below 0": rows(g).smooth_l1_loss(rows_again(g), -1.0, Mean)
            => "smooth_l1_loss at", "a β of -1 is negative";
        "smooth l1 of NaN": rows(g).smooth_l1_loss(rows_again(g), f64::NAN, Mean) => "a β of NaN";
        "answers of another shape": rows(g).binary_cross_entropy_with_logits(other(g), Mean)
            => "binary_cross_entropy_with_logits at", "targets [2, 1]";
        "weights that enlarge": weighted(other(g), rows(g))
            => "binary_cross_entropy_with_logits at", "weights [2, 3] do not broadcast to logits [2, 1]";
        "weights of other sizes":
            rows(g).weighted_binary_cross_entropy_with_logits(rows_again(g), g.input("w", [2]), Sum)
            => "weights [2] do not broadcast", "hint: ";
        "classes as weights": {
            let x = g.input("x", [2]);
            x.weighted_binary_cross_entropy_with_logits(x, digits(g), Sum)
        } => "mul at", "not indices";
        "a divergence of other shapes": rows(g).kl_divergence(other(g), Sum) => "kl_divergence at";
        "a hinge of other shapes": rows(g).hinge_loss(other(g), Sum) => "hinge_loss at", "do not fit";
        "cosines of other shapes": rows(g).cosine_similarity(g.input("x", [4]), 1, 1e-8)
            => "mul at", "do not broadcast";
        "cosines along no axis": rows(g).cosine_similarity(rows_again(g), 2, 1e-8) => "axis 2 does not exist";
        "cosines of numbers": g.input("x", []).cosine_similarity(g.input("y", []), -1, 1e-8)
            => "axis -1 does not exist";
        "cosines above NaN": rows(g).cosine_similarity(rows_again(g), 1, f64::NAN) => "the bound is NaN";
        "embeddings with too many targets": rows(g).cosine_embedding_loss(rows_again(g), g.input("targets", [2, 3]), 0.0, Mean)
            => "cosine_embedding_loss at", "targets [2, 3] do not fit [2]";
        "embeddings without a margin": rows(g).cosine_embedding_loss(rows_again(g), g.input("t", [2]), f64::NAN, Sum)
            => "cosine_embedding_loss at", "the margin is NaN";
        "margins of an image": image(g).multi_margin_loss(digits(g), 1.0, Mean)
            => "pick at", "is not [batch, classes]";
        "margins of too many labels": rows(g).multi_margin_loss(g.labels("l", [3]), 1.0, Mean)
            => "pick at", "labels do not fit";
        "margins of real labels": rows(g).multi_margin_loss(g.input("l", [2]), 1.0, Mean)
            => "pick at", "real numbers";
        "no margin": rows(g).multi_margin_loss(digits(g), f64::NAN, Mean)
            => "multi_margin_loss at", "the margin is NaN";
        "a mean of no losses": g.input("x", [0, 3]).mse_loss(g.input("t", [0, 3]), Mean)
            => "mean at", "has no elements";
        "after a misuse": rows(g).huber_loss(other(g), 1.0, None).cosine_similarity(rows_again(g), 3, 0.0)
            => "huber_loss at";
    }
}

fn rows_again(graph: &Graph) -> Var<'_> {
    graph.input("rows again", [2, 3])
}

fn digits_again(graph: &Graph) -> Var<'_> {
    graph.labels("digits again", [2])
}

#[test]
fn operations_that_users_record_themselves_refuse_a_wrong_number_of_operands() {
    use dagrad::ops::arithmetic::Arithmetic;
    use dagrad::ops::pointwise::Pointwise;
    use dagrad::ops::relu::{Gate, Relu};
    misuses! { g,
        "a sum of one": g.record(Arithmetic::Add, &[rows(g)]) => "add at";
        "a product of three": { let x = rows(g); g.record(Arithmetic::Multiply, &[x, x, x]) }
            => "mul at";
        "relu of nothing": g.record(Relu, &[]) => "relu at";
        "relu of two": { let x = rows(g); g.record(Relu, &[x, x]) } => "relu at";
        "a gate without a condition": g.record(Gate, &[rows(g)]) => "gate at";
        "exp of two": { let x = rows(g); g.record(Pointwise::Exp, &[x, x]) } => "exp at";
    }
}

#[test]
fn starts_take_any_sizes() {
    let Init::Normal { std } = Init::xavier(HUGE, HUGE) else { panic!("another distribution") };
    assert!(std > 0.0 && std < 1e-9);
    let Init::Normal { std } = Init::he(0) else { panic!("another distribution") };
    assert!(std.is_finite());
    let Init::Normal { std } = Init::xavier(0, 0) else { panic!("another distribution") };
    assert!(std.is_finite());
}

#[test]
fn tables_of_costs_take_any_sizes() {
    let graph = Graph::new();
    let product = graph.input("a", [1 << 29, 1 << 29]).matmul(graph.input("b", [1 << 29, 1 << 29]));
    let convolution =
        conv_of(graph.input("c", [1, 1 << 20, 1 << 19, 1 << 19]), [1, 1 << 20, 8, 8], Conv2dOptions::new());
    graph.check().unwrap();
    let dag = graph.dag();
    for var in [product, convolution] {
        let macs = dag.op(var.id()).unwrap().macs(&dag.operand_metas(var.id()), &var.meta());
        assert!(macs >= 1 << 63, "{macs}");
    }
}

#[test]
fn a_mean_over_a_window_beyond_addresses_divides_by_its_size() {
    let graph = Graph::new();
    let x = graph.input("x", [1, 1, 1, 1]);
    let window = Pool2dOptions::new(1 << 33).padding(1 << 32);
    let y = x.avg_pool2d(window);
    let gradient = gradients(y.sum_all(), &[x]).unwrap()[0];
    let found = common::run(&[y, gradient], &[x.feed(&numbers(&[1, 1, 1, 1], 1))]);
    assert!(found[1].iter().all(|&slope| slope > 0.0 && slope < 1e-18), "{found:?}");
}
