"""The planted bugs: where, what stands there, what stands there instead, what is wrong then, and who should notice.

The text to find occurs exactly once in its file (`mutate.py --list` says where it no longer does). Tests are arguments
of `cargo test`; the first that fails has caught the bug.
"""

from typing import NamedTuple


class Mutant(NamedTuple):
    file: str
    find: str
    replace: str
    bug: str
    tests: tuple


GOLDEN = "--test reference files_pass"
PROPERTIES = "--test laws"
REWRITES = "--test compile rewrites"


def mutants(folder, *rows):
    """Bugs in files of one folder. Those of the kernels are in a crate of their own."""

    def path(file):
        return f"kernels/src/{file.removeprefix('kernels/')}" if file.startswith("kernels/") else f"src/{file}"

    return [Mutant(path(folder + file), find, replace, bug, tests) for file, find, replace, bug, *tests in rows]


CONV = "--test ops examples::conv2d"
NHWC = "-p dagrad-kernels nhwc"
PROPERTY_CONV = PROPERTIES + " convolution"
CONVOLUTION = mutants(
    "",
    ("kernels/conv/geometry.rs", "step: self.dilation, first: 0, next: 1 };",
     "step: self.dilation, first: self.kernel - 1, next: -1 };",
     "filters are turned", PROPERTY_CONV),
    ("kernels/conv/geometry.rs", "step: self.dilation, first: 0, next: 1 };",
     "step: self.stride, first: 0, next: 1 };",
     "the stride stands for the dilation", PROPERTY_CONV),
    ("kernels/conv/geometry.rs", "self.offset + index * self.step", "self.offset + index",
     "a strip is read without its dilation", PROPERTY_CONV),
    ("kernels/conv/geometry.rs", "            first: last,\n            next: -(one_of as isize),",
     "            first,\n            next: one_of as isize,",
     "the gradient in the image does not turn the filters", CONV),
    ("kernels/conv/geometry.rs", "padding: window.padding[axis],", "padding: window.padding[0],",
     "the padding above stands for that on the left", CONV),
    ("kernels/conv/geometry.rs", "kernel: window.kernel[axis],", "kernel: window.kernel[1],",
     "the window's width stands for its height", CONV),
    ("kernels/conv/geometry.rs", "start..start + (self.target - first).div_ceil(step);",
     "start..start + (self.target - first) / step;",
     "the gradient in the image is off by one where the stride does not divide", CONV),
    ("kernels/conv/nhwc/correlation/band.rs", "self.strip.number(index, self.plan.target_pixel());",
     "self.strip.number(self.plan.strips() - 1 - index, self.plan.target_pixel());",
     "groups in the wrong order", CONV),
    ("kernels/conv/nhwc/correlation/band.rs", "self.strip.number(index, self.plan.target_pixel());",
     "self.strip.number(0, self.plan.target_pixel());",
     "every group reads the first group's channels", CONV),
    ("kernels/conv/nhwc/correlation/band.rs", "copy_from_slice(&values[filters]),",
     "copy_from_slice(&values[..filters.len()]),",
     "every group has the first group's bias", CONV, NHWC),
    ("kernels/conv/nhwc/correlation/band.rs", "let count = self.list_runs(phase);",
     "let count = self.list_runs(phase) - usize::from(plan.strip.spread.is_some());",
     "a depthwise convolution skips its last tap", CONV),
    ("kernels/conv/nhwc/strip.rs", "if next == filters { (group + 1, 0) }", "if next >= filters.min(3) { (group + 1, 0) }",
     "a thin group of four filters sees the channels of the next one", CONV),
    ("kernels/conv/nhwc/sweep/dots.rs", "step_by(MAX_LANES) {\n                        for group", "step_by(2 * MAX_LANES) {\n                        for group",
     "a dot product leaves out every other block", CONV),
    ("kernels/conv/nhwc/weight_grad/tile.rs", "if is_first { value } else { V::load_first(sums, count).add(value) }", "value",
     "the sums of a band are not added to those before", NHWC, "--test ops conv2d::"),
    ("kernels/conv/nhwc/weight_grad/lanewise.rs",
     "for row in 0..ROWS {\n                        sums[row] = V::load(",
     "for row in 1..ROWS {\n                        sums[row] = V::load(",
     "the weight's gradient of a depthwise convolution skips a tap", CONV),
    ("kernels/conv/nhwc/weight_grad.rs", "    strip.rows += (rows - 1) * sizes.window.stride[0];",
     "    strip.rows += (rows - 1) * sizes.window.stride[0];\n    strip.origin[1] = strip.origin[0];",
     "the weight's gradient has the padding of the wrong axis", CONV),
    ("kernels/conv/nhwc/weight_grad.rs", "source: [strip.len(), plan.sizes.window.stride[0] * strip.row(), strip.block],",
     "source: [strip.len(), plan.sizes.window.stride[1] * strip.row(), strip.block],",
     "the weight's gradient has the stride of the wrong axis", CONV),
    ("kernels/conv/nhwc/weight_grad.rs", "strip.offset(block, [run / taps * down, run % taps * across])",
     "strip.offset(block, [run / taps * down.min(1), run % taps * across.min(1)])",
     "the weight's gradient ignores the dilation", CONV),
    ("kernels/conv/nhwc/weight_grad.rs", "let images = first..plan.sizes.batch.min(",
     "let images = first..(plan.sizes.batch.max(2) - 1).min(",
     "the weight's gradient misses the last image", CONV),
    ("kernels/conv/nhwc/weight_grad/batch_sum.rs", "for row in 0..rows {", "for row in 0..rows.min(2) {",
     "the weight's gradient adds up two rows of sums only", CONV, "--test ops conv2d::"),
    ("kernels/conv/nhwc/weight_grad.rs", "some.start == images.start && rows.start == 0,", "some.start == images.start,",
     "the sums of a band overwrite those of the bands before", NHWC, "--test ops conv2d::"),
    ("kernels/conv/nhwc/weight_grad.rs", "band.number(index, plan.all_filters);",
     "band.number(0, plan.all_filters);",
     "every group has the gradient of the first one's channels", CONV),
    ("kernels/conv/reference.rs", "weight[filter * self.taps()..][..self.taps()].iter()",
     "weight[filter % self.filters * self.taps()..][..self.taps()].iter()",
     "in the reference, every group has the first group's filters", "-p dagrad-kernels conv"),
    ("ops/conv2d.rs", "(Factor::InputGrad(_), _) => solved(Factor::Output, &[upstream, first]),",
     "(Factor::InputGrad(_), _) => solved(Factor::Output, &[upstream * 0.5, first]),",
     "a second derivative is half as large", CONV),
    ("ops/conv2d/lower.rs", "consumer.other == Some(&[0, 0, 0, 1]);", "consumer.other == Some(&[0, 0, 1, 0]);",
     "a number for each row is taken for a bias", CONV),
    ("ops/attributes.rs", "padding_after: sides.map(|[_, after]| after)",
     "padding_after: sides.map(|[before, _]| before)",
     "the padding of one side on both", CONV),
    ("ops/attributes.rs", "[total / 2, total - total / 2]", "[total - total / 2, total / 2]",
     "'same' padding has its odd pixel on the wrong side", "--test ops conventions::the_odd"),
    ("kernels/window.rs", "_ => Ok(room / stride + 1),", "_ => Ok(room.div_ceil(stride) + 1),",
     "the output size is rounded up", CONV, PROPERTY_CONV),
    ("kernels/conv/nhwc/weight_grad/batch_sum.rs", "for row in 0..rows {", "for row in 0..rows.min(1) {",
     "the weight's gradient is that of the first images", "--test ops conv2d::"),
)

