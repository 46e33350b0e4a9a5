//! Reading an array in another order: broadcast, transposed, or as it lies.

use smallvec::SmallVec;

use super::real::Real;
use super::workers::Workers;
use crate::tuning::COPY_TASK;

/// How to find, for each element of an output in row-major order, the element of an operand that it reads.
///
/// Axes that can be walked as one are merged, so that broadcasting a bias over an image is two loops and
/// reading an array as it lies is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    /// `(size, stride)` of each merged axis, innermost first.
    axes: SmallVec<[(usize, usize); 6]>,
    /// How far apart in the operand neighbours along the output's first axis lie.
    outer: usize,
}

impl Walk {
    /// The walk over an output of `shape` whose neighbours along each axis lie `strides` apart in the operand.
    pub fn new(shape: &[usize], strides: &[usize]) -> Self {
        let mut axes: SmallVec<[(usize, usize); 6]> = SmallVec::new();
        for (&size, &stride) in shape.iter().zip(strides).rev().filter(|&(&size, _)| size != 1) {
            match axes.last_mut() {
                Some((inner_size, inner_stride)) if stride == *inner_stride * *inner_size => {
                    *inner_size *= size
                }
                _ => axes.push((size, stride)),
            }
        }
        let outer = if shape.first() == Some(&1) { 0 } else { strides.first().copied().unwrap_or(0) };
        Self { axes, outer }
    }

    /// How far apart in the operand neighbours along the output's first axis lie.
    pub fn outer_stride(&self) -> usize {
        self.outer
    }

    /// Whether the operand is read exactly as it lies.
    pub fn is_identity(&self) -> bool {
        matches!(self.axes[..], [] | [(_, 1)])
    }

    /// Whether every output element reads the operand's first element.
    pub fn is_single(&self) -> bool {
        self.axes.iter().all(|&(_, stride)| stride == 0)
    }

    /// After how many output elements the operand's elements repeat.
    pub fn period(&self) -> usize {
        let moving = self.axes.iter().rposition(|&(_, stride)| stride != 0).map_or(0, |last| last + 1);
        self.axes[..moving].iter().map(|&(size, _)| size).product()
    }

    /// Writes what output elements `start..start + out.len()` read.
    #[inline(always)]
    pub fn fetch<T: Copy>(&self, data: &[T], start: usize, out: &mut [T]) {
        let Some(&(inner_size, inner_stride)) = self.axes.first() else {
            out.fill(data[0]);
            return;
        };
        let (mut row, mut column, mut done) = (start / inner_size, start % inner_size, 0);
        while done < out.len() {
            let run = (inner_size - column).min(out.len() - done);
            let from = self.row_offset(row) + column * inner_stride;
            let target = &mut out[done..done + run];
            match inner_stride {
                0 => target.fill(data[from]),
                1 => target.copy_from_slice(&data[from..from + run]),
                _ => {
                    let source = data[from..].iter().step_by(inner_stride);
                    target.iter_mut().zip(source).for_each(|(out, &value)| *out = value);
                }
            }
            (row, column, done) = (row + 1, 0, done + run);
        }
    }

    /// Where the `row`-th run along the innermost axis starts in the operand.
    fn row_offset(&self, mut row: usize) -> usize {
        let mut offset = 0;
        let [_, axes @ .., (_, outermost)] = &self.axes[..] else { return 0 };
        for &(size, stride) in axes {
            offset += row % size * stride;
            row /= size;
        }
        offset + row * outermost
    }
}

/// The strides of an array that lies in row-major order.
pub fn row_major(shape: &[usize]) -> SmallVec<[usize; 6]> {
    let mut strides: SmallVec<[usize; 6]> = SmallVec::from_elem(1, shape.len());
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis].max(1);
    }
    strides
}

/// Writes a whole array read along `walk`.
#[inline(never)]
pub fn copy<T: Real>(walk: &Walk, data: &[T], out: &mut [T], workers: &Workers) {
    workers.chunks(out, COPY_TASK, &|index, chunk, _| walk.fetch(data, index * COPY_TASK, chunk));
}
