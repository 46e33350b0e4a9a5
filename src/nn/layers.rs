//! Layers: operations together with parameters that are found by name.

use crate::error::Problem;
use crate::graph::setting::COUNT;
use crate::graph::{Called, Dtype, Init, Var};
use crate::ops::{Conv2dOptions, Padding, no_image};
use crate::shape::Pair;

/// The filters of a convolutional layer.
///
/// They start by He's rule, biases at 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Filters {
    count: usize,
    kernel: [usize; 2],
    options: Conv2dOptions,
    init: Option<Init>,
    bias: bool,
}

impl Filters {
    /// So many filters of a size, with stride 1 and no padding.
    pub fn new(count: usize, kernel: impl Into<Pair>) -> Self {
        Self { count, kernel: kernel.into().0, options: Conv2dOptions::new(), init: None, bias: true }
    }

    /// How many pixels the filters move at a time.
    pub fn stride(self, stride: impl Into<Pair>) -> Self {
        Self { options: self.options.stride(stride), ..self }
    }

    /// How many zeros are added on each side.
    pub fn padding(self, padding: impl Into<Padding>) -> Self {
        Self { options: self.options.padding(padding), ..self }
    }

    /// How far apart in the image the pixels under neighbouring weights are: 1 for neighbours.
    pub fn dilation(self, dilation: impl Into<Pair>) -> Self {
        Self { options: self.options.dilation(dilation), ..self }
    }

    /// How many groups channels and filters are divided into. The filters of a group read the channels of that group only.
    pub fn groups(self, groups: usize) -> Self {
        Self { options: self.options.groups(groups), ..self }
    }

    /// Makes it an error if the stride leaves pixels over (by default they are not visited).
    pub fn exact(self) -> Self {
        Self { options: self.options.exact(), ..self }
    }

    /// How the weights start.
    pub fn init(self, init: Init) -> Self {
        Self { init: Some(init), ..self }
    }

    /// Leaves out the bias.
    pub fn without_bias(self) -> Self {
        Self { bias: false, ..self }
    }

    /// The weights. Their first two sizes follow from the image's channels and the number of groups.
    #[track_caller]
    fn weight<'g>(
        self,
        layer: &'static str,
        image: Var<'g>,
        name: &str,
        sizes: impl FnOnce(usize, usize) -> [usize; 2],
    ) -> Var<'g> {
        let (graph, channels) = (image.graph(), image.shape()[1]);
        graph.require(layer, "the number of filters", self.count, COUNT);
        graph.require(layer, "the number of channels", channels, COUNT);
        let groups = self.options.groups.max(1); // no groups are refused by the convolution
        let ([first, second], [height, width]) = (sizes(channels, groups), self.kernel);
        let read = (channels / groups).saturating_mul(height).saturating_mul(width);
        let init = self.init.unwrap_or_else(|| Init::he(read));
        graph.param(&format!("{name}.weight"), [first, second, height, width], init)
    }

    /// A convolved image with the bias added to each channel, if there is one.
    #[track_caller]
    fn add_bias<'g>(self, y: Var<'g>, name: &str) -> Var<'g> {
        if !self.bias {
            return y;
        }
        let bias = y.graph().param(&format!("{name}.bias"), [self.count], Init::ZEROS);
        y + bias.reshape([self.count, 1, 1])
    }
}

/// The units of a fully connected layer. A number alone converts.
///
/// They start by He's rule, biases at 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Units {
    count: usize,
    init: Option<Init>,
    bias: bool,
}

impl Units {
    /// So many units.
    pub fn new(count: usize) -> Self {
        Self { count, init: None, bias: true }
    }

    /// How the weights start.
    pub fn init(self, init: Init) -> Self {
        Self { init: Some(init), ..self }
    }

    /// Leaves out the bias.
    pub fn without_bias(self) -> Self {
        Self { bias: false, ..self }
    }
}

impl From<usize> for Units {
    fn from(count: usize) -> Self {
        Self::new(count)
    }
}

/// What a layer or network of this name takes for images, and the guard under which it refuses things by its own name.
#[track_caller]
pub(super) fn images_of<'g>(name: &'static str, images: Var<'g>) -> (Called<'g>, Var<'g>) {
    let graph = images.graph();
    let called = graph.called(name);
    if images.rank() == 4 && images.ty().dtype == Dtype::Real {
        return (called, images);
    }
    (called, graph.refuse(name, &["images"], &[images], no_image(&images.ty())).or_rank(4))
}