POOL = "--test ops examples::max_pool2d"
PROPERTY_POOL = PROPERTIES + " pool"
MAXIMUM = mutants(
    "",
    ("kernels/pool.rs", "let is_larger = (pixel > *maximum) |", "let is_larger = (pixel >= *maximum) |",
     "the last of equal maxima has the gradient", PROPERTY_POOL),
    ("kernels/pool.rs", "let is_larger = (pixel > *maximum) | (pixel.is_nan() & !maximum.is_nan());",
     "let is_larger = pixel > *maximum;",
     "NaN is dropped", GOLDEN),
    ("kernels/pool.rs", "            line.fill(T::neg_infinity());", "            line.fill(T::zero());",
     "padding is 0 instead of -inf", PROPERTY_POOL),
    ("kernels/pool.rs", "plane[index as usize] += value;", "plane[index as usize] = value;",
     "overlapping windows overwrite each other's gradient", PROPERTY_POOL),
    ("kernels/pool.rs", "let offset = (p * width + q) as u32;", "let offset = (p * (width + 1) + q) as u32;",
     "the index is off by one in each row", PROPERTY_POOL),
    ("kernels/pool.rs", "*origin = row.wrapping_add(x * stride[1]) as u32",
     "*origin = row.wrapping_add(x * stride[0]) as u32",
     "the vertical stride stands for the horizontal one", PROPERTY_POOL),
    ("kernels/pool.rs", "indices[position] = (self.first(0, y) * width + self.first(1, x)) as u32;",
     "indices[position] = 0;",
     "a window of nothing but -inf gives its gradient to the first pixel of the image", "-p dagrad-kernels pool", GOLDEN),
    ("kernels/window.rs", "(room / stride + 1) * stride < before + size =>", "(room / stride + 1) * stride <= before + size =>",
     "with ceil_mode, a last window of nothing but padding stays", PROPERTY_POOL),
    ("ops/max_pool2d.rs", "window.padding[axis] > extent[axis] / 2)", "window.padding[axis] > extent[axis])",
     "padding of more than half the window is accepted", "--test ops misuse"),
    ("ops/max_pool2d.rs", "vec![plane_read(self.layout, AxisRead::under(self.window)), AxisMap::same(4)]",
     "vec![AxisMap::same(4), AxisMap::same(4)]",
     "a pool says that it reads no window", POOL),
    ("ops/rules.rs", "Rewrite::op_on(put.adjoint(), [by.id, indices]);", "Rewrite::Node(upstream);",
     "a gate before a pool's gradient looks at the gradient", REWRITES),
    ("ops/rules.rs", ".plane().iter().all(|axis| sum.axes.contains(axis));",
     ".plane().iter().any(|axis| sum.axes.contains(axis));",
     "a sum over rows of a pool's gradient is taken where the gradient came from", REWRITES),
)

