//! The book's networks: their parameters, how they start, what they compute, and their gradients.

use std::collections::BTreeMap;

use crate::common::{assert_close, assert_mentions, message, numbers};
use dagrad::check;
use dagrad::nn::{self, DeepConvNet, Filters, Model, Network, SimpleConvNet};
use dagrad::{Feed, Graph, Store, Var, Workspace};
use ndarray::{Array1, Array4, ArrayD, Axis};

/// The network on which the book compares its gradients with differences.
const SMALL: SimpleConvNet = SimpleConvNet {
    filters: 10,
    filter_size: 3,
    padding: 0,
    stride: 1,
    hidden: 10,
    output: 10,
    weight_init_std: 0.01,
};

/// Pixels between 0 and 1.
fn images(shape: [usize; 4], seed: u64) -> Array4<f64> {
    let pixels = numbers(&shape, seed).mapv(|x| 0.5 + 0.5 * x);
    pixels.into_dimensionality().expect("an array of four axes")
}

fn labels(count: usize) -> Array1<u32> {
    (0..count as u32).map(|i| (7 * i + 3) % 10).collect()
}

fn model<N: Network>(network: N, image_shape: [usize; 3], seed: u64) -> Model<N, f64> {
    let workspace = Workspace::for_this_machine().unwrap();
    Model::with_workspace(network, image_shape, seed, workspace).unwrap_or_else(|error| panic!("{error}"))
}

/// The trainable parameters by name.
fn parameters<N: Network>(model: &Model<N, f64>) -> BTreeMap<String, ArrayD<f64>> {
    let store = model.store();
    let values = |name: &str| store.get(name).expect("a parameter in the store").to_owned();
    store.trainable().map(|name| (name.to_string(), values(name))).collect()
}

fn shapes<N: Network>(model: &Model<N, f64>) -> Vec<(String, Vec<usize>)> {
    parameters(model).into_iter().map(|(name, values)| (name, values.shape().to_vec())).collect()
}

fn named(list: &[(&str, &[usize])]) -> Vec<(String, Vec<usize>)> {
    list.iter().map(|(name, shape)| (name.to_string(), shape.to_vec())).collect()
}

/// Fails unless the numbers look drawn from a normal distribution of mean 0 and this deviation: mean and
/// deviation within five times their own standard errors, and as many numbers beyond one and two deviations
/// as there should be.
#[track_caller]
fn assert_normal(values: &ArrayD<f64>, deviation: f64) {
    let count = values.len() as f64;
    let mean = values.sum() / count;
    let found = (values.mapv(|x| (x - mean).powi(2)).sum() / count).sqrt();
    assert!(mean.abs() < 5.0 * deviation / count.sqrt(), "mean {mean}");
    assert!((found / deviation - 1.0).abs() < 5.0 / (2.0 * count).sqrt(), "{found} instead of {deviation}");
    for (multiple, share) in [(1.0, 0.3173), (2.0, 0.0455)] {
        let beyond = values.iter().filter(|x| x.abs() > multiple * deviation).count() as f64 / count;
        let error: f64 = (share * (1.0 - share) / count).sqrt();
        assert!((beyond - share).abs() < 5.0 * error, "{beyond} lie beyond {multiple} deviations");
    }
}

#[track_caller]
fn assert_all_zero(values: &ArrayD<f64>) {
    assert!(values.iter().all(|&x| x == 0.0), "{values}");
}

/// The mean of −ln softmax(logits)[label], written down once more.
fn cross_entropy(logits: &ndarray::Array2<f64>, labels: &Array1<u32>) -> f64 {
    let each = logits.outer_iter().zip(labels).map(|(row, &label)| {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|x| (x - largest).exp()).sum();
        largest + sum.ln() - row[label as usize]
    });
    each.sum::<f64>() / labels.len() as f64
}

#[test]
fn simple_conv_net_has_the_books_names_and_shapes() {
    let expected: [(&str, &[usize]); 6] = [
        ("W1", &[30, 1, 5, 5]),
        ("W2", &[4320, 100]),
        ("W3", &[100, 10]),
        ("b1", &[30]),
        ("b2", &[100]),
        ("b3", &[10]),
    ];
    let model = model(SimpleConvNet::default(), [1, 28, 28], 0);
    assert_eq!(shapes(&model), named(&expected));
    assert_eq!(model.store().names().count(), expected.len());
}

