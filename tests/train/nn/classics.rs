//! Well-known networks: each takes a training step in `f64`, and its whole gradient is checked.

use dagrad::inspect::Summary;
use dagrad::nn::{self, AlexNet, LeNet5, Network, ResNet, Vgg};
use dagrad::optim::{Sgd, minimize};
use dagrad::{Graph, Mode, Plan, Reduction, Store, Var, Workspace, check};
use ndarray::{Array1, Array4};

fn random_images(shape: [usize; 4]) -> Array4<f64> {
    let mut state = 1_u64;
    Array4::from_shape_simple_fn(shape, || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1 << 23) - 1.0
    })
}

/// Checks the gradient of a loss while training, and that a small step along it, on a graph of `mode`, makes it smaller.
fn learns(shape: [usize; 4], mode: Mode, record: impl for<'g> Fn(Var<'g>, Var<'g>) -> Var<'g>) {
    for (mode, steps) in [(Mode::Train, false), (mode, true)] {
        learns_on(Graph::with_mode(mode), steps, shape, &record);
    }
}

fn learns_on(
    graph: Graph,
    steps: bool,
    shape: [usize; 4],
    record: impl for<'g> Fn(Var<'g>, Var<'g>) -> Var<'g>,
) {
    let (images, labels) = (graph.input("images", shape), graph.labels("labels", [shape[0]]));
    let loss = record(images, labels);
    graph.check().unwrap();
    let classes = Array1::from_shape_fn(shape[0], |i| (i % 3) as u32);
    let values = random_images(shape);
    let mut feeds = vec![images.feed(&values)];
    if graph.to_string().contains(&format!(" %{} ", labels.id().index())) {
        feeds.push(labels.feed(&classes));
    }
    let mut store = Store::<f64>::new(3);
    if !steps {
        let found = check::network(loss, &mut store, &feeds, 2).unwrap();
        assert!(found.compared > 20, "{found:?}");
        return;
    }
    minimize(loss, &Sgd::new(1e-4)).unwrap();
    let step = Plan::<f64>::compile(&graph, &[loss]).unwrap();
    let mut workspace = Workspace::new(1).unwrap();
    let mut run = || step.run(&mut store, &mut workspace, &feeds).unwrap().scalar(0).unwrap();
    let (before, after) = (run(), run());
    assert!(after < before, "{before} before and {after} after a step");
}

fn classifies(network: impl Network, mode: Mode, shape: [usize; 4]) {
    learns(shape, mode, |images, labels| network.logits(images).softmax_cross_entropy(labels));
}

#[test]
fn lenet() {
    classifies(LeNet5 { output: 3 }, Mode::Train, [2, 1, 28, 28]);
}

/// Each step has another dropout, and so another loss: steps are compared without it.
#[test]
fn a_network_like_alexnet() {
    classifies(AlexNet { width: 6, hidden: 9, output: 3, first: [3, 1] }, Mode::Evaluate, [3, 2, 18, 19]);
}

#[test]
fn a_network_like_vgg() {
    let network = Vgg { stacks: vec![[4, 2], [6, 1], [8, 2]], hidden: 10, output: 3 };
    classifies(network, Mode::Evaluate, [3, 2, 8, 9]);
}

#[test]
fn a_residual_network() {
    classifies(ResNet { blocks: 1, width: 4, output: 3 }, Mode::Train, [4, 3, 8, 8]);
}

#[test]
fn an_autoencoder() {
    learns([2, 1, 8, 12], Mode::Train, |images, _| {
        nn::autoencoder(images, 3).mse_loss(images, Reduction::Mean)
    });
}

#[test]
fn the_originals_have_as_many_parameters_as_their_papers_say() {
    let parameters = |network: &dyn Fn(Var<'_>) -> usize, shape: [usize; 4]| {
        let graph = Graph::new();
        network(graph.input("images", shape))
    };
    let count = |value: Var<'_>| Summary::of(value).parameters;
    assert_eq!(parameters(&|x| count(LeNet5::default().logits(x)), [1, 1, 28, 28]), 61_706);
    assert_eq!(parameters(&|x| count(AlexNet::default().logits(x)), [1, 3, 227, 227]), 60_965_224);
    assert_eq!(parameters(&|x| count(Vgg::sixteen(64, 4096, 1000).logits(x)), [1, 3, 224, 224]), 138_357_544);
    assert_eq!(parameters(&|x| count(ResNet::twenty().logits(x)), [2, 3, 32, 32]), 269_722);
}