AVG = "--test ops examples::avg_pool2d"
MEAN = mutants(
    "kernels/pool/",
    ("average.rs", "window.kernel[axis].min(padded - position * window.stride[axis])", "window.kernel[axis].min(padded)",
     "what hangs over the padded image counts in the divisor", PROPERTY_POOL),
    ("average.rs", "            Regions::Window { window, count_include_pad: true } => {",
     "            Regions::Window { window, count_include_pad: false } => {",
     "the padding counts where it should not, and the other way round", PROPERTY_POOL),
    ("average.rs", "self.divide(row * columns, &positions, quotients);", "self.divide(0, &positions, quotients);",
     "the gradient is divided as in the first window", AVG),
    ("average.rs", "1 => pixels.iter_mut().zip(quotients).for_each(|(pixel, quotient)| *pixel += *quotient),",
     "1 => pixels.iter_mut().zip(quotients).for_each(|(pixel, quotient)| *pixel = *quotient),",
     "overlapping windows overwrite each other's gradient", AVG),
    ("average.rs", "..end.div_ceil(parts) as usize", "..(end / parts) as usize",
     "parts of an adaptive pool do not share pixels", AVG, "--test ops conventions"),
)

SOFTMAX = "--test ops examples::softmax"
CROSS = "--test ops examples::cross_entropy"
CLASSES = "--test ops examples::class_losses"
LOSSES = mutants(
    "",
    ("kernels/softmax.rs", "values().fold(T::neg_infinity(), |a, b| if b > a { b } else { a });", "T::zero();",
     "the maximum is not subtracted", SOFTMAX, GOLDEN),
    ("kernels/softmax.rs", "let log_total = T::of(total.ln());", "let log_total = T::of((total + 1e-7).ln());",
     "an epsilon inside the logarithm", SOFTMAX, GOLDEN),
    ("kernels/softmax.rs", "values().map(|value| (value - maximum).exp().into_f64()).sum();",
     "values().map(|value| f64::from((value - maximum).exp().into_f64() as f32)).sum();",
     "a detour through f32 in f64", GOLDEN),
    ("ops/softmax.rs", "upstream - y.exp() * upstream.sum_keep(axis)", "upstream - y.exp()",
     "the gradient takes the upstream for ones", SOFTMAX),
    ("ops/softmax.rs", "y * (upstream - (upstream * y).sum_keep(axis))", "y * (1.0 - y) * upstream",
     "only the diagonal of softmax's derivative", SOFTMAX),
    ("ops/cross_entropy.rs", "self.log_softmax(-1);", "self.log_softmax(0);",
     "softmax over the batch", "--test train nn::layers", GOLDEN),
    ("ops/cross_entropy.rs", "self.gather(1, labels.reshape([count, 1]))", "self.gather(1, labels.reshape([count, 1])).abs()",
     "a logarithm loses its sign", CROSS),
    ("ops/cross_entropy.rs", "-each.mean_all()", "-each.sum_all()",
     "the sum instead of the mean", GOLDEN),
    ("ops/losses.rs", "Self::Sum => each.sum_all(),", "Self::Sum => each.mean_all(),",
     "the mean instead of the sum", "--test ops examples::losses", "--test ops conventions"),
    ("ops/class_losses.rs", "loss.sum_all() / weight.sum_all()", "loss.sum_all() / each.count() as f64",
     "ignored labels count in the mean", "--test ops conventions"),
    ("ops/class_losses.rs", "(share / classes as f64)", "(share / (classes - 1) as f64)",
     "smoothing leaves out the label itself", "--test ops conventions"),
    ("run/feed.rs", "index as usize >= limit", "index as usize > limit",
     "a class one too large is let in", "--test run feed", GOLDEN),
)

