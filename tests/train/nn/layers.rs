//! Layers, and the costs and receptive fields of networks made of them.

use crate::common::{array, assert_close, assert_mentions, message, numbers, run_plan};
use dagrad::inspect::{Summary, receptive_field};
use dagrad::nn::{
    self, BatchNorm, DeepConvNet, Filters, Network, SimpleConvNet, Units, conv_transpose2d, conv2d, linear,
};
use dagrad::optim::Sgd;
use dagrad::{Conv2dOptions, Graph, Init, Mode, Plan, Pool2dOptions, Store, Trainer, Var, Workspace, check};
use ndarray::Axis;

fn graph_of<R>(record: impl for<'g> FnOnce(&'g Graph) -> R) -> R {
    record(&Graph::with_mode(Mode::Evaluate))
}

/// The message of the misuse that a recording makes.
#[track_caller]
fn refusal(record: impl for<'g> FnOnce(&'g Graph) -> Var<'g>) -> String {
    let graph = Graph::new();
    record(&graph);
    message(graph.check())
}

/// The values of `outputs` over a store that holds what they need.
fn values<'g>(
    outputs: &[Var<'g>],
    store: &mut Store<f64>,
    x: (Var<'g>, &ndarray::ArrayD<f64>),
) -> Vec<ndarray::ArrayD<f64>> {
    let plan = Plan::compile(outputs[0].graph(), outputs).unwrap();
    store.prepare(&plan).unwrap();
    run_plan(&plan, store, &[x.0.feed(x.1)]).unwrap()
}

#[test]
fn a_convolution_layer_convolves_and_adds_a_bias_to_each_channel() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 3, 7, 6]);
    let y = conv2d(x, "conv", Filters::new(4, [3, 2]).stride([2, 1]).padding([1, 0]));
    let options = Conv2dOptions::new().stride([2, 1]).padding([1, 0]);
    let weight = graph.param("conv.weight", [4, 3, 3, 2], Init::he(3 * 3 * 2));
    let plain = x.conv2d(weight, options);
    let mut store = Store::new(0);
    store.set("conv.bias", &numbers(&[4], 9)).unwrap();
    let found = values(&[y, plain], &mut store, (x, &numbers(&[2, 3, 7, 6], 1)));
    let bias = numbers(&[4], 9).into_shape_with_order([4, 1, 1]).unwrap();
    assert_eq!(found[0].shape(), [2, 4, 4, 5]);
    assert_close(&found[0], &(&found[1] + &bias), 1e-14);
}

#[test]
fn a_transposed_layer_spreads_pixels_and_adds_a_bias_to_each_channel() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 4, 3, 5]);
    let filters = Filters::new(6, [3, 2]).stride([2, 3]).padding([1, 0]).groups(2);
    let y = conv_transpose2d(x, "up", filters, [1, 2]);
    // Four channels, and three of the six filters in each group.
    let weight = graph.param("up.weight", [4, 3, 3, 2], Init::he(2 * 3 * 2));
    let options = Conv2dOptions::new().stride([2, 3]).padding([1, 0]).groups(2);
    let plain = x.conv_transpose2d(weight, options, [1, 2]);
    let mut store = Store::new(0);
    store.set("up.bias", &numbers(&[6], 9)).unwrap();
    let image = numbers(&[2, 4, 3, 5], 1);
    let found = values(&[y, plain], &mut store, (x, &image));
    let bias = numbers(&[6], 9).into_shape_with_order([6, 1, 1]).unwrap();
    assert_eq!(found[0].shape(), [2, 6, 6, 16]);
    assert_close(&found[0], &(&found[1] + &bias), 1e-14);

    check::network(y.powi(2).mean_all(), &mut store, &[x.feed(&image)], 1000).unwrap();
    let names: Vec<String> = graph.parameters().iter().map(|parameter| parameter.name()).collect();
    assert_eq!(names, ["up.weight", "up.bias"]);
}

