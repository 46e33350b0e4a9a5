//! Sums over axes. Every sum is accumulated in `f64` in a fixed order.

use smallvec::SmallVec;

use super::real::Real;
use super::simd::vectorize;
use super::workers::{Local, Workers};
use crate::tuning::{SUM_COLUMNS, SUM_FEW, SUM_LANES, SUM_LINE, SUM_TASK};

/// An array's axes, neighbours that are treated alike merged: summed and kept ones alternate.
#[derive(Debug, Clone)]
struct SumPlan {
    /// `(size, stride)` of each summed axis but the innermost axis, outermost first.
    summed: SmallVec<[(usize, usize); 4]>,
    /// `(size, stride)` of each kept axis but the innermost axis, outermost first.
    kept: SmallVec<[(usize, usize); 4]>,
    /// Size of the innermost axis, and whether it is summed.
    inner: (usize, bool),
}

impl SumPlan {
    fn new(shape: &[usize], is_summed: &dyn Fn(usize) -> bool) -> Self {
        let mut merged: SmallVec<[(usize, usize, bool); 6]> = SmallVec::new(); // innermost first
        let mut stride = 1;
        for axis in (0..shape.len()).rev().filter(|&axis| shape[axis] != 1) {
            match merged.last_mut() {
                Some((size, _, summed)) if *summed == is_summed(axis) => *size *= shape[axis],
                _ => merged.push((shape[axis], stride, is_summed(axis))),
            }
            stride *= shape[axis];
        }
        let inner = merged.first().map_or((1, false), |&(size, _, summed)| (size, summed));
        let outer = |summed: bool| {
            let axes = merged.iter().skip(1).rev().filter(move |axis| axis.2 == summed);
            axes.map(|&(size, stride, _)| (size, stride)).collect()
        };
        Self { summed: outer(true), kept: outer(false), inner }
    }

    /// How many of `sums` a task computes, if it should be about `wanted`: neighbours whose terms fill lines of the cache, or,
    /// where rows are short, whole rows.
    fn chunk(&self, wanted: usize, sums: usize) -> usize {
        let unit = match self.inner {
            (_, true) => 1,
            (width, false) if width < SUM_LINE || width <= SUM_LANES && width < sums => width,
            _ => SUM_LINE,
        };
        wanted.max(1).next_multiple_of(unit)
    }
}

/// The offset of the `index`-th combination of `axes`, the last of which runs fastest.
fn offset(axes: &[(usize, usize)], mut index: usize) -> usize {
    let mut offset = 0;
    for &(size, stride) in axes.iter().rev() {
        offset += index % size * stride;
        index /= size;
    }
    offset
}

fn combinations(axes: &[(usize, usize)]) -> usize {
    axes.iter().map(|&(size, _)| size).product()
}

/// Sums `data` of `shape` over the axes for which `is_summed` says so; `out` holds the others in order.
#[inline(never)]
pub fn sum<T: Real>(
    data: &[T],
    shape: &[usize],
    is_summed: &dyn Fn(usize) -> bool,
    out: &mut [T],
    workers: &Workers,
) {
    if data.is_empty() {
        out.fill(T::zero());
        return;
    }
    let plan = SumPlan::new(shape, is_summed);
    let terms = data.len() / out.len().max(1);
    let chunk = plan.chunk(SUM_TASK / terms.max(1), out.len());
    workers.chunks(out, chunk, &|index, out, local| {
        vectorize(
            #[inline(always)]
            || {
                if plan.inner.1 {
                    sum_runs(&plan, data, index * chunk, out)
                } else {
                    sum_rows(&plan, data, index * chunk, out, local)
                }
            },
        );
    });
}

/// Each output is the sum of contiguous runs.
#[inline(always)]
fn sum_runs<T: Real>(plan: &SumPlan, data: &[T], first: usize, out: &mut [T]) {
    let run = plan.inner.0;
    for (index, out) in out.iter_mut().enumerate() {
        let base = offset(&plan.kept, first + index);
        let total: f64 = (0..combinations(&plan.summed))
            .map(|combination| base + offset(&plan.summed, combination))
            .map(|start| sum_run(&data[start..start + run]))
            .sum();
        *out = T::of(total);
    }
}

/// The sum of a contiguous run in sixteen interleaved partial sums, which vector registers hold.
#[inline(always)]
fn sum_run<T: Real>(run: &[T]) -> f64 {
    let mut lanes = [0.0; 16];
    let (blocks, rest) = run.as_chunks::<16>();
    for block in blocks {
        lanes.iter_mut().zip(block).for_each(|(lane, value)| *lane += value.into_f64());
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|value| value.into_f64()).sum::<f64>()
}

/// Adds rows that lie one after the other to their totals: some rows side by side, so that registers are full
/// however short a row is, and few of them in single precision before the sum goes on in double.
#[inline(always)]
fn sum_neighbouring_rows<T: Real>(rows: &[T], totals: &mut [f64], lanes: &mut [T]) {
    for block in rows.chunks(lanes.len() * SUM_FEW) {
        lanes.fill(T::zero());
        for rows in block.chunks(lanes.len()) {
            lanes.iter_mut().zip(rows).for_each(|(lane, &x)| *lane += x);
        }
        for lanes in lanes.chunks_exact(totals.len()) {
            totals.iter_mut().zip(lanes).for_each(|(total, lane)| *total += lane.into_f64());
        }
    }
}

/// Neighbouring outputs are sums of rows that are added up side by side.
#[inline(always)]
fn sum_rows<T: Real>(plan: &SumPlan, data: &[T], first: usize, out: &mut [T], local: &mut Local) {
    let width = plan.inner.0;
    let mut done = 0;
    while done < out.len() {
        let (row, column) = ((first + done) / width, (first + done) % width);
        let len = (width - column).min(out.len() - done).min(SUM_COLUMNS);
        let mut split = local.split();
        let totals = split.take::<f64>(len);
        totals.fill(0.0);
        let base = offset(&plan.kept, row) + column;
        if let [(rows, stride)] = plan.summed[..]
            && stride == len
        {
            let lanes = split.take::<T>(len * SUM_LANES.div_ceil(len));
            sum_neighbouring_rows(&data[base..base + rows * len], totals, lanes);
        } else {
            for combination in 0..combinations(&plan.summed) {
                let start = base + offset(&plan.summed, combination);
                let rows = totals.iter_mut().zip(&data[start..start + len]);
                rows.for_each(|(total, x)| *total += x.into_f64());
            }
        }
        out[done..done + len].iter_mut().zip(totals).for_each(|(out, total)| *out = T::of(*total));
        done += len;
    }
}