MATMUL = "--test ops examples::matmul"
BROADCAST = "--test ops examples::broadcast"
PRODUCTS = mutants(
    "",
    ("ops/matmul.rs", "(0, true, b_is_transposed) => product(b, b_is_transposed, upstream, true),",
     "(0, true, b_is_transposed) => product(b, !b_is_transposed, upstream, true),",
     "a transposed operand is not transposed in the gradient", MATMUL),
    ("ops/matmul.rs", "(0, false, b_is_transposed) => product(upstream, false, b, !b_is_transposed),",
     "(0, false, b_is_transposed) => product(upstream, false, b, b_is_transposed),",
     "the right operand is not transposed in the left one's gradient", MATMUL),
    ("ops/matmul.rs", "(_, a_is_transposed, false) => product(a, !a_is_transposed, upstream, false),",
     "(_, a_is_transposed, false) => {\n                let doubled = if self.of_batches { upstream * 2.0 } else { upstream };\n                product(a, !a_is_transposed, doubled, false)\n            }",
     "the gradient of a batch of products is twice as large", "--test ops examples::batch_matmul"),
    ("ops/batch_matmul.rs", "[(row, -2), (column, -1)]", "[(row, 0), (column, -1)]",
     "the first batch axis disappears with a row", "--test laws product", GOLDEN),
    ("kernels/gemm.rs", "let parts = self.sums[row * self.columns + column..].chunks(self.numbers);",
     "let parts = self.sums[row * self.columns + column..].chunks(self.numbers).take(1);",
     "a long inner dimension is summed in part", "-p dagrad-kernels gemm"),
    ("kernels/gemm/dots.rs", "for group in 0..(k - whole).div_ceil(V::LANES) {",
     "for group in 0..(k - whole) / V::LANES {",
     "dot products miss their last few terms", "-p dagrad-kernels gemm", MATMUL),
    ("ops/broadcast.rs", "axis < new || operand[axis - new] != self.shape[axis];", "axis < new;",
     "what was broadcast along an axis of size 1 is not summed back", BROADCAST),
    ("ops/broadcast.rs", "sum / count as f64", "sum / shape.count().max(1) as f64",
     "a mean over some axes divides by all elements", PROPERTIES + " sums", "--test ops examples"),
    ("ops/arithmetic.rs", "(Divide, _) => -(upstream * inputs.output / b),", "(Divide, _) => upstream * inputs.output / b,",
     "the sign of a quotient's gradient", "--test ops examples::arithmetic"),
    ("ops/arithmetic.rs", "(Multiply, _) => upstream * inputs.operands[1 - argument],",
     "(Multiply, _) => upstream * inputs.operands[argument],",
     "a factor's gradient is the factor itself", "--test ops examples::arithmetic"),
    ("ops/arithmetic.rs", "(Subtract, _) => -upstream,", "(Subtract, _) => upstream,",
     "what is subtracted has the gradient of what is added", "--test ops examples::arithmetic"),
    ("kernels/reduce.rs", "lanes.iter().sum::<f64>() + rest.iter().map(|value| value.into_f64()).sum::<f64>()",
     "lanes.iter().sum::<f64>()",
     "sums miss their last few terms", "-p dagrad-kernels reduce", BROADCAST),
)

