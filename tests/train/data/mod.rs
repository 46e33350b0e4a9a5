//! Data: digits inside the crate, arrays, files, and what is done to samples before they are read.

mod augment;
mod cifar;
mod dataset;
mod folder;
mod idx;
mod normalise;
mod npz;
mod subset;
mod tensors;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::assert_mentions;
use dagrad::data::{Draw, Samples, Slot};
use dagrad::{Dtype, Error, Result};
use flate2::Compression;
use flate2::write::GzEncoder;

/// A folder of its own for a test, removed with everything in it at the end, also of a failed test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("dagrad-data-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nothing sensible could be done about a failure here.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Asserts that the outcome is a data error of this path, with a message that has all these parts.
#[track_caller]
fn assert_data_error<T: std::fmt::Debug>(outcome: Result<T, Error>, path: &Path, parts: &[&str]) {
    match outcome {
        Err(Error::Data { path: found, message }) => {
            assert_eq!(found, path, "{message}");
            assert_mentions(&message, parts);
        }
        other => panic!("not a data error: {other:?}"),
    }
}

/// A field of real numbers of one sample.
fn real(samples: &dyn Samples, sample: usize, field: usize, draw: Option<Draw>) -> Vec<f32> {
    try_real(samples, sample, field, draw).unwrap()
}

fn try_real(samples: &dyn Samples, sample: usize, field: usize, draw: Option<Draw>) -> Result<Vec<f32>> {
    let ty = &samples.fields()[field].ty;
    assert_eq!(ty.dtype, Dtype::Real);
    let mut values = vec![f32::NAN; ty.shape.count()];
    samples.write(sample, field, draw, Slot::Real(&mut values)).map(|()| values)
}

/// A field of indices of one sample.
fn index(samples: &dyn Samples, sample: usize, field: usize, draw: Option<Draw>) -> Vec<u32> {
    let ty = &samples.fields()[field].ty;
    assert_eq!(ty.dtype, Dtype::Index);
    let mut values = vec![u32::MAX; ty.shape.count()];
    samples.write(sample, field, draw, Slot::Index(&mut values)).unwrap();
    values
}