#[test]
fn simple_conv_net_takes_other_filters_strides_paddings_and_channels() {
    let network = SimpleConvNet { filters: 4, padding: 2, stride: 2, hidden: 7, output: 3, ..SMALL };
    let expected: [(&str, &[usize]); 6] = [
        ("W1", &[4, 2, 3, 3]), // 9 + 2 · 2 − 3 = 10 pixels: 6 positions at stride 2, 3 after the pool
        ("W2", &[4 * 3 * 3, 7]),
        ("W3", &[7, 3]),
        ("b1", &[4]),
        ("b2", &[7]),
        ("b3", &[3]),
    ];
    assert_eq!(shapes(&model(network, [2, 9, 9], 0)), named(&expected));
}

#[test]
fn simple_conv_net_starts_normal_with_the_given_deviation_and_zero_biases() {
    for deviation in [0.01, 0.3] {
        let network = SimpleConvNet { weight_init_std: deviation, ..SimpleConvNet::default() };
        let found = parameters(&model(network, [1, 28, 28], 5));
        ["W1", "W2", "W3"].iter().for_each(|&name| assert_normal(&found[name], deviation));
        ["b1", "b2", "b3"].iter().for_each(|&name| assert_all_zero(&found[name]));
    }
}

#[test]
fn deep_conv_net_has_the_books_shapes() {
    let expected: [(&str, &[usize]); 16] = [
        ("affine1.bias", &[50]),
        ("affine1.weight", &[1024, 50]),
        ("affine2.bias", &[10]),
        ("affine2.weight", &[50, 10]),
        ("conv1.bias", &[16]),
        ("conv1.weight", &[16, 1, 3, 3]),
        ("conv2.bias", &[16]),
        ("conv2.weight", &[16, 16, 3, 3]),
        ("conv3.bias", &[32]),
        ("conv3.weight", &[32, 16, 3, 3]),
        ("conv4.bias", &[32]),
        ("conv4.weight", &[32, 32, 3, 3]),
        ("conv5.bias", &[64]),
        ("conv5.weight", &[64, 32, 3, 3]),
        ("conv6.bias", &[64]),
        ("conv6.weight", &[64, 64, 3, 3]),
    ];
    assert_eq!(shapes(&model(DeepConvNet::default(), [1, 28, 28], 0)), named(&expected));
}

#[test]
fn deep_conv_net_starts_by_hes_rule() {
    for values in parameters(&model(DeepConvNet::default(), [1, 28, 28], 3)).into_values() {
        // A filter reads the numbers of its own shape, a unit those of its column.
        let fan_in: usize = match values.ndim() {
            1 => {
                assert_all_zero(&values);
                continue;
            }
            2 => values.shape()[0],
            _ => values.shape()[1..].iter().product(),
        };
        assert_normal(&values, (2.0 / fan_in as f64).sqrt());
    }
}

#[test]
fn the_start_depends_on_the_seed_and_the_names_alone() {
    let start = |seed| parameters(&model(SMALL, [1, 10, 10], seed));
    assert_eq!(start(1), start(1));
    for name in ["W1", "W2", "W3"] {
        assert_ne!(start(1)[name], start(2)[name]);
    }
    // The same layers in another order, after a layer of another name.
    let turned = nn::network(|images| {
        let rows = nn::linear(images.flatten(), "before", 4);
        nn::linear(nn::linear(rows, "b", 4), "a", 4)
    });
    let straight = nn::network(|images| nn::linear(nn::linear(images.flatten(), "a", 4), "b", 4));
    let (turned, straight) = (model(turned, [1, 2, 2], 7), model(straight, [1, 2, 2], 7));
    assert_eq!(parameters(&turned)["a.weight"], parameters(&straight)["a.weight"]);
    assert_ne!(parameters(&turned)["a.weight"], parameters(&turned)["b.weight"]);
}

#[test]
fn the_start_in_single_precision_is_the_one_in_double_precision_rounded() {
    let single = Model::new(SMALL, [1, 10, 10], 4).unwrap();
    for (name, values) in parameters(&model(SMALL, [1, 10, 10], 4)) {
        assert_eq!(single.store().get(&name).unwrap(), values.mapv(|x| x as f32).view());
    }
}

