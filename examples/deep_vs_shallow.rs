//! Is one convolution with a large window better, or several with small ones?
//!
//! Three networks that differ in a block with a receptive field of 7×7 pixels: one 7×7 filter; a 5×5 and a 3×3; three 3×3. Each convolution
//! is followed by relu. The deeper ones have fewer weights and more nonlinearities.
//!
//! `cargo run --release --example deep_vs_shallow -- --help`

mod arguments;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use arguments::{Flags, say};
use dagrad::data::{self, Split};
use dagrad::inspect::{Summary, receptive_field};
use dagrad::nn::{Filters, Model, Network, conv2d, linear};
use dagrad::optim::Adam;
use dagrad::train::{FitOptions, Progress, fit_observed};
use dagrad::viz::{Report, Start, TensorBoard};
use dagrad::{Graph, Mode, Result, Var, Workspace};

const HELP: &str = "\
Compares stacks of small filters with single large ones on handwritten digits.

Usage: cargo run --release --example deep_vs_shallow -- [FLAGS]

  --data DIR           a folder with MNIST's or Fashion-MNIST's four IDX files (.gz or plain);
                       without it the 5,000 digits inside the crate are used
  --epochs NUMBER      how many times to go through the training images [8]
  --seeds NUMBER       how many times to train each network, from different starts [3]
  --threads NUMBER     threads; by default all cores
  --quiet              print nothing while training
  --log DIR            write scalars and filters to a folder of its own for each network and seed in
                       this one, for `tensorboard --logdir DIR`
  --report FILE.html   write a page with curves, filters and graphs to this file, for a browser
                       [target/deep_vs_shallow.html]";

struct Arguments {
    data: Option<PathBuf>,
    epochs: u32,
    seeds: u32,
    threads: Option<usize>,
    quiet: bool,
    log: Option<PathBuf>,
    report: PathBuf,
}

impl Arguments {
    fn read(flags: &mut Flags) -> std::result::Result<Self, String> {
        let report = PathBuf::from("target/deep_vs_shallow.html");
        let mut read =
            Self { data: None, epochs: 8, seeds: 3, threads: None, quiet: false, log: None, report };
        while let Some(flag) = flags.next()? {
            match flag.as_str() {
                "--data" => read.data = Some(flags.path()?),
                "--epochs" => read.epochs = flags.number("a whole number from 1 on", |&number| number > 0)?,
                "--seeds" => read.seeds = flags.number("a whole number from 1 on", |&number| number > 0)?,
                "--threads" => read.threads = Some(flags.count()?),
                "--quiet" => read.quiet = true,
                "--log" => read.log = Some(flags.path()?),
                "--report" => read.report = flags.path()?,
                _ => return flags.unknown(),
            }
        }
        Ok(read)
    }
}

/// Filters in every layer.
const FILTERS: usize = 16;

/// A stem that makes 16 channels of the image, a block of convolutions, a pool, and a layer of classes.
#[derive(Clone, Copy)]
struct Stack {
    /// Sizes of the block's filters, one layer each.
    kernels: &'static [usize],
    classes: usize,
}

impl Stack {
    /// The part in which the networks differ. Padding keeps the size of the image.
    fn block<'g>(&self, mut x: Var<'g>) -> Var<'g> {
        for (number, &kernel) in self.kernels.iter().enumerate() {
            let filters = Filters::new(FILTERS, kernel).padding(kernel / 2);
            x = conv2d(x, &format!("block{}", number + 1), filters).relu();
        }
        x
    }

    fn name(&self) -> String {
        self.kernels.iter().map(|kernel| format!("{kernel}×{kernel}")).collect::<Vec<_>>().join(" · ")
    }
}

impl Network for Stack {
    fn logits<'g>(&self, images: Var<'g>) -> Var<'g> {
        let stem = conv2d(images, "stem", Filters::new(FILTERS, 3).padding(1)).relu();
        let pooled = self.block(stem).max_pool2d(2);
        linear(pooled.flatten(), "classes", self.classes)
    }
}

/// A row of the table.
struct Row {
    name: String,
    weights_per_pair: usize,
    field: [usize; 2],
    whole: Summary,
    accuracies: Vec<f64>,
    seconds_per_epoch: f64,
}

fn main() -> ExitCode {
    arguments::start(HELP, Arguments::read, run)
}

