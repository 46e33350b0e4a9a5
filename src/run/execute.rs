//! One run of a plan: one flat loop over its steps and groups of steps.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use super::feed::{self, Feed};
use super::outputs::Outputs;
use super::store::Store;
use super::workspace::Workspace;
use crate::compile::{Plan, Source};
use crate::error::{Error, NotFinite, OpError, OperandNote, Problem, Result};
use crate::graph::{Dtype, Precision};
use dagrad_kernels::real::Real;

impl<T: Precision> Plan<T> {
    /// Runs the plan: copies the inputs, performs the steps, moves the assigned parameters.
    ///
    /// The first run in a workspace makes room, and the first over an empty store starts its parameters; the following
    /// ones allocate nothing. Results are the same to the bit for any number of threads.
    ///
    /// # Errors
    /// An input without a value, with two, or with one that does not fit; a value for something else; a class out of range;
    /// a parameter that the store has under another shape, or does not have and this plan may not start (see [`Store`]);
    /// memory that the machine refuses; a kernel that fails; with [`check_values`](Workspace::check_values), the first NaN or
    /// infinity.
    #[track_caller]
    pub fn run<'w>(
        &'w self,
        store: &mut Store<T>,
        workspace: &'w mut Workspace,
        feeds: &[Feed<'_>],
    ) -> Result<Outputs<'w, T>> {
        self.run_steps(store, workspace, feeds, None)?;
        Ok(Outputs::new(self, workspace))
    }

    /// How long each step took in a run of these calls by so many threads. The time of a group of steps that share their
    /// tiles is shared out among them.
    pub(crate) fn step_times(&self, calls: &[KernelCall], threads: usize) -> Vec<Duration> {
        let mut times = vec![Duration::ZERO; self.steps().len()];
        calls.iter().for_each(|call| times[call.step] += call.time);
        for group in self.groups() {
            // Its threads took their times side by side.
            let threads = threads.min(group.tasks()).max(1) as u32;
            times[group.steps.clone()].iter_mut().for_each(|time| *time /= threads);
        }
        times
    }

    /// Runs the plan like [`run`](Self::run) and returns every call of a kernel: one for each step, and for the steps of a
    /// group one for each task.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    #[track_caller]
    pub(crate) fn trace(
        &self,
        store: &mut Store<T>,
        workspace: &mut Workspace,
        feeds: &[Feed<'_>],
    ) -> Result<Vec<KernelCall>> {
        let clock = Clock { start: Instant::now(), noted: Mutex::default() };
        self.run_steps(store, workspace, feeds, Some(&clock))?;
        Ok(std::mem::take(&mut lock(&clock.noted).0))
    }

    /// A run. One that fails leaves no parameter in the store that it has started.
    #[track_caller]
    fn run_steps(
        &self,
        store: &mut Store<T>,
        workspace: &mut Workspace,
        feeds: &[Feed<'_>],
        clock: Option<&Clock>,
    ) -> Result<()> {
        let known = store.len();
        let outcome = self.try_steps(store, workspace, feeds, clock);
        store.keep_if(outcome, known)
    }

    /// What a run does besides its steps.
    #[track_caller]
    fn try_steps(
        &self,
        store: &mut Store<T>,
        workspace: &mut Workspace,
        feeds: &[Feed<'_>],
        clock: Option<&Clock>,
    ) -> Result<()> {
        feed::check(self, feeds)?;
        self.make_ready(store, workspace)?;
        if self.trains() {
            store.prepared.expire();
        }
        self.steps_over(store, workspace, feeds, clock)?;
        for (parameter, source) in self.copies() {
            workspace.copy_to_parameter(self, *parameter, source, store);
        }
        if self.trains() {
            store.advance();
        }
        Ok(())
    }

    /// Finds or starts the parameters, and computes what follows from them alone.
    #[track_caller]
    fn make_ready(&self, store: &mut Store<T>, workspace: &mut Workspace) -> Result<()> {
        workspace.prepare(self, store)?;
        if let Some(preparation) = self.preparation()
            && !store.prepared.is_valid(preparation)
        {
            store.prepared.make_room(preparation)?;
            preparation.run_steps(store, workspace, &[], None)?;
            store.prepared.validate(preparation);
            workspace.prepare(self, store)?;
        }
        Ok(())
    }

    /// Makes a store ready for [`run_shared`](Self::run_shared) by plans that change nothing.
    ///
    /// # Errors
    /// Parameters that the store does not have, or has under another shape; memory that the machine refuses.
    #[track_caller]
    pub(crate) fn share<'p>(
        plans: impl ExactSizeIterator<Item = &'p Self>,
        store: &mut Store<T>,
        workspace: &mut Workspace,
    ) -> Result<()>
    where
        T: 'p,
    {
        store.prepared.keep(plans.len());
        for plan in plans {
            plan.make_ready(store, workspace)?;
        }
        Ok(())
    }

    /// Runs a plan that changes nothing over a store that was [made ready](Self::share) and has not changed since. Others may
    /// do the same at the same time, each in a workspace of its own.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    #[track_caller]
    pub(crate) fn run_shared<'w>(
        &'w self,
        store: &Store<T>,
        workspace: &'w mut Workspace,
        feeds: &[Feed<'_>],
    ) -> Result<Outputs<'w, T>> {
        if self.trains()
            || self.preparation().is_some_and(|preparation| !store.prepared.is_valid(preparation))
        {
            unreachable!("a store is shared only by plans that it was made ready for");
        }
        feed::check(self, feeds)?;
        workspace.prepare_shared(self, store)?;
        self.steps_over(store, workspace, feeds, None)?;
        Ok(Outputs::new(self, workspace))
    }

    /// Gives the inputs and performs the steps. The parameters are where they are looked for, and nobody else reads them if the
    /// plan trains.
    #[track_caller]
    fn steps_over(
        &self,
        store: &Store<T>,
        workspace: &mut Workspace,
        feeds: &[Feed<'_>],
        clock: Option<&Clock>,
    ) -> Result<()> {
        for input in self.inputs() {
            feed::give::<T>(input, feeds, workspace)?;
        }
        if workspace.checks_values {
            self.check_given(store, workspace)?;
        }
        let watch = Watch { clock, checks_values: workspace.checks_values, fault: Mutex::default() };
        let run = workspace.start(self, store, watch);
        let mut groups = self.groups().iter().peekable();
        let mut number = 0;
        while number < self.steps().len() {
            if let Some(group) = groups.next_if(|group| group.steps.start == number) {
                run.group(group);
                number = group.steps.end;
            } else {
                run.step(number);
                number += 1;
            }
            run.watch.verdict(self)?;
        }
        workspace.workers().equalize_scratch();
        workspace.workers().reverse_task_order();
        Ok(())
    }

    /// Whether all that a run starts from are numbers: inputs and parameters.
    #[track_caller]
    fn check_given(&self, store: &Store<T>, workspace: &Workspace) -> Result<()> {
        for input in self.inputs().iter().filter(|input| input.source.ty.dtype == Dtype::Real) {
            if let Some(message) = first_fault(workspace.value::<T>(&input.source)) {
                return Err(Error::feed(&input.name, message));
            }
        }
        for parameter in self.parameters() {
            let values = store.get(&parameter.name);
            let values = values.as_ref().and_then(|values| values.as_slice());
            if let Some(message) = values.and_then(first_fault) {
                return Err(Error::parameter(&parameter.name, message));
            }
        }
        Ok(())
    }
}

/// What a mutex holds. A thread that panicked has not left it half written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is wrong with the first value that is no finite number.
fn first_fault<T: Real>(values: &[T]) -> Option<String> {
    let position = values.iter().position(|value| !value.is_finite())?;
    Some(format!("it holds {} at position {position} before the run", values[position]))
}

/// One call of a kernel during a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelCall {
    /// The plan's step.
    pub step: usize,
    /// The thread that called, counted from 0 in the order in which threads first called.
    pub thread: usize,
    /// How long after the run's start it began.
    pub start: Duration,
    /// How long it took.
    pub time: Duration,
}

