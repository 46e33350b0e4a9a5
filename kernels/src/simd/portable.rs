//! The register of machines without a special one.

use super::{Vector, flush};
use crate::real::Real;
use crate::tuning::PORTABLE_TILE_ROWS;

/// An expression in both lanes. Arrays made by a closure would cost the compiler more than all of this.
macro_rules! lanes {
    ($lane:ident => $value:expr) => {
        [
            {
                let $lane = 0;
                $value
            },
            {
                let $lane = 1;
                $value
            },
        ]
    };
}

/// The operators, lane by lane.
macro_rules! operators {
    ($($name:ident $operator:tt),*) => {$(
        #[inline(always)]
        unsafe fn $name(self, other: Self) -> Self {
            lanes!(lane => self[lane] $operator other[lane])
        }
    )*};
}

/// Two numbers, which the compiler maps to what the machine has.
impl<T: Real> Vector<T> for [T; 2] {
    const LANES: usize = 2;
    const TILE_ROWS: usize = PORTABLE_TILE_ROWS;

    #[inline(always)]
    unsafe fn splat(value: T) -> Self {
        [value; 2]
    }

    #[inline(always)]
    unsafe fn load(from: *const T) -> Self {
        // SAFETY: all lanes are readable by the trait's contract; the read needs no alignment.
        unsafe { from.cast::<Self>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut T) {
        // SAFETY: all lanes are writable by the trait's contract.
        unsafe { to.cast::<Self>().write_unaligned(self) }
    }

    #[inline(always)]
    unsafe fn load_first(from: *const T, count: usize) -> Self {
        // SAFETY: only the first `count` numbers are read, which the caller vouches for.
        lanes!(lane => if lane < count { unsafe { *from.add(lane) } } else { T::zero() })
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut T, count: usize) {
        for lane in 0..2 {
            if lane < count {
                // SAFETY: only the first `count` numbers are written, which the caller vouches for.
                unsafe { *to.add(lane) = self[lane] }
            }
        }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self {
        lanes!(lane => self[lane].mul_add(factor[lane], term[lane]))
    }

    operators!(add +, subtract -, multiply *, divide /);

    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        lanes!(lane => self[lane].sqrt())
    }

    #[inline(always)]
    unsafe fn gate(self, by: Self) -> Self {
        lanes!(lane => if by[lane] <= T::zero() { T::zero() } else { self[lane] })
    }

    #[inline(always)]
    unsafe fn at_least(self, floor: Self) -> Self {
        lanes!(lane => if self[lane] < floor[lane] { floor[lane] } else { self[lane] })
    }

    #[inline(always)]
    unsafe fn larger(self, best: Self, [own, bests]: [Self; 2]) -> [Self; 2] {
        let is_larger = lanes!(lane => {
            let is_at_most = self[lane] <= best[lane];
            !is_at_most & !best[lane].is_nan()
        });
        [
            lanes!(lane => if is_larger[lane] { self[lane] } else { best[lane] }),
            lanes!(lane => if is_larger[lane] { own[lane] } else { bests[lane] }),
        ]
    }

    #[inline(always)]
    unsafe fn greater(self, other: Self) -> Self {
        lanes!(lane => if self[lane] > other[lane] { T::one() } else { T::zero() })
    }

    #[inline(always)]
    unsafe fn greater_equal(self, other: Self) -> Self {
        lanes!(lane => if self[lane] >= other[lane] { T::one() } else { T::zero() })
    }

    #[inline(always)]
    unsafe fn flush(self) -> Self {
        lanes!(lane => flush(self[lane]))
    }

    #[inline(always)]
    unsafe fn is_zero(self) -> bool {
        self[0].is_zero() && self[1].is_zero()
    }

    #[inline(always)]
    unsafe fn interleave(self, other: Self) -> (Self, Self) {
        ([self[0], other[0]], [self[1], other[1]])
    }
}
