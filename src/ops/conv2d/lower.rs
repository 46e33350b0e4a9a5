//! The kernels for the three views of a convolution, on images `[N, H, W, C]`.
//!
//! Here the weights are brought into the order of the kernel by a step of its own, once for all images. The
//! gradient in the weights comes in two steps: sums over a few images each, and the sum of those.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{Conv2d, Factor};
use crate::error::Problem;
use crate::graph::kernel::{AnyKernel, BatchSplit, Consumer, Kernel};
use crate::graph::lowering::{Algorithm, Lowered, OperandLayout, Target};
use crate::graph::{Attributes, Call, OutputSlot, Precision, TensorType};
use crate::ops::max_pool2d::MaxPool;
use dagrad_kernels::conv::nhwc::{Direct, finish_weight_grad};
use dagrad_kernels::conv::{Choice, Convolution, WinogradUse, select};
use dagrad_kernels::elementwise::Function;
use dagrad_kernels::gemm::Epilogue;
use dagrad_kernels::walk::row_major;
use dagrad_kernels::winograd::Winograd;

/// Into how many rows of sums a batch is cut, if its size allows it: so many at least,
const ROWS: usize = 8;
/// and so many that what is done with the images of a row, one operation after the other, stays in the cache.
const IMAGES: usize = 12;
/// How many numbers all rows of sums together may have: they are written, and read once more to be added.
const SUMS: usize = 1 << 20;

/// One step of a convolution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConvKernel {
    part: Part,
    /// The sizes; those of the batch are of the whole batch.
    sizes: Convolution,
    method: Method,
    bias: bool,
    relu: bool,
    gate: bool,
    /// Whether only the maxima of 2×2 windows are written.
    pool: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    /// weight → the weight as `Output` reads it.
    Weights,
    /// weight → the weight as `InputGrad` reads it.
    InputGradWeights,
    /// (image, weights\[, bias\]) → output, or its maxima, and along with these their positions.
    Output,
    /// (input-grad weights, upstream\[, gate\]) → the gradient in the image.
    InputGrad,
    /// (image, upstream) → a row of the gradient in the weight for every `samples_per_row` images.
    WeightGradSums { samples_per_row: usize },
    /// Those rows → the gradient in the weight.
    WeightGrad { rows: usize },
}

#[allow(clippy::large_enum_variant)] // a plan has few of them
#[derive(Debug, Clone, Copy, PartialEq)]
enum Method {
    Direct(Direct),
    Winograd(Winograd),
}

/// The same call by either method.
macro_rules! either {
    ($method:expr, $by:ident => $call:expr) => {
        match $method {
            Method::Direct($by) => $call,
            Method::Winograd($by) => $call,
        }
    };
}

/// How a plan does `conv`.
pub fn lower(conv: &Conv2d, sizes: Convolution, target: Target) -> Option<Lowered> {
    let winograd = match target.algorithm {
        Algorithm::Auto => WinogradUse::WherePaying,
        Algorithm::Direct => WinogradUse::Never,
        Algorithm::Winograd => WinogradUse::WherePossible,
    };
    let method = match select(&sizes, winograd) {
        Choice::Winograd(winograd) => Method::Winograd(winograd),
        Choice::Direct(direct) => Method::Direct(direct),
        Choice::Reference => return None,
    };
    let kernel = |part: Part| -> Arc<dyn AnyKernel> {
        Arc::new(ConvKernel { part, sizes, method, bias: false, relu: false, gate: false, pool: false })
    };
    let through = |part: Part| OperandLayout::Through(kernel(part));
    let samples_per_row = samples_per_row(&sizes);
    let image = OperandLayout::Nhwc;
    let lowered = match conv.factor {
        Factor::Output => Lowered::new(kernel(Part::Output), [image, through(Part::Weights)]),
        Factor::InputGrad(_) => {
            Lowered::new(kernel(Part::InputGrad), [through(Part::InputGradWeights), image])
        }
        Factor::WeightGrad => {
            let layout = through(Part::WeightGrad { rows: sizes.batch.div_ceil(samples_per_row) });
            Lowered {
                layout,
                ..Lowered::new(kernel(Part::WeightGradSums { samples_per_row }), [image.clone(), image])
            }
        }
    };
    Some(Lowered { is_faster: true, ..lowered })
}