#[test]
fn a_linear_layer_is_a_product_and_a_bias_for_each_unit() {
    let graph = Graph::new();
    let x = graph.input("x", [3, 4]);
    let y = linear(x, "fc", Units::new(2).init(Init::Uniform { limit: 0.5 }));
    let mut store = Store::new(0);
    let (weight, bias) = (numbers(&[4, 2], 1), numbers(&[2], 2));
    store.set("fc.weight", &weight).unwrap();
    store.set("fc.bias", &bias).unwrap();
    let x_values = numbers(&[3, 4], 3);
    let found = values(&[y], &mut store, (x, &x_values));
    for ((at, &value), n) in found[0].indexed_iter().zip(0..) {
        let (row, unit) = (n / 2, n % 2);
        let sum: f64 = (0..4).map(|k| x_values[[row, k]] * weight[[k, unit]]).sum();
        assert!((value - sum - bias[[unit]]).abs() < 1e-14, "{at:?}");
    }
}

#[test]
fn layers_do_without_a_bias_and_start_as_they_are_told() {
    let graph = Graph::new();
    let x = graph.input("x", [1, 2, 4, 4]);
    let h = conv2d(x, "conv", Filters::new(3, 3).without_bias().init(Init::ONES));
    conv_transpose2d(h, "up", Filters::new(3, 3).without_bias(), 0);
    let y = linear(h.flatten(), "fc", Units::new(5).without_bias().init(Init::Constant(0.5)));
    let names: Vec<String> = graph.parameters().iter().map(|parameter| parameter.name()).collect();
    assert_eq!(names, ["conv.weight", "up.weight", "fc.weight"]);
    let found = values(&[y], &mut Store::new(0), (x, &numbers(&[1, 2, 4, 4], 1).mapv(|_| 1.0)));
    // 18 ones under a filter; 3 channels of 2×2 pixels for each unit, at half weight.
    assert!(found[0].iter().all(|&y| y == 0.5 * 12.0 * 18.0), "{}", found[0]);
}

#[test]
fn misused_layers_say_what_is_wrong_and_where() {
    let here = file!();
    let text = refusal(|graph| conv2d(graph.input("rows", [2, 3]), "conv", Filters::new(4, 3)));
    assert_mentions(&text, &[here, "conv2d", "[2, 3]", "[batch, channels, height, width]", "\"rows\""]);
    let text = refusal(|graph| conv2d(graph.labels("digits", [2, 1, 4, 4]), "conv", Filters::new(4, 3)));
    assert_mentions(&text, &[here, "conv2d", "index", "\"digits\""]);
    let text = refusal(|graph| conv2d(graph.input("x", [1, 1, 4, 4]), "conv", Filters::new(4, 5)));
    assert_mentions(&text, &[here, "larger", "\"conv.weight\"", "[4, 1, 5, 5]"]);
    let text = refusal(|graph| conv2d(graph.input("x", [1, 1, 4, 4]), "conv", Filters::new(4, 3).stride(0)));
    assert_mentions(&text, &[here, "stride", "is 0"]);
    let text = refusal(|graph| conv2d(graph.input("x", [1, 1, 4, 4]), "conv", Filters::new(usize::MAX, 3)));
    assert_mentions(&text, &[here, "beyond any memory", "conv.weight"]);
    let up = |shape: [usize; 4], filters, more: usize| {
        refusal(move |graph| conv_transpose2d(graph.input("code", shape), "up", filters, more))
    };
    let text = refusal(|graph| conv_transpose2d(graph.input("rows", [2, 3]), "up", Filters::new(4, 3), 0));
    assert_mentions(&text, &[here, "conv_transpose2d at", "[batch, channels, height, width]", "\"rows\""]);
    for (text, expected) in [
        (up([1, 4, 5, 5], Filters::new(0, 3), 0), "the number of filters is 0"),
        (up([1, 0, 5, 5], Filters::new(4, 3), 0), "the number of channels is 0"),
        (up([1, 4, 5, 5], Filters::new(6, 3).groups(4), 0), "4 groups do not divide 6 filters"),
        (up([1, 3, 5, 5], Filters::new(4, 3).groups(2), 0), "groups"),
        (up([1, 4, 5, 5], Filters::new(4, 3).groups(0), 0), "groups"),
        (up([1, 4, 5, 5], Filters::new(4, 3), 1), "an output padding of 1"),
        (up([1, 4, 5, 5], Filters::new(4, 0), 0), "the window's height"),
        (up([1, 4, 5, 5], Filters::new(usize::MAX, 3), 0), "beyond any memory"),
    ] {
        assert_mentions(&text, &[here, "conv_transpose2d at", expected]);
    }
    let text = refusal(|graph| linear(graph.input("image", [2, 3, 4, 4]), "fc", 10));
    assert_mentions(&text, &[here, "linear", "[2, 3, 4, 4]", "[batch, inputs]", "flatten", "\"image\""]);
    let text = refusal(|graph| linear(graph.input("x", [2, 3]).sum(&[5]), "fc", 10));
    assert_mentions(&text, &[here, "sum", "axis 5"]);
}

