//! Each operation of the format as calls of the engine's methods.

use dagrad::{Graph, Var};

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
        ("pow_scalar", &[x]) => {
            let exponent = node.attributes::<Number>()?.value;
            if exponent.fract() == 0.0 { x.powi(exponent as i32) } else { return missing("pow") }
        }
        ("clamp", &[x]) => {
            let Clamp { min, max } = node.attributes()?;
            x.clamp(min, max)
        }
        ("gelu", &[x]) => match node.attributes::<Gelu>()?.approximate.as_str() {
            "none" => x.gelu(),
            "tanh" => x.gelu_tanh(),
            other => return missing(&format!("gelu approximated by {other}")),
        },
        ("softmax", &[x]) => x.softmax(node.attributes::<Along>()?.axis),
        ("log_softmax", &[x]) => x.log_softmax(node.attributes::<Along>()?.axis),
        ("softmax_cross_entropy", &[x, t]) => {
            let loss: Loss = node.attributes()?;
            if loss.reduction != "mean" || loss.ignore_index.is_some() || loss.label_smoothing != 0.0 {
                return missing("cross entropy with attributes");
            }
            if x.shape().len() != 2 {
                return missing("cross entropy of rank other than 2");
            }
            x.softmax_cross_entropy(t)
        }
        ("softmax_cross_entropy_soft", &[x, p]) => {
            let loss: Loss = node.attributes()?;
            if loss.reduction != "mean" {
                return missing("cross entropy with attributes");
            }
            x.softmax_cross_entropy(p)
        }
        ("reshape", &[x]) => x.reshape(node.attributes::<Target>()?.sizes(x.shape().count())?),
        ("broadcast_to", &[x]) => x.broadcast_to(node.attributes::<Target>()?.sizes(0)?),
        ("flatten", &[x]) => {
            let Flattened { start_axis, end_axis } = node.attributes()?;
            if (start_axis, end_axis) != (1, -1) {
                return missing("flatten_axes");
            }
            x.flatten()
        }
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
        ("sum" | "mean", &[x]) => {
            let Reduction { axes, keepdim, .. } = node.attributes()?;
            let axes = axes.unwrap_or_else(|| (0..x.shape().len() as isize).collect());
            match (node.op.as_str(), keepdim) {
                ("sum", false) => x.sum(&axes),
                ("sum", true) => x.sum_keep(&axes),
                (_, false) => x.mean(&axes),
                (_, true) => return missing("mean_keep"),
            }
        }
        ("dropout", &[x, mask]) => dropped(x, mask, node.attributes::<Number>()?.value),
        _ => {
            let operands = operands.len();
            return Err(Trouble::Unknown(format!("no operation is called {} of {operands} operands", node.op)));
        }
    };
    Ok(vec![result])
}

/// Operations that say all by their name.
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
        _ => return None,
    })
}

/// Pictures with a number added to each channel. (A number for all channels would broadcast; it is no bias.)
fn add_to_channels<'g>(pictures: Var<'g>, bias: &[Var<'g>]) -> Var<'g> {
    match (bias, pictures.shape().get(1)) {
        (&[bias], Some(&channels)) => pictures + bias.reshape([channels, 1, 1]),
        _ => pictures,
    }
}

/// What a given mask leaves, scaled up by what is dropped; of everything dropped nothing is left.
fn dropped<'g>(x: Var<'g>, mask: Var<'g>, drop: f64) -> Var<'g> {
    x * mask * if drop < 1.0 { 1.0 / (1.0 - drop) } else { 0.0 }
}
