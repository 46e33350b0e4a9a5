//! Memory that starts at a cache line.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::real::sealed::Plain;

/// A slice of numbers of fixed length that starts at a multiple of 64 bytes: a cache line, and a register of
/// AVX-512. It starts as zeros.
pub struct Buffer<T: Plain> {
    start: NonNull<T>,
    len: usize,
    owns: PhantomData<T>,
}

// SAFETY: a buffer owns its memory as a `Vec` does, and numbers may be sent and shared.
unsafe impl<T: Plain> Send for Buffer<T> {}
// SAFETY: as above.
unsafe impl<T: Plain> Sync for Buffer<T> {}

impl<T: Plain> Buffer<T> {
    /// `len` zeros, or `None` if the machine refuses the memory.
    pub fn new(len: usize) -> Option<Self> {
        let layout = Self::layout(len).ok()?;
        // SAFETY: the layout's size is not 0.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?.cast();
        Some(Self { start, len, owns: PhantomData })
    }

    /// The address of the first element. Whoever writes through it keeps `T`'s slices apart.
    pub fn start(&self) -> NonNull<T> {
        self.start
    }

    /// The layout of the memory.
    pub(super) fn layout(len: usize) -> Result<Layout, std::alloc::LayoutError> {
        Layout::from_size_align(len.saturating_mul(size_of::<T>()).max(64), 64)
    }
}

impl<T: Plain> Drop for Buffer<T> {
    fn drop(&mut self) {
        if let Ok(layout) = Self::layout(self.len) {
            // SAFETY: `new` allocated the memory with this layout.
            unsafe { dealloc(self.start.as_ptr().cast(), layout) };
        }
    }
}

impl<T: Plain> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `len` elements from `start` are allocated, and zeros are a value of every `Plain` type.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Plain> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`, and `&mut self` is the only way in.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Plain> std::fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer of {}", self.len)
    }
}
