//! What training prints.

use std::io::IsTerminal;

use super::fit::Epoch;
use super::observer::TrainStep;

/// What training prints: to standard error, so that results on standard output stay clean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Progress {
    /// A progress bar on a terminal (with the feature `progress`), a line for each epoch otherwise.
    #[default]
    Auto,
    /// A line for each epoch.
    Lines,
    /// Nothing.
    Quiet,
}

/// Prints as training goes on.
pub(super) struct Reporter {
    epochs: usize,
    lines: bool,
    bar: Option<Bar>,
}

impl Reporter {
    pub(super) fn new(progress: Progress, epochs: usize, steps: usize) -> Self {
        let on_terminal = progress == Progress::Auto && std::io::stderr().is_terminal();
        let bar = on_terminal.then(|| Bar::new(epochs * steps)).flatten();
        Self { epochs, lines: progress != Progress::Quiet, bar }
    }

    pub(super) fn step(&mut self, step: &TrainStep) {
        if let Some(bar) = &self.bar {
            let TrainStep { epoch, loss, accuracy, images_per_second, .. } = step;
            bar.advance(format!(
                "epoch {epoch}/{}  loss {loss:.4}  accuracy {:.1} %  {images_per_second:.0} images/s",
                self.epochs,
                100.0 * accuracy,
            ));
        }
    }

    /// `images`: how many there are in an epoch.
    pub(super) fn epoch(&mut self, epoch: &Epoch, images: usize) {
        let Epoch { number, loss, test_loss, train_accuracy, test_accuracy, time } = epoch;
        let line = format!(
            "epoch {number:>2}/{}  loss {loss:.4} (test {test_loss:.4})  train {:.2} %  test {:.2} %  {:.1} s  {:.0} images/s",
            self.epochs,
            100.0 * train_accuracy,
            100.0 * test_accuracy,
            time.as_secs_f64(),
            images as f64 / time.as_secs_f64(),
        );
        match &self.bar {
            Some(bar) => bar.line(line),
            None if self.lines => eprintln!("{line}"),
            None => {}
        }
    }
}

/// A progress bar with the time left.
#[cfg(feature = "progress")]
struct Bar(indicatif::ProgressBar);

#[cfg(feature = "progress")]
impl Bar {
    fn new(steps: usize) -> Option<Self> {
        let style =
            indicatif::ProgressStyle::with_template("{wide_bar} {pos}/{len}  {msg}  {eta} left").ok()?;
        Some(Self(indicatif::ProgressBar::new(steps as u64).with_style(style)))
    }

    fn advance(&self, message: String) {
        self.0.set_message(message);
        self.0.inc(1);
    }

    fn line(&self, line: String) {
        self.0.println(line);
    }
}

#[cfg(feature = "progress")]
impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Without the feature there is no bar.
#[cfg(not(feature = "progress"))]
enum Bar {}

#[cfg(not(feature = "progress"))]
impl Bar {
    fn new(_: usize) -> Option<Self> {
        None
    }

    fn advance(&self, _: String) {
        match *self {}
    }

    fn line(&self, _: String) {
        match *self {}
    }
}
