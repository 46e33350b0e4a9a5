//! A free list: which parts of an arena are free while memory is planned.

use std::collections::BTreeSet;

use crate::error::{Error, Result};

/// Buffers start at multiples of this: a cache line, and a 512-bit register.
pub(super) const ALIGNMENT: usize = 64;

/// The error for more memory than can be addressed.
#[track_caller]
pub(super) fn too_large() -> Error {
    Error::memory(usize::MAX, "the plan's arena")
}

/// The gaps of an arena while memory is planned.
#[derive(Default)]
pub(super) struct FreeList {
    /// `(size, offset)` of each gap: the first that is large enough is the smallest.
    by_size: BTreeSet<(usize, usize)>,
    /// `(offset, size)` of each gap, to join neighbours.
    by_offset: BTreeSet<(usize, usize)>,
    /// Where the arena ends so far.
    pub end: usize,
}

impl FreeList {
    /// Takes `bytes` from the smallest gap that holds them, or from beyond the end.
    pub fn take(&mut self, bytes: usize) -> Result<usize> {
        let size = bytes.max(1).checked_next_multiple_of(ALIGNMENT).ok_or(too_large())?;
        if let Some(&(gap, offset)) = self.by_size.range((size, 0)..).next() {
            self.remove(offset, gap);
            self.insert(offset + size, gap - size);
            return Ok(offset);
        }
        let offset = self.end;
        self.end = self.end.checked_add(size).filter(|&end| end < isize::MAX as usize).ok_or(too_large())?;
        Ok(offset)
    }

    /// Gives memory back and joins it with the gaps beside it.
    pub fn give_back(&mut self, mut offset: usize, bytes: usize) {
        let mut size = bytes.max(1).next_multiple_of(ALIGNMENT);
        if let Some(&(before, gap)) = self.by_offset.range(..(offset, 0)).next_back()
            && before + gap == offset
        {
            self.remove(before, gap);
            (offset, size) = (before, gap + size);
        }
        if let Some(&(after, gap)) = self.by_offset.range((offset + size, 0)..).next()
            && after == offset + size
        {
            self.remove(after, gap);
            size += gap;
        }
        self.insert(offset, size);
    }

    fn insert(&mut self, offset: usize, size: usize) {
        if size > 0 {
            self.by_size.insert((size, offset));
            self.by_offset.insert((offset, size));
        }
    }

    fn remove(&mut self, offset: usize, size: usize) {
        self.by_size.remove(&(size, offset));
        self.by_offset.remove(&(offset, size));
    }
}
