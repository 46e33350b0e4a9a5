//! One run of a plan: one flat loop over its steps.

use std::time::{Duration, Instant};

use super::feed::{self, Feed};
use super::outputs::Outputs;
use super::store::Store;
use super::workspace::Workspace;
use crate::compile::{Place, Plan};
use crate::error::{NotFinite, Result};
use crate::graph::{Dtype, Precision};

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
        self.run_steps(store, workspace, feeds, |_, call| call())?;
        Ok(Outputs::new(self, workspace))
    }

    /// Runs the plan like [`run`](Self::run) and answers how long each step took.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn time_steps(
        &self,
        store: &mut Store<T>,
        workspace: &mut Workspace,
        feeds: &[Feed<'_>],
    ) -> Result<Vec<Duration>> {
        let mut times = vec![Duration::ZERO; self.steps().len()];
        self.run_steps(store, workspace, feeds, |step, call| {
            let start = Instant::now();
            call();
            times[step] = start.elapsed();
        })?;
        Ok(times)
    }

    /// The loop over steps; `around` is given each step's number and its call.
    fn run_steps(
        &self,
        store: &mut Store<T>,
        workspace: &mut Workspace,
        feeds: &[Feed<'_>],
        mut around: impl FnMut(usize, &mut dyn FnMut()),
    ) -> Result<()> {
        workspace.prepare(self, store)?;
        for input in self.inputs() {
            let value = feed::find(input, feeds)?;
            match input.source.meta.dtype {
                Dtype::Real => feed::copy_real(value, workspace.value_mut::<T>(&input.source)),
                Dtype::Index => feed::copy_indices(input, value, workspace.value_mut(&input.source))?,
            }
        }
        let random = store.random();
        for (number, step) in self.steps().iter().enumerate() {
            around(number, &mut || workspace.call(self, step, store, random));
            if workspace.checks_values {
                self.check_values(step, store, workspace)?;
            }
        }
        for (parameter, source) in self.copies() {
            workspace.copy_to_parameter(*parameter, source, store);
        }
        if self.trains() {
            store.advance();
        }
        Ok(())
    }

    fn check_values(
        &self,
        step: &crate::compile::Step,
        store: &Store<T>,
        workspace: &Workspace,
    ) -> Result<()> {
        let source = &step.output;
        let values = match (source.place, source.meta.dtype) {
            (_, Dtype::Index) => return Ok(()),
            (Place::Arena(_), _) => workspace.value::<T>(source),
            (Place::Parameter(number), _) => &store.entry(workspace.binding[number]).data[..],
        };
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(position) => Err(Box::new(NotFinite {
                op: step.to_string(),
                site: step.site,
                is_gradient: step.is_gradient,
                value: values[position].wide(),
                position,
                shape: source.meta.shape.clone(),
            })
            .into()),
        }
    }
}
