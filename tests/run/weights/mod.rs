//! Weights in files: what PyTorch and NumPy write, what they read, and what nobody should.

mod checkpoints;
mod durable;
mod formats;
mod fuzz;
mod hostile;
mod kinds;
mod layers;
mod loading;
mod python;

use std::path::PathBuf;

use crate::common::root;
use dagrad::weights::Weights;

/// A file that another program wrote, made by `tests/golden/weights/make.py`.
fn golden(name: &str) -> PathBuf {
    root().join("tests/golden/weights").join(name)
}

fn read(name: &str) -> Weights {
    Weights::read(golden(name)).unwrap_or_else(|error| panic!("{error}"))
}

/// A folder that is there for one test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dagrad-weights-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The names in it.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
