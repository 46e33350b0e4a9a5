//! Each operation of the format as calls of the engine's methods.

use dagrad::{Graph, Var, nn};

use super::attributes::*;
use super::manifest::Node;
use super::{Result, Trouble};

/// Records a node on its operands. Several results come in the order of the format.
pub fn apply<'g>(graph: &'g Graph, node: &Node, operands: &[Var<'g>]) -> Result<Vec<Var<'g>>> {
    if let Some(plain) = without_attributes(&node.op, operands) {
        node.attributes::<Nothing>()?;
        return Ok(vec![plain]);
    }
    let result = match (node.op.as_str(), operands) {
        ("conv2d", &[x, w, ref bias @ ..]) => {
            let y = x.conv2d(w, node.attributes::<Convolution>()?.options()?);
            add_to_channels(y, bias)
        }
        ("conv_transpose2d", &[x, w, ref bias @ ..]) => {
            let convolution: Convolution = node.attributes()?;
            let more = sizes("an output padding of", convolution.output_padding)?;
            let y = x.conv_transpose2d(w, convolution.options()?, more);
            add_to_channels(y, bias)
        }
        ("max_pool2d", &[x]) => x.max_pool2d(node.attributes::<Pooling>()?.options()?),
        ("avg_pool2d", &[x]) => x.avg_pool2d(node.attributes::<Pooling>()?.options()?),
        ("leaky_relu", &[x]) => x.leaky_relu(node.attributes::<Number>()?.value),
        ("elu", &[x]) => x.elu(node.attributes::<Number>()?.value),
        ("mul_scalar", &[x]) => x * node.attributes::<Number>()?.value,
        ("add_scalar", &[x]) => x + node.attributes::<Number>()?.value,
        ("pow_scalar", &[x]) => x.pow(node.attributes::<Number>()?.value),
        ("clamp", &[x]) => {
            let Clamp { min, max } = node.attributes()?;
            x.clamp(min, max)
        }
        ("gelu", &[x]) => match node.attributes::<Gelu>()?.approximate.as_str() {
            "none" => x.gelu(),
            "tanh" => x.gelu_tanh(),
            other => return Err(Trouble::Unknown(format!("gelu approximated by {other}"))),
        },
        ("softmax", &[x]) => x.softmax(node.attributes::<Along>()?.axis),
        ("log_softmax", &[x]) => x.log_softmax(node.attributes::<Along>()?.axis),
        ("softmax_cross_entropy", &[x, t]) => {
            let loss: Loss = node.attributes()?;
            if loss.is_plain() && x.shape().len() == 2 {
                x.softmax_cross_entropy(t)
            } else {
                x.cross_entropy(t, loss.options()?)
            }
        }
        ("softmax_cross_entropy_soft", &[x, p]) => {
            let loss: Loss = node.attributes()?;
            if loss.is_plain() && x.shape().len() == 2 {
                x.softmax_cross_entropy(p)
            } else {
                reduction(&loss.reduction)?.of(-(x.log_softmax(1) * p).sum(&[1]))
            }
        }
        ("mse", &[x, t]) => x.mse_loss(t, reduction(&node.attributes::<Loss>()?.reduction)?),
        ("reshape", &[x]) => x.reshape(node.attributes::<Target>()?.sizes(x.shape().count())?),
        ("broadcast_to", &[x]) => x.broadcast_to(node.attributes::<Target>()?.sizes(0)?),
        ("flatten", &[x]) => match node.attributes()? {
            Flattened { start_axis: 1, end_axis: -1 } if x.shape().len() > 1 => x.flatten(),
            some => x.reshape(some.sizes(&x.shape())?),
        },
        ("permute", &[x]) => x.permute(&node.attributes::<Order>()?.axes),
        ("slice", &[x]) => {
            let ranges = node.attributes::<Slices>()?.ranges(&x.shape())?;
            ranges.into_iter().fold(x, |x, (axis, range, step)| x.slice_step(axis, range, step))
        }
        ("pad", &[x]) => {
            let padding: Padding = node.attributes()?;
            x.pad(&padding.sides()?, padding.value)
        }
        ("concat", arrays) => graph.concat(arrays, node.attributes::<Along>()?.axis),
        ("sum" | "mean" | "var", &[x]) => {
            let over: Over = node.attributes()?;
            let axes = over.axes.unwrap_or_else(|| (0..x.shape().len() as isize).collect());
            let y = match node.op.as_str() {
                "sum" => x.sum(&axes),
                "mean" => x.mean(&axes),
                _ => x.variance(&axes, size("a correction of", over.correction)?),
            };
            kept(y, x, &axes, over.keepdim)
        }
        ("max" | "logsumexp", &[x]) => {
            let Along { axis, keepdim } = node.attributes()?;
            let y = if node.op == "max" { x.max(&[axis]) } else { x.log_sum_exp(&[axis]) };
            kept(y, x, &[axis], keepdim)
        }
        ("gather_rows", &[x, i]) => x.index_select(0, i),
        ("layer_norm", &[x, ref affine @ ..]) => {
            let LayerNorm { ndims, eps } = node.attributes()?;
            let ndims = size("a number of axes of", ndims)?;
            let y = x.layer_norm(ndims, eps);
            let shape = x.shape();
            scale_and_shift(y, affine, &shape[shape.len().saturating_sub(ndims)..])
        }
        ("group_norm", &[x, ref affine @ ..]) => {
            let GroupNorm { groups, eps } = node.attributes()?;
            scale_and_shift(
                x.group_norm(size("a number of groups of", groups)?, eps),
                affine,
                &of_channels(x),
            )
        }
        ("batch_norm", &[x, gamma, beta, mean, variance]) => {
            return Ok(batch_norm(x, [gamma, beta], [mean, variance], node.attributes()?).to_vec());
        }
        ("dropout", &[x, mask]) => dropped(x, mask, node.attributes::<Number>()?.value),
        _ => {
            let operands = operands.len();
            return Err(Trouble::Unknown(format!(
                "no operation is called {} of {operands} operands",
                node.op
            )));
        }
    };
    Ok(vec![result])
}

/// Operations without attributes.
fn without_attributes<'g>(op: &str, operands: &[Var<'g>]) -> Option<Var<'g>> {
    Some(match (op, operands) {
        ("add", &[a, b]) => a + b,
        ("sub", &[a, b]) => a - b,
        ("mul", &[a, b]) => a * b,
        ("div", &[a, b]) => a / b,
        ("matmul", &[a, b]) => a.matmul(b),
        ("affine", &[x, w]) => x.matmul(w),
        ("affine", &[x, w, b]) => x.matmul(w) + b,
        ("linear", &[x, w]) => x.matmul(w.transpose()),
        ("linear", &[x, w, b]) => x.matmul(w.transpose()) + b,
        ("global_avg_pool2d", &[x]) => x.global_avg_pool2d(),
        ("relu", &[x]) => x.relu(),
        ("sigmoid", &[x]) => x.sigmoid(),
        ("tanh", &[x]) => x.tanh(),
        ("exp", &[x]) => x.exp(),
        ("log", &[x]) => x.ln(),
        ("sqrt", &[x]) => x.sqrt(),
        ("neg", &[x]) => -x,
        ("abs", &[x]) => x.abs(),
        ("silu", &[x]) => x.silu(),
        ("softplus", &[x]) => x.softplus(),
        ("stop_gradient", &[x]) => x.stop_gradient(),
        _ => return None,
    })
}

