//! Trains the book's SimpleConvNet on handwritten digits.
//!
//! `cargo run --release --example simple_conv_net -- --help`

mod arguments;
mod interrupt;

use std::path::PathBuf;
use std::process::ExitCode;

use arguments::{Flags, say};
use dagrad::data::{self, Split};
use dagrad::nn::{Model, SimpleConvNet};
use dagrad::optim::{AdaGrad, Adam, AdamW, LearningRate, Momentum, Nesterov, Optimizer, RmsProp, Sgd};
use dagrad::train::{Checkpoints, FitOptions, Progress, evaluate, fit_observed};
use dagrad::viz::{Report, Start, TensorBoard};
use dagrad::{Result, Workspace};
use interrupt::Interrupt;

const HELP: &str = "\
Trains conv – relu – pool – affine – relu – affine on handwritten digits.

Usage: cargo run --release --example simple_conv_net -- [FLAGS]

  --data DIR               a folder with MNIST's or Fashion-MNIST's four IDX files (.gz or plain);
                           without it the 5,000 digits inside the crate are used
  --epochs NUMBER          how many times to go through the training digits [20]
  --batch NUMBER           digits in a batch [100]
  --optimizer RULE         the rule that moves the parameters: sgd, momentum, nesterov, adagrad,
                           rmsprop, adam, adamw [momentum]
  --learning-rate NUMBER   learning rate; by default one that suits the optimizer
  --constant               keep the learning rate as it is; without it, it falls to 0 along a cosine
                           over all epochs
  --seed NUMBER            what all randomness follows from [0]
  --threads NUMBER         threads; by default all cores
  --quiet                  print nothing while training
  --checkpoint DIR         keep the training in this folder, after each epoch and when Ctrl-C ends it
  --resume                 go on from the newest checkpoint there; if there is none, begin
  --log DIR                write scalars and filters to a file in this folder, for
                           `tensorboard --logdir DIR`
  --report FILE.html       write a page about the run and the network to this file, for a browser";

struct Arguments {
    data: Option<PathBuf>,
    epochs: usize,
    batch: usize,
    optimizer: Rule,
    learning_rate: Option<f64>,
    constant: bool,
    seed: u64,
    threads: Option<usize>,
    quiet: bool,
    checkpoint: Option<PathBuf>,
    resume: bool,
    log: Option<PathBuf>,
    report: Option<PathBuf>,
}

impl Arguments {
    fn read(flags: &mut Flags) -> std::result::Result<Self, String> {
        let mut read = Self {
            data: None,
            epochs: 20,
            batch: 100,
            optimizer: Rule::Momentum,
            learning_rate: None,
            constant: false,
            seed: 0,
            threads: None,
            quiet: false,
            checkpoint: None,
            resume: false,
            log: None,
            report: None,
        };
        while let Some(flag) = flags.next()? {
            match flag.as_str() {
                "--data" => read.data = Some(flags.path()?),
                "--epochs" => read.epochs = flags.count()?,
                "--batch" => read.batch = flags.count()?,
                "--optimizer" => read.optimizer = flags.one_of(&RULES)?,
                "--learning-rate" => read.learning_rate = Some(flags.number("a number", |_| true)?),
                "--constant" => read.constant = true,
                "--seed" => read.seed = flags.count()?,
                "--threads" => read.threads = Some(flags.count()?),
                "--quiet" => read.quiet = true,
                "--checkpoint" => read.checkpoint = Some(flags.path()?),
                "--resume" => read.resume = true,
                "--log" => read.log = Some(flags.path()?),
                "--report" => read.report = Some(flags.path()?),
                _ => return flags.unknown(),
            }
        }
        match (&read.checkpoint, read.resume) {
            (None, true) => Err("--resume needs the folder, --checkpoint DIR".to_owned()),
            _ => Ok(read),
        }
    }
}

#[derive(Clone, Copy)]
enum Rule {
    Sgd,
    Momentum,
    Nesterov,
    Adagrad,
    Rmsprop,
    Adam,
    Adamw,
}

const RULES: [(&str, Rule); 7] = [
    ("sgd", Rule::Sgd),
    ("momentum", Rule::Momentum),
    ("nesterov", Rule::Nesterov),
    ("adagrad", Rule::Adagrad),
    ("rmsprop", Rule::Rmsprop),
    ("adam", Rule::Adam),
    ("adamw", Rule::Adamw),
];

fn main() -> ExitCode {
    arguments::start(HELP, Arguments::read, run)
}

fn run(arguments: &Arguments) -> Result<()> {
    let Split { train, test } = match &arguments.data {
        Some(folder) => data::idx::load(folder)?,
        None => data::mnist_5k()?,
    };
    let workspace = arguments.threads.map_or_else(Workspace::for_this_machine, Workspace::new)?;
    say!("{} training and {} test images, {} threads", train.len(), test.len(), workspace.threads());
    let mut model =
        Model::with_workspace(SimpleConvNet::default(), train.image_shape(), arguments.seed, workspace)?;
    let optimizer = optimizer(arguments, train.len());
    let start = Start::of(&model);
    let mut report = Report::new("The book's SimpleConvNet on handwritten digits");
    if let Some(file) = &arguments.report {
        report.write(file)?; // a file that cannot be written is found before hours of training
    }
    let mut checkpoints = arguments.checkpoint.as_ref().map(Checkpoints::new).transpose()?;
    if let Some(checkpoints) = checkpoints.as_mut().filter(|_| arguments.resume) {
        match checkpoints.resume(&mut model)? {
            Some(found) => say!("going on after {} epochs, at step {}", found.epochs, found.step),
            None => say!("there is nothing to resume: a new training begins"),
        }
    }
    let Arguments { batch, seed, .. } = *arguments;
    let left = |model: &Model<_>| (arguments.epochs as u64).saturating_sub(model.store().epochs()) as usize;
    let epochs = left(&model);
    let progress = if arguments.quiet { Progress::Quiet } else { Progress::Auto };
    let options = FitOptions { epochs, batch, seed, progress, ..FitOptions::default() };
    let mut log = arguments.log.as_ref().map(TensorBoard::create).transpose()?;
    let mut interrupt = checkpoints.is_some().then(Interrupt::listen);
    let mut observers = ((&mut log, &mut interrupt), &mut checkpoints);
    let epochs = fit_observed(&mut model, &*optimizer, &train, &test, options, &mut observers)?;
    if interrupt.is_some_and(|interrupt| interrupt.is_asked()) && left(&model) > 0 {
        say!("stopped at step {}; the same command with --resume goes on from there", model.store().step());
        return Ok(());
    }
    say!("test accuracy: {:.2} %", 100.0 * evaluate(&mut model, &test)?.accuracy());
    if let Some(file) = &arguments.report {
        report.run("SimpleConvNet", &epochs);
        report.network("SimpleConvNet", &start, &mut model, &*optimizer, &test)?;
        report.write(file)?;
        say!("report: {}", file.display());
    }
    Ok(())
}

/// The rule with its learning rate, which may fall over all steps of the run.
fn optimizer(arguments: &Arguments, samples: usize) -> Box<dyn Optimizer> {
    let Arguments { epochs, batch, .. } = *arguments;
    let steps = epochs.saturating_mul(samples.div_ceil(batch.max(1)));
    let steps = u32::try_from(steps).unwrap_or(u32::MAX);
    let rate = |usual: f64| match arguments.learning_rate.unwrap_or(usual) {
        rate if arguments.constant => rate.into(),
        peak => LearningRate::cosine(peak, steps),
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