/// Over how many images a row of the weight's gradient sums: a divisor of the batch, if there is a good one, so
/// that threads have equal shares.
fn samples_per_row(sizes: &Convolution) -> usize {
    let batch = sizes.batch.max(1);
    let [kernel_h, kernel_w] = sizes.window.kernel;
    let weights = (sizes.groups * sizes.channels * sizes.filters * kernel_h * kernel_w).max(1);
    let wanted = batch.div_ceil(IMAGES).max(ROWS);
    let most = (SUMS / weights).clamp(1, 2 * wanted);
    let divides = |&rows: &usize| batch.is_multiple_of(rows);
    let even = (wanted..=most).filter(|rows| rows.is_multiple_of(2)).find(divides);
    let rows = even.or_else(|| (most / 2 + 1..=most).rev().find(divides));
    batch.div_ceil(rows.unwrap_or(most.min(batch)))
}

impl Kernel for ConvKernel {
    fn name(&self) -> &'static str {
        match self.part {
            Part::Weights => "conv2d_weights",
            Part::InputGradWeights => "conv2d_input_grad_weights",
            Part::Output => "conv2d",
            Part::InputGrad => "conv2d_input_grad",
            Part::WeightGradSums { .. } => "conv2d_weight_grad_sums",
            Part::WeightGrad { .. } => "conv2d_weight_grad",
        }
    }

    fn outputs(&self, operands: &[&TensorType]) -> Vec<TensorType> {
        let Convolution { groups, channels, image, output, window, .. } = self.sizes;
        let filters = groups * self.sizes.filters;
        let batch = |position: usize| operands[position].shape[0];
        let output = match self.part {
            Part::Weights => TensorType::real([either!(&self.method, by => by.prepared())]),
            Part::InputGradWeights => {
                TensorType::real([either!(&self.method, by => by.prepared_input_grad())])
            }
            Part::Output if self.pool => {
                let maxima = [batch(0), output[0] / 2, output[1] / 2, filters];
                return vec![TensorType::real(maxima), TensorType::index(maxima)];
            }
            Part::Output => TensorType::real([batch(0), output[0], output[1], filters]),
            Part::InputGrad => TensorType::real([batch(1), image[0], image[1], groups * channels]),
            Part::WeightGradSums { samples_per_row } => TensorType::real([
                batch(0).div_ceil(samples_per_row),
                window.kernel[0],
                window.kernel[1],
                channels,
                filters,
            ]),
            Part::WeightGrad { .. } => {
                TensorType::real([filters, channels, window.kernel[0], window.kernel[1]])
            }
        };
        vec![output]
    }

    fn run<T: Precision>(&self, call: Call<'_, T>) -> Result<(), Problem> {
        let image = usize::from(self.part == Part::InputGrad);
        let sizes = Convolution { batch: call.operand_shape(image)[0], ..self.sizes };
        let data: SmallVec<[&[T]; 3]> =
            (0..call.operands.len()).map(|position| call.real(position)).collect();
        let real = |position: usize| data[position];
        let (bias, gate) = (self.bias.then(|| real(2)), self.gate.then(|| real(2)));
        let epilogue = Epilogue { bias, relu: self.relu };
        let (out, workers) = (call.output, call.workers);
        let method = self.method.of(&sizes);
        match self.part {
            Part::WeightGrad { rows } => finish_weight_grad(&self.sizes, rows, real(0), out, workers),
            Part::Weights => either!(method, by => by.prepare(real(0), out, workers)),
            Part::InputGradWeights => either!(method, by => by.prepare_input_grad(real(0), out, workers)),
            Part::Output => match method {
                Method::Direct(direct) if self.pool => {
                    let positions = call.further_outputs.into_iter().next().and_then(OutputSlot::index);
                    direct.forward_pooled(real(0), real(1), epilogue, out, positions, workers);
                }
                method => either!(method, by => by.forward(real(0), real(1), epilogue, out, workers)),
            },
            Part::InputGrad => either!(method, by => by.input_grad(real(0), real(1), gate, out, workers)),
            Part::WeightGradSums { samples_per_row } => {
                either!(method, by => by.weight_grad_sums(real(0), real(1), samples_per_row, out, workers))
            }
        }
        Ok(())
    }

    fn attributes(&self) -> String {
        let algorithm = match self.method {
            Method::Direct(_) => "direct",
            Method::Winograd(_) => "winograd",
        };
        let notes = [
            (self.bias, ", + bias"),
            (self.relu, ", relu"),
            (self.gate, ", gate"),
            (self.pool, ", max_pool2d 2×2"),
        ];
        let notes: String = notes.iter().filter(|(is, _)| *is).map(|(_, note)| *note).collect();
        match self.part {
            Part::WeightGrad { .. } => String::new(),
            _ => format!("{}, {algorithm}{notes}", Attributes::new().window(self.sizes.window)),
        }
    }

    fn macs(&self, operands: &[&TensorType], _: &TensorType) -> usize {
        let Convolution { groups, channels, filters, output, window, .. } = self.sizes;
        let image = match self.part {
            Part::Output | Part::WeightGradSums { .. } => 0,
            Part::InputGrad => 1,
            _ => return 0,
        };
        let sizes = [operands[image].shape[0], groups, channels, filters, output[0], output[1]];
        sizes.into_iter().chain(window.kernel).fold(1, usize::saturating_mul)
    }

    fn batch_split(&self, operands: &[&TensorType]) -> Option<BatchSplit> {
        let batch = |position: usize| operands[position].shape[0];
        match self.part {
            Part::Output => Some(BatchSplit::each(batch(0), &[true, false, false])),
            Part::InputGrad => Some(BatchSplit::each(batch(1), &[false, true, true])),
            Part::WeightGradSums { samples_per_row } => {
                Some(BatchSplit { samples_per_row, ..BatchSplit::each(batch(0), &[true, true]) })
            }
            _ => None,
        }
    }

    /// The output may take in a bias, relu and 2×2 pooling as it is written; the gradient in the image a gate.
    fn fuse(&self, consumer: &Consumer<'_>) -> Option<Arc<dyn AnyKernel>> {
        let Convolution { batch, groups, channels, image, .. } = self.sizes;
        let whole = row_major(&[batch, image[0], image[1], groups * channels]);
        let is_quad_pool = consumer.kernel.as_any().downcast_ref().is_some_and(MaxPool::is_of_quads);
        let takes_bias = !self.bias && !self.relu && consumer.other == Some(&[0, 0, 0, 1]);
        let kernel = match (self.part, consumer.function) {
            _ if self.pool || self.gate => return None,
            (Part::Output, Some(Function::Add)) if takes_bias => Self { bias: true, ..*self },
            (Part::Output, Some(Function::Relu)) if !self.relu => Self { relu: true, ..*self },
            (Part::Output, None)
                if is_quad_pool && matches!(self.method, Method::Direct(direct) if direct.pools()) =>
            {
                Self { pool: true, ..*self }
            }
            (Part::InputGrad, Some(Function::Gate)) if consumer.other == Some(&whole[..]) => {
                Self { gate: true, ..*self }
            }
            _ => return None,
        };
        Some(Arc::new(kernel))
    }
}

impl Method {
    /// The same for another number of images.
    fn of(self, sizes: &Convolution) -> Self {
        let same = match self {
            Self::Direct(_) => Direct::new(sizes).map(Self::Direct),
            Self::Winograd(_) => Winograd::new(sizes).map(Self::Winograd),
        };
        same.unwrap_or_else(|| unreachable!("whether it applies does not depend on the batch"))
    }
}
