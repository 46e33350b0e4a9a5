//! Files that are a little different from good ones.

use std::time::{Duration, Instant};

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// Makes mutants of the seeds in turn, each by its own number: so many, or as many as there is time for in the seconds that
/// `DAGRAD_FUZZ_SECONDS` says. `run` receives the seed's position and the mutant.
pub fn mutants(seeds: &[Vec<u8>], cases: u64, mut run: impl FnMut(usize, &[u8])) {
    let seconds: Option<u64> = std::env::var("DAGRAD_FUZZ_SECONDS").ok().map(|text| text.parse().unwrap());
    let start = Instant::now();
    let is_over = |case: u64| match seconds {
        Some(seconds) => start.elapsed() > Duration::from_secs(seconds),
        None => case == cases,
    };
    for case in (0..).take_while(|&case| !is_over(case)) {
        let mut random = ChaCha8Rng::seed_from_u64(case);
        let seed = case as usize % seeds.len();
        let mut bytes = seeds[seed].clone();
        for _ in 0..random.random_range(1..4) {
            mutate(&mut bytes, seeds, &mut random);
        }
        run(seed, &bytes);
    }
}

/// Changes a file a little, as a fuzzer does.
fn mutate(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut ChaCha8Rng) {
    const NUMBERS: [u64; 9] = [0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 60, u64::MAX];
    if bytes.is_empty() {
        return;
    }
    let at = random.random_range(0..bytes.len());
    let length = random.random_range(1..=(bytes.len() - at).min(40));
    match random.random_range(0..9) {
        0 => bytes[at] ^= 1 << random.random_range(0..8),
        1 => bytes[at] = random.random(),
        2 => {
            let width = [1, 2, 4, 8][random.random_range(0..4)];
            let number = NUMBERS[random.random_range(0..NUMBERS.len())].to_le_bytes();
            let end = (at + width).min(bytes.len());
            bytes[at..end].copy_from_slice(&number[..end - at]);
        }
        3 => drop(bytes.drain(at..at + length)),
        4 => bytes.truncate(at),
        5 => {
            let copy = bytes[at..at + length].to_vec();
            let to = random.random_range(0..=bytes.len());
            bytes.splice(to..to, copy);
        }
        6 => {
            let other = &seeds[random.random_range(0..seeds.len())];
            let from = random.random_range(0..other.len());
            let end = (from + length).min(other.len());
            bytes.splice(at..at + length, other[from..end].iter().copied());
        }
        7 => {
            // A number in a text becomes another one.
            let Some(digit) = bytes[at..].iter().position(u8::is_ascii_digit).map(|digit| at + digit) else {
                return;
            };
            let number = NUMBERS[random.random_range(0..NUMBERS.len())].to_string();
            bytes.splice(digit..=digit, number.bytes());
        }
        _ => {
            let text: &[u8] =
                [&b"\""[..], b"{", b"}", b"[", b"]", b",", b":", b"(", b"\\u"][random.random_range(0..9)];
            bytes.splice(at..at, text.iter().copied());
        }
    }
}
