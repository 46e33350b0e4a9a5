//! The networks that are measured, written with the crate's public layers.
//!
//! All take single-precision images, start by the layers' defaults, and train with softmax cross-entropy over
//! ten classes. `benches/peers/peer.py` holds the same list for the peers.

use dagrad::Var;
use dagrad::nn::{Filters, Network, ResNet, SimpleConvNet, autoencoder, conv2d, linear, network};

use crate::modern;

/// What is measured. The letters name networks, or, for `M`, single layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// The book's SimpleConvNet, 100 images of 1×28×28.
    A,
    /// The same with 1 image: what a step costs beside its arithmetic.
    A1,
    /// A stem, one 7×7 convolution, a pool and a layer of classes, 100 images of 1×28×28.
    B7,
    /// The same with a 5×5 and a 3×3 convolution.
    B53,
    /// The same with three 3×3 convolutions.
    B333,
    /// The book's deep network with dropout, 100 images of 1×28×28.
    C,
    /// Six wide convolutions in three pairs, 64 images of 3×32×32.
    D,
    /// ResNet-20 with batch normalisation, 128 images of 3×32×32.
    R20,
    /// ResNet-18, 8 images of 3×224×224.
    R18,
    /// ResNet-50, 8 images of 3×224×224.
    R50,
    /// MobileNetV2, 16 images of 3×96×96.
    V2,
    /// A U-Net, 8 images of 3×128×128, and a class for each pixel.
    U,
    /// Dense connections, 64 images of 3×32×32.
    N,
    /// ConvNeXt-like blocks, 16 images of 3×96×96.
    X,
    /// One-dimensional convolutions, 32 signals of 4×4096.
    S,
    /// Three layers of 1024 units, 128 vectors of 1024 numbers.
    P,
    /// A convolutional autoencoder, 64 images of 3×64×64.
    E,
    /// One layer at a time: `infer` is its forward direction, `train` its gradients.
    M,
}

/// A network with the batch that it is measured on.
pub struct Net {
    /// Images in a batch.
    pub batch: usize,
    /// Channels, height and width of an image.
    pub image: [usize; 3],
    /// The network itself.
    pub network: Box<dyn Network>,
    /// What it learns.
    pub learns: Learns,
}

/// What a network learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learns {
    /// A class for each image.
    Classes,
    /// A class for each pixel.
    ClassesOfPixels,
    /// The images themselves.
    Images,
}

impl Workload {
    /// How many of them are measured where nothing is asked for: the first ones, which take three minutes.
    pub const USUAL: usize = 8;
    /// All of them, by their names on the command line.
    pub const ALL: [(&str, Self); 18] = [
        ("A", Self::A),
        ("A1", Self::A1),
        ("B7", Self::B7),
        ("B53", Self::B53),
        ("B333", Self::B333),
        ("C", Self::C),
        ("D", Self::D),
        ("M", Self::M),
        ("R20", Self::R20),
        ("R18", Self::R18),
        ("R50", Self::R50),
        ("V2", Self::V2),
        ("U", Self::U),
        ("N", Self::N),
        ("X", Self::X),
        ("S", Self::S),
        ("P", Self::P),
        ("E", Self::E),
    ];

    /// The name on the command line and in tables.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// The network; none for single layers.
    pub fn net(self) -> Option<Net> {
        let digits = [1, 28, 28];
        Some(match self {
            Self::A => Net::of(100, digits, SimpleConvNet::default()),
            Self::A1 => Net::of(1, digits, SimpleConvNet::default()),
            Self::B7 => Net::of(100, digits, stack(&[7])),
            Self::B53 => Net::of(100, digits, stack(&[5, 3])),
            Self::B333 => Net::of(100, digits, stack(&[3, 3, 3])),
            Self::C => Net::of(100, digits, deep),
            Self::D => Net::of(64, [3, 32, 32], wide),
            Self::R20 => Net::of(128, [3, 32, 32], ResNet::twenty()),
            Self::R18 => Net::of(8, [3, 224, 224], network(|x| modern::resnet(x, [2, 2, 2, 2], false))),
            Self::R50 => Net::of(8, [3, 224, 224], network(|x| modern::resnet(x, [3, 4, 6, 3], true))),
            Self::V2 => Net::of(16, [3, 96, 96], modern::mobile),
            Self::U => Net { learns: Learns::ClassesOfPixels, ..Net::of(8, [3, 128, 128], modern::unet) },
            Self::N => Net::of(64, [3, 32, 32], modern::dense),
            Self::X => Net::of(16, [3, 96, 96], modern::next),
            Self::S => Net::of(32, [4, 1, 4096], modern::signals),
            Self::P => Net::of(128, [1, 1, 1024], modern::units),
            Self::E => {
                Net { learns: Learns::Images, ..Net::of(64, [3, 64, 64], network(|x| autoencoder(x, 32))) }
            }
            Self::M => return None,
        })
    }
}

