//! A fixed pool of threads that share the tasks of one kernel at a time.
//!
//! Handing out work costs about a microsecond: idle threads spin for a while before they go to sleep, and
//! nothing is allocated. Every thread begins with its own part of the tasks, so that from one kernel to the
//! next its cache holds much of its data. Then it steals tasks from the others. So chance decides which thread does
//! which task. The results of tasks must not depend on it; then the number of threads cannot change a single bit.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::simd::Isa;
use crate::tuning::{SPINS, SPINS_CROWDED};
use memory::Level;
pub(super) use memory::Parts;
pub use memory::{Local, Split};

mod memory;

/// What a kernel asks to be done for every task index.
type Task<'a> = &'a (dyn Fn(usize, &mut Local) + Sync);

/// The threads that kernels run on, the calling one included.
#[derive(Debug)]
pub struct Workers {
    shared: Arc<Shared>,
    handles: Vec<JoinHandle<()>>,
    /// The instruction set of their kernels.
    isa: Isa,
    /// The caller's scratch. Its lock admits one caller at a time.
    caller: Mutex<Local>,
    /// How much scratch all threads have, on both levels; before the first time more than there can be.
    equalized: Mutex<[usize; 2]>,
}

/// What the caller and the pool's threads have in common.
#[derive(Debug)]
struct Shared {
    /// Number of the job, whether it still admits threads, and how many are at it; see [`State`].
    state: AtomicUsize,
    /// Written by the caller while no thread is at the job, read by threads that joined it.
    job: UnsafeCell<Job>,
    /// For each thread, how many tasks of its part have been taken. The caller is thread 0.
    taken: Box<[Counter]>,
    /// Whether tasks are taken from the last one to the first.
    is_reversed: AtomicBool,
    /// How many threads have started.
    started: AtomicUsize,
    /// How many threads sleep or are about to.
    sleeping: AtomicUsize,
    /// The first panic of a task.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    spins: usize,
}

// SAFETY: `job` is the only part that is not `Sync` by itself, and `state` orders the accesses to it.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `job` is followed only while the `run` that set it waits, and points to a `Sync` task.
unsafe impl Send for Shared {}

/// A counter on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Counter(AtomicUsize);

#[derive(Debug, Clone, Copy)]
enum Job {
    /// How many tasks there are, and the task, whose lifetime is known to the caller only.
    Tasks(usize, *const (dyn Fn(usize, &mut Local) + Sync)),
    Stop,
}

/// The fields packed into [`Shared::state`]: threads at the job, the "open" bit, and the job's number above it.
struct State;

impl State {
    const OPEN: usize = 1 << 16;
    const JOB: usize = Self::OPEN << 1;

    fn threads(state: usize) -> usize {
        state & (Self::OPEN - 1)
    }

    fn job(state: usize) -> usize {
        state / Self::JOB
    }
}

thread_local! {
    /// Whether this thread is in the middle of a task, of whichever pool.
    static BUSY: Cell<bool> = const { Cell::new(false) };
    /// Scratch for tasks inside tasks, kept for the next.
    static NESTED: Cell<Option<Local>> = const { Cell::new(None) };
}

impl Workers {
    /// No threads but the caller.
    pub fn alone() -> Self {
        Self::new(1).unwrap_or_else(|_| unreachable!("no thread is started"))
    }

    /// A pool of `threads` threads (at least one), of which the caller is one. Kernels use the best instruction set, or
    /// the one that the environment asks for: see [`Isa::detect`].
    ///
    /// # Errors
    /// The system refuses to start a thread.
    pub fn new(threads: usize) -> io::Result<Self> {
        Self::on(threads, Isa::detect())
    }

