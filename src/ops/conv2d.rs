//! Convolution and its two gradients: three views of one trilinear form.
//!
//! Everything here follows from one number,
//! ⟨conv2d(x, w), u⟩ = Σ u\[n,o,i,j\] · w\[o,c,p,q\] · x\[n, c, i·S+p·D−P, j·S+q·D−P\],
//! which is linear in the image x, in the weight w and in the upstream gradient u. Its derivative in u is
//! the convolution; in x, the input gradient; in w, the weight gradient. The gradient rule of each of the three
//! is the other two, so derivatives of every order stay inside this file. With groups, o and c are of one group. A
//! transposed convolution is the input gradient under the name that its users know.

use super::attributes::{Conv2dOptions, Padding};
use super::example::{Example, linear, normal};
use super::rules;
use crate::error::Problem;
use crate::graph::lowering::{Lowered, Target};
use crate::graph::{Attributes, AxisMap, AxisRead, Call, Dtype, Gradient, Op, TensorType, Var, VjpInputs};
use crate::graph::{NodeId, NodeRef, Rewrite};
use crate::shape::{Shape, Window};
use dagrad_kernels::conv::Convolution;
use dagrad_kernels::gemm::Epilogue;
use dagrad_kernels::real::Real;

mod lower;
mod variants;

/// The trilinear form, solved for one of its three factors. Operands are the other two, in the order image,
/// weight, upstream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conv2d {
    factor: Factor,
    window: Window,
    groups: usize,
}

/// Which factor of the form is the result.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Factor {
    /// (image, weight) → output: the convolution.
    Output,
    /// (weight, upstream) → the gradient in the image, which has this height and width.
    InputGrad([usize; 2]),
    /// (image, upstream) → the gradient in the weight.
    WeightGrad,
}

impl Op for Conv2d {
    fn name(&self) -> &'static str {
        match self.factor {
            Factor::Output => "conv2d",
            Factor::InputGrad(_) => "conv2d_input_grad",
            Factor::WeightGrad => "conv2d_weight_grad",
        }
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        for (operand, role) in operands.iter().zip(Op::roles(self)) {
            if operand.dtype == Dtype::Index {
                return Err(Problem::new(format!("{role} {operand} holds indices, not real numbers")));
            }
            if operand.shape.len() != 4 {
                return Err(Problem::new(format!("{role} {operand} is not an array of four axes")).hint(
                    "images are [batch, channels, height, width], weights [filters, channels, height, width]; \
                     `conv1d` takes signals, `unsqueeze(0)` makes a batch of a single image",
                ));
            }
        }
        let form = self.form(&operands[0].shape, &operands[1].shape)?;
        let ([height, width], [out_h, out_w]) = (form.image, form.output);
        let [filters, channels] = [form.filters, form.channels].map(|each| each * form.groups);
        let [rows, columns] = self.window.kernel;
        Ok(match self.factor {
            Factor::Output => TensorType::real([form.batch, filters, out_h, out_w]),
            Factor::InputGrad(_) => TensorType::real([form.batch, channels, height, width]),
            Factor::WeightGrad => TensorType::real([filters, form.channels, rows, columns]),
        })
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let Ok(form) = self.form(call.operand_shape(0), call.operand_shape(1)) else {
            unreachable!("the shape rule has accepted these")
        };
        let (first, second, out, workers) = (call.real(0), call.real(1), call.output, call.workers);
        match self.factor {
            Factor::Output => form.forward(first, second, Epilogue::default(), out, workers),
            Factor::InputGrad(_) => form.input_grad(first, second, out, workers),
            Factor::WeightGrad => form.weight_grad(first, second, out, workers),
        }
    }

    fn vjp<'g>(&self, argument: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        let (first, second, upstream) = (inputs.operands[0], inputs.operands[1], inputs.upstream);
        let solved = |factor, operands| upstream.graph().record(Conv2d { factor, ..*self }, operands);
        Gradient::Of(match (self.factor, argument) {
            (Factor::Output, 0) => solved(Factor::InputGrad(plane(first)), &[second, upstream]),
            (Factor::Output, _) => solved(Factor::WeightGrad, &[first, upstream]),
            (Factor::InputGrad(_), 0) => solved(Factor::WeightGrad, &[upstream, second]),
            (Factor::InputGrad(_), _) => solved(Factor::Output, &[upstream, first]),
            (Factor::WeightGrad, 0) => solved(Factor::InputGrad(plane(first)), &[upstream, second]),
            (Factor::WeightGrad, _) => solved(Factor::Output, &[first, upstream]),
        })
    }

    fn roles(&self) -> &'static [&'static str] {
        match self.factor {
            Factor::Output => &["image", "weight"],
            Factor::InputGrad(_) => &["weight", "upstream"],
            Factor::WeightGrad => &["image", "upstream"],
        }
    }

    fn attributes(&self) -> Attributes {
        let attributes = Attributes::new().window(self.window).unless("groups", self.groups, 1);
        match self.factor {
            Factor::InputGrad(image) => attributes.quiet("image", image),
            _ => attributes,
        }
    }

    fn macs(&self, operands: &[&TensorType], _: &TensorType) -> usize {
        self.form(&operands[0].shape, &operands[1].shape).map_or(0, |form| {
            let ([height, width], [kh, kw]) = (form.output, self.window.kernel);
            let sizes = [form.batch, form.groups, form.filters, height, width, form.channels, kh, kw];
            sizes.into_iter().fold(1, usize::saturating_mul)
        })
    }

    /// The outputs and the gradients in the image of different images do not meet.
    fn axes(&self, _: &[&TensorType]) -> Vec<AxisMap> {
        let [rows, columns] = AxisRead::under(self.window);
        match self.factor {
            Factor::Output => {
                vec![[AxisRead::Same, AxisRead::All, rows, columns].into(), AxisMap::whole()]
            }
            Factor::InputGrad(_) => {
                let [rows, columns] = AxisRead::spread(self.window);
                vec![AxisMap::whole(), [AxisRead::Same, AxisRead::All, rows, columns].into()]
            }
            Factor::WeightGrad => vec![],
        }
    }

    /// The channels of a result are the filters of the weight; those of a gradient in the image, its channels.
    fn scaled(&self, node: NodeRef<'_>, axis: usize, vector: NodeId) -> Option<Rewrite> {
        let [first, second] = [0, 1].map(|position| node.operand(position));
        let [image, weight] = match (self.factor, axis, self.groups) {
            (Factor::Output, 1, _) => [Rewrite::Node(first.id()), rules::times_along(second, 0, vector)],
            (Factor::InputGrad(_), 1, 1) => {
                [rules::times_along(first, 1, vector), Rewrite::Node(second.id())]
            }
            _ => return None,
        };
        Some(Rewrite::op(*self, [image, weight]))
    }

    fn lower(&self, node: NodeRef<'_>, target: Target) -> Option<Lowered> {
        let [first, second] = [0, 1].map(|position| &node.operand(position).ty().shape);
        lower::lower(self, self.form(first, second).ok()?, target)
    }
}

