//! How fast networks train and predict: `cargo bench --bench train`.
//!
//! Without options every workload is measured, training and inference, with 1 and with 2 threads, and then one
//! layer at a time. `-- --workload A --mode train --threads 2 --json` prints one measurement as a line of JSON;
//! `-- --limits` adds how fast the machine could be at best, `-- --scale` prints how time grows with batch, image and
//! depth, and compile time with the graph; `-- --serve` how long callers wait for single answers; `-- --plan` shows where the time of a step goes. `docs/speed.md` says how to
//! compare.

#[path = "../../examples/arguments/mod.rs"]
mod arguments;
mod layers;
mod limits;
mod measure;
mod modern;
mod report;
mod scale;
mod serve;
mod workloads;

use std::process::{Command, ExitCode};
use std::time::Duration;

use dagrad::Options;

use arguments::{Flags, say};
use measure::{Effort, Mode, Runner, peak_memory};
use report::{Report, Row};
use workloads::{Net, Workload};

/// Whatever went wrong, to be printed.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const HELP: &str = "\
Measures how fast networks train and predict on a fixed batch in memory.

Usage: cargo bench --bench train -- [FLAGS]

  --workload NAMES    what to measure, separated by commas; by default A, A1, B7, B53, B333, C, D, M; further ones
                      are R20, R18, R50, V2, U, N, X, S, P, E
  --mode MODES        training steps (train), or predictions alone (infer); by default both
  --threads NUMBERS   numbers of threads, separated by commas; by default 1 and 2, where there are two cores
  --batch IMAGES      images in a batch; by default the workload's own
  --without PASS      leave out a pass when compiling; may be given several times
  --blocks NUMBER     how many blocks of at least 0.4 s are timed (for single layers: 0.1 s), 5 or more [7]
  --json              print one JSON object for each measurement instead of a table
  --plan              print the steps of the compiled plans, and the time of each, instead of measuring the whole
  --limits            print how fast a step could be at best on this machine, and how near it comes
  --scale             print how time grows with batch, image, depth and graph
  --serve             print how long callers wait for the logits of a single image
  --passes            print the names of the passes, one a line";

#[derive(Default)]
struct Arguments {
    workload: Vec<Workload>,
    mode: Vec<Mode>,
    threads: Vec<usize>,
    batch: Option<usize>,
    without: Vec<String>,
    blocks: usize,
    json: bool,
    plan: bool,
    limits: bool,
    scale: bool,
    serve: bool,
    passes: bool,
    /// Leave out the names of a table's columns, as for all processes but the first.
    no_header: bool,
}

impl Arguments {
    fn read(flags: &mut Flags) -> std::result::Result<Self, String> {
        let mut read = Self { blocks: 7, ..Self::default() };
        let mut given = Vec::new();
        while let Some(flag) = flags.next()? {
            match flag.as_str() {
                "--workload" => read.workload.extend(flags.some_of(&Workload::ALL)?),
                "--mode" => read.mode.extend(flags.some_of(&Mode::ALL)?),
                "--threads" => read.threads.extend(flags.counts()?),
                "--batch" => {
                    read.batch = Some(flags.number("a whole number from 1 on", |&number| number > 0)?);
                }
                "--without" => read.without.push(flags.text()?),
                "--blocks" => {
                    read.blocks = flags.number("5 or more, as a median takes", |&number| number >= 5)?;
                }
                "--json" => read.json = true,
                "--plan" => read.plan = true,
                "--limits" => read.limits = true,
                "--scale" => read.scale = true,
                "--serve" => read.serve = true,
                "--passes" => read.passes = true,
                "--no-header" => read.no_header = true,
                "--bench" => {} // `cargo bench` passes this; it changes nothing
                _ => return flags.unknown(),
            }
            given.push(flag);
        }
        for (flag, others) in CONFLICTS {
            let other = others.iter().find(|other| given.iter().any(|given| given == *other));
            if let Some(other) = other.filter(|_| given.iter().any(|given| given == flag)) {
                return Err(format!("{flag} cannot be used with {other}"));
            }
        }
        if read.threads.is_empty() {
            let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
            read.threads = (1..=cores.min(2)).collect();
        }
        Ok(read)
    }
}

/// Flags, and those that make no sense beside them.
const CONFLICTS: [(&str, &[&str]); 4] = [
    (
        "--serve",
        &["--workload", "--mode", "--batch", "--threads", "--without", "--plan", "--limits", "--scale"],
    ),
    ("--plan", &["--json"]),
    ("--limits", &["--plan"]),
    ("--scale", &["--workload", "--mode", "--batch", "--without", "--plan", "--limits"]),
];

/// One measurement.
#[derive(Clone, Copy)]
struct Case {
    workload: Workload,
    mode: Mode,
    threads: usize,
}

fn main() -> ExitCode {
    arguments::start(HELP, Arguments::read, run)
}

fn run(arguments: &Arguments) -> Result<()> {
    if arguments.passes {
        let mut names = Options::new().names();
        names.sort_unstable();
        names.dedup(); // a pass may run twice
        names.iter().for_each(|name| say!("{name}"));
        return Ok(());
    }
    let mut report = Report::new(arguments.json, !arguments.no_header);
    if arguments.scale {
        return Ok(scale::measure(&arguments.threads, &mut report)?);
    }
    if arguments.serve {
        return Ok(serve::measure(&mut report)?);
    }
    let cases = cases(arguments)?;
    // `cargo bench` passes an argument of its own; without any this is `cargo test --all-targets`.
    if std::env::args_os().len() == 1 {
        return cases.iter().try_for_each(|&case| run_once(case, arguments));
    }
    match cases[..] {
        _ if arguments.plan => cases.iter().try_for_each(|&case| print_plan(case, arguments)),
        [case] => measure(case, arguments, &mut report),
        _ => spawn_each(&cases, arguments),
    }
}

