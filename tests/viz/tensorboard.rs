//! A training log, read back by TensorBoard's own reader.
//!
//! It needs a Python that has the package `tensorboard`: the one that the variable `DAGRAD_PYTHON` names, or else `python3`.
//! Where there is none, it is skipped with a message.

use std::path::Path;
use std::process::{Command, Output};

use crate::common::root;
use dagrad::data::mnist_5k;
use dagrad::nn::{Model, SimpleConvNet};
use dagrad::optim::Adam;
use dagrad::train::{FitOptions, Progress, fit_observed};
use dagrad::viz::{TensorBoard, Tiles};
use dagrad::{Error, Result};
use ndarray::Array3;
use serde_json::{Value, json};

fn python(arguments: &[&str]) -> Option<Output> {
    let python = std::env::var("DAGRAD_PYTHON").unwrap_or("python3".to_string());
    Command::new(python).args(arguments).output().ok()
}

#[test]
fn tensorboard_reads_what_was_written() -> Result<()> {
    if !python(&["-c", "import tensorboard"]).is_some_and(|output| output.status.success()) {
        eprintln!(
            "SKIPPED: there is no Python with TensorBoard here to read the log (pip install tensorboard)"
        );
        return Ok(());
    }
    let folder = std::env::temp_dir().join(format!("dagrad-tensorboard-{}", std::process::id()));
    let digits = mnist_5k()?;
    let (train, test) = (digits.train.take(300), digits.test.take(50));
    let mut model = Model::new(SimpleConvNet::default(), train.image_shape(), 0)?;
    let options = FitOptions { epochs: 2, progress: Progress::Quiet, ..FitOptions::default() };
    let mut log = TensorBoard::create(&folder)?;
    let epochs = fit_observed(&mut model, &Adam::new(1e-3), &train, &test, options, &mut log)?;
    log.scalar("größe/by hand", 7, -0.5)?;
    log.image("colours", 8, &Tiles::new([Array3::zeros((3, 2, 5))]).zoom(3))?;
    drop(log); // writes what is left

    let found = read(&folder);
    std::fs::remove_dir_all(&folder).unwrap();
    let steps: Vec<u64> =
        rows(&found["scalars"]["step/loss"]).iter().map(|row| row[0].as_u64().unwrap()).collect();
    assert_eq!(steps, [1, 2, 3, 4, 5, 6]);
    for tag in ["step/accuracy", "step/images_per_second"] {
        assert_eq!(rows(&found["scalars"][tag]).len(), 6, "{tag}");
    }
    for (tag, value) in [
        ("train/loss", epochs[1].loss),
        ("train/accuracy", epochs[1].train_accuracy),
        ("test/loss", epochs[1].test_loss),
        ("test/accuracy", epochs[1].test_accuracy),
    ] {
        assert_eq!(rows(&found["scalars"][tag])[1], json!([2, f64::from(value as f32)]), "{tag}");
    }
    assert_eq!(found["scalars"]["größe/by hand"], json!([[7, -0.5]]));
    // 30 filters of 5×5 in rows of 8, each number 12 pixels wide, 4 pixels apart; the bytes are those of a PNG file.
    let (width, height, png) = (8 * 60 + 7 * 4, 4 * 60 + 3 * 4, "89504e470d0a1a0a");
    let filters = json!([[1, width, height, png], [2, width, height, png]]);
    assert_eq!(found["images"]["filters/W1"], filters);
    assert_eq!(found["images"]["colours"], json!([[8, 15, 6, png]]));
    Ok(())
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} has no rows"))
}

fn read(folder: &Path) -> Value {
    let script = root().join("tests/viz/read.py");
    let output = python(&[&script.to_string_lossy(), &folder.to_string_lossy()]).expect("Python starts");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn a_log_that_cannot_be_written_is_an_error_that_names_its_file() {
    let file = std::env::temp_dir().join(format!("dagrad-no-folder-{}", std::process::id()));
    std::fs::write(&file, "").unwrap();
    let failed = TensorBoard::create(&file);
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(failed, Err(Error::Data { path, .. }) if path.starts_with(&file)));
}