impl Net {
    /// A network that learns a class for each image.
    pub fn of(batch: usize, image: [usize; 3], network: impl Network + 'static) -> Self {
        Self { batch, image, network: Box::new(network), learns: Learns::Classes }
    }
}

/// A convolution of stride 1 that is rectified.
fn rectified<'g>(images: Var<'g>, name: &str, channels: usize, kernel: usize, padding: usize) -> Var<'g> {
    conv2d(images, name, Filters::new(channels, kernel).padding(padding)).relu()
}

/// What `examples/deep_vs_shallow.rs` compares: a stem, a block of convolutions of these sizes, a pool.
fn stack(kernels: &'static [usize]) -> impl Network {
    network(move |images| {
        let mut h = rectified(images, "stem", 16, 3, 1);
        for (number, &kernel) in kernels.iter().enumerate() {
            h = rectified(h, &format!("block{number}"), 16, kernel, kernel / 2);
        }
        linear(h.max_pool2d(2).flatten(), "classes", 10)
    })
}

/// The network of the book's chapter on depth. Unlike `DeepConvNet` it ends with the book's second dropout.
fn deep<'g>(images: Var<'g>) -> Var<'g> {
    let mut h = images;
    for (pair, channels, padding) in [(1, 16, 1), (2, 32, 2), (3, 64, 1)] {
        h = rectified(h, &format!("conv{pair}a"), channels, 3, 1);
        h = rectified(h, &format!("conv{pair}b"), channels, 3, padding).max_pool2d(2);
    }
    let h = linear(h.flatten(), "hidden", 50).relu().dropout(0.5);
    linear(h, "classes", 10).dropout(0.5)
}

/// Pairs of 3×3 convolutions with 64, 128 and 256 channels.
fn wide<'g>(images: Var<'g>) -> Var<'g> {
    let mut h = images;
    for channels in [64, 128, 256] {
        h = rectified(h, &format!("conv{channels}a"), channels, 3, 1);
        h = rectified(h, &format!("conv{channels}b"), channels, 3, 1).max_pool2d(2);
    }
    linear(h.flatten(), "classes", 10)
}

/// A stem, two convolutions, a pool, and the mean of each channel: it takes images of any size.
pub fn any_size<'g>(images: Var<'g>) -> Var<'g> {
    let mut h = rectified(images, "stem", 16, 3, 1);
    for name in ["conv1", "conv2"] {
        h = rectified(h, name, 16, 3, 1);
    }
    linear(h.max_pool2d(2).mean(&[2, 3]), "classes", 10)
}

/// So many 3×3 convolutions, and the mean of each channel.
pub fn column(layers: usize, channels: usize) -> impl Network {
    network(move |mut h| {
        for layer in 0..layers {
            h = rectified(h, &format!("conv{layer}"), channels, 3, 1);
        }
        linear(h.mean(&[2, 3]), "classes", 10)
    })
}

/// Three stages of three residual blocks, shaped like ResNet-20 but without its batch normalisation.
pub fn residual<'g>(images: Var<'g>) -> Var<'g> {
    let mut h = rectified(images, "stem", 16, 3, 1);
    for (stage, channels) in [16, 32, 64].into_iter().enumerate() {
        for block in 0..3 {
            // The first block of the later stages halves the image, and so does its shortcut.
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let name = |part: &str| format!("stage{stage}.block{block}.{part}");
            let first = Filters::new(channels, 3).padding(1).stride(stride);
            let inner = conv2d(h, &name("conv1"), first).relu();
            let inner = conv2d(inner, &name("conv2"), Filters::new(channels, 3).padding(1));
            let shortcut = match stride {
                1 => h,
                _ => conv2d(h, &name("shortcut"), Filters::new(channels, 1).stride(stride)),
            };
            h = (inner + shortcut).relu();
        }
    }
    linear(h.mean(&[2, 3]), "classes", 10)
}
