//! Vector registers: what the machine has, and the few operations that the kernels need of them.
//!
//! A kernel is written once against [`Vector`] and handed to [`Isa::dispatch`], which compiles it for every
//! instruction set and runs the one chosen. Plain loops gain the same by going through [`vectorize`].
//! All instruction sets round alike, because `mul_add` is fused everywhere.

use std::sync::OnceLock;

use super::real::Real;

/// The operations of a register that are one instruction each.
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
macro_rules! instructions {
    ($number:ty, $splat:ident, $load:ident, $store:ident, $root:ident, $($operation:ident = $binary:ident),*) => {
        #[inline(always)]
        unsafe fn splat(value: $number) -> Self {
            // SAFETY: the trait's contract.
            unsafe { $splat(value) }
        }

        #[inline(always)]
        unsafe fn load(from: *const $number) -> Self {
            // SAFETY: all lanes are readable by the trait's contract.
            unsafe { $load(from) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut $number) {
            // SAFETY: all lanes are writable by the trait's contract.
            unsafe { $store(to, self) }
        }

        #[inline(always)]
        unsafe fn sqrt(self) -> Self {
            // SAFETY: the trait's contract.
            unsafe { $root(self) }
        }

        $(#[inline(always)]
        unsafe fn $operation(self, other: Self) -> Self {
            // SAFETY: the trait's contract.
            unsafe { $binary(self, other) }
        })*
    };
}

#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

/// The most lanes that any register has.
pub const MAX_LANES: usize = 16;

/// A register that holds [`LANES`](Self::LANES) numbers.
///
/// # Safety
/// Every method may be called only where the instruction set of the register exists, and pointers must be good
/// for the lanes read or written; they need no alignment.
#[allow(clippy::missing_safety_doc)] // said once, above
pub trait Vector<T>: Copy {
    /// How many numbers a register holds.
    const LANES: usize;
    /// How many rows a tile of accumulators has at most, where it is two registers wide. More rows keep the multipliers
    /// busy, but every size of tile is one more function to compile. So there are few for `f64`, in which gradients are
    /// checked, and for the portable register.
    const TILE_ROWS: usize;

    /// The same number in all lanes.
    unsafe fn splat(value: T) -> Self;
    /// Reads all lanes.
    unsafe fn load(from: *const T) -> Self;
    /// Writes all lanes.
    unsafe fn store(self, to: *mut T);
    /// Reads the first `count` lanes and no memory beyond them; the others are 0.
    unsafe fn load_first(from: *const T, count: usize) -> Self;
    /// Writes the first `count` lanes and no memory beyond them.
    unsafe fn store_first(self, to: *mut T, count: usize);
    /// self · factor + term, rounded once.
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self;
    /// self + other.
    unsafe fn add(self, other: Self) -> Self;
    /// self − other.
    unsafe fn subtract(self, other: Self) -> Self;
    /// self · other.
    unsafe fn multiply(self, other: Self) -> Self;
    /// self / other.
    unsafe fn divide(self, other: Self) -> Self;
    /// The square root.
    unsafe fn sqrt(self) -> Self;
    /// 0 in every lane where `by` is ≤ 0; where it is greater or NaN, the lane as it is.
    unsafe fn gate(self, by: Self) -> Self;
    /// 0 in every lane that is ≤ 0; the others, and NaN, as they are.
    #[inline(always)]
    unsafe fn relu(self) -> Self {
        // SAFETY: the same contract.
        unsafe { self.gate(self) }
    }
    /// The larger of self and floor, which is no NaN, in every lane; NaN of self stays.
    unsafe fn at_least(self, floor: Self) -> Self;
    /// In every lane the larger of self and `best`, which wins where they are equal, and with it its companion. A NaN
    /// is larger than any number, and nothing is larger than a NaN.
    unsafe fn larger(self, best: Self, companions: [Self; 2]) -> [Self; 2];
    /// 1 in every lane where self > other, else 0; 0 where one of them is NaN.
    unsafe fn greater(self, other: Self) -> Self;
    /// 1 in every lane where self ≥ other, else 0; 0 where one of them is NaN.
    unsafe fn greater_equal(self, other: Self) -> Self;
    /// +0 in every lane that is zero or subnormal: smaller than the smallest number of full precision. The
    /// processor is many times slower with those.
    unsafe fn flush(self) -> Self;
    /// Whether all lanes are 0.
    unsafe fn is_zero(self) -> bool;
    /// The lanes whose index is `index`, the others 0; all lanes of indices are read.
    #[inline(always)]
    unsafe fn where_equal(self, indices: *const u32, index: u32) -> Self
    where
        T: Real,
    {
        let mut lanes = [T::zero(); MAX_LANES];
        // SAFETY: no register has more lanes than the array; the indices are readable by the method's contract.
        unsafe {
            self.store(lanes.as_mut_ptr());
            for lane in 0..Self::LANES {
                lanes[lane] = if *indices.add(lane) == index { lanes[lane] } else { T::zero() };
            }
            Self::load(lanes.as_ptr())
        }
    }
    /// Writes the indices in the first `count` lanes; see [`Real::from_index`].
    #[inline(always)]
    unsafe fn store_indices(self, to: *mut u32, count: usize)
    where
        T: Real,
    {
        // SAFETY: no register has more lanes than the array; the indices are writable by the method's contract.
        unsafe {
            if size_of::<T>() == size_of::<u32>() {
                self.store_first(to.cast(), count); // the bits of such a number are the index
            } else {
                let mut lanes = [T::zero(); MAX_LANES];
                self.store(lanes.as_mut_ptr());
                (0..count).for_each(|lane| *to.add(lane) = lanes[lane].to_index());
            }
        }
    }
    /// Alternating lanes of both (a₀ b₀ a₁ b₁ …): the first half of them, and the second.
    unsafe fn interleave(self, other: Self) -> (Self, Self);
}

/// A kernel that [`Isa::dispatch`] can compile for every instruction set.
pub trait Kernel<T: Real> {
    /// What it returns.
    type Output;

    /// Runs the kernel. Must be `#[inline(always)]`, and so must what it calls, or it loses the instruction set.
    ///
    /// # Safety
    /// The instruction set of `V` must exist.
    unsafe fn run<V: Vector<T>>(self) -> Self::Output;
}

/// An instruction set that this machine is known to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Portable,
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// The best instruction set of this machine, or the one that the environment variable `DAGRAD_ISA` names
    /// (`avx512`, `avx2`, `neon`, `portable`) if the machine has it. Looked up once.
    pub fn detect() -> Self {
        static CHOSEN: OnceLock<Isa> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let wanted = std::env::var("DAGRAD_ISA").unwrap_or_default();
            let named = Self::available().find(|isa| isa.name() == wanted);
            named
                .or_else(|| Self::available().next())
                .unwrap_or_else(|| unreachable!("the portable set is everywhere"))
        })
    }

    /// All instruction sets of this machine, the best first.
    pub fn available() -> impl Iterator<Item = Isa> {
        #[cfg(target_arch = "x86_64")]
        let special = [(x86::has_avx512(), Kind::Avx512), (x86::has_avx2(), Kind::Avx2)];
        #[cfg(target_arch = "aarch64")]
        let special = [(true, Kind::Neon)];
        #[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
        let special: [(bool, Kind); 0] = [];
        special.into_iter().chain([(true, Kind::Portable)]).filter(|&(has, _)| has).map(|(_, kind)| Isa(kind))
    }

    /// The name by which `DAGRAD_ISA` knows it.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => "neon",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
        }
    }

    /// Lanes of a register of `T`.
    pub fn lanes<T: Real>(self) -> usize {
        self.sizes::<T>()[0]
    }

    /// Rows of a tile of `T`; see [`Vector::TILE_ROWS`].
    pub fn tile_rows<T: Real>(self) -> usize {
        self.sizes::<T>()[1]
    }

    #[inline(always)]
    fn sizes<T: Real>(self) -> [usize; 2] {
        match self.0 {
            Kind::Portable => [<[T; 2]>::LANES, <[T; 2]>::TILE_ROWS],
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => [T::Neon::LANES, T::Neon::TILE_ROWS],
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => [T::Avx2::LANES, T::Avx2::TILE_ROWS],
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => [T::Avx512::LANES, T::Avx512::TILE_ROWS],
        }
    }

    /// Runs a kernel with this instruction set.
    #[inline(always)]
    pub fn dispatch<T: Real, K: Kernel<T>>(self, kernel: K) -> K::Output {
        match self.0 {
            Kind::Portable => run_portable(kernel),
            // SAFETY: every processor of this architecture has NEON, and the compiler takes it for granted.
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => unsafe { kernel.run::<T::Neon>() },
            // SAFETY: an `Isa` is only made of what was detected.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { x86::run_avx2(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 if const { size_of::<T>() == size_of::<f32>() } => unsafe {
                x86::run_avx512(kernel)
            },
            // SAFETY: a machine with AVX-512 has AVX2; double precision is for checks, and does with it.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { x86::run_avx2(kernel) },
        }
    }
}

