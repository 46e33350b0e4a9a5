//! A small convolutional network that is trained by hand: the gradient step is written in graph operations.

use dagrad::{Conv2dOptions, Graph, Init, Var, gradients};
use ndarray::{Array1, ArrayD};

/// A network that learns when it runs.
pub struct Network<'g> {
    pub image: Var<'g>,
    pub classes: Var<'g>,
    pub loss: Var<'g>,
    pub gradients: Vec<Var<'g>>,
}

/// Convolution, bias, relu, maximum pooling, convolution, mean pooling, dropout and a linear layer with
/// softmax cross-entropy, for images of 2×12×12. Each run moves every parameter against its gradient.
pub fn network(graph: &Graph, batch: usize) -> Network<'_> {
    let image = graph.input("image", [batch, 2, 12, 12]);
    let classes = graph.labels("classes", [batch]);
    let h = conv(image, "conv1", 5).max_pool2d(2);
    let h = conv(h, "conv2", 4).avg_pool2d(2).flatten().dropout(0.25);
    let weight = graph.param("fc.weight", [36, 10], Init::xavier(36, 10));
    let bias = graph.param("fc.bias", [10], Init::ZEROS);
    let loss = (h.matmul(weight) + bias).softmax_cross_entropy(classes).named("loss");
    let parameters = graph.parameters();
    let gradients = gradients(loss, &parameters).expect("every parameter is used");
    for (parameter, gradient) in parameters.iter().zip(&gradients) {
        parameter.assign(*parameter - *gradient * 0.1);
    }
    Network { image, classes, loss, gradients }
}

fn conv<'g>(x: Var<'g>, name: &str, filters: usize) -> Var<'g> {
    let (graph, channels) = (x.graph(), x.shape()[1]);
    let weight = graph.param(&format!("{name}.weight"), [filters, channels, 3, 3], Init::he(channels * 9));
    let bias = graph.param(&format!("{name}.bias"), [filters, 1, 1], Init::Constant(0.01));
    (x.conv2d(weight, Conv2dOptions::new().padding(1)) + bias).relu()
}

/// Images and classes for it.
pub fn batch(size: usize) -> (ArrayD<f64>, Array1<u32>) {
    (super::numbers(&[size, 2, 12, 12], 5), (0..size).map(|i| (i * 7 % 10) as u32).collect())
}