#[test]
fn the_loss_at_the_start_is_the_one_of_guessing() {
    let mut model = model(SimpleConvNet::default(), [1, 28, 28], 0);
    let loss = model.loss(&images([20, 1, 28, 28], 1), &labels(20)).unwrap();
    assert!((loss - 10f64.ln()).abs() < 0.02, "{loss}");
}

#[test]
fn prediction_loss_and_accuracy_agree() {
    let mut model = model(SimpleConvNet { weight_init_std: 0.3, ..SMALL }, [1, 10, 10], 2);
    let (images, labels) = (images([40, 1, 10, 10], 3), labels(40));
    let logits = model.predict(&images).unwrap();
    assert_eq!(logits.dim(), (40, 10));
    assert!((model.loss(&images, &labels).unwrap() - cross_entropy(&logits, &labels)).abs() < 1e-12);

    // The labels of the first ten become what the network predicts, and the others something else.
    let said = |row: usize| {
        let row = logits.index_axis(Axis(0), row);
        (0..10).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap() as u32
    };
    let told: Array1<u32> =
        (0..40).map(|row| if row < 10 { said(row) } else { (said(row) + 1) % 10 }).collect();
    assert_eq!(model.accuracy(&images, &told).unwrap(), 0.25);
}

#[test]
fn a_prediction_of_nan_is_wrong_whatever_the_label() {
    let network = nn::network(|images| nn::linear(images.flatten(), "fc", 2).sqrt());
    let mut model =
        Model::<_, f64>::with_workspace(network, [1, 1, 1], 0, Workspace::new(1).unwrap()).unwrap();
    model.store_mut().set("fc.weight", &ArrayD::from_elem(vec![1, 2], 1.0)).unwrap();
    let images = Array4::from_shape_fn([3, 1, 1, 1], |(image, ..)| image as f64 - 1.0);
    for label in [0, 1] {
        let right = if label == 0 { 2.0 / 3.0 } else { 0.0 };
        assert_eq!(model.accuracy(&images, &Array1::from_elem(3, label)).unwrap(), right);
    }
}

#[test]
fn every_image_is_predicted_alone() {
    let mut model = model(SimpleConvNet { weight_init_std: 0.3, ..SMALL }, [1, 10, 10], 2);
    let images = images([5, 1, 10, 10], 3);
    let together = model.predict(&images).unwrap();
    for (row, image) in images.axis_chunks_iter(Axis(0), 1).enumerate() {
        let alone = model.predict(&image.to_owned()).unwrap();
        let row = together.index_axis(Axis(0), row).insert_axis(Axis(0)).to_owned();
        assert_close(&alone.into_dyn(), &row.into_dyn(), 1e-13);
    }
}

/// Fails unless the gradients agree with the differences: the farthest element of a parameter within `most`,
/// and all of them on average within `mean`.
#[track_caller]
fn assert_gradients_agree<N: Network>(model: &mut Model<N, f64>, batch: usize, most: f64, mean: f64) {
    let [channels, height, width] = model.image_shape();
    let (images, labels) = (images([batch, channels, height, width], 8), labels(batch));
    let before = parameters(model);
    let gradient = model.gradient(&images, &labels).unwrap();
    let numeric = model.numerical_gradient(&images, &labels).unwrap();
    assert!(gradient.keys().eq(before.keys()) && numeric.keys().eq(before.keys()));
    for (name, values) in &gradient {
        let gaps = (values - &numeric[name]).mapv(f64::abs);
        let farthest = gaps.iter().copied().fold(0.0, f64::max);
        assert!(farthest < most, "{name} is off by {farthest}");
        assert!(gaps.sum() / gaps.len() as f64 <= mean, "{name} is off on average");
        assert!(values.iter().any(|x| x.abs() > 100.0 * most), "{name} has no gradient to speak of");
    }
    assert_eq!(parameters(model), before, "the comparison moved a parameter");
}

#[test]
fn gradients_agree_with_numerical_ones_on_the_books_network() {
    // Moving a weight by 10⁻⁴ takes a few of the 640 relus across their kinks.
    let mut model = model(SMALL, [1, 10, 10], 0);
    assert_gradients_agree(&mut model, 1, 1e-6, 5e-8);
}