/// Compiles a kernel for any machine, apart from its caller.
fn run_portable<T: Real, K: Kernel<T>>(kernel: K) -> K::Output {
    // SAFETY: an array is no special register.
    unsafe { kernel.run::<[T; 2]>() }
}

/// Runs a closure where the compiler may use the widest registers of the machine, so that plain loops in it are
/// vectorised for them. It reaches what is inlined into the closure, and no further; a long closure should itself
/// be marked `#[inline(always)]`.
#[inline(always)]
pub fn vectorize<R>(task: impl FnOnce() -> R) -> R {
    Isa::detect().dispatch::<f32, _>(Closure(task))
}

/// A closure as a kernel; it does not care for the register type.
struct Closure<F>(F);

impl<R, F: FnOnce() -> R> Kernel<f32> for Closure<F> {
    type Output = R;

    #[inline(always)]
    unsafe fn run<V: Vector<f32>>(self) -> R {
        (self.0)()
    }
}

/// Prefetches the cache line at an address into the first-level cache. The address need not be valid.
#[inline(always)]
pub fn prefetch_line<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint that reads nothing.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint that reads nothing; the function for it is not stable yet.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
    let _ = address;
}

/// 0 for a subnormal number; others as they are.
#[inline(always)]
pub fn flush<T: Real>(value: T) -> T {
    if value.abs() < T::min_positive_value() { T::zero() } else { value }
}
