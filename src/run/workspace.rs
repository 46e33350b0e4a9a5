//! Memory and threads, used again by every run.

use std::ptr::NonNull;

use crate::compile::{Place, Plan, Source, Step};
use crate::error::{Error, Result};
use crate::graph::op::{Call, Operand, Random};
use crate::graph::{Dtype, Precision};
use crate::kernels::buffer::Buffer;
use crate::kernels::real::Real;
use crate::kernels::workers::Workers;

use super::store::Store;

/// The arena that plans compute in, and the threads that they compute with.
///
/// It grows to the needs of the largest plan that runs in it; after that a run allocates nothing. One
/// workspace serves any number of plans, one at a time.
#[derive(Debug)]
pub struct Workspace {
    pub(super) arena: Buffer<usize>,
    workers: Workers,
    /// For each of the running plan's parameters its place in the store.
    pub(super) binding: Vec<usize>,
    pub(super) checks_values: bool,
}

impl Workspace {
    /// A workspace for a number of threads, the calling one included.
    ///
    /// # Errors
    /// No threads, more than 1024, or more than the machine grants.
    pub fn new(threads: usize) -> Result<Self> {
        if threads == 0 || threads > 1024 {
            return Err(Error::setting("threads", format!("{threads} is not between 1 and 1024")));
        }
        let workers = Workers::new(threads)?;
        Ok(Self { arena: Buffer::new(0, "the arena")?, workers, binding: Vec::new(), checks_values: false })
    }

    /// A workspace for all cores of the machine.
    ///
    /// # Errors
    /// The machine grants no threads.
    pub fn for_this_machine() -> Result<Self> {
        Self::new(std::thread::available_parallelism().map_or(1, |cores| cores.get()).min(1024))
    }

    /// How many threads it computes with.
    pub fn threads(&self) -> usize {
        self.workers.threads()
    }

    /// Whether runs stop at the first step that makes a NaN or an infinity, with
    /// [`Error::NotFinite`](Error::NotFinite). It reads every result once more, so it is off by default. In a
    /// chain of functions that became one step only the chain is known; a plan compiled
    /// [`without`](crate::Options::without) `fuse` tells them apart.
    pub fn check_values(&mut self, check: bool) {
        self.checks_values = check;
    }

    /// Makes room for a plan, and finds its parameters in the store.
    pub(super) fn prepare<T: Real>(&mut self, plan: &Plan<T>, store: &mut Store<T>) -> Result<()> {
        if plan.arena_bytes() > self.arena.len() * size_of::<usize>() {
            self.arena = Buffer::new(plan.arena_bytes().div_ceil(size_of::<usize>()), "the arena")?;
        }
        self.binding.clear();
        for parameter in plan.parameters() {
            self.binding.push(store.find_or_start(parameter)?);
        }
        Ok(())
    }

    /// Calls the kernel of `step`.
    pub(super) fn call<T: Precision>(
        &self,
        plan: &Plan<T>,
        step: &Step,
        store: &mut Store<T>,
        random: Random,
    ) {
        let memory = Memory { workspace: self, store };
        let operands = step.operands.iter().enumerate().map(|(position, source)| {
            if step.in_place == Some(position) {
                return Operand::InPlace;
            }
            // SAFETY: `Plan::verify` has shown that the step's output and scratch overlap no operand that
            // is read here, so nothing is written while these slices live.
            match source.meta.dtype {
                Dtype::Real => Operand::Real(&source.meta.shape, unsafe { memory.slice(source) }),
                // SAFETY: as above.
                Dtype::Index => Operand::Index(&source.meta.shape, unsafe { memory.slice(source) }),
            }
        });
        let operands = operands.collect();
        // SAFETY: as above; output and scratch lie apart, because scratch begins where all values end.
        let (output, indices): (&mut [T], &mut [u32]) = match step.output.meta.dtype {
            Dtype::Real => (unsafe { memory.slice_mut(&step.output) }, &mut []),
            Dtype::Index => (&mut [], unsafe { memory.slice_mut(&step.output) }),
        };
        // SAFETY: `Plan::verify` has shown that the arena holds this much scratch.
        let scratch = unsafe {
            let start = self.arena.start().cast::<u8>().add(plan.scratch_offset()).cast::<T>();
            std::slice::from_raw_parts_mut(start.as_ptr(), step.scratch)
        };
        let (shape, workers) = (&step.output.meta.shape, &self.workers);
        T::forward(step.op.as_ref(), Call { operands, output, indices, shape, scratch, workers, random });
    }

    /// Copies a value to a parameter.
    pub(super) fn copy_to_parameter<T: Real>(&self, parameter: usize, source: &Source, store: &mut Store<T>) {
        let target = Source { place: Place::Parameter(parameter), meta: source.meta.clone() };
        let memory = Memory { workspace: self, store };
        // SAFETY: the plan copies only between different places.
        let (from, to): (&[T], &mut [T]) = unsafe { (memory.slice(source), memory.slice_mut(&target)) };
        to.copy_from_slice(from);
    }

    /// The memory of a value, to write it between steps.
    pub(super) fn value_mut<E>(&mut self, source: &Source) -> &mut [E] {
        let Place::Arena(offset) = source.place else { return &mut [] };
        // SAFETY: `prepare` has made the arena as large as the plan asks; `&mut self` excludes other slices.
        unsafe {
            let start = self.arena.start().cast::<u8>().add(offset).cast::<E>();
            std::slice::from_raw_parts_mut(start.as_ptr(), source.meta.shape.count())
        }
    }

    /// The memory of a value in the arena, to read it between steps.
    pub(super) fn value<E>(&self, source: &Source) -> &[E] {
        let Place::Arena(offset) = source.place else { return &[] };
        // SAFETY: as for `value_mut`; nothing writes while `&self` is borrowed.
        unsafe {
            let start = self.arena.start().cast::<u8>().add(offset).cast::<E>();
            std::slice::from_raw_parts(start.as_ptr(), source.meta.shape.count())
        }
    }
}

/// All memory that a running plan sees.
struct Memory<'a, T: Real> {
    workspace: &'a Workspace,
    /// Borrowed for the whole call, so that nobody else reads or writes parameters meanwhile.
    store: &'a mut Store<T>,
}

impl<'a, T: Real> Memory<'a, T> {
    fn start(&self, place: Place) -> NonNull<u8> {
        match place {
            // SAFETY: `Plan::verify` has shown that the offset is within the arena, which `prepare` made.
            Place::Arena(offset) => unsafe { self.workspace.arena.start().cast::<u8>().add(offset) },
            Place::Parameter(number) => self.store.entry(self.workspace.binding[number]).data.start().cast(),
        }
    }

    /// # Safety
    /// Nothing may write to the value while the slice lives.
    unsafe fn slice<E>(&self, source: &Source) -> &'a [E] {
        // SAFETY: the plan's sizes are checked by `Plan::verify` and `Store::find_or_start`.
        unsafe {
            std::slice::from_raw_parts(self.start(source.place).cast().as_ptr(), source.meta.shape.count())
        }
    }

    /// # Safety
    /// Nothing else may read or write the value while the slice lives.
    unsafe fn slice_mut<E>(&self, source: &Source) -> &'a mut [E] {
        // SAFETY: as above.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.start(source.place).cast().as_ptr(),
                source.meta.shape.count(),
            )
        }
    }
}
