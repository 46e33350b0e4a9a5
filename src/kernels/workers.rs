//! A fixed pool of threads that share the tasks of one kernel at a time.
//!
//! Handing out work costs about a microsecond: idle threads spin for a while before they go to sleep, and
//! nothing is allocated. Which thread does which task is left to chance, so kernels must make tasks whose
//! results do not depend on it; then the number of threads cannot change a single bit.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::real::{Real, sealed::Plain};

/// What a kernel asks to be done for every task index.
type Task<'a> = &'a (dyn Fn(usize, &mut Local) + Sync);

/// How often an idle thread looks for work before it sleeps: some tens to hundreds of microseconds.
const SPINS: usize = 20_000;
/// The same where threads outnumber cores and spinning would only keep another from working.
const SPINS_CROWDED: usize = 100;

/// The threads that kernels run on, the calling one included.
#[derive(Debug)]
pub struct Workers {
    shared: Arc<Shared>,
    handles: Vec<JoinHandle<()>>,
    /// The caller's scratch. Its lock admits one caller at a time.
    caller: Mutex<Local>,
}

/// What the caller and the pool's threads have in common.
#[derive(Debug)]
struct Shared {
    /// Number of the job, whether it still admits threads, and how many are at it; see [`State`].
    state: AtomicUsize,
    /// Written by the caller while no thread is at the job, read by threads that joined it.
    job: UnsafeCell<Job>,
    /// The next task to be taken.
    next: AtomicUsize,
    /// How many threads sleep or are about to.
    sleeping: AtomicUsize,
    /// What the first task that panicked had to say.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    spins: usize,
}

// SAFETY: `job` is the only part that is not `Sync` by itself, and `state` orders the accesses to it.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `job` is followed only while the `run` that set it waits, and points to a `Sync` task.
unsafe impl Send for Shared {}

#[derive(Debug, Clone, Copy)]
enum Job {
    Tasks(usize, ErasedTask),
    Stop,
}

/// A task whose lifetime is known to the caller only.
#[derive(Clone, Copy)]
struct ErasedTask(*const (dyn Fn(usize, &mut Local) + Sync + 'static));

impl std::fmt::Debug for ErasedTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("task")
    }
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
}

impl Workers {
    /// A pool of `threads` threads (at least one), of which the caller is one.
    ///
    /// # Errors
    /// The system refuses to start a thread.
    pub fn new(threads: usize) -> io::Result<Self> {
        // The count of threads at a job must not run into the "open" bit.
        let others = threads.clamp(1, State::OPEN - 1) - 1;
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let shared = Arc::new(Shared {
            state: AtomicUsize::new(0),
            job: UnsafeCell::new(Job::Stop),
            next: AtomicUsize::new(0),
            sleeping: AtomicUsize::new(0),
            panic: Mutex::new(None),
            spins: if threads > cores { SPINS_CROWDED } else { SPINS },
        });
        // Built first, so that its `Drop` stops the threads already started if a later one fails.
        let mut workers =
            Self { shared, handles: Vec::with_capacity(others), caller: Mutex::new(Local::new()) };
        for index in 0..others {
            let (shared, local) = (Arc::clone(&workers.shared), Local::new());
            let thread = std::thread::Builder::new().name(format!("worker {}", index + 1));
            workers.handles.push(thread.spawn(move || shared.work(local))?);
        }
        Ok(workers)
    }

    /// How many threads there are, the caller included.
    pub fn threads(&self) -> usize {
        self.handles.len() + 1
    }

