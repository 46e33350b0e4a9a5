//! The transforms along one axis: polynomials, the points where they are evaluated, and the way back.
//!
//! Five or so numbers are the coefficients of a polynomial. Where two polynomials are multiplied, their values
//! at any point are, number by number; and as many values as the product has coefficients determine it (Toom and
//! Cook). A correlation is the transposed problem (Winograd): the image goes through the transpose of "the
//! coefficients of a polynomial from its values", weights and upstream through "values from coefficients", and
//! outputs through the transpose of that.
//!
//! The points are 0, pairs ±p, and ∞, whose value is the highest coefficient. Numbers at ±p are an even part
//! plus or minus an odd part, which halves the work.

use crate::real::Real;
use crate::simd::Vector;

/// How many outputs a tile has along an axis.
pub const OUTPUTS: usize = 4;
/// At how many points along an axis tiles of a window are needed.
pub const fn points(window: usize) -> usize {
    OUTPUTS + window - 1
}

/// The most pairs that there are.
const MAX_PAIRS: usize = 4;

/// The pairs ±p among `points` points, found by search: those that lose the fewest digits. (With 1 and 2, the usual
/// choice for six points, errors are three times as large.)
const fn pairs(points: usize) -> &'static [f64] {
    match points {
        6 => &[0.625, 1.5],
        8 => &[1.0, 2.0, 0.5],
        _ => &[0.4375, 0.8125, 1.1875, 2.25],
    }
}

/// Coefficients, the constant one first, of the product of (x − p²) over all pairs except one.
const fn product(pairs: &[f64], except: usize) -> [f64; MAX_PAIRS + 1] {
    let mut coefficients = [0.0; MAX_PAIRS + 1];
    coefficients[0] = 1.0;
    let mut pair = 0;
    while pair < pairs.len() {
        let mut power = if pair == except { 0 } else { MAX_PAIRS + 1 };
        while power > 0 {
            power -= 1;
            let lower = if power > 0 { coefficients[power - 1] } else { 0.0 };
            coefficients[power] = lower - pairs[pair] * pairs[pair] * coefficients[power];
        }
        pair += 1;
    }
    coefficients
}

/// The value of a polynomial.
const fn value(coefficients: &[f64], at: f64) -> f64 {
    let (mut value, mut power) = (0.0, coefficients.len());
    while power > 0 {
        power -= 1;
        value = value * at + coefficients[power];
    }
    value
}

/// What is known about `N` points when compiling.
pub struct Points<const N: usize>;

impl<const N: usize> Points<N> {
    /// How many pairs there are.
    const PAIRS: usize = pairs(N).len();
    /// The product of (x − q²) over all pairs.
    const WHOLE: [f64; MAX_PAIRS + 1] = product(pairs(N), MAX_PAIRS);
    /// The same without one pair.
    const WITHOUT: [[f64; MAX_PAIRS + 1]; MAX_PAIRS] = {
        let (mut all, mut pair) = ([[0.0; MAX_PAIRS + 1]; MAX_PAIRS], 0);
        while pair < Self::PAIRS {
            all[pair] = product(pairs(N), pair);
            pair += 1;
        }
        all
    };
    /// What the value at each point has to be multiplied by, once anywhere between evaluation and result.
    pub const SCALE: [f64; N] = {
        let (mut scale, mut pair) = ([1.0; N], 0);
        scale[0] = 1.0 / Self::WHOLE[0];
        while pair < Self::PAIRS {
            let square = pairs(N)[pair] * pairs(N)[pair];
            let factor = 1.0 / (2.0 * square * value(&Self::WITHOUT[pair], square));
            scale[1 + 2 * pair] = factor;
            scale[2 + 2 * pair] = factor;
            pair += 1;
        }
        scale
    };
}

/// A linear map along an axis of a tile, from `K` numbers to one for each of `N` points.
pub trait AxisTransform<const K: usize, const N: usize>: Copy {
    /// Applies it, in every lane.
    ///
    /// # Safety
    /// The instruction set of `V` must exist, here and below.
    unsafe fn apply<T: Real, V: Vector<T>>(self, values: [V; K]) -> [V; N];
}

/// The input transform Bᵀ: the transpose of interpolation but for [`Points::SCALE`].
#[derive(Clone, Copy)]
pub struct InputAxis;