    /// The same with another instruction set.
    ///
    /// # Errors
    /// The system refuses to start a thread.
    pub fn on(threads: usize, isa: Isa) -> io::Result<Self> {
        // The count of threads at a job must not run into the "open" bit.
        let others = threads.clamp(1, State::OPEN - 1) - 1;
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let shared = Arc::new(Shared {
            state: AtomicUsize::new(0),
            job: UnsafeCell::new(Job::Stop),
            taken: (0..=others).map(|_| Counter::default()).collect(),
            is_reversed: AtomicBool::new(false),
            started: AtomicUsize::new(0),
            sleeping: AtomicUsize::new(0),
            panic: Mutex::new(None),
            spins: if threads > cores { SPINS_CROWDED } else { SPINS },
        });
        // Built first, so that its `Drop` stops the threads already started if a later one fails.
        let mut workers = Self {
            shared,
            handles: Vec::with_capacity(others),
            isa,
            caller: Mutex::new(Local::new(Level::Outer)),
            equalized: Mutex::new([usize::MAX; 2]),
        };
        for index in 1..=others {
            let (shared, local) = (Arc::clone(&workers.shared), Local::new(Level::Outer));
            let thread = std::thread::Builder::new().name(format!("worker {index}"));
            let handle = thread.spawn(move || shared.work(index, local));
            workers.handles.push(handle?);
        }
        // A thread allocates while it starts. After that nobody does.
        while workers.shared.started.load(Ordering::Acquire) < others {
            std::thread::yield_now();
        }
        Ok(workers)
    }

    /// Gives every thread as much scratch as any has asked for. Otherwise it would grow later, when by chance another thread
    /// gets the larger tasks.
    pub fn equalize_scratch(&self) {
        let asked = memory::asked();
        let equalized = std::mem::replace(&mut *lock(&self.equalized), asked);
        if equalized == asked || BUSY.get() {
            return;
        }
        let (threads, arrived) = (self.threads(), AtomicUsize::new(0));
        self.run(threads, &|_, local| {
            // Nobody leaves before all have come: so each thread has one of these tasks.
            arrived.fetch_add(1, Ordering::SeqCst);
            while arrived.load(Ordering::SeqCst) < threads {
                std::thread::yield_now();
            }
            local.reserve(asked[0]);
            let mut nested = NESTED.take().unwrap_or_else(|| Local::new(Level::Nested));
            nested.reserve(asked[1]);
            NESTED.set(Some(nested));
        });
    }

    /// Reverses the order of tasks in the runs that follow. The caches still hold the data that one pass through memory
    /// ended with. The next pass begins with it, before it is evicted.
    pub fn reverse_task_order(&self) {
        self.shared.is_reversed.fetch_xor(true, Ordering::Relaxed);
    }

    /// The instruction set that kernels are to use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// How many threads there are, the caller included.
    pub fn threads(&self) -> usize {
        self.handles.len() + 1
    }

    /// Calls `task(i, scratch)` once for every i < `tasks` and returns when all are done.
    ///
    /// A call from inside a task does its tasks on the spot, with scratch that the thread keeps for such calls;
    /// callers on several threads wait for each other.
    ///
    /// # Panics
    /// If a task panicked: with the first panic, after all tasks were tried.
    pub fn run(&self, tasks: usize, task: Task) {
        if tasks == 0 {
            return;
        }
        if BUSY.get() {
            let mut local = NESTED.take().unwrap_or_else(|| Local::new(Level::Nested));
            (0..tasks).for_each(|index| task(index, &mut local));
            NESTED.set(Some(local));
            return;
        }
        let mut local = lock(&self.caller);
        BUSY.set(true);
        self.shared.taken.iter().for_each(|taken| taken.0.store(0, Ordering::Relaxed));
        let threads = self.handles.len().min(tasks - 1);
        if threads > 0 {
            // SAFETY: only the lifetime changes. The pointer is followed only by threads that joined the job, and
            // this call does not return, not even by a panic, before they have left it.
            let task: Task<'static> = unsafe { std::mem::transmute(task) };
            self.shared.publish(Job::Tasks(tasks, task));
            if self.shared.sleeping.load(Ordering::SeqCst) > 0 {
                self.handles.iter().take(threads).for_each(|handle| handle.thread().unpark());
            }
        }
        self.shared.drain(0, tasks, task, &mut local);
        if threads > 0 {
            self.shared.join();
        }
        BUSY.set(false);
        drop(local);
        let panic = lock(&self.shared.panic).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// Calls `task(i, chunk, scratch)` for every chunk of `chunk` elements of `out`; the last may be shorter.
    pub fn chunks<T: Send>(
        &self,
        out: &mut [T],
        chunk: usize,
        task: &(dyn Fn(usize, &mut [T], &mut Local) + Sync),
    ) {
        let chunk = chunk.max(1);
        let parts = Parts::new(out);
        self.run(parts.len().div_ceil(chunk), &|index, local| {
            // SAFETY: every index comes once, and chunks of different indices do not overlap.
            task(index, unsafe { parts.slice(index * chunk, chunk) }, local);
        });
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.publish(Job::Stop);
        for handle in self.handles.drain(..) {
            handle.thread().unpark();
            // Tasks' panics are caught, so a thread ends well.
            let _ = handle.join();
        }
    }
}

impl Shared {
    /// Makes a job the current one and opens it. No thread may be at the one before.
    fn publish(&self, job: Job) {
        let state = self.state.load(Ordering::Acquire);
        debug_assert!(state & State::OPEN == 0 && State::threads(state) == 0, "a job is still running");
        // SAFETY: the job before is closed and its threads have left, so that nobody reads this.
        unsafe { *self.job.get() = job };
        let next = (state / State::JOB).wrapping_add(1).wrapping_mul(State::JOB);
        self.state.store(next | State::OPEN, Ordering::SeqCst);
    }

