//! The same trilinear form under other names: convolution along one axis, and transposed convolution.

use super::{Conv2d, Factor, plane};
use crate::error::Problem;
use crate::graph::Op;
use crate::graph::Var;
use crate::ops::attributes::{Conv2dOptions, Padding};
use crate::ops::example::{Example, linear, normal};
use crate::shape::Pair;

impl<'g> Var<'g> {
    /// The convolution of a batch of rows `[N, C, L]` with filters `[O, C/G, k]`, giving `[N, O, L']`: a
    /// [`conv2d`](Self::conv2d) of images of one row. Of the options, what they say of the horizontal axis counts.
    ///
    /// ```
    /// use dagrad::{Conv2dOptions, Graph};
    ///
    /// let graph = Graph::new();
    /// let (sound, weight) = (graph.input("sound", [8, 2, 100]), graph.input("weight", [16, 2, 5]));
    /// let y = sound.conv1d(weight, Conv2dOptions::new().stride(2).padding(2));
    /// assert_eq!(y.shape(), [8, 16, 50].into());
    /// ```
    ///
    /// # Errors
    /// Recorded on the graph: arrays of other ranks, and what [`conv2d`](Self::conv2d) refuses.
    #[track_caller]
    pub fn conv1d(self, weight: Var<'g>, options: Conv2dOptions) -> Var<'g> {
        let _called = self.graph().called("conv1d");
        let (image, filters) = (self.shape(), weight.shape());
        let (&[batch, channels, length], &[count, each, taps]) = (&image[..], &filters[..]) else {
            let text = format!("image {image} and weight {filters} do not both have three axes");
            let problem = Problem::new(text)
                .hint("signals are [batch, channels, length], weights [filters, channels, length]; `conv2d` takes images");
            return self.graph().refuse("conv1d", &["image", "weight"], &[self, weight], problem).or_rank(3);
        };
        let row = self.reshape([batch, channels, 1, length]);
        row.conv2d(weight.reshape([count, each, 1, taps]), options.of_one_row()).squeeze(&[2])
    }

    /// The transposed convolution of a batch of images `[N, C, H', W']` with weights `[C, O/G, kh, kw]`, giving
    /// `[N, O, H, W]`: every pixel puts a copy of the filters, times itself, into the result, S pixels apart, with
    /// H = (H' − 1) · S − 2P + D · (kh − 1) + 1 + `output_padding`.
    ///
    /// It is the adjoint of the [`conv2d`](Self::conv2d) with the same weight and options from H×W images, which is why
    /// it undoes that one's shapes. Several H lead to one H'; `output_padding` chooses among them. With
    /// [`Padding::Same`], H = H' · S.
    ///
    /// ```
    /// use dagrad::{Conv2dOptions, Graph};
    ///
    /// let graph = Graph::new();
    /// let (code, weight) = (graph.input("code", [8, 16, 7, 7]), graph.input("weight", [16, 4, 3, 3]));
    /// let twice = code.conv_transpose2d(weight, Conv2dOptions::new().stride(2).padding(1), 1);
    /// assert_eq!(twice.shape(), [8, 4, 14, 14].into());
    /// ```
    ///
    /// # Errors
    /// Recorded on the graph: arrays of other ranks, channels that differ, groups that do not divide them, an
    /// `output_padding` that is not below stride or dilation, padding of more than the whole result, and a stride or
    /// dilation of 0.
    #[track_caller]
    pub fn conv_transpose2d(
        self,
        weight: Var<'g>,
        options: Conv2dOptions,
        output_padding: impl Into<Pair>,
    ) -> Var<'g> {
        let _called = self.graph().called("conv_transpose2d");
        let more = output_padding.into().0;
        match transposed(self, weight, options, more) {
            Ok(op) => self.graph().record(op, &[weight, self]),
            Err(problem) => self
                .graph()
                .refuse("conv_transpose2d", &["image", "weight"], &[self, weight], problem)
                .or_rank(4),
        }
    }
}

/// The input gradient that is the transposed convolution, if there is one.
fn transposed(
    image: Var<'_>,
    weight: Var<'_>,
    options: Conv2dOptions,
    more: [usize; 2],
) -> Result<Conv2d, Problem> {
    let (images, filters) = (image.shape(), weight.shape());
    if images.len() != 4 || filters.len() != 4 {
        return Err(Problem::new(format!("image {images} and weight {filters} do not both have four axes"))
            .hint(
                "images are [batch, channels, height, width], weights [channels, filters, height, width]",
            ));
    }
    if images[1] != filters[0] {
        let text = format!("image has {} channels but weight expects {}", images[1], filters[0]);
        return Err(
            Problem::new(text).hint("a weight is [channels of the image, filters in a group, height, width]")
        );
    }
    let kernel = plane(weight);
    let any = options.window(kernel, [1, 1]);
    if let Some(axis) = (0..2).find(|&axis| more[axis] >= any.stride[axis].max(1)) {
        let text =
            format!("an output padding of {} is not below the stride {}", more[axis], any.stride[axis]);
        return Err(Problem::new(text)
            .hint("it chooses among the sizes that the stride leads to one; `pad` adds more"));
    }
    let Some(size) = options.image_size(kernel, plane(image), more) else {
        let text = "no pixel is left of the result once its padding is taken off, or too many";
        return Err(Problem::new(text).hint("take less padding"));
    };
    let window = options.window(kernel, size);
    let op = Conv2d { factor: Factor::InputGrad(size), window, groups: options.groups };
    op.infer(&[&weight.ty(), &image.ty()])?;
    Ok(op)
}

/// What the family's checks are made from, as far as they are about these names.
pub(super) fn examples() -> Vec<Example> {
    let options = Conv2dOptions::new();
    let adjoint =
        |name: &str, image: [usize; 4], weight: [usize; 4], options: Conv2dOptions, more: [usize; 2]| {
            linear(&format!("transposed, {name}"), [normal(image), normal(weight)], move |v| {
                v[0].conv_transpose2d(v[1], options, more)
            })
        };
    vec![
        adjoint("plain", [2, 3, 4, 5], [3, 2, 3, 2], options, [0, 0]),
        adjoint("stride and padding", [1, 2, 3, 4], [2, 3, 4, 3], options.stride([2, 3]).padding(1), [0, 0]),
        adjoint("output padding", [1, 2, 4, 3], [2, 3, 3, 3], options.stride([2, 3]).padding([1, 0]), [1, 2]),
        adjoint(
            "groups and dilation",
            [2, 4, 3, 4],
            [4, 3, 2, 3],
            options.groups(2).dilation([3, 2]),
            [0, 0],
        ),
        adjoint("same", [1, 2, 3, 2], [2, 1, 3, 4], options.stride(2).padding(Padding::Same), [0, 0]),
        adjoint("stride beyond the window", [1, 1, 3, 2], [1, 2, 2, 1], options.stride(3), [0, 1]),
        adjoint("an empty batch", [0, 2, 3, 3], [2, 1, 2, 2], options, [0, 0]),
        linear("along one axis", [normal([2, 4, 9]), normal([6, 2, 3])], |v| {
            v[0].conv1d(v[1], Conv2dOptions::new().groups(2).stride(2).padding([7, 1]).dilation([9, 2]))
        }),
    ]
}
