//! Strided slices: reading every so many elements of an array along its axes, and writing them into another array.

use smallvec::SmallVec;

use super::real::Real;
use super::workers::Workers;
use crate::tuning::COPY_TASK;

/// Points that lie evenly along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Points {
    /// Where the first one lies. (Anything if there is none.)
    pub start: usize,
    /// From one to the next; not 0.
    pub step: isize,
    /// How many there are.
    pub count: usize,
}

impl Points {
    /// All elements of an axis in order.
    pub fn all(size: usize) -> Self {
        Self { start: 0, step: 1, count: size }
    }

    /// Where point `index` lies.
    fn position(self, index: usize) -> usize {
        self.start.wrapping_add_signed(self.step.wrapping_mul(index as isize))
    }

    /// Which point lies at a position.
    fn index(self, position: usize) -> Option<usize> {
        let away = position as isize - self.start as isize;
        let index = usize::try_from(away / self.step).ok().filter(|&index| index < self.count)?;
        (away % self.step == 0).then_some(index)
    }
}

/// Points along all axes of a whole array. Together they are the part.
#[derive(Debug, Clone)]
pub struct Lattice {
    /// Each axis of the whole, but those at the end of which everything is read, with its points.
    axes: SmallVec<[(usize, Points); 6]>,
    /// How many neighbouring elements those at the end make together.
    block: usize,
}

impl Lattice {
    /// The points of an array of shape `whole`, axis by axis.
    pub fn new(whole: &[usize], points: &[Points]) -> Self {
        let mut axes: SmallVec<[_; 6]> = whole.iter().copied().zip(points.iter().copied()).collect();
        let mut block = 1;
        while let Some(&(size, points)) = axes.last()
            && points == Points::all(size)
        {
            block *= size;
            axes.pop();
        }
        Self { axes, block }
    }

    /// The innermost axis that is not read whole.
    fn inner(&self) -> (usize, Points) {
        self.axes.last().copied().unwrap_or((1, Points::all(1)))
    }

    /// Reads the part.
    #[inline(never)]
    pub fn read<T: Real>(&self, whole: &[T], part: &mut [T], workers: &Workers) {
        let (size, points) = self.inner();
        let row = points.count * self.block;
        if part.is_empty() {
            return;
        }
        let rows = COPY_TASK.div_ceil(row);
        workers.chunks(part, rows * row, &|task, part, _| {
            for (index, part) in part.chunks_exact_mut(row).enumerate() {
                let whole = &whole[self.row(task * rows + index) * size * self.block..][..size * self.block];
                let (piece, starts) = self.pieces(points);
                part.chunks_exact_mut(piece)
                    .zip(starts)
                    .for_each(|(to, from)| to.copy_from_slice(&whole[from..][..piece]));
            }
        });
    }

    /// Writes the part to its points, and `value` everywhere else.
    #[inline(never)]
    pub fn write<T: Real>(&self, part: &[T], value: T, whole: &mut [T], workers: &Workers) {
        let (size, points) = self.inner();
        let (row, row_of_part) = (size * self.block, points.count * self.block);
        if whole.is_empty() {
            return;
        }
        let rows = COPY_TASK.div_ceil(row);
        workers.chunks(whole, rows * row, &|task, whole, _| {
            whole.fill(value);
            for (index, whole) in whole.chunks_exact_mut(row).enumerate() {
                let Some(from) = self.row_of_part(task * rows + index) else { continue };
                let part = &part[from * row_of_part..][..row_of_part];
                let (piece, starts) = self.pieces(points);
                part.chunks_exact(piece)
                    .zip(starts)
                    .for_each(|(from, to)| whole[to..][..piece].copy_from_slice(from));
            }
        });
    }

    /// How many numbers of a row lie together, and where in the row of the whole such pieces start.
    fn pieces(&self, points: Points) -> (usize, impl Iterator<Item = usize>) {
        let (count, together) =
            if points.step == 1 && points.count > 0 { (1, points.count) } else { (points.count, 1) };
        let block = self.block;
        (together * block, (0..count).map(move |index| points.position(index) * block))
    }

    /// The axes around the inner one, innermost first.
    fn outer(&self) -> impl Iterator<Item = &(usize, Points)> {
        self.axes.iter().rev().skip(1)
    }

    /// Which row of the whole a row of the part lies in.
    fn row(&self, mut row: usize) -> usize {
        let (mut found, mut stride) = (0, 1);
        for &(size, points) in self.outer() {
            found += points.position(row % points.count) * stride;
            (row, stride) = (row / points.count, stride * size);
        }
        found
    }

    /// Which row of the part lies in a row of the whole, if any does.
    fn row_of_part(&self, mut row: usize) -> Option<usize> {
        let (mut found, mut stride) = (0, 1);
        for &(size, points) in self.outer() {
            found += points.index(row % size)? * stride;
            (row, stride) = (row / size, stride * points.count);
        }
        Some(found)
    }
}

/// Writes arrays that agree in all axes but one after the other along that axis: each is given with its number of
/// neighbouring elements for every index of the axes before.
#[inline(never)]
pub fn concatenate<T: Real>(parts: &[(&[T], usize)], out: &mut [T], workers: &Workers) {
    let row: usize = parts.iter().map(|(_, width)| width).sum();
    workers.chunks(out, row, &|index, mut out, _| {
        for (part, width) in parts {
            let (to, rest) = out.split_at_mut(*width);
            to.copy_from_slice(&part[index * width..][..*width]);
            out = rest;
        }
    });
}