    /// Calls `task(i, scratch)` once for every i < `tasks` and returns when all are done.
    ///
    /// A call from inside a task does its tasks on the spot, with scratch allocated for it; callers on several
    /// threads wait for each other.
    ///
    /// # Panics
    /// If a task panicked: with the first panic, after all tasks were tried.
    pub fn run(&self, tasks: usize, task: Task) {
        if tasks == 0 {
            return;
        }
        if BUSY.get() {
            let mut local = Local::new();
            (0..tasks).for_each(|index| task(index, &mut local));
            return;
        }
        let mut local = lock(&self.caller);
        BUSY.set(true);
        self.shared.next.store(0, Ordering::Relaxed);
        let threads = self.handles.len().min(tasks - 1);
        if threads == 0 {
            self.shared.drain(tasks, task, &mut local);
        } else {
            self.fork(tasks, task, threads);
            self.shared.drain(tasks, task, &mut local);
            self.shared.join();
        }
        BUSY.set(false);
        drop(local);
        let panic = lock(&self.shared.panic).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// Opens a job to the threads and wakes up to `wake` of them.
    fn fork(&self, tasks: usize, task: Task, wake: usize) {
        // SAFETY: only the lifetime changes. The pointer is followed only by threads that joined the job, and
        // `run` does not return, not even by a panic, before they have left it.
        let task: Task<'static> = unsafe { std::mem::transmute(task) };
        self.shared.publish(Job::Tasks(tasks, ErasedTask(task)));
        if self.shared.sleeping.load(Ordering::SeqCst) > 0 {
            self.handles.iter().take(wake).for_each(|handle| handle.thread().unpark());
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
        self.run(parts.len.div_ceil(chunk), &|index, local| {
            // SAFETY: every index comes once, and chunks of different indices do not overlap.
            task(index, unsafe { parts.slice(index * chunk, chunk) }, local);
        });
    }

    /// As [`chunks`](Self::chunks), with two outputs cut in step: `chunks` elements of each at a time.
    ///
    /// The task sees an empty slice of the output that ends earlier.
    pub fn chunks2<A: Send, B: Send>(
        &self,
        (first, second): (&mut [A], &mut [B]),
        chunks: [usize; 2],
        task: &(impl Fn(usize, &mut [A], &mut [B], &mut Local) + Sync),
    ) {
        let [one, two] = chunks.map(|chunk| chunk.max(1));
        let (first, second) = (Parts::new(first), Parts::new(second));
        let tasks = first.len.div_ceil(one).max(second.len.div_ceil(two));
        self.run(tasks, &|index, local| {
            // SAFETY: every index comes once, and chunks of different indices do not overlap.
            let (first, second) = unsafe { (first.slice(index * one, one), second.slice(index * two, two)) };
            task(index, first, second, local);
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

    /// A pool thread's life: wait for a job, help with it, until told to stop.
    fn work(&self, mut local: Local) {
        BUSY.set(true);
        let mut last = 0;
        loop {
            last = self.await_job(last);
            // SAFETY: the thread has joined the job, so that the caller does not replace it.
            let job = unsafe { *self.job.get() };
            if let Job::Tasks(tasks, ErasedTask(task)) = job {
                // SAFETY: `run` keeps the task alive until the threads have left its job.
                self.drain(tasks, unsafe { &*task }, &mut local);
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

    /// Does tasks until none is left; keeps the first panic for the caller.
    fn drain(&self, tasks: usize, task: Task, local: &mut Local) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= tasks {
                return;
            }
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| task(index, local))) {
                lock(&self.panic).get_or_insert(panic);
            }
        }
    }
}

/// Locks a mutex whether or not a panic poisoned it: what ours guard is never left half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Scratch memory of one thread, aligned to cache lines. What it holds between tasks is unspecified.
#[derive(Debug)]
pub struct Local(NonNull<u8>);

// SAFETY: the memory is owned and plain.
unsafe impl Send for Local {}

impl Local {
    /// How many bytes there are. The system provides them page by page as they are first used.
    pub const BYTES: usize = 1 << 20;

    const LAYOUT: Layout = match Layout::from_size_align(Self::BYTES, 64) {
        Ok(layout) => layout,
        Err(_) => panic!("the size is a multiple of the alignment"),
    };

    fn new() -> Self {
        // SAFETY: the layout's size is not 0.
        let memory = unsafe { alloc_zeroed(Self::LAYOUT) };
        Self(NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(Self::LAYOUT)))
    }

    /// The first `len` numbers of the memory. Takes at most [`BYTES`](Self::BYTES).
    pub fn slice<T: Real>(&mut self, len: usize) -> &mut [T] {
        self.split().take(len)
    }

    /// Hands out the memory in several slices.
    pub fn split(&mut self) -> Split<'_> {
        Split { local: self, used: 0 }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout.
        unsafe { dealloc(self.0.as_ptr(), Self::LAYOUT) };
    }
}

/// A [`Local`] that is being handed out, each slice from the start of a cache line.
#[derive(Debug)]
pub struct Split<'a> {
    local: &'a mut Local,
    used: usize,
}

impl<'a> Split<'a> {
    /// The next `len` numbers (or sizes).
    ///
    /// # Panics
    /// If the memory does not suffice.
    pub fn take<T: Plain>(&mut self, len: usize) -> &'a mut [T] {
        let (start, bytes) = (self.used, Self::bytes::<T>(len));
        assert!(bytes <= Local::BYTES - start, "{len} more numbers do not fit a thread's scratch");
        self.used += bytes;
        // SAFETY: inside the memory, initialised (zeroed at first, then plain values), aligned to a cache line,
        // and handed out once, since `used` has moved past it.
        unsafe { std::slice::from_raw_parts_mut(self.local.0.as_ptr().add(start).cast(), len) }
    }

    /// How many bytes [`take`](Self::take) uses up for `len` numbers.
    pub fn bytes<T: Plain>(len: usize) -> usize {
        len.saturating_mul(size_of::<T>()).saturating_add(63) & !63
    }
}

/// A slice that several tasks write parts of.
pub(super) struct Parts<'a, T> {
    start: *mut T,
    len: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: parts given to different threads do not overlap (the contract of `slice`), so this is sending them.