POINT = "--test ops examples::pointwise"
ACTIVATIONS = mutants(
    "",
    ("ops/pointwise.rs", "Relu => upstream.gate(y),",
     "Relu => upstream * x.greater_equal(0.0),",
     "relu has the gradient 1 at 0", "--test autodiff gradients::relu", GOLDEN),
    ("ops/arithmetic.rs", "(Gate, 0) => upstream.gate(b),", "(Gate, 0) => upstream,",
     "a gate lets the whole gradient pass", "--test ops examples::arithmetic"),
    ("ops/pointwise.rs", "Sigmoid => upstream * (y * (1.0 - y)),", "Sigmoid => upstream * (1.0 - y),",
     "sigmoid's gradient lacks a factor", POINT),
    ("ops/pointwise.rs", "Tanh => upstream * (1.0 - y * y),", "Tanh => upstream * (1.0 - y),",
     "tanh's gradient lacks a square", POINT),
    ("ops/pointwise.rs", "Abs => upstream * x.sign(),", "Abs => upstream * (x.sign() + x.equal(0.0)),",
     "|x| has the gradient 1 at 0", "--test ops activations", GOLDEN),
    ("ops/pointwise.rs", "AtMost(bound) => upstream.gate(bound - x),", "AtMost(bound) => upstream.gate(x - bound),",
     "the gradient passes beyond a bound instead of below it", POINT),
    ("ops/activations.rs", "self.at_least(least).at_most(most)", "self.at_most(least).at_least(most)",
     "clamp has its bounds the wrong way round", "--test ops activations", GOLDEN),
    ("kernels/elementwise/step.rs", "a.max(T::zero()) + (-a.abs()).exp().ln_1p()", "a.exp().ln_1p()",
     "softplus overflows", "--test ops activations"),
    ("kernels/elementwise/step.rs", "T::one() / (T::one() + (-a).exp())\n", "a.exp() / (T::one() + a.exp())\n",
     "sigmoid overflows to NaN", "-p dagrad-kernels elementwise", GOLDEN),
    ("kernels/elementwise/step.rs", "Function::Tanh => T::tanh,",
     "Function::Tanh => |a| T::of(f64::from(a.tanh().into_f64() as f32)),",
     "a detour through f32 in f64", GOLDEN),
)

