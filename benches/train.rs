//! How fast a training step of the book's networks is: `cargo bench --bench train`.
//!
//! Prints images per second: the median, least and most of several blocks after a warm-up, on a fixed batch
//! already in memory. `-- --net simple|deep --batch N --threads N` choose what is measured; `--plan` prints
//! the compiled step and how long each of its kernels takes.

use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use dagrad::nn::{DeepConvNet, Network, SimpleConvNet};
use dagrad::optim::Adam;
use dagrad::{Feed, Graph, Result, Store, Trainer, Workspace};
use ndarray::{Array1, Array4};

#[derive(Parser)]
struct Arguments {
    #[arg(long, value_enum, default_value_t = Net::Simple)]
    net: Net,
    /// Images in a batch.
    #[arg(long, default_value_t = 100)]
    batch: usize,
    /// Threads; by default all cores.
    #[arg(long)]
    threads: Option<usize>,
    /// How many blocks are timed.
    #[arg(long, default_value_t = 7)]
    blocks: usize,
    /// Print the plan first.
    #[arg(long)]
    plan: bool,
    /// `cargo bench` passes this; it changes nothing.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Net {
    Simple,
    Deep,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.net {
        Net::Simple => measure(&SimpleConvNet::default(), &arguments),
        Net::Deep => measure(&DeepConvNet::default(), &arguments),
    }
}

fn measure(network: &impl Network, arguments: &Arguments) -> Result<()> {
    let batch = arguments.batch;
    let workspace = arguments.threads.map_or_else(Workspace::for_this_machine, Workspace::new)?;
    let threads = workspace.threads();
    let graph = Graph::new();
    let images = graph.input("images", [batch, 1, 28, 28]);
    let labels = graph.labels("labels", [batch]);
    let loss = network.logits(images).softmax_cross_entropy(labels);
    let start = Instant::now();
    let mut trainer = Trainer::<f32>::with(loss, &Adam::new(1e-3), Store::new(0), workspace)?;
    let compile = start.elapsed();
    // Numbers without a pattern that a kernel could profit from.
    let pixel =
        |(n, _, y, x): (usize, usize, usize, usize)| ((n * 7919 + y * 613 + x * 97) % 256) as f32 / 255.0;
    let pictures = Array4::from_shape_fn((batch, 1, 28, 28), pixel);
    let classes = Array1::from_shape_fn(batch, |n| (n * 7 % 10) as u32);
    let feeds = [images.feed(&pictures), labels.feed(&classes)];

    let warm_up = Instant::now();
    while warm_up.elapsed() < Duration::from_secs(1) {
        trainer.step(&feeds)?;
    }
    let mut rates = Vec::new();
    for _ in 0..arguments.blocks.max(1) {
        let (start, mut steps) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_millis(500) {
            trainer.step(&feeds)?;
            steps += 1;
        }
        rates.push((steps * batch) as f64 / start.elapsed().as_secs_f64());
    }
    if arguments.plan {
        print_times(&mut trainer, &feeds)?;
    }
    rates.sort_by(f64::total_cmp);
    println!(
        "batch {batch}, {threads} threads: {:.0} images/s ({:.0} to {:.0}), compiled in {:.1} ms",
        rates[rates.len() / 2],
        rates[0],
        rates[rates.len() - 1],
        compile.as_secs_f64() * 1e3
    );
    Ok(())
}

/// The plan's steps with the microseconds that each takes, the median of several runs.
fn print_times(trainer: &mut Trainer<f32>, feeds: &[Feed<'_>]) -> Result<()> {
    let runs: Vec<Vec<Duration>> = (0..21).map(|_| trainer.time_steps(feeds)).collect::<Result<_>>()?;
    for (number, step) in trainer.plan().steps().iter().enumerate() {
        let mut times: Vec<Duration> = runs.iter().map(|run| run[number]).collect();
        times.sort();
        let micros = times[times.len() / 2].as_secs_f64() * 1e6;
        println!("{micros:>9.1} µs  {} ({}) {}", step.op.name(), step.op.attributes(), step.output.meta);
    }
    Ok(())
}