impl Conv2d {
    /// The sizes of the trilinear form, if the two operands fit each other.
    fn form(&self, a: &Shape, b: &Shape) -> Result<Convolution, Problem> {
        let groups = self.groups;
        // Of all groups together; a weight has the channels of one.
        let (batch, filters, channels, image) = match self.factor {
            Factor::Output => (a[0], b[0], a[1], [a[2], a[3]]),
            Factor::InputGrad(image) => (b[0], a[0], a[1].saturating_mul(groups), image),
            Factor::WeightGrad => (a[0], b[1], a[1], [a[2], a[3]]),
        };
        if groups == 0 || !channels.is_multiple_of(groups) || !filters.is_multiple_of(groups) {
            let text = format!("{groups} groups do not divide {channels} channels and {filters} filters");
            return Err(Problem::new(text).hint("each group has as many channels, and as many filters"));
        }
        let each = channels / groups;
        let hint = match groups {
            1 if a.last() == b.get(1) => {
                "channels are axis 1; `permute(&[0, 3, 1, 2])` brings them there from the last"
            }
            1 => "a weight is [filters, channels of the image, height, width]",
            _ => "a weight is [filters, channels of the image in a group, height, width]",
        };
        if matches!(self.factor, Factor::Output) && b[1] != each {
            let of_groups = format!(", {each} in each of {groups} groups,");
            let of_groups = if groups == 1 { "" } else { &of_groups };
            let text = format!("image has {channels} channels{of_groups} but weight expects {}", b[1]);
            return Err(Problem::new(text).hint(hint));
        }
        let output = self.window.output_size(image)?;
        let disagreement = match self.factor {
            Factor::Output => None,
            Factor::InputGrad(_) => (b[1..] != [filters, output[0], output[1]])
                .then(|| format!("upstream {b} is not an output of weight {a} over {image:?}")),
            Factor::WeightGrad => (b[0] != batch || b[2..] != output)
                .then(|| format!("upstream {b} is not an output over image {a}")),
        };
        let (filters, channels) = (filters / groups, each);
        let form = Convolution { batch, groups, channels, filters, image, output, window: self.window };
        disagreement.map_or(Ok(form), |text| Err(Problem::new(text).hint(hint)))
    }
}