GRAPH = mutants(
    "",
    ("autodiff.rs", "Some(sum) => sum + gradient,", "Some(_) => gradient,",
     "fan-out overwrites instead of adding", "--test autodiff"),
    ("autodiff.rs", "operands.into_iter().enumerate() {", "operands.into_iter().enumerate().take(1) {",
     "only the first operand has a gradient", "--test autodiff"),
    ("autodiff.rs", "if depends[operand.index()]\n",
     "if depends[operand.index()]\n                && !(position == 1 && graph.dag().operand(node, 0) == operand)\n",
     "an operand that stands twice receives one of its two gradients", "--test autodiff the_same_array"),
    ("ops/stop_gradient.rs", "    fn vjp<'g>(&self, _: usize, _: VjpInputs<'g>) -> Gradient<'g> {\n        Gradient::Constant",
     "    fn vjp<'g>(&self, _: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {\n        Gradient::Of(inputs.upstream)",
     "stop_gradient stops nothing", GOLDEN),
    ("compile/passes.rs", "new.op(other).is_some_and(|other| op.same(other))",
     "new.op(other).is_some_and(|other| op.name() == other.name())",
     "operations with other attributes are taken for the same", "--test compile plan", PROPERTIES),
    ("compile/passes.rs", "uses[id.index()] == 1;", "uses[id.index()] >= 1;",
     "a value that others read too disappears into its first reader", "--test compile plan", PROPERTIES),
    ("compile/liveness.rs", "program.roots().for_each(|root| last_reader[value[root.index()]] = usize::MAX);", "",
     "the memory of results is used again", "--test compile plan", PROPERTIES),
    ("compile/liveness.rs", "operands.iter().for_each(|operand| last_reader[value[operand.index()]] = id.index());",
     "operands.iter().for_each(|operand| last_reader[operand.index()] = id.index());",
     "what is read under another shape is given back too early", "--test compile plan", PROPERTIES),
    ("compile/liveness.rs", "        self.last_reader[value]\n",
     "        let last = self.last_reader[value];\n        if last == usize::MAX { last } else { last.saturating_sub(1) }\n",
     "a value is given back one step too early", "--test compile plan", PROPERTIES),
    ("compile/lower.rs", "let made = self.transpose(nhwc, Layout::Nchw, id);", "let made = nhwc;",
     "lowering forgets to transpose back", "--test compile plan", CONV),
    ("compile/lower.rs", "Node { kind: Kind::Output(number), ty,", "Node { kind: Kind::Output(0), ty,",
     "a further output of a kernel stands for its first", "--test compile plan", POOL),
    ("graph/kernel.rs", "AxisMap::keeps_samples", "|_| true",
     "an operand that is read as a whole is read sample by sample", "--test compile", CONV),
    ("run/execute.rs", "Err(problem) => Some((first, FaultKind::Failure(problem))),", "Err(_) => None,",
     "a kernel's failure is not told", "--test run failure"),
    ("run/execute.rs", "            store.advance();\n", "",
     "every step draws the same dropout mask", "--test train fit", "--test train nn::layers"),
)

OPTIMIZERS = mutants(
    "optim/",
    ("adaptive.rs", "let next = c * beta + (1.0 - beta);", "let next = c * beta + (1.0 - beta) / (1.0 - beta);",
     "Adam's bias is not corrected", "--test train optim"),
    ("adaptive.rs", "g * g * (1.0 - beta2);", "g * (1.0 - beta2);",
     "Adam's second moment is of the gradient, not its square", "--test train optim"),
    ("adaptive.rs", "next_v.sqrt() * inverse_root + epsilon", "(next_v + epsilon).sqrt() * inverse_root",
     "Adam's epsilon inside the root", "--test train optim"),
    ("adaptive.rs", "let step = next_m / ", "let step = m / ",
     "Adam steps by the moment before", "--test train optim"),
    ("adaptive.rs", "p * (1.0 - rate * self.weight_decay)", "p * (1.0 - self.weight_decay)",
     "weight decay without the learning rate", "--test train optim", GOLDEN),
    ("adaptive.rs", "let next = h + g * g;", "let next = g * g;",
     "AdaGrad forgets", "--test train optim"),
    ("momentum.rs", "v * self.momentum - g * rate;", "v * self.momentum + g * rate;",
     "momentum climbs", "--test train optim"),
    ("momentum.rs", "p - (g + next * self.momentum) * rate", "p - next * rate",
     "Nesterov without looking ahead", "--test train optim"),
    ("momentum.rs", "            v.assign(next);\n", "",
     "momentum has no memory", "--test train optim"),
    ("rate.rs", "step.assign(step + 1.0);", "step.assign(step + 2.0);",
     "a schedule runs twice as fast", "--test train optim"),
    ("gradient.rs", "flat(gradient).norm(&[0])", "flat(gradient).max(&[0])",
     "gradients are clipped by their largest numbers", "--test train optim"),
)

DROPOUT = mutants(
    "ops/",
    ("dropout.rs", "1.0 / keep }", "1.0 }", "what is kept is not scaled up", "--test train nn::layers"),
    ("dropout.rs", "graph.mode() == Mode::Evaluate || drop == 0.0", "drop == 0.0",
     "dropout in evaluation", "--test train nn::layers"),
    ("dropout.rs", "random::mask(source, keep, scale,", "random::mask(source, self.drop, scale,",
     "what should be dropped is kept", "--test train nn::layers"),
    ("dropout.rs", "let stream = graph.dag().len() as u64;", "let stream = 0;",
     "all dropout layers have the same mask", "--test train nn::layers"),
)

