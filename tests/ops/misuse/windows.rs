//! Convolutions, pools, and images of another size.

use dagrad::{Conv2dOptions, Graph, Init, Padding, Pool2dOptions, Var, gradients};

use super::{HUGE, image, misuses, rows};
use crate::common::{numbers, run};

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
            => "the window's height 6 is larger than the padded image's 5", "add padding";
        "a window wider than the padded image": conv(g, [4, 3, 2, 7], Conv2dOptions::new().padding([0, 1]))
            => "the window's width 7 is larger than the padded image's 6";
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
        "no groups": conv_2x2(g, |o| o.groups(0)) => "conv2d at", "0 groups";
        "groups that do not divide the channels": conv(g, [4, 1, 2, 2], Conv2dOptions::new().groups(2))
            => "conv2d at", "2 groups do not divide 3 channels and 4 filters", "hint: ";
        "groups that do not divide the filters": conv(g, [4, 1, 2, 2], Conv2dOptions::new().groups(3))
            => "conv2d at", "3 groups";
        "endless groups": conv(g, [4, 3, 2, 2], Conv2dOptions::new().groups(HUGE)) => "conv2d at", "channels";
        "no dilation": conv_2x2(g, |o| o.dilation([1, 0])) => "the dilation along the width is 0", "hint: ";
        "a window dilated beyond the image": conv_2x2(g, |o| o.dilation([5, 1]))
            => "the window's height 6 is larger than the padded image's 5";
        "a dilation beyond addresses": conv_2x2(g, |o| o.dilation(HUGE)) => "conv2d at", "larger than the padded";
        "padding on one side beyond addresses":
            conv_2x2(g, |o| o.padding(Padding::Explicit([[0, 0], [HUGE, 1]]))) => "beyond any address";
        "a line as an image": rows(g).conv1d(g.input("w", [4, 3, 2]), Conv2dOptions::new())
            => "conv1d at", "image [2, 3]", "[batch, channels, length]";
    }
}

