//! The innermost loop of the gradient in the weights.

use crate::real::Real;
use crate::simd::{Isa, Kernel, MAX_LANES, Vector};
use crate::tuning::{F64_TILE_ROWS, NARROW_ROWS};

/// The most runs that a tile takes.
pub const MAX_RUNS: usize = 5;
/// The most rows of a tile that is one register wide, in all of its runs together.
pub const MAX_ROWS: usize = 12;
/// The most registers of sums that a tile has.
const MAX_REGISTERS: usize = 16;

/// Output positions: images, rows and columns.
#[derive(Debug, Clone, Copy)]
pub struct Positions {
    /// How many there are.
    pub count: [usize; 3],
    /// From one to the next in the strips.
    pub source: [usize; 3],
    /// From one to the next in the upstream.
    pub upstream: [usize; 3],
}

/// Some rows of sums, by one register or two of filters.
#[derive(Debug, Clone, Copy)]
pub struct DenseTile<T> {
    /// What is summed over.
    pub positions: Positions,
    /// The first row of each run, as seen from the first position. Its other rows follow.
    pub source: [*const T; MAX_RUNS],
    /// The first filter of the upstream at the first position. It is read in whole registers.
    pub upstream: *const T,
    /// How many filters there are; the last register may have fewer than lanes.
    pub filters: usize,
    /// The first sum.
    pub sums: *mut T,
    /// From run to run and from row to row of the sums.
    pub pitch: [usize; 2],
    /// Whether there are no sums yet, and whether these are the last positions.
    pub ends: [bool; 2],
}

/// The sums of a tile, row after row, each a whole number of registers long.
#[repr(align(64))]
struct Sums<T>([T; MAX_REGISTERS * MAX_LANES]);

impl<T: Real> DenseTile<T> {
    /// Adds all positions to the sums of `runs` × `rows` rows and as many registers as the filters take.
    ///
    /// # Safety
    /// Everything pointed to must be there, and the sums of no other thread's interest.
    pub unsafe fn add(&self, isa: Isa, [runs, rows]: [usize; 2]) {
        let mut sums = Sums([T::zero(); MAX_REGISTERS * MAX_LANES]);
        let sums = &mut sums.0;
        // SAFETY: the caller's contract.
        unsafe { self.multiply(isa, [runs, rows], sums) };
        isa.dispatch(StoreSums { tile: self, size: [runs, rows], sums });
    }

    /// # Safety
    /// As above.
    unsafe fn multiply(&self, isa: Isa, [runs, rows]: [usize; 2], sums: &mut [T]) {
        let vectors = self.filters.div_ceil(isa.lanes::<T>());
        let sums = sums.as_mut_ptr();
        // Two positions are done together only where there are registers for it.
        let step = if isa.tile_rows::<T>() < NARROW_ROWS { 0 } else { self.positions.source[2] };
        macro_rules! by_size {
            ($($runs:literal $vectors:literal [$($rows:literal)*])*) => {
                match (runs, vectors, rows, step) {
                    $($(
                        ($runs, $vectors, $rows, 1) if const { exists::<T>(paired_step(1, $rows, $vectors), $runs * $rows * $vectors) } => {
                            isa.dispatch(Multiply::<_, { paired_step(1, $rows, $vectors) }, $runs, $rows, $vectors> { tile: *self, sums })
                        }
                        ($runs, $vectors, $rows, 3) if const { exists::<T>(paired_step(3, $rows, $vectors), $runs * $rows * $vectors) } => {
                            isa.dispatch(Multiply::<_, { paired_step(3, $rows, $vectors) }, $runs, $rows, $vectors> { tile: *self, sums })
                        }
                        ($runs, $vectors, $rows, _) if const { exists::<T>(0, $runs * $rows * $vectors) } => {
                            isa.dispatch(Multiply::<_, 0, $runs, $rows, $vectors> { tile: *self, sums })
                        }
                    )*)*
                    _ => unreachable!("there is no tile of {runs} × {rows} × {vectors}"),
                }
            };
        }
        by_size! {
            1 1 [1 2 3 4 5 6 7 8 9 10 11 12]
            1 2 [1 2 3 4 5 6 7 8]
            3 1 [1 2 3 4 5]
            3 2 [1 2]
            5 1 [1 2 3]
            5 2 [1]
        }
    }
}

/// Whether any machine has a tile of so many registers, with such a step, for the type of number.
const fn exists<T>(step: usize, registers: usize) -> bool {
    size_of::<T>() == size_of::<f32>() || (step == 0 && registers <= 2 * F64_TILE_ROWS)
}

/// The step from a position to the next, if two positions are done together, or 0: at least half of what they see must
/// be the same. In wider tiles the compiler would keep sums in memory; longer ones keep the multipliers busy as they are.
const fn paired_step(step: usize, rows: usize, vectors: usize) -> usize {
    if 2 * step <= rows && rows <= 8 * step && vectors == 1 { step } else { 0 }
}