impl<'g> Var<'g> {
    /// The convolution (cross-correlation: filters are not turned) of a batch of images
    /// `[N, C, H, W]` with filters `[O, C, kh, kw]`, giving `[N, O, H', W']`:
    ///
    /// y\[n,o,i,j\] = Σ x\[n, c, i·S+p·D−P, j·S+q·D−P\] · w\[o,c,p,q\], with H' = ⌊(H + 2P − D·(kh − 1) − 1) / S⌋ + 1,
    /// stride S, padding P and dilation D. With G groups, weights are `[O, C/G, kh, kw]` and the c of the sum are those of
    /// o's group; as many groups as channels make a depthwise convolution.
    ///
    /// ```
    /// use dagrad::{Conv2dOptions, Graph};
    ///
    /// let graph = Graph::new();
    /// let image = graph.input("image", [10, 3, 7, 7]);
    /// let weight = graph.input("weight", [4, 3, 5, 5]);
    /// let same = image.conv2d(weight, Conv2dOptions::new().padding(2));
    /// assert_eq!(same.shape(), [10, 4, 7, 7].into());
    /// ```
    ///
    /// # Errors
    /// Recorded on the graph: arrays of other ranks, channels that differ, groups that do not divide channels and
    /// filters, a window larger than the padded image, a stride or dilation of 0, or pixels left over where
    /// [`exact`](Conv2dOptions::exact) forbids it.
    #[track_caller]
    pub fn conv2d(self, weight: Var<'g>, options: Conv2dOptions) -> Var<'g> {
        let window = options.window(plane(weight), plane(self));
        let op = Conv2d { factor: Factor::Output, window, groups: options.groups };
        self.graph().record(op, &[self, weight]).or_rank(4)
    }
}

/// Height and width of images or weights; anything for arrays that are neither, which the shape rule refuses.
fn plane(images: Var<'_>) -> [usize; 2] {
    match images.shape()[..] {
        [_, _, height, width] => [height, width],
        _ => [1, 1],
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    let conv = |name: &str, image: [usize; 4], weight: [usize; 4], options: Conv2dOptions| {
        linear(name, [normal(image), normal(weight)], move |v| v[0].conv2d(v[1], options))
    };
    let options = Conv2dOptions::new();
    let mut examples = vec![
        conv("all axes different", [2, 3, 6, 5], [4, 3, 3, 2], options),
        conv("padding per axis", [2, 1, 4, 5], [3, 1, 3, 4], options.padding([1, 2])),
        conv("stride per axis", [1, 2, 7, 9], [3, 2, 3, 2], options.stride([2, 3])),
        conv("stride that does not divide", [2, 2, 6, 8], [2, 2, 3, 3], options.stride(2).padding([1, 0])),
        conv("stride beyond the window", [1, 2, 8, 7], [2, 2, 2, 1], options.stride([3, 4])),
        conv("padding beyond the window", [1, 1, 3, 2], [2, 1, 2, 2], options.padding([3, 2])),
        conv("1×1 window", [2, 3, 4, 2], [5, 3, 1, 1], options),
        conv("window as large as the image", [3, 2, 4, 3], [2, 2, 4, 3], options),
        conv("one pixel", [1, 1, 1, 1], [1, 1, 1, 1], options),
        conv("an empty batch", [0, 2, 4, 4], [3, 2, 3, 3], options.padding(1)),
        conv("many filters", [1, 2, 5, 7], [33, 2, 3, 3], options.padding(1)),
        Example::new("with bias and relu", [normal([2, 2, 5, 4]), normal([3, 2, 3, 3]), normal([3])], |v| {
            (v[0].conv2d(v[1], Conv2dOptions::new()) + v[2].reshape([3, 1, 1])).sigmoid()
        }),
        Example::new("an image over itself", [normal([2, 2, 3, 3])], |v| {
            v[0].conv2d(v[0], Conv2dOptions::new().padding(1))
        }),
        conv("dilation per axis", [2, 2, 7, 9], [3, 2, 3, 2], options.dilation([2, 4])),
        conv(
            "dilation and stride",
            [1, 2, 12, 11],
            [2, 2, 3, 4],
            options.dilation([2, 3]).stride([4, 2]).padding(2),
        ),
        conv("padding per side", [1, 2, 4, 5], [3, 2, 3, 2], options.padding([[0, 2], [3, 1]])),
        conv("same, of an even window", [2, 1, 5, 6], [2, 1, 4, 2], options.padding(Padding::Same)),
        conv("same, with stride", [1, 2, 7, 6], [2, 2, 3, 3], options.padding(Padding::Same).stride([3, 2])),
        conv("groups", [2, 6, 5, 4], [4, 3, 3, 2], options.groups(2).padding(1)),
        conv("depthwise", [2, 3, 6, 5], [3, 1, 3, 3], options.groups(3).stride(2).padding(1)),
        conv("depthwise, two filters each", [1, 3, 4, 5], [6, 1, 2, 3], options.groups(3).dilation([1, 2])),
        conv("groups of an empty batch", [0, 4, 4, 4], [2, 2, 3, 3], options.groups(2)),
        Example::new(
            "groups with bias and relu",
            [normal([2, 4, 5, 4]), normal([6, 2, 3, 3]), normal([6])],
            |v| (v[0].conv2d(v[1], Conv2dOptions::new().groups(2)) + v[2].reshape([6, 1, 1])).sigmoid(),
        ),
    ];
    examples.extend(variants::examples());
    examples
}
