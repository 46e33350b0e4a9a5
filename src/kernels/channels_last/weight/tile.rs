//! The innermost loop of the adjoint in the weights.

use crate::kernels::real::Real;
use crate::kernels::simd::{Isa, Kernel, Vector};

/// The most runs that a tile takes.
pub const MAX_RUNS: usize = 5;

/// Places of the window: pictures, rows and columns.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    /// How many there are.
    pub count: [usize; 3],
    /// From one to the next in the strips.
    pub source: [usize; 3],
    /// From one to the next in the upstream.
    pub upstream: [usize; 3],
}

/// Some rows of sums, by one register or two of filters.
#[derive(Debug, Clone, Copy)]
pub struct Tile<T> {
    /// What is summed over.
    pub places: Places,
    /// The first row of each run, as seen from the first place. Its other rows follow.
    pub source: [*const T; MAX_RUNS],
    /// The first filter of the upstream at the first place.
    pub upstream: *const T,
    /// How many filters there are; the last register may have fewer than lanes.
    pub filters: usize,
    /// The first sum.
    pub sums: *mut T,
    /// From run to run and from row to row of the sums.
    pub pitch: [usize; 2],
}

impl<T: Real> Tile<T> {
    /// Adds all places to the sums of `runs` × `rows` rows and `vectors` registers.
    ///
    /// # Safety
    /// Everything pointed to must be there, and the sums of no other thread's interest.
    pub unsafe fn add(self, isa: Isa, [runs, rows, vectors]: [usize; 3]) {
        macro_rules! by_size {
            ($($runs:literal $vectors:literal [$($rows:literal)*])*) => {
                match (runs, vectors, rows) {
                    $($(($runs, $vectors, $rows) => isa.dispatch(Add::<_, $runs, $rows, $vectors>(self)),)*)*
                    _ => unreachable!("tiles are of the sizes below"),
                }
            };
        }
        by_size! {
            1 1 [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28]
            1 2 [1 2 3 4 5 6 7 8 9 10 11 12 13 14]
            3 1 [1 2 3 4 5 6 7 8 9]
            3 2 [1 2 3 4]
            5 1 [1 2 3 4 5]
            5 2 [1 2]
        }
    }
}

/// A tile with its size.
struct Add<T, const RUNS: usize, const ROWS: usize, const VECTORS: usize>(Tile<T>);

impl<T: Real, const RUNS: usize, const ROWS: usize, const VECTORS: usize> Kernel<T>
    for Add<T, RUNS, ROWS, VECTORS>
{
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        if RUNS * ROWS * VECTORS > 2 * V::TILE_ROWS {
            return; // never asked for; saves compiling it
        }
        let Tile { places, source, upstream, filters, sums: target, pitch } = self.0;
        let count: [usize; VECTORS] =
            std::array::from_fn(|vector| (filters - vector * V::LANES).min(V::LANES));
        let sum = |run: usize, row: usize, vector: usize| {
            target.wrapping_add(run * pitch[0] + row * pitch[1] + vector * V::LANES)
        };
        // SAFETY: the contract of `Tile::add`; `count` keeps to the filters.
        unsafe {
            let mut sums: [[[V; VECTORS]; ROWS]; RUNS] = std::array::from_fn(|run| {
                std::array::from_fn(|row| {
                    std::array::from_fn(|vector| V::load_first(sum(run, row, vector), count[vector]))
                })
            });
            for line in 0..places.count[0] * places.count[1] {
                let (picture, line) = (line / places.count[1], line % places.count[1]);
                let pixels = picture * places.source[0] + line * places.source[1];
                let mut source: [*const T; RUNS] = std::array::from_fn(|run| source[run].add(pixels));
                let mut upstream = upstream.add(picture * places.upstream[0] + line * places.upstream[1]);
                for _ in 0..places.count[2] {
                    let right: [V; VECTORS] = std::array::from_fn(|vector| {
                        V::load_first(upstream.add(vector * V::LANES), count[vector])
                    });
                    for (sums, source) in sums.iter_mut().zip(&mut source) {
                        for (row, sums) in sums.iter_mut().enumerate() {
                            let left = V::splat(*source.add(row));
                            for (sum, right) in sums.iter_mut().zip(right) {
                                *sum = left.mul_add(right, *sum);
                            }
                        }
                        *source = source.wrapping_add(places.source[2]);
                    }
                    upstream = upstream.wrapping_add(places.upstream[2]);
                }
            }
            for (run, sums) in sums.into_iter().enumerate() {
                for (row, sums) in sums.into_iter().enumerate() {
                    for (vector, register) in sums.into_iter().enumerate() {
                        register.store_first(sum(run, row, vector), count[vector]);
                    }
                }
            }
        }
    }
}
