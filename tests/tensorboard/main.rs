//! A training log, read back by TensorBoard's own reader.
//!
//! It needs a Python that has the package `tensorboard`: the one that the variable `DAGRAD_PYTHON` names, or else `python3`.
//! Where there is none, it is skipped with a message.
#![cfg(feature = "tensorboard")]

use std::path::Path;
use std::process::{Command, Output};

use dagrad::data::mnist_5k;
use dagrad::nn::{Model, SimpleConvNet};
use dagrad::optim::Adam;
use dagrad::train::{FitOptions, Progress, TensorBoard, fit_observed};
use dagrad::viz::Tiles;
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
    // 30 filters of 5×5 in rows of 8, each number 8 pixels wide, 4 pixels apart; the bytes are those of a PNG file.
    let (width, height, png) = (8 * 40 + 7 * 4, 4 * 40 + 3 * 4, "89504e470d0a1a0a");
    let filters = json!([[1, width, height, png], [2, width, height, png]]);
    assert_eq!(found["images"]["filters/W1"], filters);
    assert_eq!(found["images"]["colours"], json!([[8, 15, 6, png]]));
    Ok(())
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} has no rows"))
}

fn read(folder: &Path) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tensorboard/read.py");
    let output = python(&[script, &folder.to_string_lossy()]).expect("Python starts");
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