unsafe impl<T: Send> Sync for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    /// Takes hold of a slice.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), borrow: PhantomData }
    }

    /// The first element, for parts that are not in one piece. What is written through it must not overlap.
    pub fn start(&self) -> *mut T {
        self.start
    }

    /// Up to `len` elements from `start` on, cut off at the end of the slice.
    ///
    /// # Safety
    /// No two parts that are in use at the same time may overlap.
    #[allow(clippy::mut_from_ref)] // the caller vouches for it
    pub unsafe fn slice(&self, start: usize, len: usize) -> &mut [T] {
        let start = start.min(self.len);
        let len = len.min(self.len - start);
        // SAFETY: inside the slice, which is borrowed mutably for as long as `self`; not shared by contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    fn pools() -> impl Iterator<Item = Workers> {
        [1, 2, 3, 5].into_iter().map(|threads| Workers::new(threads).unwrap())
    }

    #[test]
    fn every_task_runs_exactly_once() {
        for workers in pools() {
            for tasks in [0, 1, 2, 3, 7, 100] {
                let counts: Vec<_> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                workers.run(tasks, &|index, _| {
                    counts[index].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.into_iter().all(|count| count.into_inner() == 1));
            }
        }
    }

    #[test]
    fn many_short_runs_lose_no_task() {
        for workers in pools() {
            let total = AtomicUsize::new(0);
            for _ in 0..3_000 {
                workers.run(4, &|index, _| {
                    total.fetch_add(index, Ordering::Relaxed);
                });
            }
            assert_eq!(total.into_inner(), 18_000);
        }
    }

    #[test]
    fn sleeping_threads_do_not_stop_a_run() {
        let workers = Workers::new(3).unwrap();
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(30));
            let mut out = [0; 64];
            workers.chunks(&mut out, 1, &|index, chunk, _| chunk[0] = index);
            assert!(out.iter().enumerate().all(|(index, &value)| index == value));
        }
    }

    #[test]
    fn chunks_cover_the_slice() {
        for workers in pools() {
            let mut out = vec![0; 103];
            workers.chunks(&mut out, 10, &|index, chunk, _| {
                assert_eq!(chunk.len(), if index == 10 { 3 } else { 10 });
                chunk.fill(index + 1);
            });
            assert!(out.iter().enumerate().all(|(at, &value)| value == at / 10 + 1));
            workers.chunks(&mut out[..0], 10, &|_, _, _| unreachable!());
        }
    }

    #[test]
    fn two_outputs_are_cut_in_step() {
        for workers in pools() {
            let (mut wide, mut narrow) = (vec![0usize; 23], vec![0u8; 5]);
            workers.chunks2((&mut wide, &mut narrow), [5, 1], &|index, wide, narrow, _| {
                wide.fill(index);
                narrow.fill(index as u8);
            });
            assert!(wide.iter().enumerate().all(|(at, &value)| value == at / 5));
            assert_eq!(narrow, [0, 1, 2, 3, 4]);
        }
    }

    #[test]
    fn a_panic_arrives_after_all_tasks_and_the_pool_goes_on() {
        for workers in pools() {
            for _ in 0..20 {
                let done = AtomicUsize::new(0);
                let result = catch_unwind(AssertUnwindSafe(|| {
                    workers.run(8, &|index, _| {
                        done.fetch_add(1, Ordering::Relaxed);
                        // Unlike `panic!`, this does not print a message.
                        if index == 3 {
                            resume_unwind(Box::new("task 3"));
                        }
                    });
                }));
                assert_eq!(result.unwrap_err().downcast_ref(), Some(&"task 3"));
                assert_eq!(done.into_inner(), 8);
            }
            workers.run(2, &|_, _| ());
        }
    }

    #[test]
    fn a_run_inside_a_task_is_done_on_the_spot() {
        for workers in pools() {
            let count = AtomicUsize::new(0);
            workers.run(4, &|_, local| {
                local.slice::<f32>(8).fill(1.0);
                workers.run(5, &|_, inner| {
                    inner.slice::<f32>(8).fill(2.0);
                    workers.run(2, &|_, _| {
                        count.fetch_add(1, Ordering::Relaxed);
                    });
                });
                assert_eq!(local.slice::<f32>(8), [1.0; 8]);
            });
            assert_eq!(count.into_inner(), 40);
        }
    }

    #[test]
    fn callers_on_several_threads_take_turns() {
        let workers = Workers::new(2).unwrap();
        let running = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let sum = AtomicUsize::new(0);
                        workers.run(3, &|index, _| {
                            running.store(true, Ordering::Relaxed);
                            sum.fetch_add(index + 1, Ordering::Relaxed);
                        });
                        assert_eq!(sum.into_inner(), 6);
                    }
                });
            }
        });
        assert!(running.into_inner());
    }

    #[test]
    fn scratch_is_aligned_and_slices_are_apart() {
        let mut local = Local::new();
        let mut split = local.split();
        let (a, b, c) = (split.take::<f32>(3), split.take::<usize>(5), split.take::<f64>(1));
        a.fill(1.0);
        b.fill(2);
        c.fill(3.0);
        assert_eq!((a[2], b[4], c[0]), (1.0, 2, 3.0));
        for address in [a.as_ptr().addr(), b.as_ptr().addr(), c.as_ptr().addr()] {
            assert_eq!(address % 64, 0);
        }
        let all = local.slice::<f64>(Local::BYTES / 8);
        assert_eq!(all.len() * 8, Local::BYTES);
    }
}