#[test]
fn two_layers_of_one_name_share_parameters_or_are_an_error() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 3]);
    let twice = linear(linear(x, "fc", 3), "fc", 3);
    assert_eq!((graph.check(), graph.parameters().len()), (Ok(()), 2));
    assert_eq!(Summary::of(twice).parameters, 3 * 3 + 3);
    let text = refusal(|graph| linear(linear(graph.input("x", [2, 3]), "fc", 4), "fc", 4));
    assert_mentions(&text, &[file!(), "\"fc.weight\"", "taken", "[3, 4]"]);
}

fn counts(summary: &Summary) -> [usize; 3] {
    [summary.parameters, summary.macs, summary.weights_per_filter_pair]
}

#[test]
fn simple_conv_net_costs_what_it_takes_by_hand() {
    let image = 30 * 25 * 24 * 24 + 30 * 12 * 12 * 100 + 100 * 10;
    let parameters = (30 * 25 + 30) + (4320 * 100 + 100) + (100 * 10 + 10);
    for batch in [1, 100] {
        graph_of(|graph| {
            let logits = SimpleConvNet::default().logits(graph.input("images", [batch, 1, 28, 28]));
            assert_eq!(counts(&Summary::of(logits)), [parameters, batch * image, 25]);
            assert_eq!((parameters, image), (433_890, 865_000));
        });
    }
}

#[test]
fn deep_conv_net_costs_what_it_takes_by_hand() {
    graph_of(|graph| {
        let logits = DeepConvNet::default().logits(graph.input("images", [1, 1, 28, 28]));
        // (pixels of the result, filters, channels) of the six convolutions
        let convolutions = [(28, 16, 1), (28, 16, 16), (14, 32, 16), (16, 32, 32), (8, 64, 32), (8, 64, 64)];
        let macs: usize = convolutions.iter().map(|&(side, f, c)| side * side * f * c * 9).sum();
        let weights: usize = convolutions.iter().map(|&(_, f, c)| f * c * 9 + f).sum();
        let parameters = weights + 1024 * 50 + 50 + 50 * 10 + 10;
        let expected = [parameters, macs + 1024 * 50 + 50 * 10, 6 * 9];
        assert_eq!(counts(&Summary::of(logits)), expected);
        assert_eq!(expected, [123_552, 8_772_340, 54]);
    });
}

#[test]
fn a_summary_counts_what_a_value_needs_and_each_thing_once() {
    graph_of(|graph| {
        let x = graph.input("x", [2, 4]);
        let (a, b) = (linear(x, "a", 3), linear(x, "b", 5));
        assert_eq!(Summary::of(a).parameters, 4 * 3 + 3);
        assert_eq!(Summary::of(a).macs, 2 * 4 * 3);
        let both = a.sum_all() + b.sum_all() + b.mean_all();
        assert_eq!(Summary::of(both).parameters, (4 * 3 + 3) + (4 * 5 + 5));
        assert_eq!(Summary::of(both).macs, 2 * 4 * (3 + 5));
        assert_eq!(counts(&Summary::of(x)), [0, 0, 0]);
        let state = graph.state("state", [7], Init::ZEROS);
        assert_eq!(Summary::of(state * 2.0).parameters, 0, "state is not trained");
    });
}

/// Convolutions of 16 filters that keep the size of their image, each followed by relu.
fn stack<'g>(image: Var<'g>, kernels: &[usize]) -> Var<'g> {
    kernels.iter().enumerate().fold(image, |x, (number, &kernel)| {
        conv2d(x, &format!("conv{number}"), Filters::new(16, kernel).padding(kernel / 2)).relu()
    })
}

/// The size of the receptive field.
fn size(value: Var<'_>, image: Var<'_>) -> Option<[usize; 2]> {
    receptive_field(value, image).ok().map(|field| field.size)
}

