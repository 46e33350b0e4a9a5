//! One run of a plan: one flat loop over its steps and groups of steps.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::feed::{self, Feed};
use super::outputs::Outputs;
use super::store::Store;
use super::workspace::Workspace;
use crate::compile::{Group, Plan};
use crate::error::{NotFinite, Result};
use crate::graph::{Dtype, Precision};
use crate::kernels::real::Real;

impl<T: Precision> Plan<T> {
    /// Runs the plan: copies the inputs, performs the steps, moves the assigned parameters.
    ///
    /// The first run in a workspace makes room and starts missing parameters; the following ones allocate
    /// nothing. Results are the same to the bit for any number of threads.
    ///
    /// # Errors
    /// An input without a value, with two, or with one that does not fit; a class out of range; a parameter
    /// of another shape in the store; memory that the machine refuses; with
    /// [`check_values`](Workspace::check_values), the first NaN or infinity.
    pub fn run<'w>(
        &'w self,
        store: &mut Store<T>,
        workspace: &'w mut Workspace,
        feeds: &[Feed<'_>],
    ) -> Result<Outputs<'w, T>> {
        self.run_steps(store, workspace, feeds, None)?;
        Ok(Outputs::new(self, workspace))
    }

    /// Runs the plan like [`run`](Self::run) and answers how long each step took. The time of a group that is
    /// done depth first is shared out among its steps.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn time_steps(
        &self,
        store: &mut Store<T>,
        workspace: &mut Workspace,
        feeds: &[Feed<'_>],
    ) -> Result<Vec<Duration>> {
        let times: Vec<AtomicU64> = self.steps().iter().map(|_| AtomicU64::new(0)).collect();
        self.run_steps(store, workspace, feeds, Some(&times))?;
        Ok(times.into_iter().map(|time| Duration::from_nanos(time.into_inner())).collect())
    }

    /// The loop over steps and groups.
    fn run_steps(
        &self,
        store: &mut Store<T>,
        workspace: &mut Workspace,
        feeds: &[Feed<'_>],
        times: Option<&[AtomicU64]>,
    ) -> Result<()> {
        workspace.prepare(self, store)?;
        for input in self.inputs() {
            let value = feed::find(input, feeds)?;
            match input.source.meta.dtype {
                Dtype::Real => {
                    let (target, workers) = workspace.value_mut::<T>(&input.source);
                    feed::copy_real(value, target, workers);
                }
                Dtype::Index => {
                    let (target, workers) = workspace.value_mut(&input.source);
                    feed::copy_indices(input, value, target, workers)?;
                }
            }
        }
        let random = store.random();
        let watch = Watch { times, fault: workspace.checks_values.then(Mutex::default) };
        let memory = workspace.memory(store);
        let mut groups = self.groups().iter();
        let mut next = groups.next();
        let mut number = 0;
        while number < self.steps().len() {
            match next {
                Some(group) if group.steps.start == number => {
                    workspace.call_group(self, group, memory, random, &watch);
                    watch.share_out(group, workspace.threads());
                    (number, next) = (group.steps.end, groups.next());
                }
                _ => {
                    workspace.call(self, number, memory, random, &watch);
                    number += 1;
                }
            }
            watch.verdict(self)?;
        }
        for (parameter, source) in self.copies() {
            workspace.copy_to_parameter(*parameter, source, store);
        }
        if self.trains() {
            store.advance();
        }
        workspace.turn();
        Ok(())
    }
}

/// What is observed while steps run: how long they take, or whether they make numbers, or nothing.
pub(super) struct Watch<'a> {
    /// Nanoseconds of each step, of all threads together.
    times: Option<&'a [AtomicU64]>,
    /// The first NaN or infinity, if they are looked for.
    fault: Option<Mutex<Option<Fault>>>,
}

/// A value that is no finite number: in which step's result, where, and what it is.
struct Fault {
    step: usize,
    position: usize,
    value: f64,
}

impl Watch<'_> {
    /// Calls a kernel. `values` yields what it made, from element `first` of each result of the step on.
    pub(super) fn around<'v, T: Real, V: Iterator<Item = &'v [T]>>(
        &self,
        step: usize,
        call: impl FnOnce(),
        first: usize,
        values: impl FnOnce() -> V,
    ) {
        let start = self.times.map(|_| Instant::now());
        call();
        if let (Some(times), Some(start)) = (self.times, start) {
            times[step].fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        }
        let Some(fault) = &self.fault else { return };
        let first_fault = values().find_map(|values| {
            let position = values.iter().position(|value| !value.is_finite())?;
            Some(Fault { step, position: first + position, value: values[position].wide() })
        });
        let Some(found) = first_fault else { return };
        let mut fault = fault.lock().unwrap_or_else(PoisonError::into_inner);
        if fault.as_ref().is_none_or(|known| (found.step, found.position) < (known.step, known.position)) {
            *fault = Some(found);
        }
    }

    /// After a group: its threads took their times side by side.
    fn share_out(&self, group: &Group, threads: usize) {
        let threads = threads.min(group.tasks()).max(1) as u64;
        for time in self.times.iter().flat_map(|times| &times[group.steps.clone()]) {
            time.store(time.load(Ordering::Relaxed) / threads, Ordering::Relaxed);
        }
    }

    /// The error for the first fault found so far.
    fn verdict<T>(&self, plan: &Plan<T>) -> Result<()> {
        let Some(fault) = &self.fault else { return Ok(()) };
        let found = fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Fault { step, position, value }) = found else { return Ok(()) };
        let step = &plan.steps()[step];
        let (op, site, is_gradient) = (step.to_string(), step.site, step.is_gradient);
        let shape = step.output().meta.shape.clone();
        Err(Box::new(NotFinite { op, site, is_gradient, value, position, shape }).into())
    }
}
