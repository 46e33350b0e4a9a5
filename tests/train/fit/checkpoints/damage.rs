//! Files that are cut off, damaged, or made to do harm.

use std::fs;

use super::{Folder, fresh, train};
use crate::common::{assert_mentions, message};
use dagrad::optim::Momentum;
use dagrad::train::{read_checkpoint, save_checkpoint};
use dagrad::weights::Weights;
use dagrad::{Error, Graph, Init, Store, Trainer, Workspace};
use flate2::Crc;

/// The bytes of a small checkpoint.
fn small(folder: &Folder) -> Vec<u8> {
    let graph = Graph::new();
    let loss = graph.param("w", [2, 3], Init::ONES).transposed_in_files().powi(2).sum_all();
    let workspace = Workspace::new(1).unwrap();
    let mut trainer = Trainer::with(loss, &Momentum::new(0.1), Store::<f32>::new(3), workspace).unwrap();
    trainer.step(&[]).unwrap();
    save_checkpoint(folder.file("small"), trainer.store()).unwrap();
    fs::read(folder.file("small")).unwrap()
}

fn read(folder: &Folder, bytes: &[u8]) -> dagrad::Result<Store<f32>> {
    let path = folder.file("read");
    fs::write(&path, bytes).unwrap();
    read_checkpoint(path)
}

const TRAILER: usize = 20;

/// A body with a trailer that fits.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut sum = Crc::new();
    sum.update(body);
    let parts = [body, &sum.sum().to_le_bytes(), &(body.len() as u64).to_le_bytes(), b"dagradCP"];
    parts.concat()
}

