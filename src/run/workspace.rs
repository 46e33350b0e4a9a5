//! Memory and threads, used again by every run.

use std::ops::Range;
use std::ptr::NonNull;

use smallvec::SmallVec;

use crate::compile::{Location, Plan, Source, StepGroup, StepOutput};
use crate::error::{Error, Result, SourceLine};
use crate::graph::call::{Call, Operand, OutputSlot, Random};
use crate::graph::setting;
use crate::graph::{Dtype, Precision};
use crate::shape::Shape;
use dagrad_kernels::buffer::Buffer;
use dagrad_kernels::real::Real;
use dagrad_kernels::workers::Workers;

use super::buffer;
use super::execute::Watch;
use super::store::Store;

/// The arena that plans compute in, and the threads that they compute with.
///
/// It grows to the needs of the largest plan that runs in it; after that a run allocates nothing. One
/// workspace serves any number of plans, one at a time.
#[derive(Debug)]
pub struct Workspace {
    pub(super) arena: Buffer<usize>,
    workers: Workers,
    /// For each of the running plan's parameters its position in the store.
    binding: Vec<usize>,
    pub(super) checks_values: bool,
}

impl Workspace {
    /// A workspace for a number of threads, the calling one included.
    ///
    /// # Errors
    /// No threads, more than 1024, or more than the machine grants.
    #[track_caller]
    pub fn new(threads: usize) -> Result<Self> {
        setting::require("threads", threads, 1.0..=1024.0)?;
        let here = SourceLine::caller();
        let refused = |refusal: std::io::Error| Error::setting("threads", refusal.to_string()).at(here);
        let workers = Workers::new(threads).map_err(refused)?;
        Ok(Self { arena: buffer(0, "the arena")?, workers, binding: Vec::new(), checks_values: false })
    }

    /// A workspace for all cores of the machine.
    ///
    /// # Errors
    /// The machine grants no threads.
    #[track_caller]
    pub fn for_this_machine() -> Result<Self> {
        Self::new(std::thread::available_parallelism().map_or(1, |cores| cores.get()).min(1024))
    }

    /// How many threads it computes with.
    pub fn threads(&self) -> usize {
        self.workers.threads()
    }

    /// Whether runs stop at the first step that makes a NaN or an infinity, with [`Error::NotFinite`], and before the first
    /// if an input or a parameter holds one. It reads every result once more, so it is off by default. Of a chain that
    /// became one step only the chain is known; a plan [`without`](crate::Options::without) `fuse` tells its functions apart.
    pub fn check_values(&mut self, check: bool) {
        self.checks_values = check;
    }

    /// The threads.
    pub(crate) fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Makes room for a plan, and finds its parameters in the store.
    #[track_caller]
    pub(super) fn prepare<T: Real>(&mut self, plan: &Plan<T>, store: &mut Store<T>) -> Result<()> {
        self.make_room(plan)?;
        store.bind(plan, &mut self.binding)
    }

    /// The same over a store that others read, too.
    #[track_caller]
    pub(super) fn prepare_shared<T: Real>(&mut self, plan: &Plan<T>, store: &Store<T>) -> Result<()> {
        self.make_room(plan)?;
        store.find(plan, &mut self.binding)
    }

    #[track_caller]
    fn make_room<T: Real>(&mut self, plan: &Plan<T>) -> Result<()> {
        if plan.arena_bytes() > self.arena.len() * size_of::<usize>() {
            self.arena = buffer(plan.arena_bytes().div_ceil(size_of::<usize>()), "the arena")?;
        }
        self.binding.clear();
        Ok(())
    }

