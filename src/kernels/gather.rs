//! Reading along an axis at given indices, the adjoint of it, and where along an axis the largest number lies.

use super::real::Real;
use super::workers::Workers;

/// An array seen as `[outer, size, inner]`, of which `[outer, count, inner]` are read, each at an index of its own.
#[derive(Debug, Clone, Copy)]
pub struct Gather {
    /// Elements along the axis.
    pub size: usize,
    /// How many are read along it.
    pub count: usize,
    /// Elements of all later axes together.
    pub inner: usize,
    /// Whether all of `inner` share an index.
    pub shared: bool,
    /// Whether all of `outer` share their indices.
    pub same: bool,
}

impl Gather {
    /// The index at which element `at` of `[count, inner]` reads, in outer part `part`.
    #[inline(always)]
    fn index(&self, indices: &[u32], part: usize, at: usize) -> usize {
        let (at, length) = if self.shared { (at / self.inner, self.count) } else { (at, self.count * self.inner) };
        indices[if self.same { at } else { part * length + at }] as usize
    }

    /// Reads.
    pub fn read<T: Real>(&self, data: &[T], indices: &[u32], out: &mut [T], workers: &Workers) {
        let (whole, part) = (self.size * self.inner, self.count * self.inner);
        workers.chunks(out, part, &|number, out, _| {
            let data = &data[number * whole..][..whole];
            for (at, out) in out.iter_mut().enumerate() {
                *out = data[self.index(indices, number, at) * self.inner + at % self.inner];
            }
        });
    }

    /// The adjoint: adds each value where it was read, in order.
    pub fn add<T: Real>(&self, values: &[T], indices: &[u32], out: &mut [T], workers: &Workers) {
        let (whole, part) = (self.size * self.inner, self.count * self.inner);
        workers.chunks(out, whole, &|number, out, _| {
            out.fill(T::zero());
            for (at, &value) in values[number * part..][..part].iter().enumerate() {
                out[self.index(indices, number, at) * self.inner + at % self.inner] += value;
            }
        });
    }
}

/// Of an array seen as `[outer, size, inner]`, the index along `size` of the largest number: the first of equal ones, or
/// the first NaN if there is one.
pub fn argmax<T: Real>(data: &[T], [size, inner]: [usize; 2], indices: &mut [u32], workers: &Workers) {
    workers.chunks(indices, inner, &|outer, indices, _| {
        let data = &data[outer * size * inner..][..size * inner];
        indices.fill(0);
        for (index, row) in data.chunks_exact(inner).enumerate().skip(1) {
            for (column, (&value, best)) in row.iter().zip(indices.iter_mut()).enumerate() {
                let largest = data[*best as usize * inner + column];
                if value > largest || value.is_nan() && !largest.is_nan() {
                    *best = index as u32;
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_numbers_and_the_first_nan_win() {
        let workers = Workers::new(2).unwrap();
        let data = [1.0, f64::NAN, 3.0, 2.0, 3.0, f64::NAN, -1.0, f64::NEG_INFINITY];
        let mut indices = [9; 4];
        argmax(&data, [2, 2], &mut indices, &workers);
        assert_eq!(indices, [1, 0, 0, 0]);
        let mut whole = [9; 1];
        argmax(&data, [8, 1], &mut whole, &workers);
        assert_eq!(whole, [1]);
    }
}