impl<const N: usize> AxisTransform<N, N> for InputAxis {
    #[inline(always)]
    unsafe fn apply<T: Real, V: Vector<T>>(self, values: [V; N]) -> [V; N] {
        let count = Points::<N>::PAIRS;
        // SAFETY: the caller vouches for the instruction set, here and below.
        unsafe {
            let mut out = [V::splat(T::zero()); N];
            out[0] = alternate(&values, 0, &Points::<N>::WHOLE, count);
            out[N - 1] = alternate(&values, 1, &Points::<N>::WHOLE, count);
            for pair in 0..count {
                let even = alternate(&values, 2, &Points::<N>::WITHOUT[pair], count - 1);
                let odd = alternate(&values, 1, &Points::<N>::WITHOUT[pair], count - 1);
                [out[1 + 2 * pair], out[2 + 2 * pair]] = both(even, odd, pairs(N)[pair]);
            }
            out
        }
    }
}

/// ∑ values\[start + 2k\] · coefficients\[k\] for k up to `degree`, whose coefficient is 1.
#[inline(always)]
unsafe fn alternate<T: Real, V: Vector<T>>(
    values: &[V],
    start: usize,
    coefficients: &[f64],
    degree: usize,
) -> V {
    let mut sum = values[start + 2 * degree];
    for power in (0..degree).rev() {
        // SAFETY: the caller vouches for the instruction set.
        sum = unsafe { values[start + 2 * power].mul_add(V::splat(T::of(coefficients[power])), sum) };
    }
    sum
}

/// The numbers at p and −p.
#[inline(always)]
unsafe fn both<T: Real, V: Vector<T>>(even: V, odd: V, p: f64) -> [V; 2] {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { [odd.mul_add(V::splat(T::of(p)), even), odd.mul_add(V::splat(T::of(-p)), even)] }
}

/// The filter transform G, also for the upstream: the values of the polynomial with these coefficients.
#[derive(Clone, Copy)]
pub struct FilterAxis;

impl<const K: usize, const N: usize> AxisTransform<K, N> for FilterAxis {
    #[inline(always)]
    unsafe fn apply<T: Real, V: Vector<T>>(self, values: [V; K]) -> [V; N] {
        // SAFETY: the caller vouches for the instruction set.
        unsafe {
            let mut out = [V::splat(T::zero()); N];
            (out[0], out[N - 1]) = (values[0], values[K - 1]);
            for pair in 0..Points::<N>::PAIRS {
                let (p, mut parts) = (pairs(N)[pair], [values[0], values[1]]);
                let mut power = p * p;
                for i in 2..K {
                    parts[i % 2] = values[i].mul_add(V::splat(T::of(power)), parts[i % 2]);
                    power *= if i % 2 == 1 { p * p } else { 1.0 };
                }
                [out[1 + 2 * pair], out[2 + 2 * pair]] = both(parts[0], parts[1], p);
            }
            out
        }
    }
}

/// The output transform Aᵀ, the transpose of [`FilterAxis`]: ∑ values\[point\] · pointᵏ for each k < `K`.
///
/// # Safety
/// The instruction set of `V` must exist.
#[inline(always)]
pub unsafe fn output_axis<T: Real, V: Vector<T>, const N: usize, const K: usize>(values: [V; N]) -> [V; K] {
    // SAFETY: the caller vouches for the instruction set.
    unsafe {
        let mut out = [V::splat(T::zero()); K];
        (out[0], out[K - 1]) = (values[0], values[N - 1]);
        for pair in 0..Points::<N>::PAIRS {
            let (at, opposite) = (values[1 + 2 * pair], values[2 + 2 * pair]);
            let sums = [at.add(opposite), opposite.mul_add(V::splat(T::of(-1.0)), at)];
            let mut power = 1.0;
            for k in 0..K {
                let first = pair == 0 && k > 0 && k < K - 1;
                out[k] = match (first, power == 1.0) {
                    (true, true) => sums[k % 2],
                    (false, true) => out[k].add(sums[k % 2]),
                    _ => sums[k % 2].mul_add(V::splat(T::of(power)), out[k]),
                };
                power *= pairs(N)[pair];
            }
        }
        out
    }
}
