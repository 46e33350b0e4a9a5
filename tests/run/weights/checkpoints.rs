//! Mutants of checkpoints: an error or a store, never a panic, and no more memory than the file gives reason for.

use std::fs;

use dagrad::optim::Adam;
use dagrad::train::{read_checkpoint, save_checkpoint};
use dagrad::{Error, Graph, Init, Result, Store, Trainer, Workspace};
use flate2::Crc;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::Folder;
use crate::allocation::peak_of;
use crate::common::run_alone;
use crate::mutants::mutants;

/// The checksum, the length and the mark.
const TRAILER: usize = 20;

fn trainer(store: Store<f32>) -> Result<Trainer> {
    let graph = Graph::new();
    let loss = graph.param("w", [2, 3], Init::ONES).powi(2).sum_all();
    Trainer::with(loss, &Adam::new(0.1), store, Workspace::new(1)?)
}

#[test]
fn checkpoints_are_survived_whatever_they_hold() {
    run_alone("weights::checkpoints::mutants_of_checkpoints_are_survived");
}

#[test]
#[ignore = "memory is counted in the whole process: the test above runs it in one of its own"]
fn mutants_of_checkpoints_are_survived() {
    let folder = Folder::new("mutants");
    let (path, again) = (folder.file("one"), folder.file("again"));
    let mut first = trainer(Store::new(3)).unwrap();
    first.step(&[]).unwrap();
    save_checkpoint(&path, first.store()).unwrap();
    let mut whole = fs::read(&path).unwrap();
    whole.truncate(whole.len() - TRAILER);
    let mut random = ChaCha8Rng::seed_from_u64(0);
    mutants(&[whole], 3_000, |_, body| {
        let mut sum = Crc::new();
        sum.update(body);
        let trailer = [&sum.sum().to_le_bytes()[..], &(body.len() as u64).to_le_bytes(), b"dagradCP"];
        let mut bytes = [body, &trailer.concat()].concat();
        let is_sealed = random.random_range(0..8) > 0;
        if !is_sealed {
            let at = random.random_range(0..bytes.len());
            bytes[at] ^= 1 << random.random_range(0..8);
        }
        fs::write(&path, &bytes).unwrap();
        let (outcome, peak) = peak_of(|| read_checkpoint::<f32>(&path));
        assert!(peak <= 64 * bytes.len() + (1 << 20), "{peak} bytes for a file of {}", bytes.len());
        match outcome {
            Ok(store) => {
                assert!(is_sealed, "the checksum has not been looked at");
                save_checkpoint(&again, &store).unwrap();
                let found: Store<f32> = read_checkpoint(&again).unwrap();
                assert!(found.names().eq(store.names()) && found.step() == store.step());
                // It fits, or what does not is an error.
                _ = trainer(store).and_then(|mut trainer| trainer.step(&[]));
            }
            Err(Error::Data { .. } | Error::Setting { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    });
}
