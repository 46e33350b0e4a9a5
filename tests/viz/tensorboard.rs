//! A training log, read back by TensorBoard's own reader.
//!
//! It needs a Python that has the package `tensorboard`: the one that the variable `DAGRAD_PYTHON` names, or else `python3`.
//! Where there is none, it is skipped with a message.

use std::path::Path;
use std::process::{Command, Output};

use crate::common::root;
use dagrad::data::mnist_5k;
use dagrad::nn::{self, Filters, Model, SimpleConvNet};
use dagrad::optim::{Adam, LearningRate, Optimizer, Sgd};
use dagrad::train::{FitOptions, Progress, fit_observed};
use dagrad::viz::{TensorBoard, Tiles};
use dagrad::{Error, Graph, Result, Var};
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
    let found = read(&folder);
    std::fs::remove_dir_all(&folder).unwrap();
    let steps: Vec<u64> =
        rows(&found["scalars"]["step/loss"]).iter().map(|row| row[0].as_u64().unwrap()).collect();
    assert_eq!(steps, [1, 2, 3, 4, 5, 6]);
    for tag in ["step/accuracy", "step/samples_per_second"] {
        assert_eq!(rows(&found["scalars"][tag]).len(), 6, "{tag}");
    }
    for (tag, value) in [
        ("train/loss", epochs[1].loss),
        ("train/accuracy", epochs[1].train.accuracy()),
        ("test/loss", epochs[1].test.loss),
        ("test/accuracy", epochs[1].test.accuracy()),
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

/// The contents of a file's records, of which each is whole.
fn events(path: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(path).unwrap();
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
    events
}

#[test]
fn a_file_holds_what_was_written() {
    let folder = std::env::temp_dir().join(format!("dagrad-events-{}", std::process::id()));
    let mut log = TensorBoard::create(&folder).unwrap();
    log.scalar("a/b", 300, 0.5).unwrap();
    log.image("c", 8, &Tiles::new([Array3::zeros((3, 2, 5))])).unwrap();
    let path = log.path().to_path_buf();
    drop(log);
    let events = events(&path);
    std::fs::remove_dir_all(folder).unwrap();
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

/// Tags and steps of a file's scalars.
fn scalars(path: &Path) -> Vec<(String, u64)> {
    let of = |event: &Vec<u8>| {
        let Content::Integer(step) = field(event, 2) else { panic!("a step is a number") };
        (String::from_utf8(message(&message(&message(event, 5), 1), 1)).unwrap(), step)
    };
    events(path)[1..].iter().map(of).collect()
}

#[test]
fn the_rate_of_each_step_is_written_where_the_optimizer_has_one() {
    /// The plainest optimizer of one's own.
    struct Tenth;
    impl Optimizer for Tenth {
        fn step<'g>(&self, _: &'g Graph, parameters: &[(Var<'g>, Var<'g>)]) {
            parameters.iter().for_each(|&(parameter, gradient)| parameter.assign(parameter - gradient * 0.1));
        }
    }
    let digits = mnist_5k().unwrap().train.take(30);
    let rates = |rule: &dyn Optimizer| {
        let folder = std::env::temp_dir().join(format!("dagrad-rates-{}", std::process::id()));
        let mut log = TensorBoard::create(&folder).unwrap();
        let network = nn::network(|images| nn::linear(images.flatten(), "fc", 10));
        let mut model = Model::new(network, digits.image_shape(), 0).unwrap();
        let options = FitOptions { epochs: 1, batch: 10, progress: Progress::Quiet, ..FitOptions::default() };
        fit_observed(&mut model, rule, &digits, &digits, options, &mut log).unwrap();
        let events = events(log.path());
        std::fs::remove_dir_all(&folder).unwrap();
        let scalar = |event: &Vec<u8>| {
            let value = message(&message(event, 5), 1);
            (message(&value, 1) == b"step/learning_rate").then(|| (field(event, 2), field(&value, 2)))
        };
        events[1..].iter().filter_map(scalar).collect::<Vec<_>>()
    };
    let halved = [0.5f32, 0.25, 0.125].into_iter().zip(1..);
    let expected: Vec<_> =
        halved.map(|(rate, step)| (Content::Integer(step), Content::Float(rate))).collect();
    assert_eq!(rates(&Sgd::new(LearningRate::exponential(0.5, 0.5))), expected);
    assert_eq!(rates(&Tenth), []);
}

#[test]
fn a_value_is_in_the_file_at_once() {
    let folder = std::env::temp_dir().join(format!("dagrad-live-{}", std::process::id()));
    let mut log = TensorBoard::create(&folder).unwrap();
    for step in 1..=50 {
        log.scalar("a", step, 0.5).unwrap();
        assert_eq!(scalars(log.path()).len() as u64, step, "the log is still open");
    }
    log.flush().unwrap();
    let path = log.path().to_path_buf();
    std::mem::forget(log); // as when the process is killed
    assert_eq!(scalars(&path).len(), 50);
    std::fs::remove_dir_all(folder).unwrap();
}

/// A training that is logged, by a process whose files may not grow beyond a size.
#[test]
#[ignore = "it is a part of the next test"]
fn a_training_on_a_full_disk() {
    let digits = mnist_5k().unwrap();
    let (train, test) = (digits.train.take(100), digits.test.take(10));
    let mut model = Model::new(SimpleConvNet::default(), train.image_shape(), 0).unwrap();
    let options = FitOptions { epochs: 2, batch: 2, progress: Progress::Quiet, ..FitOptions::default() };
    let mut log = TensorBoard::create(std::env::var("DAGRAD_TEST_LOG").unwrap()).unwrap();
    let epochs = fit_observed(&mut model, &Adam::new(1e-3), &train, &test, options, &mut log).unwrap();
    assert_eq!((epochs.len(), model.store().step()), (2, 100));
}

#[test]
#[cfg(unix)]
fn a_full_disk_ends_no_training_and_leaves_whole_records() {
    let folder = std::env::temp_dir().join(format!("dagrad-full-{}", std::process::id()));
    // Beyond the limit a write fails, after it has written what still fits.
    let script = r#"trap "" XFSZ; ulimit -f 4; exec "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "tensorboard::a_training_on_a_full_disk", "--ignored", "--nocapture"]);
    let output = command.env("DAGRAD_TEST_LOG", &folder).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    assert_eq!(text.matches("warning: ").count(), 1, "{text}");
    let file = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let written = scalars(&file);
    std::fs::remove_dir_all(folder).unwrap();
    assert!(text.contains(&file.display().to_string()), "{text}");
    assert!((10..200).contains(&written.len()), "{written:?}");
    assert_eq!(written[0], ("step/loss".to_string(), 1));
}

#[test]
fn filters_that_are_too_many_to_be_enlarged_are_drawn_smaller() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("dagrad-wide-{}", std::process::id()));
    let digits = mnist_5k()?;
    let (train, test) = (digits.train.take(2), digits.test.take(1));
    // Eight pixels for each number would make more than any image may have.
    let wide = nn::network(|images| {
        let h = nn::conv2d(images, "conv", Filters::new(4096, 28)).relu();
        nn::linear(h.flatten(), "fc", 10)
    });
    let mut model = Model::new(wide, train.image_shape(), 0)?;
    let options = FitOptions { epochs: 1, progress: Progress::Quiet, ..FitOptions::default() };
    let mut log = TensorBoard::create(&folder)?;
    let epochs = fit_observed(&mut model, &Adam::new(1e-3), &train, &test, options, &mut log)?;
    let events = events(log.path());
    std::fs::remove_dir_all(folder).unwrap();
    assert_eq!(epochs.len(), 1);
    let drawn = message(&message(events.last().unwrap(), 5), 1);
    assert_eq!(message(&drawn, 1), b"filters/conv.weight");
    let image = message(&drawn, 4);
    let size = [1, 2].map(|number| field(&image, number));
    // The first 25 of 512 columns, with a pixel for the mean of 2×2 numbers.
    assert_eq!(size, [25 * (14 + 4) - 4, 8 * (14 + 4) - 4].map(Content::Integer));
    Ok(())
}
