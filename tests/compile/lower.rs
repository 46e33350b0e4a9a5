//! Lowering: each operation gets its kernel, and images lie NHWC from the first kernel that wants them so.

use dagrad::nn::{self, AlexNet, BatchNorm, Filters, LeNet5, Network, ResNet};
use dagrad::{
    Algorithm, Conv2dOptions, Feed, Graph, Init, Options, Precision, Store, Var, Workspace, gradients,
};
use ndarray::ArrayD;

/// The steps of the plan of a training step that bring images into another layout.
fn transpositions(logits: impl for<'g> Fn(Var<'g>) -> Var<'g>, image: [usize; 4]) -> Vec<String> {
    let graph = Graph::new();
    let y = logits(graph.input("image", image));
    let loss = (y * y).mean_all();
    let gradients = gradients(loss, &graph.parameters()).unwrap();
    let plan = Options::new().compile::<f32>(&graph, &gradients).unwrap();
    let steps = plan.steps().iter().filter(|step| ["to_nchw", "to_nhwc"].contains(&step.name()));
    steps.map(|step| format!("{} {}", step.name(), step.output().ty)).collect()
}

fn norm<'g>(x: Var<'g>, name: &str, filters: Filters) -> Var<'g> {
    nn::batch_norm(nn::conv2d(x, name, filters), &format!("{name}.norm"), BatchNorm::default())
}

/// Convolutions with a shortcut over a pool, a transposed convolution and pixels that are repeated.
fn u_net(image: Var<'_>) -> Var<'_> {
    let graph = image.graph();
    let down = norm(image, "down", Filters::new(8, 3).padding(1)).relu();
    let deep = norm(down.max_pool2d(2), "deep", Filters::new(16, 3).padding(1)).relu();
    let weight = graph.param("up", [16, 8, 2, 2], Init::he(16));
    let up = deep.conv_transpose2d(weight, Conv2dOptions::new().stride(2), 0);
    let joined =
        graph.concat(&[down, up, deep.upsample_nearest_by(2), deep.upsample_bilinear([12, 12], true)], 1);
    nn::conv2d(joined, "classes", Filters::new(3, 1)).log_softmax(1)
}

/// Depthwise and pointwise convolutions, and a sum.
fn mobile_net(image: Var<'_>) -> Var<'_> {
    let stem = norm(image, "stem", Filters::new(16, 3).stride(2).padding(1)).clamp(0.0, 6.0);
    let depthwise = norm(stem, "depthwise", Filters::new(16, 3).padding(1).groups(16)).clamp(0.0, 6.0);
    let block = stem + norm(depthwise, "pointwise", Filters::new(16, 1));
    nn::linear(block.dropout(0.1).mean(&[2, 3]), "classes", 10)
}

#[test]
fn nothing_is_transposed_inside_a_network() {
    let input =
        |image: [usize; 4]| format!("to_nhwc [{}, {}, {}, {}]", image[0], image[2], image[3], image[1]);
    let image = [9, 3, 32, 32];
    assert_eq!(transpositions(|x| ResNet::twenty().logits(x), image), [input(image)]);
    assert_eq!(transpositions(mobile_net, image), [input(image)]);
    let image = [9, 3, 12, 12];
    assert_eq!(transpositions(u_net, image), [input(image)]);
}

/// A row for each image is its channels one after the other, for an affine layer after them and for its gradient.
#[test]
fn flattening_is_all_that_needs_images_as_they_were() {
    // An image of one channel lies the same in both layouts.
    let found = transpositions(|x| LeNet5::default().logits(x), [9, 1, 32, 32]);
    assert_eq!(found[..], ["to_nchw [9, 16, 5, 5]", "to_nhwc [9, 10, 10, 16]"]);
    let alex_net = AlexNet { width: 8, hidden: 12, output: 5, first: [5, 2] };
    let found = transpositions(|x| alex_net.logits(x), [9, 3, 75, 75]);
    let of_input = found.iter().filter(|step| step.ends_with("[9, 75, 75, 3]")).count();
    assert_eq!((of_input, found.len()), (1, 3), "{found:?}");
}

#[test]
fn without_lowering_every_operation_is_done_by_its_definition() {
    let graph = Graph::new();
    let y = u_net(graph.input("image", [2, 3, 12, 12]));
    let plan = Options::new().without("lower").compile::<f64>(&graph, &[y]).unwrap();
    let listing = plan.to_string();
    assert!(!listing.contains("nhwc") && !listing.contains("direct"), "{listing}");
    assert!(listing.contains("max_pool2d_take"), "{listing}");
}

/// The loss and the gradients of one training step.
fn training_step<T: Precision>(
    logits: impl for<'g> Fn(Var<'g>) -> Var<'g>,
    image: [usize; 4],
    options: Options,
    threads: usize,
) -> Vec<ArrayD<T>> {
    let graph = Graph::new();
    let y = logits(graph.input("image", image));
    let loss = (y * y).mean_all();
    let mut wanted = vec![loss];
    wanted.extend(gradients(loss, &graph.parameters()).unwrap());
    let plan = options.compile::<T>(&graph, &wanted).unwrap();
    let (mut store, mut workspace) = (Store::new(5), Workspace::new(threads).unwrap());
    let pixels = ArrayD::from_shape_fn(&image[..], |at| {
        (at[0] * 7 + at[1] * 5 + at[2] * 3 + at[3] * at[2]) as f32 % 11.0 / 5.0 - 1.0
    });
    let found = plan.run(&mut store, &mut workspace, &[Feed::new("image", &pixels)]).unwrap();
    (0..found.len()).map(|number| found.at(number).unwrap().to_owned()).collect()
}

/// Kernels compute what the operations are defined to be, in whole networks. Small enough for tools that watch every
/// access to memory.
#[test]
fn a_training_step_is_that_of_the_definitions() {
    fn check<T: Precision>(logits: impl for<'g> Fn(Var<'g>) -> Var<'g>, image: [usize; 4], tolerance: f64) {
        let defined = training_step::<T>(&logits, image, Options::new().without("lower"), 1);
        for algorithm in [Algorithm::Auto, Algorithm::Winograd] {
            let [once, again] = [1, 3].map(|threads| {
                training_step::<T>(&logits, image, Options::new().convolution(algorithm), threads)
            });
            assert_eq!(once, again, "bits of 1 and 3 threads");
            assert_eq!(once.len(), defined.len());
            for (number, (found, expected)) in once.iter().zip(&defined).enumerate() {
                let [found, expected] = [found, expected].map(|array| array.mapv(T::into_f64));
                let scale = expected.iter().fold(1e-3_f64, |largest, value| largest.max(value.abs()));
                let error = (found - expected).mapv(f64::abs).into_iter().fold(0.0, f64::max) / scale;
                assert!(error < tolerance, "result {number} of {algorithm:?} is off by {error}");
            }
        }
    }
    fn both(logits: impl for<'g> Fn(Var<'g>) -> Var<'g>, image: [usize; 4]) {
        check::<f64>(&logits, image, 1e-10);
        check::<f32>(&logits, image, 1e-3);
    }
    both(|x| LeNet5::default().logits(x), [3, 1, 32, 32]);
    both(u_net, [3, 3, 12, 12]);
    both(|x| nn::linear(nn::residual_block(x, "block", 16, 1).mean(&[2, 3]), "classes", 5), [3, 8, 9, 10]);
}