    /// What the steps of a plan share while it runs. If the plan trains, the caller has borrowed the store for itself.
    pub(super) fn start<'a, T: Real>(
        &'a self,
        plan: &'a Plan<T>,
        store: &'a Store<T>,
        watch: Watch<'a>,
    ) -> Run<'a, T> {
        let random = Random { seed: store.seed(), step: store.step() };
        Run { plan, memory: self.memory(plan, store), workers: &self.workers, random, watch }
    }

    /// The memory that a running plan sees.
    fn memory<'a, T: Real>(&'a self, plan: &Plan<T>, store: &'a Store<T>) -> Memory<'a, T> {
        let (arena, local) = (self.arena.start().cast(), NonNull::dangling());
        Memory { arena, store, binding: &self.binding, prepared: store.prepared.of(plan), local }
    }

    /// Copies a value to a parameter.
    pub(super) fn copy_to_parameter<T: Real>(
        &self,
        plan: &Plan<T>,
        parameter: usize,
        source: &Source,
        store: &mut Store<T>,
    ) {
        let target = Source { location: Location::Parameter(parameter), ty: source.ty.clone() };
        let (memory, whole) = (self.memory(plan, store), 0..source.ty.shape.count());
        // SAFETY: the plan copies only between different locations.
        let (from, to): (&[T], &mut [T]) =
            unsafe { (memory.slice(source, whole.clone()), memory.slice_mut(&target, whole)) };
        to.copy_from_slice(from);
    }

    /// The memory of a value, to write it between steps, and the threads that may.
    pub(super) fn value_mut<E>(&mut self, source: &Source) -> (&mut [E], &Workers) {
        let Location::Arena(offset) = source.location else { return (&mut [], &self.workers) };
        // SAFETY: `prepare` has made the arena as large as the plan asks; `&mut self` excludes other slices.
        let value = unsafe {
            let start = self.arena.start().cast::<u8>().add(offset).cast::<E>();
            std::slice::from_raw_parts_mut(start.as_ptr(), source.ty.shape.count())
        };
        (value, &self.workers)
    }

    /// The memory of a value in the arena, to read it between steps.
    pub(super) fn value<E>(&self, source: &Source) -> &[E] {
        let Location::Arena(offset) = source.location else { return &[] };
        // SAFETY: as for `value_mut`; nothing writes while `&self` is borrowed.
        unsafe {
            let start = self.arena.start().cast::<u8>().add(offset).cast::<E>();
            std::slice::from_raw_parts(start.as_ptr(), source.ty.shape.count())
        }
    }
}

/// All memory that a running plan sees.
#[derive(Clone, Copy)]
struct Memory<'a, T: Real> {
    arena: NonNull<u8>,
    /// The parameters, and where each of the plan's is among them.
    store: &'a Store<T>,
    binding: &'a [usize],
    /// What the plan's preparation has computed, or computes.
    prepared: &'a [Buffer<T>],
    /// The own memory of the thread that does a group's task.
    local: NonNull<u8>,
}

// SAFETY: a store, which is `Sync` itself, and addresses: those who follow them vouch that no two threads do so where one
// writes.
unsafe impl<T: Real> Sync for Memory<'_, T> {}

/// What the steps of a running plan share.
pub(super) struct Run<'a, T: Real> {
    plan: &'a Plan<T>,
    memory: Memory<'a, T>,
    workers: &'a Workers,
    random: Random,
    pub watch: Watch<'a>,
}

impl<T: Precision> Run<'_, T> {
    /// Calls the kernel of a step that is in no group.
    pub fn step(&self, number: usize) {
        let step = &self.plan.steps()[number];
        let shapes = step.operands.iter().chain([step.output()]).map(|source| &source.ty.shape);
        let whole = Task { memory: self.memory, samples: None, shapes: shapes.collect() };
        // SAFETY: `Plan::verify` has shown that the arena holds this much scratch, and that values end before it.
        let scratch = unsafe { self.memory.arena.add(self.plan.scratch_offset()) };
        // SAFETY: steps run one after the other, and each writes only memory that it does not read.
        unsafe { self.call(number, scratch, &whole) };
    }

    /// Runs a group: each task takes its samples through all steps.
    pub fn group(&self, group: &StepGroup) {
        self.workers.run(group.tasks(), &|task, local| {
            local.reserve(group.local);
            let memory = Memory { local: local.start(), ..self.memory };
            // SAFETY: the memory just reserved reaches beyond the values of a task, as `Plan::verify` has shown.
            let scratch = unsafe { memory.local.add(group.scratch) };
            let samples = group.samples_of(task);
            for number in group.steps.clone() {
                let Some(split) = &self.plan.steps()[number].split else { continue };
                let shapes = if samples.len() == group.chunk { &split.task } else { &split.last_task };
                let samples = Some((samples.clone(), group.samples));
                let task = Task { memory, samples, shapes: shapes.iter().collect() };
                // SAFETY: `Plan::verify` has shown that tasks keep to their own samples wherever they write.
                unsafe { self.call(number, scratch, &task) };
            }
        });
    }

    /// Calls a step's kernel.
    ///
    /// # Safety
    /// While it runs, nobody else may write what it reads or touch what it writes, and `scratch` must hold as
    /// many numbers as the step asks for.
    unsafe fn call(&self, number: usize, scratch: NonNull<u8>, task: &Task<'_, T>) {
        let (step, memory) = (&self.plan.steps()[number], task.memory);
        let samples_per_row =
            |position: usize| step.split.as_ref().and_then(|split| split.operands[position].then_some(1));
        let operands =
            step.operands.iter().zip(&task.shapes).enumerate().map(|(position, (source, &shape))| {
                if let Some(result) = step.over(position) {
                    return Operand::InPlace(result);
                }
                let elements = task.elements(source, samples_per_row(position));
                // SAFETY: `Plan::verify` has shown that the step's output overlaps no operand that is read here; the
                // caller vouches for the rest.
                match source.ty.dtype {
                    Dtype::Real => Operand::Real(shape, unsafe { memory.slice(source, elements) }),
                    // SAFETY: as above.
                    Dtype::Index => Operand::Index(shape, unsafe { memory.slice(source, elements) }),
                }
            });
        let operands = operands.collect();
        let samples_per_row = step.split.as_ref().map(|split| split.samples_per_row);
        let (mut output, mut indices): (&mut [T], &mut [u32]) = (&mut [], &mut []);
        let mut further_outputs: SmallVec<[OutputSlot<'_, T>; 4]> = SmallVec::new();
        for (number, result) in step.results.iter().enumerate() {
            let slot = match result {
                None => OutputSlot::Unread,
                Some(StepOutput { source, .. }) => {
                    let elements = task.elements(source, samples_per_row);
                    // SAFETY: as above; results lie apart from each other.
                    match source.ty.dtype {
                        Dtype::Real => OutputSlot::Real(unsafe { memory.slice_mut(source, elements) }),
                        // SAFETY: as above.
                        Dtype::Index => OutputSlot::Index(unsafe { memory.slice_mut(source, elements) }),
                    }
                }
            };
            match slot {
                OutputSlot::Real(numbers) if number == 0 => output = numbers,
                OutputSlot::Index(numbers) if number == 0 => indices = numbers,
                slot => further_outputs.push(slot),
            }
        }
        // SAFETY: the caller vouches for it.
        let scratch = unsafe { std::slice::from_raw_parts_mut(scratch.cast::<T>().as_ptr(), step.scratch) };
        let (shape, workers, random) = (task.shapes[step.operands.len()], self.workers, self.random);
        let call = Call { operands, output, indices, further_outputs, shape, scratch, workers, random };
        let made = step.outputs().map(|made| &made.source);
        let real = made.filter(|source| source.ty.dtype == Dtype::Real);
        // SAFETY: asked for when the kernel has returned.
        let values =
            real.map(|source| unsafe { memory.slice::<T>(source, task.elements(source, samples_per_row)) });
        let row = shape.iter().skip(1).product::<usize>();
        let first = match (&step.split, &task.samples) {
            (Some(split), Some((samples, _))) => samples.start / split.samples_per_row * row,
            _ => 0,
        };
        self.watch.around(number, || T::run(step.kernel.as_ref(), call), first, values);
    }
}