fn run(arguments: &Arguments) -> Result<()> {
    let split = match &arguments.data {
        Some(folder) => data::idx::load(folder)?,
        None => data::mnist_5k()?,
    };
    let (train, test) = (split.train.len(), split.test.len());
    say!("{train} training and {test} test images, {} epochs, {} seeds\n", arguments.epochs, arguments.seeds);
    two_against_one(&[3, 3], &[5])?;
    two_against_one(&[3, 3, 3], &[7])?;
    say!("");
    let stacks: [&'static [usize]; 3] = [&[7], &[5, 3], &[3, 3, 3]];
    let mut report = Report::new("Deep and shallow: which way to 7×7 pixels is best?");
    report.write(&arguments.report)?; // a file that cannot be written is found before hours of training
    let rows = stacks.map(|kernels| {
        compare(Stack { kernels, classes: split.train.classes() }, &split, arguments, &mut report)
    });
    let rows = rows.into_iter().collect::<Result<Vec<Row>>>()?;
    print_table(&rows);
    report.table("Comparison", &COLUMNS, rows.iter().map(|row| row.cells().into()));
    report.write(&arguments.report)?;
    say!("\nreport: {}", arguments.report.display());
    Ok(())
}

/// Prints the receptive fields of two stacks and their weights.
fn two_against_one(deep: &'static [usize], shallow: &'static [usize]) -> Result<()> {
    let [deep, shallow] = [deep, shallow].map(|kernels| Stack { kernels, classes: 0 });
    let ((deep_weights, deep_field), (weights, field)) = (measure_block(&deep)?, measure_block(&shallow)?);
    say!(
        "{}: receptive field {}×{} with {deep_weights} weights for each pair of channels; {}: {}×{} with {weights}",
        deep.name(),
        deep_field[0],
        deep_field[1],
        shallow.name(),
        field[0],
        field[1]
    );
    Ok(())
}

/// Weights for each pair of channels, and receptive field, of a block alone, read off its graph.
fn measure_block(stack: &Stack) -> Result<(usize, [usize; 2])> {
    let graph = Graph::new();
    let input = graph.input("input", [1, FILTERS, 28, 28]);
    let output = stack.block(input);
    graph.check()?;
    let field = receptive_field(output, input).map_or([0; 2], |field| field.size);
    Ok((Summary::of(output).weights_per_filter_pair, field))
}

/// Trains a network from several starts. The last one is shown in the report.
fn compare(stack: Stack, split: &Split, arguments: &Arguments, report: &mut Report) -> Result<Row> {
    let (weights_per_pair, field) = measure_block(&stack)?;
    let name = stack.name();
    let image_shape @ [channels, height, width] = split.train.image_shape();
    let graph = Graph::with_mode(Mode::Evaluate);
    let whole = Summary::of(stack.logits(graph.input("image", [1, channels, height, width])));
    graph.check()?;
    let (mut accuracies, mut seconds) = (Vec::new(), 0.0);
    for seed in 0..u64::from(arguments.seeds) {
        let progress = if arguments.quiet { Progress::Quiet } else { Progress::Auto };
        if !arguments.quiet {
            _ = writeln!(std::io::stderr(), "{name}, seed {seed}");
        }
        let workspace = arguments.threads.map_or_else(Workspace::for_this_machine, Workspace::new)?;
        let mut model = Model::with_workspace(stack, image_shape, seed, workspace)?;
        let epochs = arguments.epochs as usize;
        let options = FitOptions { epochs, seed, progress, ..FitOptions::default() };
        let (start, optimizer) = (Start::of(&model), Adam::new(1e-3));
        let log = arguments.log.as_ref().map(|folder| {
            let kernels: Vec<String> = stack.kernels.iter().map(usize::to_string).collect();
            TensorBoard::create(folder.join(format!("{}-seed{seed}", kernels.join("x"))))
        });
        let mut log = log.transpose()?;
        let epochs = fit_observed(&mut model, &optimizer, &split.train, &split.test, options, &mut log)?;
        report.run(&name, &epochs);
        if seed + 1 == u64::from(arguments.seeds) {
            report.network(&name, &start, &mut model, &optimizer, &split.test)?;
        }
        accuracies.extend(epochs.last().map(|epoch| 100.0 * epoch.test.accuracy()));
        seconds += epochs.iter().map(|epoch| epoch.time.as_secs_f64()).sum::<f64>();
    }
    let seconds_per_epoch = seconds / (f64::from(arguments.seeds) * f64::from(arguments.epochs));
    Ok(Row { name, weights_per_pair, field, whole, accuracies, seconds_per_epoch })
}

/// The columns of the table.
const COLUMNS: [&str; 7] = [
    "block",
    "weights/pair",
    "receptive field",
    "parameters",
    "MACs per image",
    "test accuracy",
    "s per epoch",
];

impl Row {
    fn cells(&self) -> [String; 7] {
        let (mean, deviation) = mean_and_deviation(&self.accuracies);
        [
            self.name.clone(),
            self.weights_per_pair.to_string(),
            format!("{}×{}", self.field[0], self.field[1]),
            grouped(self.whole.parameters),
            grouped(self.whole.macs),
            format!("{mean:.2} ± {deviation:.2} %"),
            format!("{:.2}", self.seconds_per_epoch),
        ]
    }
}

fn print_table(rows: &[Row]) {
    let line = |[block, pair, field, parameters, macs, accuracy, seconds]: [String; 7]| {
        say!("{block:<15}{pair:>12}{field:>17}{parameters:>12}{macs:>16}{accuracy:>22}{seconds:>14}");
    };
    line(COLUMNS.map(str::to_string));
    rows.iter().map(Row::cells).for_each(line);
}

/// A number with commas between thousands.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// Mean, and standard deviation of the sample (0 for a single number).
fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0).max(1.0)).sqrt())
}
