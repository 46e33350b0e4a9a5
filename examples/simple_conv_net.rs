//! Trains the book's SimpleConvNet on handwritten digits.
//!
//! `cargo run --release --example simple_conv_net -- --help`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use dagrad::data::{self, Split};
use dagrad::nn::{Model, SimpleConvNet};
use dagrad::optim::{AdaGrad, Adam, AdamW, LearningRate, Momentum, Nesterov, Optimizer, RmsProp, Sgd};
use dagrad::train::{FitOptions, Progress, TensorBoard, evaluate, fit, fit_observed};
use dagrad::viz::{Report, Start};
use dagrad::{Result, Workspace};

/// Trains conv – relu – pool – affine – relu – affine on handwritten digits.
#[derive(Parser)]
struct Arguments {
    /// A folder with MNIST's or Fashion-MNIST's four IDX files (.gz or plain); without it the 5,000 digits
    /// inside the crate are used.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How many times to go through the training digits.
    #[arg(long, default_value_t = 20)]
    epochs: usize,
    /// Digits in a batch.
    #[arg(long, default_value_t = 100)]
    batch: usize,
    /// The rule that moves the parameters.
    #[arg(long, value_enum, default_value_t = Rule::Adam)]
    optimizer: Rule,
    /// Learning rate; by default one that suits the optimizer.
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Lets the learning rate fall to 0 along a cosine over all epochs.
    #[arg(long)]
    anneal: bool,
    /// What all randomness follows from.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads; by default all cores.
    #[arg(long)]
    threads: Option<usize>,
    /// Print nothing while training.
    #[arg(long)]
    quiet: bool,
    /// Write scalars and filters to a file in this folder, for `tensorboard --logdir DIR`.
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// Write a page about the run and the network to this file, for a browser.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Rule {
    Sgd,
    Momentum,
    Nesterov,
    Adagrad,
    Rmsprop,
    Adam,
    Adamw,
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
    let Split { train, test } = match &arguments.data {
        Some(folder) => data::idx::load(folder)?,
        None => data::mnist_5k()?,
    };
    let workspace = arguments.threads.map_or_else(Workspace::for_this_machine, Workspace::new)?;
    println!("{} training and {} test images, {} threads", train.len(), test.len(), workspace.threads());
    let mut model =
        Model::with_workspace(SimpleConvNet::default(), train.image_shape(), arguments.seed, workspace)?;
    let optimizer = optimizer(arguments, train.len());
    let start = Start::of(&model);
    let mut report = Report::new("The book's SimpleConvNet on handwritten digits");
    if let Some(file) = &arguments.report {
        report.write(file)?; // a file that cannot be written is found before hours of training
    }
    let Arguments { epochs, batch, seed, .. } = *arguments;
    let progress = if arguments.quiet { Progress::Quiet } else { Progress::Auto };
    let options = FitOptions { epochs, batch, seed, progress };
    let mut log = arguments.log.as_ref().map(TensorBoard::create).transpose()?;
    let epochs = match &mut log {
        Some(log) => fit_observed(&mut model, &*optimizer, &train, &test, options, log)?,
        None => fit(&mut model, &*optimizer, &train, &test, options)?,
    };
    println!("test accuracy: {:.2} %", 100.0 * evaluate(&mut model, &test)?);
    if let Some(file) = &arguments.report {
        report.run("SimpleConvNet", &epochs);
        report.network("SimpleConvNet", &start, &mut model, &*optimizer, &test)?;
        report.write(file)?;
        println!("report: {}", file.display());
    }
    Ok(())
}

/// The rule with its learning rate, which may fall over all steps of the run.
fn optimizer(arguments: &Arguments, samples: usize) -> Box<dyn Optimizer> {
    let Arguments { epochs, batch, .. } = *arguments;
    let steps = (epochs * samples.div_ceil(batch.max(1))) as u32;
    let rate = |usual: f64| match arguments.learning_rate.unwrap_or(usual) {
        peak if arguments.anneal => LearningRate::cosine(peak, steps),
        rate => rate.into(),
    };
    match arguments.optimizer {
        Rule::Sgd => Box::new(Sgd::new(rate(0.1))),
        Rule::Momentum => Box::new(Momentum::new(rate(0.05))),
        Rule::Nesterov => Box::new(Nesterov::new(rate(0.05))),
        Rule::Adagrad => Box::new(AdaGrad::new(rate(0.01))),
        Rule::Rmsprop => Box::new(RmsProp::new(rate(0.001))),
        Rule::Adam => Box::new(Adam::new(rate(0.001))),
        Rule::Adamw => Box::new(AdamW::new(rate(0.001))),
    }
}
