//! One layer at a time, forward and backward.
//!
//! Operands are parameters, so that nothing is copied before a run. A convolution and a product come with their
//! bias. The backward direction yields all gradients from a given upstream one; for a pool it also finds the
//! maxima, since it stands alone.

use std::time::Duration;

use dagrad::inspect::Summary;
use dagrad::nn::{Filters, conv2d, linear};
use dagrad::{Graph, Init, Result, Var, vjp};

use crate::measure::{Effort, Mode, Runner};
use crate::report::{Report, Row};

/// A layer, and the shape of what it reads.
struct Layer {
    name: &'static str,
    input: &'static [usize],
    record: fn(Var<'_>) -> Var<'_>,
}

const LAYERS: [Layer; 8] = [
    Layer { name: "conv 16-16 3x3", input: &[100, 16, 28, 28], record: |x| conv(x, 16, 3, 1) },
    Layer { name: "conv 16-16 5x5", input: &[100, 16, 28, 28], record: |x| conv(x, 16, 5, 2) },
    Layer { name: "conv 16-16 7x7", input: &[100, 16, 28, 28], record: |x| conv(x, 16, 7, 3) },
    Layer { name: "conv 64-64 3x3", input: &[64, 64, 32, 32], record: |x| conv(x, 64, 3, 1) },
    Layer { name: "conv 1-30 5x5", input: &[100, 1, 28, 28], record: |x| conv(x, 30, 5, 0) },
    Layer { name: "max pool 2x2", input: &[100, 30, 24, 24], record: |x| x.max_pool2d(2) },
    Layer { name: "matmul 4320-100", input: &[100, 4320], record: |x| linear(x, "layer", 100) },
    Layer { name: "matmul 1024-1024", input: &[1024, 1024], record: |x| linear(x, "layer", 1024) },
];

fn conv(images: Var<'_>, channels: usize, kernel: usize, padding: usize) -> Var<'_> {
    conv2d(images, "layer", Filters::new(channels, kernel).padding(padding))
}

/// Measures every layer in one direction.
pub fn measure(mode: Mode, threads: usize, blocks: usize, report: &mut Report) -> Result<()> {
    let effort = Effort { warm_up: Duration::from_millis(200), blocks, block: Duration::from_millis(100) };
    for layer in &LAYERS {
        let graph = Graph::new();
        let normal = Init::Normal { std: 1.0 };
        let x = graph.param("x", layer.input, normal);
        let y = (layer.record)(x);
        let work = work(x, y, mode);
        let outputs = match mode {
            Mode::Infer => vec![y],
            Mode::Train => {
                let upstream = graph.state("upstream", y.shape(), normal);
                vjp(&[(y, upstream)], &graph.parameters())?.into_iter().flatten().collect()
            }
        };
        let timing = Runner::of_parameters(&graph, &outputs, threads)?.time(effort)?;
        let shape = layer.input.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        let [least, most] = timing.range();
        let row = Row::default()
            .text("layer", layer.name, 16)
            .text("input", &shape, 13)
            .text("direction", if mode == Mode::Infer { "forward" } else { "backward" }, 9)
            .count("threads", threads)
            .number("ms", timing.median() * 1e3, 4)
            .number("min_ms", least * 1e3, 4)
            .number("max_ms", most * 1e3, 4)
            .number("rate", work.amount / timing.median() / 1e9, 1)
            .text("unit", work.unit, 7);
        report.row(&row);
    }
    Ok(())
}

/// What a layer does at least.
struct Work {
    amount: f64,
    unit: &'static str,
}

/// Arithmetic of the direct definition, of which the gradients are two; for a layer without any, the bytes of
/// input and output, which must move in either direction.
fn work(x: Var<'_>, y: Var<'_>, mode: Mode) -> Work {
    let operations = 2.0 * Summary::of(y).macs as f64;
    if operations == 0.0 {
        return Work { amount: ((x.shape().count() + y.shape().count()) * 4) as f64, unit: "GB/s" };
    }
    let directions = if mode == Mode::Infer { 1.0 } else { 2.0 };
    Work { amount: directions * operations, unit: "GFLOP/s" }
}
