//! Well-known networks, with widths to choose.

use super::layers::{Filters, conv_transpose2d, conv2d, images_of, linear};
use super::model::Network;
use super::norm::{BatchNorm, batch_norm};
use crate::error::Problem;
use crate::graph::Var;
use crate::graph::setting::COUNT;
use crate::ops::Pool2dOptions;

/// LeNet-5 (LeCun and others, *Gradient-Based Learning Applied to Document Recognition*, 1998) on 28×28 or 32×32 images:
/// two 5×5 convolutions, each followed by a mean over 2×2 and tanh, then three affine layers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LeNet5 {
    /// Classes.
    pub output: usize,
}

impl Default for LeNet5 {
    fn default() -> Self {
        Self { output: 10 }
    }
}

impl Network for LeNet5 {
    #[track_caller]
    fn logits<'g>(&self, images: Var<'g>) -> Var<'g> {
        let (_called, images) = images_of("LeNet5", images);
        // The original's images are 32×32, digits in the middle.
        let padding = if images.shape()[2] == 28 { 2 } else { 0 };
        let h = conv2d(images, "conv1", Filters::new(6, 5).padding(padding)).tanh().avg_pool2d(2);
        let h = conv2d(h, "conv2", Filters::new(16, 5)).tanh().avg_pool2d(2);
        let h = linear(h.flatten(), "fc1", 120).tanh();
        let h = linear(h, "fc2", 84).tanh();
        linear(h, "fc3", self.output)
    }
}

/// A network of the shape of AlexNet (Krizhevsky and others, 2012): a large stride first, local response normalisation,
/// overlapping pools, two groups in the second, fourth and fifth convolution, and dropout before the affine layers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AlexNet {
    /// Filters of the first convolution, an even number: 96 in the original, on 227×227 images.
    pub width: usize,
    /// Units of the two hidden affine layers: 4096 in the original.
    pub hidden: usize,
    /// Classes.
    pub output: usize,
    /// Height and width of the first filters, and their stride: 11 and 4 in the original.
    pub first: [usize; 2],
}

impl Default for AlexNet {
    fn default() -> Self {
        Self { width: 96, hidden: 4096, output: 1000, first: [11, 4] }
    }
}

impl Network for AlexNet {
    #[track_caller]
    fn logits<'g>(&self, images: Var<'g>) -> Var<'g> {
        let (_called, images) = images_of("AlexNet", images);
        let (width, pool) = (self.width, Pool2dOptions::new(3).stride(2));
        let middle = width.saturating_mul(8) / 3 / 2 * 2; // 256 of 96
        let [size, stride] = self.first;
        let h = conv2d(images, "conv1", Filters::new(width, size).stride(stride)).relu();
        let h = h.local_response_norm(5, 1e-4, 0.75, 2.0).max_pool2d(pool);
        let h = conv2d(h, "conv2", Filters::new(middle, 5).padding(2).groups(2)).relu();
        let h = h.local_response_norm(5, 1e-4, 0.75, 2.0).max_pool2d(pool);
        let h = conv2d(h, "conv3", Filters::new(width.saturating_mul(4), 3).padding(1)).relu();
        let h = conv2d(h, "conv4", Filters::new(width.saturating_mul(4), 3).padding(1).groups(2)).relu();
        let h = conv2d(h, "conv5", Filters::new(middle, 3).padding(1).groups(2)).relu();
        let h = h.max_pool2d(pool).flatten().dropout(0.5);
        let h = linear(h, "fc6", self.hidden).relu().dropout(0.5);
        let h = linear(h, "fc7", self.hidden).relu();
        linear(h, "fc8", self.output)
    }
}

/// A network of the shape of VGG (Simonyan and Zisserman, *Very Deep Convolutional Networks*, 2014): stacks of 3×3
/// convolutions, each followed by a pool that halves the image, then affine layers.
#[derive(Debug, Clone, PartialEq)]
pub struct Vgg {
    /// How many filters and how many convolutions each stack has: 64, 128, 256, 512, 512 and 2, 2, 3, 3, 3 in VGG-16.
    pub stacks: Vec<[usize; 2]>,
    /// Units of the two hidden affine layers: 4096 in the original.
    pub hidden: usize,
    /// Classes.
    pub output: usize,
}

impl Vgg {
    /// VGG-16 with `width` filters in the first stack: 64 in the original.
    pub fn sixteen(width: usize, hidden: usize, output: usize) -> Self {
        let stacks = [(1, 2), (2, 2), (4, 3), (8, 3), (8, 3)];
        let stacks = stacks.map(|(times, layers)| [width.saturating_mul(times), layers]);
        Self { stacks: stacks.to_vec(), hidden, output }
    }
}