/// Notes when kernels are called.
struct Clock {
    start: Instant,
    /// The calls, and the threads that have called.
    noted: Mutex<(Vec<KernelCall>, Vec<ThreadId>)>,
}

impl Clock {
    fn note(&self, step: usize, begin: Instant) {
        let time = begin.elapsed();
        let id = std::thread::current().id();
        let (calls, threads) = &mut *lock(&self.noted);
        let thread = threads.iter().position(|known| *known == id).unwrap_or_else(|| {
            threads.push(id);
            threads.len() - 1
        });
        calls.push(KernelCall { step, thread, start: begin - self.start, time });
    }
}

/// What is observed while steps run: whether they fail; and how long they take, or whether they make numbers, if that is
/// asked for.
pub(super) struct Watch<'a> {
    /// How long they take.
    clock: Option<&'a Clock>,
    /// Whether NaN and infinities are looked for.
    checks_values: bool,
    /// The first fault so far, in the order of steps and elements, whichever thread found it.
    fault: Mutex<Option<Fault>>,
}

/// What went wrong: in which step, from which element of its result on.
struct Fault {
    step: usize,
    position: usize,
    kind: FaultKind,
}

enum FaultKind {
    /// The kernel says so.
    Failure(Problem),
    /// The element is no finite number.
    NotFinite(f64),
}