    /// Closes the job and waits for the threads that are still at it. Those that never came are not waited for.
    fn join(&self) {
        self.state.fetch_and(!State::OPEN, Ordering::AcqRel);
        let mut looks = 0;
        while State::threads(self.state.load(Ordering::Acquire)) != 0 {
            looks += 1;
            if looks < self.spins { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }

    /// What a thread of the pool does: waits for a job and helps with it, until the job is to stop.
    fn work(&self, thread: usize, mut local: Local) {
        BUSY.set(true);
        self.started.fetch_add(1, Ordering::Release);
        let mut last = 0;
        loop {
            last = self.await_job(last);
            // SAFETY: the thread has joined the job, so that the caller does not replace it.
            let job = unsafe { *self.job.get() };
            if let Job::Tasks(tasks, task) = job {
                // SAFETY: `run` keeps the task alive until the threads have left its job.
                self.drain(thread, tasks, unsafe { &*task }, &mut local);
            }
            self.state.fetch_sub(1, Ordering::Release);
            if matches!(job, Job::Stop) {
                return;
            }
        }
    }

    /// Joins the first open job other than `last`, and returns its number.
    fn await_job(&self, last: usize) -> usize {
        let mut looks = 0;
        loop {
            let state = self.state.load(Ordering::SeqCst);
            if state & State::OPEN != 0 && State::job(state) != last {
                let joined =
                    self.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed);
                if joined.is_ok() {
                    return State::job(state);
                }
                continue;
            }
            looks += 1;
            if looks < self.spins {
                std::hint::spin_loop();
                continue;
            }
            looks = 0;
            self.sleeping.fetch_add(1, Ordering::SeqCst);
            // Either this look sees a job published meanwhile, or its caller sees the sleeper.
            if self.state.load(Ordering::SeqCst) == state {
                std::thread::park();
            }
            self.sleeping.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Does tasks until none is left, those of the thread's own part first; keeps the first panic for the caller.
    fn drain(&self, thread: usize, tasks: usize, task: Task, local: &mut Local) {
        let (threads, is_reversed) = (self.taken.len(), self.is_reversed.load(Ordering::Relaxed));
        for owner in (thread..threads).chain(0..thread) {
            let part = owner * tasks / threads..(owner + 1) * tasks / threads;
            loop {
                let taken = self.taken[owner].0.fetch_add(1, Ordering::Relaxed);
                if taken >= part.len() {
                    break;
                }
                let index = if is_reversed { part.end - 1 - taken } else { part.start + taken };
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| task(index, local))) {
                    lock(&self.panic).get_or_insert(panic);
                }
            }
        }
    }
}

/// The `index`-th of `parts` parts of 0..`total`, which differ by at most one in size.
pub fn even_part(total: usize, parts: usize, index: usize) -> Range<usize> {
    let (size, larger) = (total / parts, total % parts);
    let start = index * size + index.min(larger);
    start..start + size + usize::from(index < larger)
}

/// Locks a mutex whether or not a panic poisoned it: what ours guard is never left half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
