//! How much of AlexNet's time do its convolutions take?
//!
//! The book says 89 % on a CPU for the forward pass (after Y. Jia's thesis, *Learning Semantic Image Representations at a
//! Large Scale*, 2014). This measures it here, forward and in a whole training step.
//!
//! `cargo run --release --example alexnet_profile -- --help`

mod arguments;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use arguments::{Flags, say};
use dagrad::inspect::{Phase, Profile};
use dagrad::nn::{AlexNet, Network};
use dagrad::optim::{Sgd, minimize};
use dagrad::{Graph, Mode, Plan, Result, Store, Workspace};
use ndarray::{Array1, Array4};

const HELP: &str = "\
Profiles a network of AlexNet's shape.

Usage: cargo run --release --example alexnet_profile -- [FLAGS]

  --batch NUMBER      images in a batch, at most 1024 [16]
  --width NUMBER      filters of the first convolution, an even number up to 96. The others follow. [96]
  --threads NUMBER    threads; by default all cores
  --json FILE.json    write the profile of the training step to this file
  --trace FILE.json   write a trace of the training step to this file, for chrome://tracing or
                      ui.perfetto.dev";

struct Arguments {
    batch: usize,
    width: usize,
    threads: Option<usize>,
    json: Option<PathBuf>,
    trace: Option<PathBuf>,
}

impl Arguments {
    fn read(flags: &mut Flags) -> std::result::Result<Self, String> {
        let mut read = Self { batch: 16, width: 96, threads: None, json: None, trace: None };
        while let Some(flag) = flags.next()? {
            match flag.as_str() {
                "--batch" => {
                    read.batch =
                        flags.number("a whole number from 1 to 1024", |batch| (1..=1024).contains(batch))?;
                }
                "--width" => {
                    read.width = flags.number("an even number from 2 to 96", |width| {
                        (2..=96).step_by(2).any(|even| even == *width)
                    })?;
                }
                "--threads" => read.threads = Some(flags.count()?),
                "--json" => read.json = Some(flags.path()?),
                "--trace" => read.trace = Some(flags.path()?),
                _ => return flags.unknown(),
            }
        }
        Ok(read)
    }
}

fn main() -> ExitCode {
    arguments::start(HELP, Arguments::read, run)
}

fn run(arguments: &Arguments) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut workspace = arguments.threads.map_or_else(Workspace::for_this_machine, Workspace::new)?;
    let forward = profile(arguments, &mut workspace, false)?;
    say!("Forward, {} images\n\n{forward}", arguments.batch);
    let training = profile(arguments, &mut workspace, true)?;
    say!("Training step, {} images\n\n{training}", arguments.batch);
    say!("The convolutions' share of the time:");
    say!("  forward        {:5.1} %   (the book: 89 %)", 100.0 * share(&forward, |_| true));
    say!("  training step  {:5.1} %", 100.0 * share(&training, |_| true));
    say!("    its backward {:5.1} %", 100.0 * share(&training, |phase| phase == Phase::Backward));
    let files = [(&arguments.json, training.to_json()), (&arguments.trace, training.to_chrome_trace())];
    // One that cannot be written does not keep the other from being written.
    let failures: Vec<String> =
        files.into_iter().filter_map(|(path, text)| write(path.as_ref()?, &text).err()).collect();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\nerror: ").into()) }
}

fn write(path: &Path, text: &str) -> std::result::Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    say!("written: {}", path.display());
    Ok(())
}

/// The time of each step of the network on random images, forward alone or with gradients and update.
fn profile(arguments: &Arguments, workspace: &mut Workspace, trains: bool) -> Result<Profile> {
    let network = AlexNet { width: arguments.width, ..AlexNet::default() };
    let graph = Graph::with_mode(if trains { Mode::Train } else { Mode::Evaluate });
    let batch = arguments.batch;
    let images = graph.input("images", [batch, 3, 227, 227]);
    let logits = network.logits(images);
    let values = Array4::from_shape_fn((batch, 3, 227, 227), |(n, c, y, x)| {
        ((7 * n + 3 * c + 5 * y + x) % 17) as f32 / 17.0
    });
    let classes = Array1::from_shape_fn(batch, |n| n as u32);
    if !trains {
        let plan = Plan::<f32>::compile(&graph, &[logits])?;
        return plan.profile(&Store::new(0), workspace, &[images.feed(&values)]);
    }
    let labels = graph.labels("labels", [batch]);
    let loss = logits.softmax_cross_entropy(labels);
    minimize(loss, &Sgd::new(1e-3))?;
    let plan = Plan::<f32>::compile(&graph, &[loss])?;
    plan.profile(&Store::new(0), workspace, &[images.feed(&values), labels.feed(&classes)])
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