/// What one call of a kernel is about.
struct Task<'a, T: Real> {
    memory: Memory<'a, T>,
    /// Of a step in a group, which samples it sees, of how many.
    samples: Option<(Range<usize>, usize)>,
    /// The shapes of the operands and of the output, as the kernel sees them.
    shapes: SmallVec<[&'a Shape; 12]>,
}

impl<T: Real> Task<'_, T> {
    /// The elements of a value that the kernel sees. `samples_per_row`: of how many a row is made, if rows are samples'.
    fn elements(&self, source: &Source, samples_per_row: Option<usize>) -> Range<usize> {
        let count = source.ty.shape.count();
        let (Some((samples, all)), Some(samples_per_row)) = (&self.samples, samples_per_row) else {
            return 0..count;
        };
        let row = count / all.div_ceil(samples_per_row);
        let rows = samples.start / samples_per_row..samples.end.div_ceil(samples_per_row);
        if matches!(source.location, Location::Local(_)) {
            0..rows.len() * row
        } else {
            rows.start * row..rows.end * row
        }
    }
}

impl<'a, T: Real> Memory<'a, T> {
    fn start(&self, location: Location) -> NonNull<u8> {
        match location {
            // SAFETY: `Plan::verify` has shown that the offset is within the arena, which `prepare` made.
            Location::Arena(offset) => unsafe { self.arena.add(offset) },
            Location::Parameter(number) => self.store.entry(self.binding[number]).data.start().cast(),
            Location::Prepared(number) => self.prepared[number].start().cast(),
            // SAFETY: the same within a group's own memory, which `Run::group` reserves.
            Location::Local(offset) => unsafe { self.local.add(offset) },
        }
    }

    /// # Safety
    /// Nothing may write to the elements while the slice lives.
    unsafe fn slice<E>(&self, source: &Source, elements: Range<usize>) -> &'a [E] {
        // SAFETY: the plan's sizes are checked by `Plan::verify` and `Store::find_or_add`.
        unsafe {
            let start = self.start(source.location).cast::<E>().add(elements.start);
            std::slice::from_raw_parts(start.as_ptr(), elements.len())
        }
    }

    /// # Safety
    /// Nothing else may read or write the elements while the slice lives.
    unsafe fn slice_mut<E>(&self, source: &Source, elements: Range<usize>) -> &'a mut [E] {
        // SAFETY: as above.
        unsafe {
            let start = self.start(source.location).cast::<E>().add(elements.start);
            std::slice::from_raw_parts_mut(start.as_ptr(), elements.len())
        }
    }
}