/// Every combination that was asked for.
fn cases(arguments: &Arguments) -> Result<Vec<Case>> {
    fn chosen<T: Copy>(given: &[T], all: &[(&str, T)]) -> Vec<T> {
        if given.is_empty() { all.iter().map(|(_, value)| *value).collect() } else { given.to_vec() }
    }
    let mut workloads = chosen(&arguments.workload, &Workload::ALL[..Workload::USUAL]);
    if arguments.batch.is_some() || arguments.plan || arguments.limits || !arguments.without.is_empty() {
        if arguments.workload.contains(&Workload::M) {
            return Err("--batch, --limits, --plan and --without are for networks, not for workload M".into());
        }
        workloads.retain(|&workload| workload != Workload::M);
    }
    let mut cases = Vec::new();
    for &workload in &workloads {
        for mode in chosen(&arguments.mode, &Mode::ALL) {
            cases.extend(arguments.threads.iter().map(|&threads| Case { workload, mode, threads }));
        }
    }
    Ok(cases)
}

/// Measures each case in a process of its own, so that none stands in the memory of another.
fn spawn_each(cases: &[Case], arguments: &Arguments) -> Result<()> {
    let mut has_header = [false; 2];
    for case in cases {
        let mut child = Command::new(std::env::current_exe()?);
        child.args(["--workload", &case.workload.name(), "--mode", case.mode.name()]);
        child.args(["--threads", &case.threads.to_string(), "--blocks", &arguments.blocks.to_string()]);
        if let Some(batch) = arguments.batch {
            child.args(["--batch", &batch.to_string()]);
        }
        for pass in &arguments.without {
            child.args(["--without", pass]);
        }
        if arguments.limits {
            child.arg("--limits");
        }
        if arguments.json {
            child.arg("--json");
        }
        // Networks and layers have a table each.
        let table = usize::from(case.workload == Workload::M);
        if std::mem::replace(&mut has_header[table], true) {
            child.arg("--no-header");
        } else if table == 1 && !arguments.json {
            say!("");
        }
        if !child.status()?.success() {
            return Err(format!("workload {} could not be measured", case.workload.name()).into());
        }
    }
    Ok(())
}

/// Measures one case in this process.
fn measure(case: Case, arguments: &Arguments, report: &mut Report) -> Result<()> {
    let Some(net) = case.workload.net() else {
        return Ok(layers::measure(case.mode, case.threads, arguments.blocks, report)?);
    };
    let (mut runner, batch) = runner(&net, case, arguments)?;
    let (warm_up, block) = (Duration::from_secs(1), Duration::from_millis(400));
    let timing = runner.time(Effort { warm_up, blocks: arguments.blocks, block })?;
    let rate = |seconds: f64| batch as f64 / seconds;
    let [least, most] = timing.range();
    let row = Row::default()
        .text("workload", &case.workload.name(), 8)
        .text("mode", case.mode.name(), 5)
        .count("threads", case.threads)
        .number("images_per_s", rate(timing.median()), 1);
    if arguments.limits {
        report.row(&limits::columns(row, &runner, case.mode, case.threads, timing.median())?);
        return Ok(());
    }
    let row = row
        .number("min", rate(most), 1)
        .number("max", rate(least), 1)
        .maybe("peak_rss_mib", peak_memory(), 1)
        .number("first_step_ms", timing.first.as_secs_f64() * 1e3, 2)
        .number("compile_ms", runner.compile.as_secs_f64() * 1e3, 3)
        .number("allocations_per_step", timing.allocations, 2);
    report.row(&row);
    Ok(())
}

/// Shows that a network can be measured.
fn run_once(case: Case, arguments: &Arguments) -> Result<()> {
    let Some(net) = case.workload.net() else { return Ok(()) };
    Ok(runner(&net, case, arguments)?.0.step()?)
}

/// A network compiled as the arguments say, and its batch.
fn runner(net: &Net, case: Case, arguments: &Arguments) -> Result<(Runner, usize)> {
    let batch = arguments.batch.unwrap_or(net.batch);
    let options = arguments.without.iter().fold(Options::new(), |options, pass| options.without(pass));
    let runner = Runner::of_network(net, batch, case.mode, case.threads, &options)?;
    Ok((runner, batch))
}

/// The plan's steps with the microseconds that each takes, the median of several runs.
fn print_plan(case: Case, arguments: &Arguments) -> Result<()> {
    let Some(net) = case.workload.net() else { return Ok(()) };
    let (mut runner, batch) = runner(&net, case, arguments)?;
    runner.time(Effort { warm_up: Duration::from_millis(500), blocks: 1, block: Duration::ZERO })?;
    let profile = runner.profile()?;
    let (workload, mode) = (case.workload.name(), case.mode.name());
    say!("{workload}, {mode}, batch {batch}, {} threads: µs of each step", case.threads);
    for step in &profile.steps {
        say!("{:>9.1}  {} {}", step.microseconds, step.title, step.output);
    }
    say!("{:>9.1}  in all\n\n{profile}", profile.total());
    Ok(())
}