impl Watch<'_> {
    /// Calls a kernel. `values` yields what it made, from element `first` of each result of the step on.
    pub(super) fn around<'v, T: Real>(
        &self,
        step: usize,
        call: impl FnOnce() -> Result<(), Problem>,
        first: usize,
        mut values: impl Iterator<Item = &'v [T]>,
    ) {
        let clock = self.clock.map(|clock| (clock, Instant::now()));
        let outcome = call();
        if let Some((clock, begin)) = clock {
            clock.note(step, begin);
        }
        let not_finite = |values: &[T]| {
            let position = values.iter().position(|value| !value.is_finite())?;
            Some((first + position, FaultKind::NotFinite(values[position].into_f64())))
        };
        let found = match outcome {
            Err(problem) => Some((first, FaultKind::Failure(problem))),
            Ok(()) if self.checks_values => values.find_map(not_finite),
            Ok(()) => None,
        };
        let Some((position, kind)) = found else { return };
        let mut fault = lock(&self.fault);
        if fault.as_ref().is_none_or(|known| (step, position) < (known.step, known.position)) {
            *fault = Some(Fault { step, position, kind });
        }
    }

    /// The error for the first fault found so far.
    fn verdict<T>(&self, plan: &Plan<T>) -> Result<()> {
        let Some(Fault { step, position, kind }) = lock(&self.fault).take() else { return Ok(()) };
        let step = &plan.steps()[step];
        let (op, site, is_gradient) = (step.to_string(), step.site, step.is_gradient);
        Err(match kind {
            FaultKind::Failure(problem) => {
                let operand = |(position, source): (usize, &Source)| OperandNote {
                    role: format!("operand {position}"),
                    shape: source.ty.shape.clone(),
                    source: "of the step".into(),
                    site,
                };
                let operands = step.operands().iter().enumerate().map(operand).collect();
                Error::Kernel(Box::new(OpError { op, site, problem, operands }))
            }
            FaultKind::NotFinite(value) => {
                let layer = step.layer.as_ref().map(|layer| layer.to_string());
                let shape = step.output().ty.shape.clone();
                Box::new(NotFinite { op, layer, site, is_gradient, value, position, shape }).into()
            }
        })
    }
}
