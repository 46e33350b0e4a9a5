//! Evaluations: loss and metrics over samples, with parameters that stay.

use std::collections::BTreeMap;

use super::batch::{Batch, length, read_ahead};
use super::learner::Trainable;
use super::metric::{Figures, Measured};
use super::objective::Inputs;
use crate::compile::{Options, Plan};
use crate::data::{Samples, reserved};
use crate::error::{Error, Result, SourceLine};
use crate::graph::{Graph, Mode};

/// The most numbers of samples that are evaluated at once, unless a single one has more, and the most samples.
const AT_ONCE: [usize; 2] = [1 << 21, 500];

/// Loss and metrics over samples, in evaluation mode. The parameters and all state stay as they are.
///
/// Samples are read up to 500 at a time, fewer of large ones. Another number may round differently. Of a classifier
/// ([`Model`](crate::nn::Model)) the metric is the [accuracy](Figures::accuracy).
///
/// # Errors
/// Samples that do not fit; no samples.
#[track_caller]
pub fn evaluate<L: Trainable>(learner: &mut L, data: &dyn Samples) -> Result<Figures> {
    check(learner, "evaluation data", data)?;
    Evaluation::new(learner, data, &[data.len()], usize::MAX)?.measure(learner, data, data.len())
}

/// Refuses data that is empty or does not fit.
#[track_caller]
pub(super) fn check(learner: &dyn Trainable, name: &str, data: &dyn Samples) -> Result<()> {
    if data.is_empty() {
        return Err(Error::setting(name, "there are no samples"));
    }
    let site = SourceLine::caller();
    learner.check(name, data).map_err(|error| error.at(site)) // a call through a trait loses the caller
}

/// A plan for each size of batch.
pub(super) struct Evaluation {
    plans: BTreeMap<usize, Plan<f32>>,
    measured: Measured,
    at_once: usize,
}

impl Evaluation {
    /// For so many samples each time, at most `batch` of them at once.
    #[track_caller]
    pub(super) fn new(
        learner: &dyn Trainable,
        data: &dyn Samples,
        counts: &[usize],
        batch: usize,
    ) -> Result<Self> {
        let [numbers, samples] = AT_ONCE;
        let fields = data.fields();
        let of_sample: usize = fields.iter().map(length).sum();
        let at_once = (numbers / of_sample.max(1)).clamp(1, samples).min(batch);
        let (mut plans, mut measured) = (BTreeMap::new(), Measured::default());
        for &count in counts {
            for size in [at_once.min(count), count % at_once] {
                if size == 0 || plans.contains_key(&size) {
                    continue;
                }
                let graph = Graph::with_mode(Mode::Evaluate);
                let _at = graph.at_caller();
                let goal = learner.record(&Inputs::record(&graph, &fields, size));
                measured = Measured::new(&goal.metrics);
                plans.insert(size, Options::new().without_assignments().compile(&graph, &goal.measured())?);
            }
        }
        Ok(Self { plans, measured, at_once })
    }

    /// Loss and metrics over the first samples, at most so many.
    #[track_caller]
    pub(super) fn measure(
        &mut self,
        learner: &mut dyn Trainable,
        data: &dyn Samples,
        most: usize,
    ) -> Result<Figures> {
        let site = SourceLine::caller();
        let mut order = reserved(data.len().min(most), "the order of samples")?;
        order.extend(0..data.len().min(most));
        let batches: Vec<&[usize]> = order.chunks(self.at_once).collect();
        self.measured.restart(&[]);
        let measured = read_ahead(data, &batches, None, |batch, _| self.add(learner, batch));
        measured.map_err(|error| error.at(site))?;
        Ok(self.measured.figures())
    }

    /// Adds a batch.
    fn add(&mut self, learner: &mut dyn Trainable, batch: &Batch) -> Result<bool> {
        let Some(plan) = self.plans.get(&batch.samples()) else {
            unreachable!("a plan was compiled for each size of batch")
        };
        let (store, workspace) = learner.parts();
        let outputs = plan.run(store, workspace, &batch.feeds()?)?;
        self.measured.add(batch.samples(), &outputs);
        Ok(true)
    }
}