/// The axes that were summed away come back with size 1, if that is asked for.
fn kept<'g>(y: Var<'g>, x: Var<'g>, axes: &[isize], keep: bool) -> Var<'g> {
    match x.shape().axes(axes) {
        Ok(axes) if keep => {
            let size = |(axis, &size)| if axes.contains(&axis) { 1 } else { size };
            y.reshape(x.shape().iter().enumerate().map(size).collect::<Vec<_>>())
        }
        _ => y,
    }
}

/// The shape by which a number for each channel, axis 1, meets `x`.
fn of_channels(x: Var<'_>) -> Vec<usize> {
    let shape = x.shape();
    let one = |axis| if axis == 1 { shape[1] } else { 1 };
    (1..shape.len()).map(one).collect()
}

/// Images with a number added to each channel. (A single number would broadcast, but is no bias.)
fn add_to_channels<'g>(images: Var<'g>, bias: &[Var<'g>]) -> Var<'g> {
    bias.iter().fold(images, |y, bias| y + bias.reshape(of_channels(images)))
}

/// Times the first of two arrays of this shape and plus the second, as far as they are given.
fn scale_and_shift<'g>(x: Var<'g>, affine: &[Var<'g>], shape: &[usize]) -> Var<'g> {
    let scaled = affine.first().map_or(x, |gamma| x * gamma.reshape(shape));
    affine.get(1).map_or(scaled, |beta| scaled + beta.reshape(shape))
}

/// The normalised batch, and the two running statistics after it. (Those of the layer are in its store, and begin at
/// 0 and 1: `tests/layers.rs` looks at them.)
fn batch_norm<'g>(
    x: Var<'g>,
    affine: [Var<'g>; 2],
    running: [Var<'g>; 2],
    options: BatchNorm,
) -> [Var<'g>; 3] {
    let BatchNorm { training, momentum, eps } = options;
    let [mean, variance] = running;
    let channels = of_channels(x);
    if !training {
        let y = (x - mean.reshape(&channels[..])) / (variance.reshape(&channels[..]) + eps).sqrt();
        return [scale_and_shift(y, &affine, &channels), mean, variance];
    }
    let others: Vec<isize> = (0..x.shape().len() as isize).filter(|&axis| axis != 1).collect();
    let moved = |old: Var<'g>, new: Var<'g>| old * (1.0 - momentum) + new * momentum;
    let name = format!("batch_norm{}", x.graph().len());
    let normalised = nn::batch_norm(x, &name, nn::BatchNorm { epsilon: eps, momentum, affine: false });
    let y = scale_and_shift(normalised, &affine, &channels);
    [y, moved(mean, x.mean(&others)), moved(variance, x.variance(&others, 1))]
}

/// What a given mask leaves, scaled up by what is dropped; of everything dropped nothing is left.
fn dropped<'g>(x: Var<'g>, mask: Var<'g>, drop: f64) -> Var<'g> {
    x * mask * if drop < 1.0 { 1.0 / (1.0 - drop) } else { 0.0 }
}
