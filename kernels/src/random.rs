//! Random numbers that depend on nothing but a seed, a stream and a position.

use rand::Rng;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use super::real::Real;
use super::workers::{Split, Workers};
use crate::gemm::pack::Transpose;
use crate::simd::Isa;
use crate::tuning::MASK_TASK;

/// Fills `out` with `scale` or 0: each element is kept with probability `keep`, independently.
///
/// The result is a function of `seed`, `stream`, `step` and the position alone, so it is the same for any
/// number of threads, and drawn anew at each step.
#[inline(never)]
pub fn mask<T: Real>(seeds: [u64; 3], keep: f64, scale: f64, out: &mut [T], workers: &Workers) {
    workers.chunks(out, MASK_TASK, &|task, chunk, _| draw(seeds, task * MASK_TASK, keep, scale, chunk));
}

/// The same numbers for images of so many channels and pixels, [N, channels, pixels], as [N, pixels, channels].
#[inline(never)]
pub fn mask_nhwc<T: Real>(
    seeds: [u64; 3],
    keep: f64,
    scale: f64,
    [channels, pixels]: [usize; 2],
    out: &mut [T],
    workers: &Workers,
) {
    let image = channels * pixels;
    workers.chunks(out, image, &|number, to, local| {
        local.reserve(Split::bytes::<T>(image));
        let from = local.slice::<T>(image);
        draw(seeds, number * image, keep, scale, from);
        Isa::detect().dispatch(Transpose { from, stride: pixels, columns: channels, width: channels, to });
    });
}

/// The numbers of a mask from position `start` on.
fn draw<T: Real>([seed, stream, step]: [u64; 3], start: usize, keep: f64, scale: f64, out: &mut [T]) {
    // A 32-bit draw is below the threshold with probability `keep` (exactly 1 for keep = 1).
    let threshold = (keep * 2f64.powi(32)) as u64;
    let (scale, zero) = (T::of(scale), T::zero());
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(stream.rotate_left(40) ^ step);
    generator.set_word_pos(start as u128);
    for out in out {
        *out = if u64::from(generator.next_u32()) < threshold { scale } else { zero };
    }
}

/// Standard normal numbers from a generator, by the Box-Muller transform.
pub fn normal(generator: &mut ChaCha8Rng) -> f64 {
    let (radius, angle) = (1.0 - uniform(generator), uniform(generator));
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// A number in [0, 1), from the generator's 53 highest bits.
pub fn uniform(generator: &mut ChaCha8Rng) -> f64 {
    (generator.next_u64() >> 11) as f64 * 2f64.powi(-53)
}