#[test]
fn small_filters_in_a_row_see_what_a_large_one_sees_with_fewer_weights() {
    let cases: [(&[usize], usize, usize); 5] =
        [(&[7], 7, 49), (&[5, 3], 7, 34), (&[3, 3, 3], 7, 27), (&[5], 5, 25), (&[3, 3], 5, 18)];
    for (kernels, field, weights) in cases {
        graph_of(|graph| {
            let image = graph.input("image", [1, 16, 28, 28]);
            let y = stack(image, kernels);
            assert_eq!(y.shape(), image.shape());
            assert_eq!(size(y, image), Some([field; 2]), "{kernels:?}");
            let summary = Summary::of(y);
            assert_eq!(summary.weights_per_filter_pair, weights, "{kernels:?}");
            assert_eq!(summary.parameters, 16 * 16 * weights + 16 * kernels.len());
            assert_eq!(summary.macs, 28 * 28 * 16 * 16 * weights);
        });
    }
}

#[test]
fn strides_and_pools_widen_the_receptive_field_of_what_follows() {
    graph_of(|graph| {
        let image = graph.input("image", [2, 3, 40, 40]);
        let field = |value| size(value, image);
        let conv = |x, name: &str, filters| conv2d(x, name, filters);
        assert_eq!(field(image), Some([1, 1]));
        let h = conv(image, "1", Filters::new(4, [3, 5]).stride([2, 1]));
        assert_eq!(field(h), Some([3, 5]));
        let h = conv(h.relu() * 2.0, "2", Filters::new(4, 3)).tanh();
        assert_eq!(field(h), Some([3 + 2 * 2, 5 + 2]));
        let h = h.max_pool2d(2);
        assert_eq!(field(h), Some([7 + 2, 7 + 1]), "a pool is a window too");
        let h = conv(h, "3", Filters::new(4, 2));
        assert_eq!(field(h), Some([9 + 4, 8 + 2]));
        let h = h.avg_pool2d(Pool2dOptions::new(3).stride(1));
        assert_eq!(field(h), Some([13 + 2 * 4, 10 + 2 * 2]));
    });
}

#[test]
fn a_receptive_field_is_known_where_rows_and_columns_stay_apart() {
    graph_of(|graph| {
        let image = graph.input("image", [1, 1, 8, 8]);
        let other = graph.input("other", [1, 1, 8, 8]);
        let conv = |x| conv2d(x, "conv", Filters::new(1, 3).padding(1));
        assert_eq!(size(conv(image).flatten(), image), None);
        assert_eq!(size(conv(image).flatten().relu().reshape([1, 1, 8, 8]), image), Some([3, 3]), "and back");
        assert_eq!(size(conv(image).permute(&[0, 1, 3, 2]), image), Some([3, 3]));
        assert_eq!(
            size(conv(image).sum(&[2]), image),
            Some([10, 3]),
            "all rows, and one more of padding on each side"
        );
        assert_eq!(size(conv(image).sum(&[1]), image), Some([3, 3]), "pixels stay where channels are summed");
        assert_eq!(size(conv(other), image), None, "it does not look at the image at all");
        let (stranger, value) = (Graph::new(), conv(image));
        let far = (0..50).fold(stranger.input("far", [1]), |x, _| x + 1.0);
        assert_eq!((size(value, far), size(far, image)), (None, None), "other graphs");
        assert_eq!(size(conv(image) + other, image), Some([3, 3]));
        assert_eq!(size(conv(image) + image, image), Some([3, 3]), "the wider branch counts");
        assert_eq!(size(image + conv(image), image), Some([3, 3]));
        let (logits, input) = (nn::network(|x| linear(x.flatten(), "fc", 10)), image);
        assert_eq!(size(logits.logits(input), input), None);
    });
}