#[test]
fn gradients_agree_with_numerical_ones_to_many_places_on_a_smooth_network() {
    let smooth = nn::network(|images| {
        let h = nn::conv2d(images, "conv", Filters::new(4, 3).stride(2).padding(1)).tanh().avg_pool2d(2);
        nn::linear(nn::linear(h.flatten(), "fc1", 8).sigmoid(), "fc2", 10)
    });
    assert_gradients_agree(&mut model(smooth, [2, 8, 8], 0), 3, 1e-8, 1e-9);
}

/// Checks the loss of a network on a few random images, to first and second order.
fn check_network(network: &impl Network, image: [usize; 3], batch: usize, seed: u64) -> check::NetworkCheck {
    let [channels, height, width] = image;
    let graph = Graph::new();
    let input = graph.input("images", [batch, channels, height, width]);
    let classes = graph.labels("labels", [batch]);
    let loss = network.logits(input).softmax_cross_entropy(classes);
    let (images, labels) = (images([batch, channels, height, width], seed), labels(batch));
    let feeds = [Feed::new("images", &images), Feed::new("labels", &labels)];
    check::network(loss, &mut Store::new(seed), &feeds, 6).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn derivatives_of_simple_conv_net_are_right_to_second_order() {
    let network = SimpleConvNet { weight_init_std: 0.3, ..SMALL };
    let found = check_network(&network, [1, 8, 8], 2, 1);
    assert!(found.compared > 50, "{found:?}");
}

#[test]
fn derivatives_of_deep_conv_net_are_right_to_second_order_through_dropout() {
    let found = check_network(&DeepConvNet::default(), [1, 8, 8], 2, 1);
    assert!(found.compared > 150, "{found:?}");
}

#[test]
fn only_training_drops() {
    let (image, batch) = ([1, 8, 8], [6, 1, 8, 8]);
    let net = |dropout| model(DeepConvNet { dropout, ..DeepConvNet::default() }, image, 0);
    let (mut half, mut none, mut all) = (net(0.5), net(0.0), net(1.0));
    let (images, labels) = (images(batch, 5), labels(6));

    let logits = half.predict(&images).unwrap();
    assert_eq!(logits, none.predict(&images).unwrap());
    assert_eq!(logits, all.predict(&images).unwrap());
    let loss = none.loss(&images, &labels).unwrap();
    assert!((loss - cross_entropy(&logits, &labels)).abs() < 1e-12);
    assert_ne!(half.loss(&images, &labels).unwrap(), loss);
    assert!((all.loss(&images, &labels).unwrap() - 10f64.ln()).abs() < 1e-14, "the biases start at 0");
}

#[test]
fn a_mask_is_the_same_for_loss_and_gradient() {
    let mut model = model(DeepConvNet { hidden: 8, ..DeepConvNet::default() }, [1, 8, 8], 0);
    let (images, labels) = (images([2, 1, 8, 8], 5), labels(2));
    let gradient = model.gradient(&images, &labels).unwrap().remove("affine2.weight").unwrap();
    let step = 1e-5;
    let mut at = |offset: f64| {
        model.store_mut().get_mut("affine2.weight").unwrap()[[3, 4]] += offset;
        model.loss(&images, &labels).unwrap()
    };
    let (above, below) = (at(step), at(-2.0 * step));
    assert!(((above - below) / (2.0 * step) - gradient[[3, 4]]).abs() < 1e-8);
}

/// A network of one's own, as a struct.
struct Tiny {
    filters: usize,
}

impl Network for Tiny {
    fn logits<'g>(&self, images: Var<'g>) -> Var<'g> {
        let h = nn::conv2d(images, "conv", Filters::new(self.filters, 3)).relu();
        nn::linear(h.mean(&[2, 3]), "classes", 10)
    }
}