#[test]
fn every_cut_and_every_flipped_bit_is_found() {
    let folder = Folder::new("bits");
    let whole = small(&folder);
    assert_eq!(sealed(&whole[..whole.len() - TRAILER]), whole);
    assert_eq!(read(&folder, &whole).unwrap().step(), 1);
    let is_data = |bytes: &[u8]| matches!(read(&folder, bytes), Err(Error::Data { .. }));
    for length in 0..whole.len() {
        assert!(is_data(&whole[..length]), "cut off after {length} bytes");
    }
    let mut bytes = whole.clone();
    for bit in 0..8 * whole.len() {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(is_data(&bytes), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(is_data(&[&whole[..], b"x"].concat()) && is_data(&[&whole[..], &whole].concat()));
}

#[test]
fn a_header_that_lies_under_a_right_checksum_does_no_harm() {
    let folder = Folder::new("flips");
    let whole = small(&folder);
    let body = &whole[..whole.len() - TRAILER];
    let header = 8 + u64::from_le_bytes(body[..8].try_into().unwrap()) as usize;
    let mut bytes = body.to_vec();
    let mut read_all = 0;
    for bit in 0..8 * header {
        bytes[bit / 8] ^= 1 << (bit % 8);
        match read(&folder, &sealed(&bytes)) {
            Ok(_) => read_all += 1, // another name or number, say
            Err(Error::Data { .. } | Error::Setting { .. }) => {}
            Err(error) => panic!("bit {bit}: {error}"),
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(read_all > 100, "{read_all}");
}

/// A checkpoint with this metadata, and these arrays of no bytes but for `body`.
fn crafted(metadata: &str, arrays: &str, body: &[u8]) -> Vec<u8> {
    let header = format!("{{\"__metadata__\":{{{metadata}}}{arrays}}}");
    sealed(&[&(header.len() as u64).to_le_bytes(), header.as_bytes(), body].concat())
}

const METADATA: &str = r#""format":"dagrad checkpoint 1","precision":"f32","seed":"1","step":"2","epochs":"0","samples":"0","order_seed":"0","order_samples":"0","sums":"""#;

#[test]
fn a_file_that_lies_is_an_error() {
    let folder = Folder::new("lies");
    assert_eq!(read(&folder, &crafted(METADATA, "", b"")).unwrap().step(), 2);
    let changed = |from: &str, to: &str| METADATA.replace(from, to);
    let cases = [
        (changed("checkpoint 1", "checkpoint 2"), "", "this release does not read"),
        (changed(r#""step":"2","#, ""), "", "does not say its step"),
        (changed(r#""step":"2""#, r#""step":"-2""#), "", "\"-2\" is no number"),
        (changed(r#""sums":"""#, r#""sums":"1 x""#), "", "\"x\" is no number"),
        (changed(r#""seed":"1""#, r#""seed":"99999999999999999999""#), "", "is no number"),
        (
            METADATA.into(),
            r#","0 learned w":{"dtype":"F32","shape":[1152921504606846976,1152921504606846976,0],"data_offsets":[0,0]}"#,
            "which are not F32 [1152921504606846976, 1152921504606846976, 0]",
        ),
        (
            METADATA.into(),
            r#","0 learned w":{"dtype":"F64","shape":[0],"data_offsets":[0,0]}"#,
            "is no f32 of a store",
        ),
        (
            METADATA.into(),
            r#","0 lost w":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#,
            "\"lost w\" is no f32 of a store",
        ),
        (
            METADATA.into(),
            r#","0 learned-transposed w":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#,
            "is no f32 of a store",
        ),
        (METADATA.into(), r#","w":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#, "is no f32 of a store"),
        (
            METADATA.into(),
            r#","0 learned w":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"1 state w":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#,
            "\"state w\" is no f32 of a store",
        ),
        (
            METADATA.into(),
            r#","0 learned w":{"dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,4611686018427387904]}"#,
            "arrays take 4611686018427387904 bytes",
        ),
    ];
    for (metadata, arrays, part) in cases {
        let outcome = read(&folder, &crafted(&metadata, arrays, b""));
        assert!(matches!(outcome, Err(Error::Data { .. })), "{outcome:?}");
        assert_mentions(&message(outcome), &[part]);
    }
}

#[test]
fn positions_and_sums_that_lie_end_in_no_panic() {
    let folder = Folder::new("positions");
    let mut model = fresh();
    train(&mut model, &Momentum::new(0.1), 1, &mut folder.checkpoints()).unwrap();
    let file = folder.file(&super::name(5));
    let whole = fs::read(&file).unwrap();
    let body = &whole[..whole.len() - TRAILER];
    let length = u64::from_le_bytes(body[..8].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&body[8..8 + length]).unwrap();
    for (samples, sums) in [
        ("50", ""),
        ("50", "1 2"),
        ("24", ""),
        ("24", "NaN inf -1"),
        ("51", "1 2 3"),
        ("18446744073709551615", ""),
    ] {
        for step in ["5", "18446744073709551615"] {
            let header = header
                .replace(r#""samples":"0""#, &format!(r#""samples":"{samples}""#))
                .replace(r#""order_seed":"0","#, r#""order_seed":"7","#)
                .replace(r#""order_samples":"0""#, r#""order_samples":"50""#)
                .replace(r#""epochs":"1""#, r#""epochs":"18446744073709551615""#)
                .replace(r#""step":"5""#, &format!(r#""step":"{step}""#))
                .replace(r#""sums":"""#, &format!(r#""sums":"{sums}""#));
            assert!(header.contains(r#""epochs":"18446744073709551615""#) && header.contains(samples));
            let parts = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &body[8 + length..]];
            let store = read(&folder, &sealed(&parts.concat())).unwrap();
            *model.store_mut() = store;
            let split = super::data();
            let outcome =
                dagrad::train::fit(&mut model, &Momentum::new(0.1), &split.train, &split.test, super::by(1));
            _ = outcome; // whatever it is
        }
    }
}

#[test]
fn each_kind_of_file_is_told_from_the_others() {
    let folder = Folder::new("kinds");
    let whole = small(&folder);
    let outcome = read_checkpoint::<f64>(folder.file("small"));
    assert!(matches!(outcome, Err(Error::Setting { .. })));
    assert_mentions(&message(outcome), &["small is in f32", "f64 is asked for", "damage.rs"]);
    assert_mentions(&message(Weights::from_bytes(whole)), &["is a checkpoint", "`train::read_checkpoint`"]);
    let store: Store<f32> = read_checkpoint(folder.file("small")).unwrap();
    let weights = Weights::of(&store).unwrap();
    assert_eq!((weights.names().collect::<Vec<_>>(), weights.shape("w")), (vec!["w"], Some(&[3, 2][..])));
    weights.save(folder.file("w.safetensors")).unwrap();
    let outcome = read_checkpoint::<f32>(folder.file("w.safetensors"));
    assert_mentions(&message(outcome), &["w.safetensors", "no checkpoint"]);
    assert_mentions(&message(read_checkpoint::<f32>(&folder.0)), &["is a folder"]);
    assert_mentions(&message(read_checkpoint::<f32>(folder.file("none"))), &["cannot be read"]);
}
