//! The networks of the book *Deep Learning from Scratch* (K. Saitoh), as compositions of operations.

use super::layers::{Filters, conv2d, images_of, linear};
use super::model::Network;
use crate::graph::setting::COUNT;
use crate::graph::{Init, Var};
use crate::ops::Conv2dOptions;

/// conv – relu – pool – affine – relu – affine: the network of the book's chapter on convolution.
///
/// Its parameters carry the book's names: `W1` `[30, 1, 5, 5]`, `b1`, `W2` `[4320, 100]`, `b2`, `W3`
/// `[100, 10]`, `b3`. The final softmax is part of the loss.
///
/// ```
/// use dagrad::nn::{Model, SimpleConvNet};
/// use ndarray::{Array1, Array4};
///
/// let mut model = Model::new(SimpleConvNet::default(), [1, 28, 28], 0)?;
/// let (images, labels) = (Array4::zeros((2, 1, 28, 28)), Array1::from_vec(vec![3, 7]));
/// assert_eq!(model.predict(&images)?.dim(), (2, 10));
/// let gradient = model.gradient(&images, &labels)?;
/// assert_eq!(gradient["W1"].shape(), [30, 1, 5, 5]);
/// # Ok::<(), dagrad::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SimpleConvNet {
    /// How many filters the convolution has.
    pub filters: usize,
    /// Height and width of a filter.
    pub filter_size: usize,
    /// Zeros around the image.
    pub padding: usize,
    /// How far the filters move at a time.
    pub stride: usize,
    /// Units of the hidden layer.
    pub hidden: usize,
    /// Classes.
    pub output: usize,
    /// Standard deviation of the weights at the start.
    pub weight_init_std: f64,
}

impl Default for SimpleConvNet {
    fn default() -> Self {
        Self {
            filters: 30,
            filter_size: 5,
            padding: 0,
            stride: 1,
            hidden: 100,
            output: 10,
            weight_init_std: 0.01,
        }
    }
}

impl Network for SimpleConvNet {
    #[track_caller]
    fn logits<'g>(&self, images: Var<'g>) -> Var<'g> {
        let (_called, images) = images_of("SimpleConvNet", images);
        let (graph, channels) = (images.graph(), images.shape()[1]);
        let start = Init::Normal { std: self.weight_init_std };
        let layer = graph.layer("conv1");
        graph.require("conv2d", "the number of filters", self.filters, COUNT);
        let filters = graph.param("W1", [self.filters, channels, self.filter_size, self.filter_size], start);
        let bias = graph.param("b1", [self.filters], Init::ZEROS).reshape([self.filters, 1, 1]);
        let options = Conv2dOptions::new().stride(self.stride).padding(self.padding);

        let convolved = images.conv2d(filters, options) + bias;
        drop(layer);
        let h = convolved.relu().max_pool2d(2);
        let h = affine(h.flatten(), "affine1", ["W2", "b2"], self.hidden, start).relu();
        affine(h, "affine2", ["W3", "b3"], self.output, start)
    }
}

/// x · W + b with parameters of these names.
#[track_caller]
fn affine<'g>(x: Var<'g>, name: &str, [weight, bias]: [&str; 2], units: usize, start: Init) -> Var<'g> {
    let _layer = x.graph().layer(name);
    x.graph().require("linear", "the number of units", units, COUNT);
    let inputs = x.shape().last().copied().unwrap_or(0);
    let product = x.matmul(x.graph().param(weight, [inputs, units], start));
    product + x.graph().param(bias, [units], Init::ZEROS)
}

/// Six 3×3 convolutions in three pairs, each pair followed by a pool, then two affine layers: the network of
/// the book's chapter on depth, started by He's rule.
///
/// conv16 – conv16 – pool – conv32 – conv32 (padding 2) – pool – conv64 – conv64 – pool – affine –
/// dropout – affine, with a relu after every layer but the last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeepConvNet {
    /// Units of the hidden layer.
    pub hidden: usize,
    /// Classes.
    pub output: usize,
    /// Probability with which dropout drops.
    pub dropout: f64,
}

impl Default for DeepConvNet {
    fn default() -> Self {
        Self { hidden: 50, output: 10, dropout: 0.5 }
    }
}

impl Network for DeepConvNet {
    #[track_caller]
    fn logits<'g>(&self, images: Var<'g>) -> Var<'g> {
        let pairs = [("conv1", "conv2", 16, 1), ("conv3", "conv4", 32, 2), ("conv5", "conv6", 64, 1)];
        let (_called, mut h) = images_of("DeepConvNet", images);
        for (first, second, filters, padding) in pairs {
            h = conv2d(h, first, Filters::new(filters, 3).padding(1)).relu();
            h = conv2d(h, second, Filters::new(filters, 3).padding(padding)).relu();
            h = h.max_pool2d(2);
        }
        let h = linear(h.flatten(), "affine1", self.hidden).relu().dropout(self.dropout);
        linear(h, "affine2", self.output)
    }
}
