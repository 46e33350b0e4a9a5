//! What the machine can do at best: the yardstick for every other kernel.
//!
//! Each figure is the best of several short measurements, with `f32` in the registers that all kernels use.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::simd::{Kernel, Vector};
use super::workers::{Parts, Workers};

/// How many independent chains hide the latency of an operation.
const CHAINS: usize = 12;
/// How many registers of each chain a measurement computes.
const STEPS: usize = 100_000;
/// Memory is gone through in this many parts by each thread.
const PARTS: usize = 8;
/// How many measurements there are.
const MEASUREMENTS: usize = 12;
/// How long one of them takes at least.
const AT_LEAST: Duration = Duration::from_millis(4);

/// Multiplications, each with its addition, per second.
///
/// ```
/// use dagrad_kernels::{limits, workers::Workers};
///
/// let workers = Workers::new(1).unwrap();
/// println!("{:.0} GFLOP/s", 2e-9 * limits::products(&workers));
/// # assert!(limits::products(&workers) > 0.0);
/// ```
pub fn products(workers: &Workers) -> f64 {
    in_registers(workers, false)
}

/// Divisions by a square root per second.
pub fn roots(workers: &Workers) -> f64 {
    in_registers(workers, true)
}

/// How many numbers per second can be read, where so many are read again and again.
pub fn reading(workers: &Workers, numbers: usize) -> f64 {
    through_memory(workers, numbers, false)
}

/// How many numbers per second can be read and written in place.
pub fn rewriting(workers: &Workers, numbers: usize) -> f64 {
    through_memory(workers, numbers, true)
}

/// How often per second something can be done of which one `task` does `each`.
fn best(workers: &Workers, tasks: usize, each: usize, task: &(dyn Fn(usize) + Sync)) -> f64 {
    let rate = || {
        let (start, mut runs) = (Instant::now(), 0);
        while start.elapsed() < AT_LEAST {
            workers.run(tasks, &|index, _| task(index));
            runs += 1;
        }
        (runs * tasks * each) as f64 / start.elapsed().as_secs_f64()
    };
    (0..MEASUREMENTS).map(|_| rate()).fold(0.0, f64::max)
}

fn in_registers(workers: &Workers, roots: bool) -> f64 {
    let isa = workers.isa();
    let each = STEPS * CHAINS * isa.lanes::<f32>();
    best(workers, workers.threads(), each, &|_| isa.dispatch(Registers { roots }))
}

fn through_memory(workers: &Workers, numbers: usize, writes: bool) -> f64 {
    let tasks = PARTS * workers.threads();
    let each = (numbers / tasks).next_multiple_of(CHAINS * workers.isa().lanes::<f32>());
    let mut memory = vec![1.0f32; tasks * each];
    let memory = Parts::new(&mut memory);
    best(workers, tasks, each, &|index| {
        // SAFETY: a part for each task.
        let part = unsafe { memory.slice(index * each, each) };
        workers.isa().dispatch(Memory { part, writes });
    })
}

/// Computes x · y + sum in registers alone, or x / √sum.
struct Registers {
    roots: bool,
}

impl Kernel<f32> for Registers {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<f32>>(self) {
        // SAFETY: `dispatch` vouches for the instruction set.
        unsafe {
            let number = V::splat(black_box(1.0));
            let mut chains = [number; CHAINS];
            for _ in 0..STEPS {
                for chain in &mut chains {
                    *chain =
                        if self.roots { number.divide(chain.sqrt()) } else { number.mul_add(number, *chain) };
                }
            }
            black_box(chains);
        }
    }
}

struct Memory<'a> {
    part: &'a mut [f32],
    writes: bool,
}

impl Kernel<f32> for Memory<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<f32>>(self) {
        // SAFETY: `dispatch` vouches for the instruction set; the chunks are as long as all chains together.
        unsafe {
            let number = V::splat(black_box(1.0));
            let mut sums = [number; CHAINS];
            for chunk in self.part.chunks_exact_mut(CHAINS * V::LANES) {
                for (chain, sum) in sums.iter_mut().enumerate() {
                    let address = chunk.as_mut_ptr().add(chain * V::LANES);
                    if self.writes {
                        V::load(address).multiply(number).store(address);
                    } else {
                        *sum = sum.add(V::load(address));
                    }
                }
            }
            black_box(sums);
        }
    }
}
