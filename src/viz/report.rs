//! A report about training runs and networks: one HTML file that needs no other file and no connection.
//!
//! The page is put together by `maud`, whose templates are checked when the crate is compiled. Each section has a file
//! of its own.

mod classes;
mod curves;
mod drawing;
mod graph;
mod memory;
mod network;
mod objective;
mod time;

use std::path::Path;

use maud::{DOCTYPE, Markup, PreEscaped, html};

#[doc(hidden)]
pub use memory::draw_memory;
pub use network::Start;

use super::tiles::write_file;
use crate::data::{Dataset, Samples};
use crate::error::{Result, SourceLine};
use crate::nn::{Model, Network};
use crate::optim::Optimizer;
use crate::train::{Epoch, Trainable};

/// A report to which runs, tables and networks are added.
///
/// Whatever it is about, the page of a network stays below a few megabytes:
/// - of filters, feature maps and images as many numbers are in the page as are seen: 32 filters or maps of the first 16
///   layers, and all images reduced to the size at which they are shown;
/// - the confusion matrix has 32 rows and columns: of more classes neighbours share them, and the 20 pairs that are most
///   often confused and the 20 classes that are least often correct are listed;
/// - 500 layers are listed, graphs of 600 nodes and 2,000 edges drawn, and 2,000 values in memory;
/// - of more than 240 epochs neighbours become one point of a curve, from the least to the most in the band; 40 names have
///   curves.
///
/// Batches follow the size of an image: at most 2²⁰ pixels are computed at once, unless one image has more.
///
/// ```
/// use dagrad::nn::{Model, SimpleConvNet};
/// use dagrad::optim::Adam;
/// use dagrad::train::{FitOptions, fit};
/// use dagrad::viz::{Report, Start};
///
/// let digits = dagrad::data::mnist_5k()?;
/// let (train, test) = (digits.train.take(200), digits.test.take(50));
/// let mut model = Model::new(SimpleConvNet::default(), train.image_shape(), 0)?;
/// let (rule, options) = (Adam::new(1e-3), FitOptions { epochs: 2, ..FitOptions::default() });
///
/// let start = Start::of(&model);
/// let epochs = fit(&mut model, &rule, &train, &test, options)?;
/// let mut report = Report::new("Digits");
/// report.run("SimpleConvNet", &epochs);
/// report.network("SimpleConvNet", &start, &mut model, &rule, &test)?;
/// let page = report.to_html()?; // or report.write("report.html")?
/// # assert!(page.starts_with("<!DOCTYPE html>") && page.contains("Confusion"));
/// # Ok::<(), dagrad::Error>(())
/// ```
#[derive(Debug)]
pub struct Report {
    title: String,
    runs: Vec<Run>,
    /// The finished section of each table.
    tables: Vec<Markup>,
    /// The name and the finished section of each network.
    networks: Vec<(String, Markup)>,
}

/// One training run. Runs of the same name become one line with a band.
#[derive(Debug)]
struct Run {
    name: String,
    epochs: Vec<Epoch>,
}

impl Report {
    /// An empty report.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), runs: Vec::new(), tables: Vec::new(), networks: Vec::new() }
    }

    /// Adds a training run to the curves of loss and accuracy. Runs of the same name, from several seeds, are drawn as
    /// their mean in a band from the least to the most.
    pub fn run(&mut self, name: &str, epochs: &[Epoch]) {
        self.runs.push(Run { name: name.to_string(), epochs: epochs.to_vec() });
    }

    /// Adds a table. Missing cells stay empty.
    pub fn table(&mut self, caption: &str, columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
        let rows = html! { @for row in rows { tr { @for cell in row { td { (cell) } } } } };
        self.tables.push(html! { section { h2 { (caption) } (table("", columns, &rows)) } });
    }

    /// Adds all about a trained network: its first filters before and after, feature maps, saliency, confusion
    /// matrix, worst predictions, its graph, and what a training step costs in time and memory.
    ///
    /// `optimizer` is only timed: the model's parameters stay as they are.
    ///
    /// # Errors
    /// No images; images that do not fit the model; a misuse in the network, with its line.
    #[track_caller]
    pub fn network<N: Network>(
        &mut self,
        name: &str,
        start: &Start,
        model: &mut Model<N>,
        optimizer: &dyn Optimizer,
        test: &Dataset,
    ) -> Result<()> {
        let number = self.networks.len();
        let here = SourceLine::caller();
        let section = network::section(number, name, start, model, optimizer, test);
        let section = section.map_err(|error| error.at(here))?;
        self.networks.push((name.to_string(), section));
        Ok(())
    }

    /// Adds all about whatever an objective has trained: its figures on test samples, its layers and its graph, and what a
    /// training step costs in time and memory. `optimizer` is only timed: the parameters stay as they are.
    ///
    /// # Errors
    /// No samples; samples that do not fit; a misuse in the objective, with its line.
    #[track_caller]
    pub fn objective<L: Trainable>(
        &mut self,
        name: &str,
        learner: &mut L,
        optimizer: &dyn Optimizer,
        test: &dyn Samples,
    ) -> Result<()> {
        let number = self.networks.len();
        let here = SourceLine::caller();
        let section = objective::section(number, name, learner, optimizer, test);
        let section = section.map_err(|error| error.at(here))?;
        self.networks.push((name.to_string(), section));
        Ok(())
    }

    /// The report as HTML.
    ///
    /// # Errors
    /// A chart that cannot be drawn.
    #[track_caller]
    pub fn to_html(&self) -> Result<String> {
        let here = SourceLine::caller();
        let curves = curves::section(&self.runs).map_err(|error| error.at(here))?;
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    link rel="icon" href="data:,"; // else browsers ask for one
                    title { (self.title) }
                    style { (PreEscaped(include_str!("report/style.css"))) }
                }
                body {
                    h1 { (self.title) }
                    @if self.networks.len() > 1 {
                        nav {
                            @for (number, (name, _)) in self.networks.iter().enumerate() {
                                a href=(format!("#network{number}")) { (name) }
                            }
                        }
                    }
                    main {
                        (curves)
                        @for section in &self.tables { (section) }
                        @for (_, section) in &self.networks { (section) }
                    }
                    footer { "Made by dagrad " (env!("CARGO_PKG_VERSION")) "." }
                    script { (PreEscaped(include_str!("report/script.js"))) }
                }
            }
        };
        Ok(page.into_string())
    }

    /// Writes the report to a file. Folders on the way are made.
    ///
    /// # Errors
    /// A file that cannot be written.
    #[track_caller]
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        write_file(path.as_ref(), self.to_html()?.as_bytes())
    }
}

/// As many letters of a name are shown.
const NAME: usize = 60;

/// A table of a class, with a heading over its rows.
fn table(class: &str, columns: &[&str], rows: &Markup) -> Markup {
    html! {
        div.wide {
            table class=[Some(class).filter(|class| !class.is_empty())] {
                thead { tr { @for column in columns { th { (column) } } } }
                tbody { (rows) }
            }
        }
    }
}

/// A part of a network's section, under a heading. `about` explains it.
fn part(heading: &str, about: &str, content: Markup) -> Markup {
    html! {
        section class=(heading.to_lowercase().replace(' ', "-")) {
            h3 { (heading) }
            p { (about) }
            (content)
        }
    }
}

/// A number with a narrow space between thousands, at which lines do not break.
fn grouped(number: usize) -> String {
    crate::inspect::grouped(number, "\u{202f}")
}

/// The same, and nothing for 0.
fn count(number: usize) -> String {
    if number > 0 { grouped(number) } else { String::new() }
}
