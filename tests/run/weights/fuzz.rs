//! Files that are cut off, flipped and mutated: an error or an array, never a panic, and no more memory than the file gives
//! reason for.
//!
//! `DAGRAD_FUZZ_SECONDS=3600 cargo test --test run weights::fuzz -- --nocapture` goes on for an hour.

use dagrad::weights::Weights;
use dagrad::{Graph, Init, Plan, Result, Store};
use ndarray::ArrayD;

use super::golden;
use crate::allocation::peak_of;
use crate::common::run_alone;
use crate::mutants::mutants;

const SMALL: [&str; 4] = ["tied.safetensors", "types.safetensors", "small.npz", "small-compressed.npz"];
const PYTORCH: [&str; 3] = ["training.pt", "types.pt", "layers-legacy.pth"];

fn seeds() -> Vec<Vec<u8>> {
    let names = SMALL.iter().chain(if cfg!(feature = "pytorch") { &PYTORCH[..] } else { &[] });
    names.map(|name| std::fs::read(golden(name)).unwrap()).collect()
}

/// All arrays of a file that holds few numbers.
fn arrays(bytes: &[u8]) -> Result<Vec<(String, ArrayD<f64>)>> {
    let weights = Weights::from_bytes(bytes.to_vec())?;
    let is_small = |name: &&str| {
        let sizes = weights.shape(name).unwrap().iter();
        sizes.fold(1usize, |count, &size| count.saturating_mul(size)) < 10_000
    };
    weights.names().filter(is_small).map(|name| Ok((name.to_owned(), weights.get(name)?))).collect()
}

/// A store with names and shapes of the seeds.
fn store() -> Store<f32> {
    let graph = Graph::new();
    let shapes: [(&str, &[usize]); 5] =
        [("a", &[2, 3]), ("b", &[2, 2]), ("0.weight", &[3, 3]), ("float16", &[2, 3]), ("scalar", &[])];
    let values: Vec<_> = shapes.iter().map(|(name, shape)| graph.param(name, *shape, Init::ONES)).collect();
    let mut store = Store::new(0);
    store.prepare(&Plan::compile(&graph, &values).unwrap()).unwrap();
    store
}

/// Whether a file is read; it never takes much memory.
fn survives(bytes: &[u8], store: &mut Store<f32>) -> bool {
    let (read, peak) = peak_of(|| {
        let weights = Weights::from_bytes(bytes.to_vec());
        let _ = weights.as_ref().map(|weights| (weights.load(store), weights.load_lenient(store)));
        weights.is_ok() && arrays(bytes).is_ok()
    });
    let most = 64 * bytes.len() + (1 << 20);
    assert!(peak <= most, "{peak} bytes for a file of {}", bytes.len());
    read
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_an_error() {
    for name in SMALL {
        let bytes = std::fs::read(golden(name)).unwrap();
        for length in 0..bytes.len() {
            assert!(Weights::from_bytes(bytes[..length].to_vec()).is_err(), "{name}, {length} bytes");
        }
        assert!(arrays(&bytes).is_ok());
        let longer = [&bytes[..], &[0]].concat();
        assert!(Weights::from_bytes(longer).is_err(), "{name} and a byte");
    }
}

#[test]
fn every_bit_of_an_archive_is_checked_or_means_nothing() {
    for name in ["small.npz", "small-compressed.npz"] {
        let mut bytes = std::fs::read(golden(name)).unwrap();
        let original = arrays(&bytes).unwrap();
        let mut unnoticed = 0;
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(found) = arrays(&bytes) {
                assert_eq!(found, original, "{name}, bit {bit}");
                unnoticed += 1;
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(unnoticed < 1200, "{name}: {unnoticed} bits"); // versions, times, attributes
    }
}

#[test]
fn files_are_survived_whatever_they_hold() {
    run_alone("weights::fuzz::mutants_are_survived");
}

#[test]
#[ignore = "memory is counted in the whole process: the test above runs it in one of its own"]
fn mutants_are_survived() {
    let (seeds, mut store) = (seeds(), store());
    let mut executions = 0;
    // Every bit of the headers of safetensors.
    for seed in &seeds[..2] {
        let header = 8 + u64::from_le_bytes(*seed.first_chunk().unwrap()) as usize;
        let mut bytes = seed.clone();
        for bit in 0..header * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            survives(&bytes, &mut store);
            bytes[bit / 8] ^= 1 << (bit % 8);
            executions += 1;
        }
    }
    let mut read = 0;
    mutants(&seeds, 3_000, |_, bytes| {
        read += usize::from(survives(bytes, &mut store));
        executions += 1;
    });
    println!("{executions} files, {read} of them read");
    assert!(read < executions, "mutants are damaged");
}