/// A convolution with parameters `{name}.weight` `[O, C/G, kh, kw]` and `{name}.bias` `[O]`.
///
/// ```
/// use dagrad::{Graph, nn};
///
/// let graph = Graph::new();
/// let image = graph.input("image", [100, 1, 28, 28]);
/// let h = nn::conv2d(image, "conv1", nn::Filters::new(30, 5)).relu();
/// assert_eq!(h.shape(), [100, 30, 24, 24].into());
/// ```
///
/// # Errors
/// Recorded on the graph: no filters, no channels; otherwise as [`Var::conv2d`].
#[track_caller]
pub fn conv2d<'g>(image: Var<'g>, name: &str, filters: Filters) -> Var<'g> {
    let (_layer, (_called, image)) = (image.graph().layer(name), images_of("conv2d", image));
    // Groups that do not divide are refused by the convolution.
    let weight = filters.weight("conv2d", image, name, |channels, groups| [filters.count, channels / groups]);
    filters.add_bias(image.conv2d(weight, filters.options), name)
}

/// A transposed convolution with parameters `{name}.weight` `[C, O/G, kh, kw]` and `{name}.bias` `[O]`. It enlarges images
/// by its stride: a kernel of 3, a stride of 2, a padding of 1 and an `output_padding` of 1 double height and width.
///
/// ```
/// use dagrad::{Graph, nn};
///
/// let graph = Graph::new();
/// let code = graph.input("code", [100, 16, 7, 7]);
/// let filters = nn::Filters::new(8, 3).stride(2).padding(1);
/// let h = nn::conv_transpose2d(code, "up1", filters, 1).relu();
/// assert_eq!(h.shape(), [100, 8, 14, 14].into());
/// ```
///
/// # Errors
/// Recorded on the graph: no filters, no channels, groups that do not divide the filters; otherwise as
/// [`Var::conv_transpose2d`].
#[track_caller]
pub fn conv_transpose2d<'g>(
    image: Var<'g>,
    name: &str,
    filters: Filters,
    output_padding: impl Into<Pair>,
) -> Var<'g> {
    let graph = image.graph();
    let (_layer, (_called, image)) = (graph.layer(name), images_of("conv_transpose2d", image));
    let (count, groups) = (filters.count, filters.options.groups);
    if groups > 0 && !count.is_multiple_of(groups) {
        let problem = Problem::new(format!("{groups} groups do not divide {count} filters"))
            .hint("each group makes as many filters as the others");
        return graph.refuse("conv_transpose2d", &["image"], &[image], problem).or_rank(4);
    }
    let weight =
        filters.weight("conv_transpose2d", image, name, |channels, groups| [channels, count / groups]);
    filters.add_bias(image.conv_transpose2d(weight, filters.options, output_padding), name)
}

/// A fully connected layer x · W + b with parameters `{name}.weight` `[inputs, units]` and `{name}.bias`
/// `[units]`, on rows `[N, inputs]`.
///
/// ```
/// use dagrad::{Graph, nn};
///
/// let graph = Graph::new();
/// let rows = graph.input("rows", [100, 4320]);
/// assert_eq!(nn::linear(rows, "fc1", 100).shape(), [100, 100].into());
/// ```
///
/// # Errors
/// Recorded on the graph: an array of another rank, no units, no inputs.
#[track_caller]
pub fn linear<'g>(rows: Var<'g>, name: &str, units: impl Into<Units>) -> Var<'g> {
    let graph = rows.graph();
    let (_layer, _called) = (graph.layer(name), graph.called("linear"));
    let &[_, inputs] = &rows.shape()[..] else {
        let problem = Problem::new(format!("rows {} are not [batch, inputs]", rows.shape()));
        let problem = problem.hint(match rows.shape().len() {
            0 | 1 => "`reshape` makes a batch of a single row",
            _ => "`flatten` makes a row of each sample; `reshape` to [.., inputs] makes one of each position",
        });
        return graph.refuse("linear", &["rows"], &[rows], problem).or_rank(rows.rank().max(2));
    };
    let Units { count, init, bias } = units.into();
    graph.require("linear", "the number of units", count, COUNT);
    graph.require("linear", "the number of inputs", inputs, COUNT);
    let init = init.unwrap_or_else(|| Init::he(inputs));
    let weight = graph.param(&format!("{name}.weight"), [inputs, count], init).transposed_in_files();
    let y = rows.matmul(weight);
    if bias { y + graph.param(&format!("{name}.bias"), [count], Init::ZEROS) } else { y }
}