/// The same as a function.
fn tiny(images: Var<'_>) -> Var<'_> {
    Tiny { filters: 3 }.logits(images)
}

#[test]
fn structs_functions_and_closures_are_networks() {
    let filters = 3;
    let closure = nn::network(move |images| Tiny { filters }.logits(images));
    let images = images([2, 1, 6, 6], 0);
    let expected = model(Tiny { filters }, [1, 6, 6], 1).predict(&images).unwrap();
    assert_eq!(model(tiny, [1, 6, 6], 1).predict(&images).unwrap(), expected);
    assert_eq!(model(closure, [1, 6, 6], 1).predict(&images).unwrap(), expected);
    let model = model(Tiny { filters }, [1, 6, 6], 1);
    assert_eq!((model.network().filters, model.image_shape()), (3, [1, 6, 6]));
}

#[test]
fn a_mistake_in_a_network_is_an_error_with_its_line() {
    let line = line!() + 1;
    let network = nn::network(|images| nn::linear(images.relu(), "fc", 10));
    let text = message(Model::new(network, [1, 8, 8], 0));
    assert_mentions(&text, &[&format!("{}:{line}", file!()), "linear", "[1, 1, 8, 8]", "flatten"]);

    let line = line!() + 1;
    let too_deep = nn::network(|images| images.max_pool2d(4).max_pool2d(4).flatten());
    let text = message(Model::new(too_deep, [1, 8, 8], 0));
    assert_mentions(&text, &[&format!("{}:{line}", file!()), "max_pool2d", "larger"]);

    assert_mentions(&message(Model::new(SMALL, [1, 2, 2], 0)), &["SimpleConvNet", "larger", "\"W1\""]);
    assert_mentions(&message(Model::new(DeepConvNet::default(), [1, 2, 2], 0)), &["DeepConvNet", "larger"]);
}

#[test]
fn a_result_that_is_not_logits_is_an_error() {
    // As soon as there is a model, with the line that made the result.
    let line = line!() + 1;
    let text = message(Model::new(nn::network(|images| images.relu()), [1, 4, 4], 0));
    let site = format!("{}:{line}", file!());
    assert_mentions(&text, &["network", "[1, 1, 4, 4]", "logits [batch, classes]", "relu", &site, "flatten"]);
    let classes = nn::network(|images| images.flatten().argmax(1));
    assert_mentions(&message(Model::new(classes, [1, 4, 4], 0)), &["logits"]);
    let none = nn::network(|images| images.flatten().slice(1, 0..0));
    assert_mentions(&message(Model::new(none, [1, 4, 4], 0)), &["[1, 0]"]);
    let scalar = nn::network(|images| images.mean_all());
    assert_mentions(&message(Model::new(scalar, [1, 4, 4], 0)), &["logits"]);

    // A result of one row fits a batch of one image alone.
    let one_row = nn::network(|images| images.flatten().sum(&[0]).reshape([1, 16]));
    let mut model = model(one_row, [1, 4, 4], 0);
    assert_eq!(model.classes(), 16);
    let images = images([2, 1, 4, 4], 0);
    assert_mentions(&message(model.predict(&images)), &["[1, 16]", "[2, ..]"]);
    assert_mentions(&message(model.loss(&images, &labels(2))), &["[1, 16]", "[2, ..]"]);
}

#[test]
fn images_and_labels_that_do_not_fit_are_errors() {
    let mut model = model(SMALL, [1, 10, 10], 0);
    let (wide, fitting) = (images([2, 1, 10, 11], 0), images([2, 1, 10, 10], 0));
    assert_mentions(&message(model.predict(&wide)), &["images", "[2, 1, 10, 11]", "[2, 1, 10, 10]"]);
    assert_mentions(&message(model.loss(&fitting, &labels(3))), &["labels", "[3]", "[2]"]);
    assert_mentions(
        &message(model.gradient(&fitting, &Array1::from_vec(vec![0, 10]))),
        &["10", "position 1"],
    );
    let beyond = Array1::from_vec(vec![0, 10]);
    let text = message(model.accuracy(&fitting, &beyond));
    assert_mentions(&text, &["accuracy", "sample 1 has label 10", "10 classes, 0 to 9"]);
    assert_mentions(&message(model.accuracy(&fitting, &labels(3))), &["accuracy", "3 labels", "2 images"]);
    assert_mentions(&message(model.accuracy(&images([0, 1, 10, 10], 0), &labels(0))), &["accuracy"]);
    assert_eq!(model.predict(&images([0, 1, 10, 10], 0)).unwrap().dim(), (0, 10));
}
