//! Memory for tasks: scratch of their own, and parts of what all of them write to.

use std::alloc::handle_alloc_error;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::buffer::Buffer;
use crate::real::{Real, sealed::Plain};

/// Scratch memory of one thread, aligned to cache lines. What it holds between tasks is unspecified.
#[derive(Debug)]
pub struct Local {
    memory: Buffer<u8>,
    level: Level,
}

/// Whether scratch is for tasks, or for tasks inside tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Outer,
    Nested,
}

static ASKED: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// The most bytes that any task has asked for, on each level.
pub(super) fn asked() -> [usize; 2] {
    ASKED.each_ref().map(|asked| asked.load(Ordering::Relaxed))
}

impl Local {
    /// How many bytes there are at first. The system provides them page by page as they are first used.
    pub const BYTES: usize = 1 << 20;

    /// Fresh memory, all zeros.
    pub(super) fn new(level: Level) -> Self {
        Self::of(Self::BYTES, level)
    }

    fn of(bytes: usize, level: Level) -> Self {
        let memory = Buffer::new(bytes).unwrap_or_else(|| match Buffer::<u8>::layout(bytes) {
            Ok(layout) => handle_alloc_error(layout),
            Err(_) => unreachable!("far below what can be addressed"),
        });
        Self { memory, level }
    }

    /// Makes room for at least so many bytes. Only a task that asks for more than any before it allocates, and
    /// tasks keep what they ask for within tens of megabytes.
    pub fn reserve(&mut self, bytes: usize) {
        if bytes > self.memory.len() {
            let bytes = bytes.next_multiple_of(1 << 16);
            ASKED[self.level as usize].fetch_max(bytes, Ordering::Relaxed);
            *self = Self::of(bytes, self.level);
        }
    }

    /// The address of the first byte.
    pub fn start(&mut self) -> NonNull<u8> {
        self.memory.start()
    }

    /// The first `len` numbers of the memory. Takes at most what was reserved.
    pub fn slice<T: Real>(&mut self, len: usize) -> &mut [T] {
        self.split().take(len)
    }

    /// Hands out the memory in several slices.
    pub fn split(&mut self) -> Split<'_> {
        Split { local: self, used: 0 }
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
        assert!(bytes <= self.local.memory.len() - start, "{len} more numbers do not fit a thread's scratch");
        self.used += bytes;
        // SAFETY: inside the memory, initialised (zeroed at first, then plain values), aligned to a cache line,
        // and handed out once, since `used` has moved past it.
        unsafe { std::slice::from_raw_parts_mut(self.local.start().add(start).as_ptr().cast(), len) }
    }

    /// How many bytes [`take`](Self::take) uses up for `len` numbers.
    pub fn bytes<T: Plain>(len: usize) -> usize {
        len.saturating_mul(size_of::<T>()).saturating_add(63) & !63
    }
}

/// A slice that several tasks write parts of.
pub struct Parts<'a, T> {
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

    /// How many elements the slice has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Some of the elements as parts of their own.
    pub fn part(&self, start: usize, len: usize) -> Parts<'a, T> {
        assert!(start <= self.len && len <= self.len - start, "a part lies inside");
        // SAFETY: inside the slice, or at its end.
        Parts { start: unsafe { self.start.add(start) }, len, borrow: PhantomData }
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
