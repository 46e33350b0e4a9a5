//! The section of whatever an objective trains.

use maud::{Markup, html};
use ndarray::{Axis, Ix4};

use super::graph::{Shown, graph_parts};
use super::memory::memory_part;
use super::time::time_part;
use super::{part, table};
use crate::compile::Plan;
use crate::data::{Field, Samples};
use crate::error::Result;
use crate::graph::{Dtype, Graph, Mode};
use crate::optim::{Optimizer, minimize};
use crate::run::Value;
use crate::train::{Batch, Figures, Inputs, Trainable, evaluate};

/// Samples of the step that is timed, at most.
const BATCH: usize = 100;
/// Numbers of these samples together, at most, unless one has more.
const NUMBERS: usize = 1 << 22;

#[track_caller]
pub fn section<L: Trainable>(
    number: usize,
    name: &str,
    learner: &mut L,
    optimizer: &dyn Optimizer,
    test: &dyn Samples,
) -> Result<Markup> {
    let figures = evaluate(learner, test)?;
    let fields = test.fields();
    let of_sample: usize = fields.iter().map(|field| field.ty.shape.count()).sum();
    let batch = (NUMBERS / of_sample.max(1)).clamp(1, BATCH).min(test.len());
    let least = least_batch(learner, test, batch);
    let graph = Graph::with_mode(Mode::Train);
    let inputs = Inputs::record(&graph, &fields, least);
    let loss = learner.record(&inputs).loss;
    // Receptive fields lie in the first images, if there are any.
    let is_image = |field: &&Field| field.ty.dtype == Dtype::Real && field.ty.shape.len() == 3;
    let images = fields.iter().find(is_image);
    let input = inputs.get(&images.or(fields.first()).map_or(String::new(), |field| field.name.clone()));
    let shown = images.map(|field| first_image(test, &field.name)).transpose()?.flatten();
    let graph = graph_parts(loss, input, (least, "sample"), shown.as_ref())?;
    Ok(html! {
        section.network id=(format!("network{number}")) {
            h2 { (name) }
            (figures_part(&figures, test.len()))
            (graph)
            (cost_parts(learner, optimizer, test, batch.max(least))?)
        }
    })
}

/// On how many samples an objective can be trained: some need two numbers for a variance, or a whole batch.
fn least_batch(learner: &dyn Trainable, test: &dyn Samples, batch: usize) -> usize {
    let can_train = |samples: &usize| {
        let graph = Graph::with_mode(Mode::Train);
        learner.record(&Inputs::record(&graph, &test.fields(), *samples));
        graph.check().is_ok()
    };
    [1, 2].into_iter().find(can_train).unwrap_or(batch)
}

/// The first sample's image of a field.
fn first_image(test: &dyn Samples, name: &str) -> Result<Option<Shown>> {
    let batch = some(test, 1)?;
    let feeds = batch.feeds()?;
    let Some(Value::F32(images)) = feeds.iter().find(|feed| feed.name() == name).map(|feed| feed.value())
    else {
        return Ok(None);
    };
    let images = images.clone().into_dimensionality::<Ix4>().ok();
    images.map(|images| Shown::new(images.index_axis(Axis(0), 0))).transpose()
}

/// So many samples, the first again where there are too few.
fn some(test: &dyn Samples, count: usize) -> Result<Batch> {
    let samples: Vec<usize> = (0..count).map(|number| number % test.len()).collect();
    let mut batch = Batch::new(&test.fields(), count)?;
    batch.fill(test, &samples, None)?;
    Ok(batch)
}

fn figures_part(figures: &Figures, samples: usize) -> Markup {
    let about = format!("Of {samples} test samples, in evaluation mode.");
    let rows = html! {
        @for (name, value) in [("loss", figures.loss)].into_iter().chain(figures.metrics()) {
            tr { td { (name) } td { (format!("{value:.4}")) } }
        }
    };
    part("Figures", &about, table("", &["figure", "value"], &rows))
}

/// Time and memory of a training step.
fn cost_parts(
    learner: &mut dyn Trainable,
    optimizer: &dyn Optimizer,
    test: &dyn Samples,
    batch: usize,
) -> Result<Markup> {
    let given = some(test, batch)?;
    let graph = Graph::with_mode(Mode::Train);
    let loss = learner.record(&Inputs::record(&graph, &test.fields(), batch)).loss;
    minimize(loss, optimizer)?;
    let plan = Plan::compile(&graph, &[loss])?;
    let (store, workspace) = learner.parts();
    let time = time_part(&plan.profile(store, workspace, &given.feeds()?)?, batch);
    Ok(html! { (time) (memory_part(&plan)) })
}