impl Network for Vgg {
    #[track_caller]
    fn logits<'g>(&self, images: Var<'g>) -> Var<'g> {
        let (_called, mut h) = images_of("Vgg", images);
        for (stack, &[filters, layers]) in self.stacks.iter().enumerate() {
            h.graph().require("Vgg", "the number of convolutions in a stack", layers, COUNT);
            for layer in 0..layers {
                let name = format!("conv{}_{}", stack + 1, layer + 1);
                h = conv2d(h, &name, Filters::new(filters, 3).padding(1)).relu();
            }
            h = h.max_pool2d(2);
        }
        let h = linear(h.flatten(), "fc1", self.hidden).relu().dropout(0.5);
        let h = linear(h, "fc2", self.hidden).relu().dropout(0.5);
        linear(h, "fc3", self.output)
    }
}

/// A residual network for small images (He and others, *Deep Residual Learning for Image Recognition*, 2015, section
/// 4.2): a convolution, three stages of blocks with `width`, 2 `width` and 4 `width` filters, the mean of each channel and
/// an affine layer. Three blocks in each stage make ResNet-20.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResNet {
    /// Residual blocks of each stage; n make 6 n + 2 layers.
    pub blocks: usize,
    /// Filters of the first stage.
    pub width: usize,
    /// Classes.
    pub output: usize,
}

impl ResNet {
    /// ResNet-20 for images 3×32×32 of ten classes.
    pub fn twenty() -> Self {
        Self { blocks: 3, width: 16, output: 10 }
    }
}

impl Network for ResNet {
    #[track_caller]
    fn logits<'g>(&self, images: Var<'g>) -> Var<'g> {
        let (_called, images) = images_of("ResNet", images);
        images.graph().require("ResNet", "the number of blocks", self.blocks, COUNT);
        let mut h = conv_norm(images, "stem", self.width, 1).relu();
        for stage in 0..3 {
            for block in 0..self.blocks {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let name = format!("stage{}.block{}", stage + 1, block + 1);
                h = residual_block(h, &name, self.width.saturating_mul(1 << stage), stride);
            }
        }
        linear(h.global_avg_pool2d().flatten(), "fc", self.output)
    }
}

/// Two 3×3 convolutions beside a shortcut: relu(f(x) + x). Where the image is halved, the shortcut takes every second
/// pixel and pads the new channels with zeros (option A of the paper), so that it has no parameters.
///
/// # Errors
/// Recorded on the graph: no images, or fewer filters than channels.
#[track_caller]
pub fn residual_block<'g>(x: Var<'g>, name: &str, filters: usize, stride: usize) -> Var<'g> {
    let (_called, x) = images_of("residual_block", x);
    let channels = x.shape()[1];
    x.graph().require("residual_block", "the number of filters", filters, channels.max(1) as f64..);
    let h = conv_norm(x, &format!("{name}.1"), filters, stride).relu();
    let h = conv_norm(h, &format!("{name}.2"), filters, 1);
    let mut shortcut = x;
    if stride > 1 {
        let step = isize::try_from(stride).unwrap_or(isize::MAX);
        shortcut = shortcut.slice_step(2, .., step).slice_step(3, .., step);
    }
    if filters > channels {
        shortcut = shortcut.pad(&[[0, 0], [0, filters - channels], [0, 0], [0, 0]], 0.0);
    }
    (h + shortcut).relu()
}

/// A 3×3 convolution without bias, and batch normalisation.
#[track_caller]
fn conv_norm<'g>(x: Var<'g>, name: &str, filters: usize, stride: usize) -> Var<'g> {
    let filters = Filters::new(filters, 3).stride(stride).padding(1).without_bias();
    batch_norm(conv2d(x, &format!("{name}.conv"), filters), &format!("{name}.norm"), BatchNorm::default())
}

/// An autoencoder: two convolutions that halve the image, and two transposed ones that double it again.
///
/// ```
/// use dagrad::{Graph, nn, Reduction};
///
/// let graph = Graph::new();
/// let images = graph.input("images", [16, 1, 28, 28]);
/// let loss = nn::autoencoder(images, 8).mse_loss(images, Reduction::Mean);
/// # graph.check()?;
/// # Ok::<(), dagrad::Error>(())
/// ```
///
/// # Errors
/// Recorded on the graph: no images, or sizes that are no multiples of 4.
#[track_caller]
pub fn autoencoder<'g>(images: Var<'g>, width: usize) -> Var<'g> {
    let (_called, images) = images_of("autoencoder", images);
    let [_, channels, height, columns] = images.sizes();
    if !(height.is_multiple_of(4) && columns.is_multiple_of(4)) {
        let problem = Problem::new(format!("images of {height}×{columns} pixels cannot be halved twice"))
            .hint("sizes are multiples of 4; `pad` makes them so");
        return images.graph().refuse("autoencoder", &["images"], &[images], problem);
    }
    let half = |filters: usize| Filters::new(filters, 3).stride(2).padding(1);
    let h = conv2d(images, "encoder1", half(width)).relu();
    let code = conv2d(h, "encoder2", half(width.saturating_mul(2))).relu();
    let h = conv_transpose2d(code, "decoder1", half(width), 1).relu();
    conv_transpose2d(h, "decoder2", half(channels), 1)
}