#[test]
fn transposed_convolutions_refuse_what_does_not_fit() {
    fn back<'g>(
        graph: &'g Graph,
        weight: [usize; 4],
        options: Conv2dOptions,
        more: impl Into<dagrad::Pair>,
    ) -> Var<'g> {
        image(graph).conv_transpose2d(graph.input("weight", weight), options, more)
    }
    fn plain() -> Conv2dOptions {
        Conv2dOptions::new()
    }
    misuses! { g,
        "an image without a batch": g.input("x", [3, 5, 4]).conv_transpose2d(g.input("w", [3, 2, 2, 2]), plain(), 0)
            => "conv_transpose2d at", "do not both have four axes", "hint: ";
        "channels that differ": back(g, [4, 3, 2, 2], plain(), 0)
            => "conv_transpose2d at", "image has 3 channels but weight expects 4";
        "output padding as large as the stride": back(g, [3, 2, 2, 2], plain().stride([2, 1]), [1, 1])
            => "an output padding of 1 is not below the stride 1", "`pad`";
        "no stride": back(g, [3, 2, 2, 2], plain().stride(0), 0) => "conv_transpose2d at", "0";
        "no dilation": back(g, [3, 2, 2, 2], plain().dilation(0), 0) => "conv_transpose2d at", "dilation";
        "a window of nothing": back(g, [3, 2, 0, 2], plain(), 0) => "conv_transpose2d at";
        "padding that takes all": back(g, [3, 2, 2, 2], plain().padding(4), 0) => "no pixel is left", "less padding";
        "groups that do not divide": back(g, [3, 2, 2, 2], plain().groups(2), 0) => "conv_transpose2d at", "2 groups";
        "a stride beyond memory": back(g, [3, 2, 2, 2], plain().stride(1 << 40), 0) => "beyond any memory";
        "a stride beyond addresses": back(g, [3, 2, 2, 2], plain().stride(HUGE), 0) => "conv_transpose2d at";
        "classes": g.labels("x", [2, 3, 5, 4]).conv_transpose2d(g.input("w", [3, 2, 2, 2]), plain(), 0)
            => "conv_transpose2d at", "index [2, 3, 5, 4]";
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
        "a window too high": image(g).max_pool2d([6, 1]) => "height 6 is larger than the padded image's 5";
        "a window too wide": image(g).avg_pool2d([1, 5]) => "width 5 is larger than the padded image's 4";
        "a window of any size": image(g).max_pool2d(HUGE) => "larger than the padded image's 5";
        "no dilation": image(g).max_pool2d(Pool2dOptions::new(2).dilation(0)) => "the dilation along the height is 0";
        "a dilated window too wide": image(g).max_pool2d(Pool2dOptions::new(2).dilation([1, 4]))
            => "width 5 is larger than the padded image's 4";
        "a dilated mean": image(g).avg_pool2d(Pool2dOptions::new(2).dilation(2))
            => "avg_pool2d at", "without dilation", "depthwise";
        "no parts": image(g).adaptive_avg_pool2d([0, 2]) => "avg_pool2d at", "has no 0×2 parts", "at least one";
        "parts of no pixels": g.input("x", [1, 1, 0, 3]).adaptive_avg_pool2d(2) => "an image of 0×3 has no 2×2 parts";
        "a mean of no pixels": g.input("x", [1, 1, 0, 3]).global_avg_pool2d() => "avg_pool2d at", "0×3";
        "parts beyond memory": image(g).adaptive_avg_pool2d(HUGE) => "beyond any memory";
        "parts of a matrix": rows(g).adaptive_avg_pool2d(2) => "[2, 3] is not [batch";
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
fn images_of_another_size_refuse_what_does_not_fit() {
    misuses! { g,
        "a matrix enlarged": rows(g).upsample_nearest(4) => "upsample_nearest at", "[2, 3] is not [batch";
        "classes enlarged": g.labels("l", [1, 1, 2, 2]).upsample_bilinear(4, true) => "image index [1, 1, 2, 2]";
        "an image of no size": image(g).upsample_nearest([0, 4]) => "5×4 pixels cannot become 0×4", "hint: ";
        "no image enlarged": g.input("x", [1, 1, 0, 3]).upsample_bilinear(2, false) => "0×3 pixels cannot become";
        "no times an image": image(g).upsample_nearest_by([1, 0]) => "at least one pixel";
        "an image beyond memory": image(g).upsample_nearest(HUGE) => "beyond any memory";
        "blocks beyond memory": image(g).upsample_nearest_by(HUGE) => "beyond any memory";
        "a mixed image beyond memory": image(g).upsample_bilinear([2, HUGE], true) => "beyond any memory";
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
fn tables_of_costs_take_any_sizes() {
    let graph = Graph::new();
    let product = graph.input("a", [1 << 29, 1 << 29]).matmul(graph.input("b", [1 << 29, 1 << 29]));
    let convolution =
        conv_of(graph.input("c", [1, 1 << 20, 1 << 19, 1 << 19]), [1, 1 << 20, 8, 8], Conv2dOptions::new());
    graph.check().unwrap();
    let plan = dagrad::Options::plain().compile::<f32>(&graph, &[product, convolution]).unwrap();
    assert_eq!(plan.steps().len(), 2);
    for step in plan.steps() {
        assert!(step.macs() >= 1 << 63, "{step}: {}", step.macs());
    }
}

#[test]
fn a_mean_over_a_window_beyond_addresses_divides_by_its_size() {
    let graph = Graph::new();
    let x = graph.input("x", [1, 1, 1, 1]);
    let window = Pool2dOptions::new(1 << 33).padding(1 << 32);
    let y = x.avg_pool2d(window);
    let gradient = gradients(y.sum_all(), &[x]).unwrap()[0];
    let found = run(&[y, gradient], &[x.feed(&numbers(&[1, 1, 1, 1], 1))]);
    assert!(found[1].iter().all(|&gradient| gradient > 0.0 && gradient < 1e-18), "{found:?}");
}