/// CRC-32C, bit by bit, as the format has it.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    let crc =
        bytes.iter().fold(u32::MAX, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)));
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// A field of a message: its number, and its content.
#[derive(Debug, PartialEq)]
enum Content {
    Integer(u64),
    Double(f64),
    Float(f32),
    Bytes(Vec<u8>),
}

/// The fields of a message in Protocol Buffers' encoding.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Content)> {
    fn integer(bytes: &mut &[u8]) -> u64 {
        let length = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        let (number, rest) = bytes.split_at(length);
        *bytes = rest;
        number.iter().rev().fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f))
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = integer(&mut bytes);
        let length = match key & 7 {
            0 => {
                found.push((key >> 3, Content::Integer(integer(&mut bytes))));
                continue;
            }
            1 => 8,
            2 => integer(&mut bytes) as usize,
            5 => 4,
            other => panic!("no field is of kind {other}"),
        };
        let (content, rest) = bytes.split_at(length);
        bytes = rest;
        let content = match key & 7 {
            1 => Content::Double(f64::from_le_bytes(content.try_into().unwrap())),
            2 => Content::Bytes(content.to_vec()),
            _ => Content::Float(f32::from_le_bytes(content.try_into().unwrap())),
        };
        found.push((key >> 3, content));
    }
    found
}

/// The only field of this number.
fn field(message: &[u8], number: u64) -> Content {
    let mut found = fields(message).into_iter().filter(|(other, _)| *other == number);
    let content = found.next().unwrap_or_else(|| panic!("no field {number}")).1;
    assert!(found.next().is_none(), "field {number} is there twice");
    content
}

/// A message in a field of this number.
fn message(message: &[u8], number: u64) -> Vec<u8> {
    match field(message, number) {
        Content::Bytes(bytes) => bytes,
        other => panic!("{other:?} is no message"),
    }
}

#[test]
fn checksums_are_those_of_the_format() {
    // CRC-32C of "123456789" is e3069283.
    let expected = 0xe306_9283u32.rotate_right(15).wrapping_add(0xa282_ead8);
    assert_eq!(checksum(b"123456789"), expected.to_le_bytes());
}

#[test]
fn a_file_holds_what_was_written() {
    let folder = std::env::temp_dir().join(format!("dagrad-events-{}", std::process::id()));
    let mut log = TensorBoard::create(&folder).unwrap();
    log.scalar("a/b", 300, 0.5).unwrap();
    log.image("c", 8, &Tiles::new([Array3::zeros((3, 2, 5))])).unwrap();
    let path = log.path().to_path_buf();
    drop(log); // what is still to be written goes to the file
    let bytes = std::fs::read(path).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    let mut events = Vec::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        assert_eq!(rest[8..12], checksum(&rest[..8]));
        let content = &rest[12..12 + length];
        assert_eq!(rest[12 + length..16 + length], checksum(content));
        events.push(content.to_vec());
        rest = &rest[16 + length..];
    }
    assert_eq!(events.len(), 3);
    assert!(events.iter().all(|event| matches!(field(event, 1), Content::Double(time) if time > 1e9)));
    assert_eq!(message(&events[0], 3), b"brain.Event:2");
    let [scalar, drawn] = [&events[1], &events[2]].map(|event| message(&message(event, 5), 1));
    assert_eq!((field(&events[1], 2), field(&scalar, 2)), (Content::Integer(300), Content::Float(0.5)));
    assert_eq!((message(&scalar, 1), message(&drawn, 1)), (b"a/b".to_vec(), b"c".to_vec()));
    let image = message(&drawn, 4);
    let numbers = [1, 2, 3].map(|number| field(&image, number));
    assert_eq!((field(&events[2], 2), numbers), (Content::Integer(8), [2, 5, 4].map(Content::Integer)));
    assert!(message(&image, 4).starts_with(b"\x89PNG"));
}
