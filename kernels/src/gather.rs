//! Reading along an axis at given indices, the adjoint of it, and where along an axis the largest number lies.

use super::real::Real;
use super::workers::Workers;
use crate::tuning::GATHER_TASK;

/// An array seen as `[outer, size, inner]`, of which `[outer, count, inner]` are read, each at an index of its own.
#[derive(Debug, Clone, Copy)]
pub struct Gather {
    /// Elements along the axis.
    pub size: usize,
    /// How many are read along it.
    pub count: usize,
    /// Elements of all later axes together.
    pub inner: usize,
    /// Whether the indices are `[count]`, shared by all of `outer` and `inner`.
    pub shared: bool,
}

impl Gather {
    fn sizes(&self) -> [usize; 2] {
        [self.size * self.inner, self.count * self.inner]
    }

    /// How many of `outer` one task does.
    fn parts(&self) -> usize {
        let [whole, part] = self.sizes();
        (GATHER_TASK / whole.max(part).max(1)).max(1)
    }

    /// The indices of one of `outer`.
    fn of_part<'a>(&self, indices: &'a [u32], number: usize) -> &'a [u32] {
        let part = self.count * self.inner;
        if self.shared { indices } else { &indices[number * part..][..part] }
    }

    /// Reads.
    #[inline(never)]
    pub fn read<T: Real>(&self, data: &[T], indices: &[u32], out: &mut [T], workers: &Workers) {
        let ([whole, part], parts) = (self.sizes(), self.parts());
        workers.chunks(out, parts * part, &|task, out, _| {
            for (number, out) in (task * parts..).zip(out.chunks_exact_mut(part)) {
                self.read_part(&data[number * whole..][..whole], self.of_part(indices, number), out);
            }
        });
    }

    fn read_part<T: Real>(&self, data: &[T], indices: &[u32], out: &mut [T]) {
        if self.inner == 1 {
            out.iter_mut().zip(indices).for_each(|(out, &index)| *out = data[index as usize]);
        } else if self.shared {
            for (out, &index) in out.chunks_exact_mut(self.inner).zip(indices) {
                out.copy_from_slice(&data[index as usize * self.inner..][..self.inner]);
            }
        } else {
            for (out, indices) in out.chunks_exact_mut(self.inner).zip(indices.chunks_exact(self.inner)) {
                for (lane, (out, &index)) in out.iter_mut().zip(indices).enumerate() {
                    *out = data[index as usize * self.inner + lane];
                }
            }
        }
    }

    /// The adjoint: adds each value where it was read, in order.
    #[inline(never)]
    pub fn add<T: Real>(&self, values: &[T], indices: &[u32], out: &mut [T], workers: &Workers) {
        let ([whole, part], parts) = (self.sizes(), self.parts());
        workers.chunks(out, parts * whole, &|task, out, _| {
            out.fill(T::zero());
            for (number, out) in (task * parts..).zip(out.chunks_exact_mut(whole)) {
                self.add_part(&values[number * part..][..part], self.of_part(indices, number), out);
            }
        });
    }

    fn add_part<T: Real>(&self, values: &[T], indices: &[u32], out: &mut [T]) {
        if self.inner == 1 {
            values.iter().zip(indices).for_each(|(&value, &index)| out[index as usize] += value);
        } else if self.shared {
            for (values, &index) in values.chunks_exact(self.inner).zip(indices) {
                let out = &mut out[index as usize * self.inner..][..self.inner];
                out.iter_mut().zip(values).for_each(|(out, &value)| *out += value);
            }
        } else {
            for (values, indices) in values.chunks_exact(self.inner).zip(indices.chunks_exact(self.inner)) {
                for (lane, (&value, &index)) in values.iter().zip(indices).enumerate() {
                    out[index as usize * self.inner + lane] += value;
                }
            }
        }
    }
}

/// Of an array seen as `[outer, size, inner]`, the index along `size` of the largest number: the first of equal ones, or
/// the first NaN if there is one.
#[inline(never)]
pub fn argmax<T: Real>(data: &[T], [size, inner]: [usize; 2], indices: &mut [u32], workers: &Workers) {
    let parts = (GATHER_TASK / (size * inner).max(1)).max(1);
    workers.chunks(indices, parts * inner, &|task, indices, _| {
        for (part, indices) in (task * parts..).zip(indices.chunks_exact_mut(inner)) {
            let data = &data[part * size * inner..][..size * inner];
            indices.fill(0);
            for (index, row) in data.chunks_exact(inner).enumerate().skip(1) {
                for (column, (&value, best)) in row.iter().zip(indices.iter_mut()).enumerate() {
                    let largest = data[*best as usize * inner + column];
                    if value > largest || value.is_nan() && !largest.is_nan() {
                        *best = index as u32;
                    }
                }
            }
        }
    });
}