#[test]
fn dilation_widens_a_field_and_padding_moves_it() {
    graph_of(|graph| {
        let image = graph.input("image", [1, 1, 32, 32]);
        let weight = graph.param("weight", [1, 1, 3, 3], Init::ONES);
        let h = image.conv2d(weight, Conv2dOptions::new().dilation([2, 3]).padding([2, 0]).stride(2));
        let field = receptive_field(h, image).unwrap();
        assert_eq!((field.size, field.stride, field.start), ([5, 7], [2, 2], [-2, 0]));
        let field = receptive_field(h.max_pool2d(2), image).unwrap();
        assert_eq!((field.size, field.stride, field.start), ([7, 9], [4, 4], [-2, 0]));
        assert_eq!(field.of_pixel([1, 2]), Some([2..9, 8..17]));
        assert_eq!(field.to_string(), "7×9");
    });
}

#[test]
fn borders_and_every_other_pixel_are_followed() {
    graph_of(|graph| {
        let image = graph.input("image", [1, 2, 9, 9]);
        let padded = image.pad(&[[0, 0], [1, 0], [2, 1], [3, 0]], 0.0);
        assert_eq!(receptive_field(padded, image).unwrap().start, [-2, -3]);
        let field = receptive_field(padded.slice_step(2, .., 2).slice(1, 1..), image).unwrap();
        assert_eq!((field.size, field.stride, field.start), ([1, 1], [2, 1], [-2, -3]));
        assert_eq!(receptive_field(image.slice(3, 1..), image).unwrap().start, [0, 1]);
        assert_eq!(receptive_field(image.flip(&[2]), image).unwrap().of_pixel([1, 2]), Some([7..8, 2..3]));
    });
}

#[test]
fn a_pixel_beyond_the_plane_has_no_field() {
    graph_of(|graph| {
        let image = graph.input("image", [1, 1, 6, 9]);
        let field = |value| receptive_field(value, image).unwrap();
        let (plain, turned) = (field(image), field(image.permute(&[0, 1, 3, 2])));
        assert_eq!(plain.of_pixel([5, 8]), Some([5..6, 8..9]));
        assert_eq!((plain.of_pixel([6, 0]), plain.of_pixel([0, 9])), (None, None));
        assert_eq!(turned.of_pixel([8, 5]), Some([5..6, 8..9]));
        assert_eq!((turned.of_pixel([9, 0]), turned.of_pixel([0, 6])), (None, None));
        assert_eq!(turned.of_pixel([usize::MAX; 2]), None);
        // A value without rows has no row that could be a wrong one.
        let columns = field(image.sum(&[2]));
        assert_eq!(columns.of_pixel([100, 8]), Some([0..6, 8..9]));
        assert_eq!(columns.of_pixel([0, 9]), None);
    });
}

#[test]
fn statistics_of_whole_planes_do_not_count_in_a_field() {
    let graph = Graph::with_mode(Mode::Train);
    let image = graph.input("image", [2, 3, 32, 32]);
    let h = conv2d(image, "conv", Filters::new(4, 3));
    for normalised in [nn::batch_norm(h, "norm", BatchNorm::default()), h - h.mean_keep(&[2, 3])] {
        assert_eq!(size(normalised, image), Some([3, 3]));
    }
    assert_eq!(size(h.mean_keep(&[2, 3]), image), None, "a statistic itself has no pixels");
    // Each 3×3 adds 2 pixels times the strides before it: the stem and six in each stage, the first of the second and
    // third with a stride of 2.
    let logits = nn::ResNet::twenty().logits(image);
    let last =
        Summary::of(logits).layers.into_iter().rev().find_map(|layer| layer.receptive_field.ok()).unwrap();
    let (stem, stages) = (3, 6 * 2 + (2 + 5 * 4) + (4 + 5 * 8));
    assert_eq!((last.size, last.stride), ([stem + stages; 2], [4; 2]));
}

#[test]
fn branches_of_different_shapes_see_what_any_of_them_sees() {
    graph_of(|graph| {
        let image = graph.input("image", [1, 1, 12, 12]);
        let tall = conv2d(image, "tall", Filters::new(1, [5, 1]).padding([2, 0]));
        let wide = conv2d(image, "wide", Filters::new(1, [1, 7]).padding([0, 3]));
        assert_eq!(size(tall + wide, image), Some([5, 7]));
        assert_eq!(size(wide + tall, image), Some([5, 7]));
    });
}