SHAPES = mutants(
    "",
    ("ops/transpose.rs", "inverse[axis] = position);", "inverse[position] = axis);",
     "the gradient is permuted the same way again", "--test ops examples::transpose"),
    ("ops/transpose.rs", "self.axes.iter().map(|&axis| first.axes[axis]).collect();",
     "first.axes.iter().map(|&axis| self.axes[axis]).collect();",
     "two permutations are joined in the wrong order", REWRITES),
    ("ops/slice.rs", "position.saturating_add_unsigned(size) } else",
     "position.saturating_add_unsigned(size) + 1 } else",
     "positions from the end are off by one", "--test ops conventions", GOLDEN),
    ("ops/slice.rs", "points: self.points.clone(), value: 0.0 };", "points: self.points.clone(), value: 1.0 };",
     "what was not read has the gradient 1", "--test ops examples::slice"),
    ("ops/concat.rs", "let start: isize = inputs.operands[..argument].iter().map(size).sum();",
     "let start: isize = argument as isize;",
     "a part of a concatenation has its neighbour's gradient", "--test ops examples::concat"),
    ("kernels/gather.rs", "out[index as usize * self.inner + lane] += value;",
     "out[index as usize * self.inner + lane] = value;",
     "rows that are read twice receive one gradient", "--test ops examples::gather", PROPERTIES + " parts"),
    ("kernels/gather.rs", "value > largest || value.is_nan()", "value >= largest || value.is_nan()",
     "the last of equal maxima has the gradient", "-p dagrad-kernels gather"),
    ("ops/einsum.rs", "times as u32).map(|power|", "std::cmp::min(2, times as u32)).map(|power|",
     "the diagonal of three axes is that of two", PROPERTIES + " einstein"),
)

NORM = "--test ops examples::statistics"
NORMS = mutants(
    "",
    ("ops/statistics.rs", "(self - self.mean_keep(axes)).powi(2).sum(axes) / (count - correction) as f64",
     "(self.powi(2).sum(axes) - self.sum(axes).powi(2) / count as f64) / (count - correction) as f64",
     "the variance in one pass, in which digits cancel", GOLDEN, "--test ops conventions"),
    ("ops/statistics.rs", "(centred.powi(2).mean_keep(axes) + epsilon).sqrt()",
     "(centred.powi(2).mean_keep(axes).sqrt() + epsilon)",
     "the epsilon outside the root", GOLDEN),
    ("ops/statistics.rs", "let centred = self - self.mean_keep(axes);",
     "let centred = self - self.mean_keep(axes).stop_gradient();",
     "the mean is taken for a constant", NORM),
    ("nn/norm.rs", "* (count as f64 / (count - 1) as f64);", "* 1.0;",
     "the running variance is biased", "--test train nn::layers"),
    ("nn/norm.rs", "let (new, old) = (options.momentum, 1.0 - options.momentum);",
     "let (old, new) = (options.momentum, 1.0 - options.momentum);",
     "running statistics keep what they should replace", "--test train nn::layers"),
    ("nn/norm.rs", "if graph.mode() == Mode::Evaluate {", "if graph.mode() != Mode::Evaluate {",
     "running statistics while training, the batch's in evaluation", "--test train nn::layers"),
    ("nn/norm.rs", "let batch_mean = x.mean(&axes);", "let batch_mean = x.mean(&axes).stop_gradient();",
     "batch normalisation takes the mean for a constant", GOLDEN),
)

PARTS = {
    "Convolution": CONVOLUTION,
    "Maximum pooling": MAXIMUM,
    "Mean pooling": MEAN,
    "Softmax and losses": LOSSES,
    "Products, broadcasting, sums": PRODUCTS,
    "Activations": ACTIVATIONS,
    "Graph, compiler, runs": GRAPH,
    "Optimizers": OPTIMIZERS,
    "Dropout": DROPOUT,
    "Shapes and selections": SHAPES,
    "Normalisation": NORMS,
}
