//! Packing: copying part of a matrix to where, and in the order in which, tiles want to read it.

use std::ops::Range;

use crate::kernels::real::Real;
use crate::kernels::simd::{Isa, Kernel, MAX_LANES, Vector};
use crate::kernels::workers::Parts;

/// How many steps of all lines are packed at a time, if a step's numbers are what lies together in memory.
const UNIT_STEPS: usize = 32;

/// An operand of a product, some steps of which are being packed. A line is what goes into one row or column of
/// the product; it has a number for every step of the inner dimension.
pub struct Operand<'a, T> {
    from: &'a [T],
    lines: usize,
    k: usize,
    /// Whether the numbers of a line lie next to each other, or those of a step.
    along: bool,
    /// Which steps are wanted.
    steps: Range<usize>,
    /// In how many blocks the lines are packed.
    blocks: usize,
    to: Parts<'a, T>,
}

impl<'a, T: Real> Operand<'a, T> {
    /// An operand of `lines` lines of `k` numbers.
    pub fn new(
        from: &'a [T],
        [lines, k]: [usize; 2],
        along: bool,
        steps: Range<usize>,
        blocks: usize,
        to: &'a mut [T],
    ) -> Self {
        Self { from, lines, k, along, steps, blocks, to: Parts::new(to) }
    }

    /// How many pieces of work there are. Each reads memory in the order in which it lies: whole lines, or else
    /// a few steps of all lines.
    pub fn units(&self) -> usize {
        if self.along { self.blocks } else { self.steps.len().div_ceil(UNIT_STEPS) }
    }

    /// Does one piece of work. `block` says which lines a block has, and how wide its packed form is; `None` if the
    /// block is not to be packed.
    pub fn pack(&self, isa: Isa, unit: usize, block: impl Fn(usize) -> Option<(Range<usize>, usize)>) {
        let (blocks, steps) = if self.along {
            (unit..unit + 1, 0..self.steps.len())
        } else {
            (0..self.blocks, unit * UNIT_STEPS..self.steps.len().min((unit + 1) * UNIT_STEPS))
        };
        for (lines, width) in blocks.filter_map(block) {
            self.pack_block(isa, lines, width, steps.clone());
        }
    }

    /// Packs some of the wanted steps of a block of lines.
    fn pack_block(&self, isa: Isa, lines: Range<usize>, width: usize, steps: Range<usize>) {
        let (columns, first) = (lines.len(), self.steps.start + steps.start);
        // SAFETY: every step of every block is packed once, to a place of its own.
        let to = unsafe {
            self.to.slice(lines.start * self.steps.len() + steps.start * width, steps.len() * width)
        };
        if to.is_empty() {
        } else if self.along {
            isa.dispatch(Transpose {
                from: &self.from[lines.start * self.k + first..],
                stride: self.k,
                columns,
                width,
                to,
            });
        } else {
            isa.dispatch(Copy {
                from: &self.from[first * self.lines + lines.start..],
                stride: self.lines,
                columns,
                width,
                to,
            });
        }
    }
}

/// Copies `steps` rows of up to `width` numbers, one after the other, filling missing columns with 0:
/// to[step · width + column] = from[step · stride + column].
pub struct Copy<'a, T> {
    /// Where the first row starts.
    pub from: &'a [T],
    /// From row to row.
    pub stride: usize,
    /// How many columns there are, at most `width`.
    pub columns: usize,
    /// How many columns are wanted.
    pub width: usize,
    /// The packed rows; its length says how many.
    pub to: &'a mut [T],
}

impl<T: Real> Kernel<T> for Copy<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        for (step, to) in self.to.chunks_exact_mut(self.width).enumerate() {
            let from = &self.from[step * self.stride..][..self.columns];
            for start in (0..self.width).step_by(V::LANES) {
                let room = V::LANES.min(self.width - start);
                let count = room.min(self.columns.saturating_sub(start));
                // SAFETY: `count` numbers are left in the row, `room` in its copy.
                unsafe {
                    let numbers = V::load_first(from.as_ptr().add(start.min(self.columns)), count);
                    numbers.store_first(to.as_mut_ptr().add(start), room);
                }
            }
        }
    }
}

/// As [`Copy`], of a matrix that lies the other way round:
/// to[step · width + column] = from[column · stride + step].
pub struct Transpose<'a, T> {
    /// Where the first column starts.
    pub from: &'a [T],
    /// From column to column.
    pub stride: usize,
    /// How many columns there are, at most `width`.
    pub columns: usize,
    /// How many columns are wanted.
    pub width: usize,
    /// The packed rows; its length says how many.
    pub to: &'a mut [T],
}

impl<T: Real> Kernel<T> for Transpose<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let steps = self.to.len() / self.width;
        debug_assert!(
            steps == 0 || self.columns == 0 || (self.columns - 1) * self.stride + steps <= self.from.len()
        );
        for start in (0..self.width).step_by(V::LANES) {
            let room = V::LANES.min(self.width - start);
            let columns = room.min(self.columns.saturating_sub(start));
            for step in (0..steps).step_by(V::LANES) {
                let count = V::LANES.min(steps - step);
                // SAFETY: blocks stay inside both matrices, of which the first is as long as asserted.
                unsafe {
                    let mut block = [V::splat(T::zero()); MAX_LANES];
                    for (column, register) in block.iter_mut().enumerate().take(columns) {
                        let from = self.from.as_ptr().add((start + column) * self.stride + step);
                        *register =
                            if count == V::LANES { V::load(from) } else { V::load_first(from, count) };
                    }
                    let block = transposed::<T, V>(block);
                    for (row, register) in block.into_iter().enumerate().take(count) {
                        let to = self.to.as_mut_ptr().add((step + row) * self.width + start);
                        register.store_first(to, room);
                    }
                }
            }
        }
    }
}

/// Transposes a square of as many registers as each has lanes, by interleaving its halves until all is in place.
///
/// # Safety
/// The instruction set of `V` must exist.
#[inline(always)]
unsafe fn transposed<T, V: Vector<T>>(mut block: [V; MAX_LANES]) -> [V; MAX_LANES] {
    for _ in 0..V::LANES.ilog2() {
        let mut woven = block;
        for pair in 0..V::LANES / 2 {
            // SAFETY: the caller vouches for the instruction set.
            let (first, second) = unsafe { block[pair].interleave(block[pair + V::LANES / 2]) };
            (woven[2 * pair], woven[2 * pair + 1]) = (first, second);
        }
        block = woven;
    }
    block
}
