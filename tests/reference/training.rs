//! Training runs of whole networks.

use dagrad::optim::{Adam, AdamW, Momentum, Nesterov, Optimizer, Sgd, minimize};
use dagrad::{Graph, Init, Precision, Real, Store, Var, Workspace};
use ndarray::{Array1, ArrayD};

use super::case::{Mode, Sheet};
use super::manifest::{Case, Run};
use super::tensors::Tensors;
use super::{Result, Trouble, Values};

/// The parameters that a case starts from.
pub fn parameters<T: Precision>(case: &Case, tensors: &Tensors) -> Result<Store<T>> {
    let mut store = Store::new(0);
    for name in &case.params {
        let start = tensors.get(&case.id, &format!("in.{name}"))?.real()?;
        store.set(name, &start.mapv(T::of))?;
    }
    Ok(store)
}

/// The losses of a run before each step and after the last, and the parameters after some steps.
pub fn train<T: Precision>(case: &Case, tensors: &Tensors, run: &Run, mode: &Mode) -> Result<Values> {
    let graph = Graph::new();
    let sheet = Sheet::record(&graph, case, tensors)?;
    let loss = sheet.value("loss")?;
    minimize(loss, optimizer(run)?.as_ref())?;
    let step = mode.options.compile::<T>(&graph, &[loss])?;
    let look = mode.options.clone().without_assignments().compile::<T>(&graph, &[loss])?;
    let (mut store, mut workspace) = (parameters::<T>(case, tensors)?, Workspace::new(mode.threads)?);
    let (feeds, mut values, mut losses) = (sheet.feeds(), Values::new(), Vec::new());
    for number in 1..=run.at.iter().copied().max().unwrap_or(0) {
        losses.extend(step.run(&mut store, &mut workspace, &feeds)?.scalar(0).map(Real::into_f64));
        for name in case.params.iter().filter(|_| run.at.contains(&number)) {
            let value = store.get(name).map(|value| value.mapv(Real::into_f64));
            let value: ArrayD<f64> = value.ok_or_else(|| Trouble::File(format!("{name} is not trained")))?;
            values.insert(format!("run.{}.step{number}.{name}", run.name), value);
        }
    }
    losses.extend(look.run(&mut store, &mut workspace, &feeds)?.scalar(0).map(Real::into_f64));
    values.insert(format!("run.{}.losses", run.name), Array1::from(losses).into_dyn());
    Ok(values)
}

fn optimizer(run: &Run) -> Result<Box<dyn Optimizer>> {
    let learning_rate = run.lr.into();
    let adam = Adam { learning_rate, betas: [run.beta1, run.beta2], epsilon: run.eps };
    Ok(match (run.optimizer.as_str(), run.variant.as_deref()) {
        ("sgd", _) => Box::new(Sgd { learning_rate }),
        ("momentum", _) => Box::new(Momentum { learning_rate, momentum: run.momentum }),
        ("nesterov", _) => Box::new(Nesterov { learning_rate, momentum: run.momentum }),
        ("adam", Some("torch")) => Box::new(adam),
        ("adam", Some("book")) => Box::new(BookAdam(adam)),
        ("adamw", _) => Box::new(AdamW { adam, weight_decay: run.weight_decay }),
        (name, variant) => {
            return Err(Trouble::Unknown(format!("no optimizer is called {name} {variant:?}")));
        }
    })
}

/// Adam with its ε outside the correction of the second moment, as an optimizer of a user's own:
/// p ← p − η √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε).
struct BookAdam(Adam);

impl Optimizer for BookAdam {
    fn step<'g>(&self, graph: &'g Graph, parameters: &[(Var<'g>, Var<'g>)]) {
        let Adam { learning_rate, betas: [b1, b2], epsilon } = self.0;
        // c ← β c + (1 − β) · g, from 0; with g = 1 it is 1 − βᵗ.
        let average = |name: &str, beta: f64, shown: Var<'g>| {
            let kept = graph.state(name, shown.shape(), Init::ZEROS);
            let next = kept * beta + shown * (1.0 - beta);
            kept.assign(next);
            next
        };
        let one = graph.fill([], 1.0);
        let rate = average("seen1", b2, one).sqrt() / average("seen2", b1, one) * learning_rate.record(graph);
        for &(p, g) in parameters {
            let m = average(&format!("{}.m", p.name()), b1, g);
            let v = average(&format!("{}.v", p.name()), b2, g * g);
            p.assign(p - rate * m / (v.sqrt() + epsilon));
        }
    }
}