#[test]
fn batch_normalisation_keeps_running_statistics_and_evaluates_by_them() {
    let options = BatchNorm { epsilon: 0.25, momentum: 0.3, affine: false };
    let image = numbers(&[3, 2, 2, 2], 1) * 2.0;
    let mut store = Store::new(0);
    let start = [array(&[2], &[0.5, -1.0]), array(&[2], &[2.0, 3.0])];
    store.set("bn.running_mean", &start[0]).unwrap();
    store.set("bn.running_var", &start[1]).unwrap();

    let graph = Graph::new();
    let x = graph.input("x", [3, 2, 2, 2]);
    values(&[nn::batch_norm(x, "bn", options)], &mut store, (x, &image));
    let mut expected = start;
    for channel in 0..2 {
        let plane = image.index_axis(Axis(1), channel);
        let mean = plane.sum() / 12.0;
        let variance = plane.mapv(|value| (value - mean).powi(2)).sum() / 11.0;
        for (running, new) in expected.iter_mut().zip([mean, variance]) {
            running[channel] = 0.7 * running[channel] + 0.3 * new;
        }
    }
    assert_close(&store.get("bn.running_mean").unwrap().to_owned(), &expected[0], 1e-14);
    assert_close(&store.get("bn.running_var").unwrap().to_owned(), &expected[1], 1e-14);

    let graph = Graph::with_mode(Mode::Evaluate);
    let x = graph.input("x", [3, 2, 2, 2]);
    let found = values(&[nn::batch_norm(x, "bn", options)], &mut store, (x, &image)).remove(0);
    let along = |values: &ndarray::ArrayD<f64>| array(&[2, 1, 1], &[values[0], values[1]]);
    let root = expected[1].mapv(|variance| (variance + 0.25).sqrt());
    assert_close(&found, &((image - along(&expected[0])) / along(&root)), 1e-14);
    assert_close(&store.get("bn.running_mean").unwrap().to_owned(), &expected[0], 1e-14);
}

/// 0.5 + 2 sin(0.7 i + k) for each element i.
fn wave(k: usize) -> ndarray::ArrayD<f64> {
    ndarray::Array::from_shape_fn((3, 2, 2, 3), |(n, c, y, x)| {
        0.5 + 2.0 * (0.7 * (((n * 2 + c) * 2 + y) * 3 + x) as f64 + k as f64).sin()
    })
    .into_dyn()
}

#[test]
fn batch_normalisation_trains_as_in_pytorch() {
    let options = BatchNorm { epsilon: 1e-3, momentum: 0.3, affine: true };
    let mut store = Store::new(0);
    store.set("bn.weight", &array(&[2], &[1.5, -0.5])).unwrap();
    store.set("bn.bias", &array(&[2], &[0.25, 1.0])).unwrap();
    let graph = Graph::new();
    let (x, by) = (graph.input("x", [3, 2, 2, 3]), graph.input("by", [3, 2, 2, 3]));
    let loss = (nn::batch_norm(x, "bn", options).powi(2) * by).sum_all();
    let mut trainer =
        Trainer::<f64>::with(loss, &Sgd::new(0.002), store, Workspace::new(2).unwrap()).unwrap();
    for (k, expected) in [37.500419163514636, 22.43566008526728, 9.441328155693206].into_iter().enumerate() {
        let loss = trainer.step(&[x.feed(&wave(k)), by.feed(&wave(10 + k))]).unwrap();
        assert!(
            (loss - expected).abs() < 1e-12 * expected,
            "step {k}: a loss of {loss} instead of {expected}"
        );
    }
    let mut store = trainer.into_store();
    for (name, expected) in [
        ("bn.running_mean", [0.3331004086350168, 0.3280941490823317]),
        ("bn.running_var", [1.7344981638057362, 1.7356297965386687]),
        ("bn.weight", [1.4343303077307987, -0.22008012712821642]),
        ("bn.bias", [0.5876015511769038, 0.797757361580933]),
    ] {
        assert_close(&store.get(name).unwrap().to_owned(), &array(&[2], &expected), 1e-12);
    }
    let graph = Graph::with_mode(Mode::Evaluate);
    let x = graph.input("x", [3, 2, 2, 3]);
    let y = (nn::batch_norm(x, "bn", options) * graph.constant(wave(6))).sum_all();
    let found = values(&[y], &mut store, (x, &wave(5))).remove(0);
    assert_close(&found, &array(&[], &[31.886162836148962]), 1e-12);
}