/// Adds the products of a tile. Only these loops' accumulators may live here, or they do not fit the registers.
///
/// If `STEP` is not 0, it is that many numbers from a position to the next in its row, and two positions are done together:
/// they see much the same pixels, of which each is loaded once for both.
struct Multiply<T, const STEP: usize, const RUNS: usize, const ROWS: usize, const VECTORS: usize> {
    tile: DenseTile<T>,
    sums: *mut T,
}

impl<T: Real, const STEP: usize, const RUNS: usize, const ROWS: usize, const VECTORS: usize> Kernel<T>
    for Multiply<T, STEP, RUNS, ROWS, VECTORS>
{
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        if const { RUNS * ROWS * VECTORS > 2 * V::TILE_ROWS || (STEP > 0 && V::TILE_ROWS < NARROW_ROWS) } {
            unreachable!("never asked for; saves compiling it");
        }
        let DenseTile { positions, upstream, .. } = self.tile;
        // SAFETY: the contract of `DenseTile::add`; the sums have room for the most registers there are.
        unsafe {
            let mut sums = [[[V::splat(T::zero()); VECTORS]; ROWS]; RUNS];
            for line in 0..positions.count[0] * positions.count[1] {
                let (image, line) = (line / positions.count[1], line % positions.count[1]);
                let mut pixel = image * positions.source[0] + line * positions.source[1];
                let mut upstream = upstream.add(image * positions.upstream[0] + line * positions.upstream[1]);
                let mut left = positions.count[2];
                if const { STEP > 0 } {
                    while left > 1 {
                        self.add::<V, 2>(&mut sums, pixel, upstream);
                        pixel += 2 * positions.source[2];
                        upstream = upstream.wrapping_add(2 * positions.upstream[2]);
                        left -= 2;
                    }
                }
                for _ in 0..left {
                    self.add::<V, 1>(&mut sums, pixel, upstream);
                    pixel += positions.source[2];
                    upstream = upstream.wrapping_add(positions.upstream[2]);
                }
            }
            let registers = sums.as_ptr().cast::<V>();
            for register in 0..RUNS * ROWS * VECTORS {
                (*registers.add(register)).store(self.sums.add(register * V::LANES));
            }
        }
    }
}

impl<T: Real, const STEP: usize, const RUNS: usize, const ROWS: usize, const VECTORS: usize>
    Multiply<T, STEP, RUNS, ROWS, VECTORS>
{
    /// Adds the products of some neighbouring positions, of each sum in the order of the positions.
    ///
    /// # Safety
    /// As for [`DenseTile::add`].
    #[inline(always)]
    unsafe fn add<V: Vector<T>, const POSITIONS: usize>(
        &self,
        sums: &mut [[[V; VECTORS]; ROWS]; RUNS],
        pixel: usize,
        upstream: *const T,
    ) {
        let DenseTile { positions, source, .. } = self.tile;
        // SAFETY: the caller's contract.
        unsafe {
            let mut right = [[V::splat(T::zero()); VECTORS]; POSITIONS];
            for position in 0..POSITIONS {
                for vector in 0..VECTORS {
                    right[position][vector] =
                        V::load(upstream.add(position * positions.upstream[2] + vector * V::LANES));
                }
            }
            for run in 0..RUNS {
                for offset in 0..ROWS + (POSITIONS - 1) * STEP {
                    let left = V::splat(*source[run].add(pixel + offset));
                    for position in 0..POSITIONS {
                        if offset < position * STEP || offset >= position * STEP + ROWS {
                            continue;
                        }
                        for vector in 0..VECTORS {
                            let sum = &mut sums[run][offset - position * STEP][vector];
                            *sum = left.mul_add(right[position][vector], *sum);
                        }
                    }
                }
            }
        }
    }
}

/// Adds the sums of a tile to what is there, and flushes them if they are complete.
struct StoreSums<'a, T> {
    tile: &'a DenseTile<T>,
    size: [usize; 2],
    sums: &'a [T],
}

impl<T: Real> Kernel<T> for StoreSums<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let [is_first, is_last] = self.tile.ends;
        self.tile.registers(self.size, V::LANES, |at, sums, count| {
            // SAFETY: as above.
            unsafe {
                let value = V::load(self.sums[at..][..V::LANES].as_ptr());
                let value = if is_first { value } else { V::load_first(sums, count).add(value) };
                if is_last { value.flush() } else { value }.store_first(sums, count);
            }
        });
    }
}

impl<T: Real> DenseTile<T> {
    /// Calls `visit(offset in the tile, sums, how many)` for every register of the tile.
    #[inline(always)]
    fn registers(&self, [runs, rows]: [usize; 2], lanes: usize, mut visit: impl FnMut(usize, *mut T, usize)) {
        let mut at = 0;
        for run in 0..runs {
            for row in 0..rows {
                for filter in (0..self.filters).step_by(lanes) {
                    let sums = self.sums.wrapping_add(run * self.pitch[0] + row * self.pitch[1] + filter);
                    visit(at, sums, lanes.min(self.filters - filter));
                    at += lanes;
                }
            }
        }
    }
}
