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
            let TrainStep { epoch, loss, accuracy, images_per_second, .. } = step;
            bar.set_message(format!(
                "epoch {epoch}/{}  loss {loss:.4}  accuracy {:.1} %  {images_per_second:.0} images/s",
                self.last_epoch,
                100.0 * accuracy,
            ));
            bar.inc(1);
        }
    }

    /// `images`: how many the epoch's steps have used.
    pub(super) fn epoch(&mut self, epoch: &Epoch, images: usize) {
        let Epoch { number, loss, test_loss, train_accuracy, test_accuracy, time } = epoch;
        let line = format!(
            "epoch {number:>2}/{}  loss {loss:.4} (test {test_loss:.4})  train {:.2} %  test {:.2} %  {:.1} s  {:.0} images/s",
            self.last_epoch,
            100.0 * train_accuracy,
            100.0 * test_accuracy,
            time.as_secs_f64(),
            images as f64 / time.as_secs_f64(),
        );
        if self.lines {
            self.print(&line);
        }
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
