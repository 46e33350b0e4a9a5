//! How much of AlexNet's time do its convolutions take?
//!
//! The book says 89 % on a CPU for the forward pass (after Y. Jia's thesis, *Learning Semantic Image Representations at a
//! Large Scale*, 2014). This measures it here, forward and in a whole training step.
//!
//! `cargo run --release --example alexnet_profile -- --help`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use dagrad::inspect::{Phase, Profile};
use dagrad::nn::{AlexNet, Network};
use dagrad::optim::{Sgd, minimize};
use dagrad::{Error, Graph, Mode, Plan, Result, Store, Workspace};
use ndarray::{Array1, Array4};

/// Profiles a network of AlexNet's shape.
#[derive(Parser)]
struct Arguments {
    /// Images in a batch.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    batch: u32,
    /// Filters of the first convolution; AlexNet has 96. The others follow.
    #[arg(long, default_value_t = 96, value_parser = clap::value_parser!(u32).range(2..=96))]
    width: u32,
    /// Threads; by default all cores.
    #[arg(long)]
    threads: Option<usize>,
    /// Write the profile of the training step to this file.
    #[arg(long, value_name = "FILE.json")]
    json: Option<PathBuf>,
    /// Write a trace of the training step to this file, for chrome://tracing or ui.perfetto.dev.
    #[arg(long, value_name = "FILE.json")]
    trace: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let mut workspace = arguments.threads.map_or_else(Workspace::for_this_machine, Workspace::new)?;
    let forward = profile(arguments, &mut workspace, false)?;
    println!("Forward, {} images\n\n{forward}", arguments.batch);
    let training = profile(arguments, &mut workspace, true)?;
    println!("Training step, {} images\n\n{training}", arguments.batch);
    println!("The convolutions' share of the time:");
    println!("  forward        {:5.1} %   (the book: 89 %)", 100.0 * share(&forward, |_| true));
    println!("  training step  {:5.1} %", 100.0 * share(&training, |_| true));
    println!("    its backward {:5.1} %", 100.0 * share(&training, |phase| phase == Phase::Backward));
    let files = [(&arguments.json, training.to_json()), (&arguments.trace, training.to_chrome_trace())];
    for (path, text) in files {
        if let Some(path) = path {
            let failed =
                |error: std::io::Error| Error::Data { path: path.clone(), message: error.to_string() };
            std::fs::write(path, text).map_err(failed)?;
            println!("written: {}", path.display());
        }
    }
    Ok(())
}

/// The time of each step of the network on random pictures, forward alone or with gradients and update.
fn profile(arguments: &Arguments, workspace: &mut Workspace, trains: bool) -> Result<Profile> {
    let network = AlexNet { width: arguments.width as usize, ..AlexNet::default() };
    let graph = Graph::with_mode(if trains { Mode::Train } else { Mode::Evaluate });
    let batch = arguments.batch as usize;
    let images = graph.input("images", [batch, 3, 227, 227]);
    let logits = network.logits(images);
    let pictures = Array4::from_shape_fn((batch, 3, 227, 227), |(n, c, y, x)| {
        ((7 * n + 3 * c + 5 * y + x) % 17) as f32 / 17.0
    });
    let classes = Array1::from_shape_fn(batch, |n| n as u32);
    if !trains {
        let plan = Plan::<f32>::compile(&graph, &[logits])?;
        return plan.profile(&Store::new(0), workspace, &[images.feed(&pictures)]);
    }
    let labels = graph.labels("labels", [batch]);
    let loss = logits.softmax_cross_entropy(labels);
    minimize(loss, &Sgd::new(1e-3))?;
    let plan = Plan::<f32>::compile(&graph, &[loss])?;
    plan.profile(&Store::new(0), workspace, &[images.feed(&pictures), labels.feed(&classes)])
}

/// The convolutions' share of the time of some parts of a step. What a convolution does on the way, such as bias and relu,
/// counts with it.
fn share(profile: &Profile, part: impl Fn(Phase) -> bool) -> f64 {
    let time = |keep: &dyn Fn(&str) -> bool| -> f64 {
        let steps = profile.steps.iter().filter(|step| part(step.phase) && keep(step.operation));
        steps.map(|step| step.microseconds).sum()
    };
    time(&|operation| operation.starts_with("conv2d")) / time(&|_| true).max(f64::MIN_POSITIVE)
}
