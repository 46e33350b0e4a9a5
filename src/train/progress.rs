//! What training prints.

use std::io::{IsTerminal, Write};

use super::fit::Epoch;
use super::observer::TrainStep;
use crate::error::Error;

/// What training prints: to standard error, so that results on standard output stay clean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Progress {
    /// A progress bar on a terminal (with the feature `progress`), a line for each epoch otherwise.
    #[default]
    Auto,
    /// A line for each epoch.
    Lines,
    /// Nothing but warnings.
    Quiet,
}

/// Prints as training goes on. What cannot be printed, to a closed terminal or a full disk, is left out.
pub(super) struct Reporter {
    last_epoch: usize,
    lines: bool,
    bar: Option<Bar>,
    warnings: Vec<String>,
}

/// The most warnings that are printed.
const WARNINGS: usize = 10;

impl Reporter {
    /// For a run up to an epoch, of so many steps.
    pub(super) fn new(progress: Progress, last_epoch: usize, steps: usize) -> Self {
        let on_terminal = progress == Progress::Auto && std::io::stderr().is_terminal();
        let bar = on_terminal.then(|| bar(steps)).flatten();
        Self { last_epoch, lines: progress != Progress::Quiet, bar, warnings: Vec::new() }
    }

    /// The same warning is printed once.
    pub(super) fn warn(&mut self, error: &Error) {
        let line = format!("warning: {error}");
        if self.warnings.len() < WARNINGS && !self.warnings.contains(&line) {
            self.print(&line);
            self.warnings.push(line);
        }
    }

    fn print(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => _ = writeln!(std::io::stderr(), "{line}"),
        }
    }

    pub(super) fn step(&mut self, step: &TrainStep) {
        if let Some(bar) = &self.bar {
            let TrainStep { epoch, so_far, samples_per_second, .. } = step;
            let last = self.last_epoch;
            bar.set_message(format!("epoch {epoch}/{last}  {so_far}  {samples_per_second:.0} samples/s"));
            bar.inc(1);
        }
    }

    /// `samples`: how many the epoch's steps have used.
    pub(super) fn epoch(&mut self, epoch: &Epoch, samples: f64) {
        if !self.lines {
            return;
        }
        let Epoch { number, loss, train, test, time } = epoch;
        let mut line =
            format!("epoch {number:>2}/{}  loss {loss:.4} (test {:.4})", self.last_epoch, test.loss);
        for ((name, value), (_, of_test)) in train.metrics().zip(test.metrics()) {
            line.push_str(&format!("  {name} {value:.4} (test {of_test:.4})"));
        }
        let seconds = time.as_secs_f64();
        self.print(&format!("{line}  {seconds:.1} s  {:.0} samples/s", samples / seconds));
    }
}

/// A progress bar with the time left.
#[cfg(feature = "progress")]
use indicatif::ProgressBar as Bar;

/// Without the feature there is no bar.
#[cfg(not(feature = "progress"))]
enum Bar {}

#[cfg(feature = "progress")]
fn bar(steps: usize) -> Option<Bar> {
    let style = indicatif::ProgressStyle::with_template("{wide_bar} {pos}/{len}  {msg}  {eta} left").ok()?;
    let bar = Bar::new(steps as u64).with_style(style);
    Some(bar.with_finish(indicatif::ProgressFinish::AndClear))
}

#[cfg(not(feature = "progress"))]
fn bar(_: usize) -> Option<Bar> {
    None
}

#[cfg(not(feature = "progress"))]
impl Bar {
    fn set_message(&self, _: String) {
        match *self {}
    }

    fn inc(&self, _: u64) {
        match *self {}
    }

    fn println(&self, _: &str) {
        match *self {}
    }
}
