//! What a run is, in words, so that another one is not taken for it.

use std::collections::BTreeSet;
use std::fmt;

use flate2::Crc;

use super::super::fit::FitOptions;
use super::super::learner::Trainable;
use super::super::objective::Inputs;
use super::super::observer::{Observer, Training};
use crate::data::Samples;
use crate::error::{Error, Result};
use crate::graph::{Graph, Mode};
use crate::optim::{Optimizer, minimize};
use crate::shape::Shape;
use crate::weights::checkpoint::Notes;
use dagrad_kernels::simd::Isa;

/// The word for the instruction set: another one is no other run.
const KERNELS: &str = "instruction set";

/// What is trained on what.
#[track_caller]
pub(in crate::train) fn describe(
    learner: &dyn Trainable,
    optimizer: &dyn Optimizer,
    [train, test]: [&dyn Samples; 2],
    options: FitOptions,
) -> Result<Notes> {
    let graph = Graph::with_mode(Mode::Train);
    let _at = graph.at_caller();
    let loss = learner.record(&Inputs::record(&graph, &train.fields(), options.batch.min(train.len()))).loss;
    let network = checksum(&graph);
    let parameters =
        graph.lasting().into_iter().map(|own| shape(&own.name(), &own.shape())).collect::<Vec<_>>();
    minimize(loss, optimizer)?;
    let words = [
        ("batch", options.batch.to_string()),
        ("drop_last", options.drop_last.to_string()),
        ("seed", options.seed.to_string()),
        ("optimizer", optimizer.settings()),
        ("training data", train.describe()?),
        ("test data", test.describe()?),
        ("network", network),
        ("training step", checksum(&graph)),
        (KERNELS, Isa::detect().name().to_owned()),
    ];
    Ok(words.map(|(word, value)| (word.to_owned(), value)).into_iter().chain(parameters).collect())
}

/// The words for a parameter.
pub(super) fn shape(name: &str, shape: &Shape) -> (String, String) {
    (format!("parameter {name}"), shape.to_string())
}

/// A graph, by what it computes.
fn checksum(graph: &Graph) -> String {
    struct Sum(Crc);
    impl fmt::Write for Sum {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.update(text.as_bytes());
            Ok(())
        }
    }
    let mut sum = Sum(Crc::new());
    _ = graph.define(&mut sum); // summing up does not fail
    format!("{} operations, checksum {:08x}", graph.len(), sum.0.sum())
}

/// What differs, each with both values.
pub(super) fn differences(before: &Notes, now: &Notes) -> Vec<String> {
    let differs = |word: &str| before.get(word) != now.get(word);
    // These follow from others.
    let follows = |word: &str| match word {
        "network" => differs("batch"),
        "training step" => ["batch", "network", "optimizer"].into_iter().any(differs),
        word => word == KERNELS,
    };
    let words: BTreeSet<&String> = before.keys().chain(now.keys()).filter(|word| differs(word)).collect();
    let value = |notes: &Notes, word: &str| notes.get(word).cloned().unwrap_or_else(|| "none".to_owned());
    let line = |word: &String| {
        format!("\n  {word}: {} in the checkpoint, {} now", value(before, word), value(now, word))
    };
    words.into_iter().filter(|word| !follows(word)).map(line).collect()
}

/// The error about a run that is another one.
#[track_caller]
pub(super) fn another(differences: &[String]) -> Error {
    let hint = "`train::read_checkpoint` reads a store with which anything may go on";
    let message = format!("this is another training:{}\n  hint: {hint}", differences.concat());
    Error::setting("resume", message)
}

/// Lets a run begin, unless it goes on from a checkpoint of another one or the observer refuses it.
#[track_caller]
pub(in crate::train) fn begin(
    run: &Notes,
    observer: &mut dyn Observer,
    training: &mut Training<'_>,
) -> Result<()> {
    go_on(run, training)?;
    observer.begin(run, training)
}

/// Refuses to go on from a checkpoint with what is another run; warns if only the instruction set is another one.
#[track_caller]
fn go_on(run: &Notes, training: &mut Training<'_>) -> Result<()> {
    let Some(before) = training.store.resumed.take() else { return Ok(()) };
    let differences = differences(&before, run);
    if !differences.is_empty() {
        training.store.resumed = Some(before);
        return Err(another(&differences));
    }
    if let (Some(then), Some(now)) = (before.get(KERNELS), run.get(KERNELS))
        && then != now
    {
        let message = format!("the checkpoint comes from {then}, and this is {now}: last bits may differ");
        training.warn(&Error::setting(KERNELS, message));
    }
    Ok(())
}
