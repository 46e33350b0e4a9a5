//! Readers of CIFAR's binary files, plain or compressed with gzip.
//!
//! A file is a row of records: for CIFAR-10 a byte with the class and 3,072 of pixels, for CIFAR-100 a byte with the coarse class,
//! one with the fine class, and the pixels. An image is 32×32 pixels in red, then green, then blue
//! (<https://www.cs.toronto.edu/~kriz/cifar.html>).

use std::path::{Path, PathBuf};

use super::stream::Stream;
use super::{Dataset, Split};
use crate::error::{Error, Result};

/// The shape of every image.
pub const IMAGE_SHAPE: [usize; 3] = [3, 32, 32];

const PIXELS: usize = 3 * 32 * 32;
/// The most records of a file that is read by itself, almost 1 GiB.
const MOST: usize = 300_000;
/// The most bytes of a list of names.
const MOST_TEXT: u64 = 1 << 16;

/// Which classes the records have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Classes {
    /// The 10 of CIFAR-10.
    Ten,
    /// The 100 of CIFAR-100.
    Fine,
    /// The 20 of CIFAR-100, of five fine ones each.
    Coarse,
}

impl Classes {
    /// How many there are.
    pub fn count(self) -> usize {
        [10, 100, 20][self as usize]
    }

    /// The most that each of the bytes before the pixels may be, and which of them is the class.
    fn bytes(self) -> (&'static [u8], usize) {
        match self {
            Self::Ten => (&[9], 0),
            Self::Coarse => (&[19, 99], 0),
            Self::Fine => (&[19, 99], 1),
        }
    }

    /// The file with their names.
    fn names(self) -> &'static str {
        ["batches.meta.txt", "fine_label_names.txt", "coarse_label_names.txt"][self as usize]
    }

    /// The files to train on, the file to test with, and how many records each of them has.
    fn files(self) -> (&'static [&'static str], &'static str, [usize; 2]) {
        const TEN: [&str; 5] = [
            "data_batch_1.bin",
            "data_batch_2.bin",
            "data_batch_3.bin",
            "data_batch_4.bin",
            "data_batch_5.bin",
        ];
        match self {
            Self::Ten => (&TEN, "test_batch.bin", [10_000, 10_000]),
            Self::Fine | Self::Coarse => (&["train.bin"], "test.bin", [50_000, 10_000]),
        }
    }
}

/// Reads CIFAR-10 (`data_batch_1.bin` to `data_batch_5.bin`, `test_batch.bin`), or CIFAR-100 with its fine or coarse classes
/// (`train.bin`, `test.bin`), from the folder that the archive unpacks to. Each file may end in `.gz`. The classes have names if
/// the list of them is there, too (`batches.meta.txt`, `fine_label_names.txt`, `coarse_label_names.txt`).
///
/// # Errors
/// [`Error::Data`]: a file that is missing, damaged, or has not as many records as it should; a class that does not exist, with its
/// record; a list of another number of names.
///
/// ```no_run
/// use dagrad::data::cifar::{self, Classes};
///
/// let split = cifar::load("cifar-10-batches-bin", Classes::Ten)?;
/// assert_eq!((split.train.len(), split.test.len()), (50_000, 10_000));
/// # Ok::<(), dagrad::Error>(())
/// ```
#[track_caller]
pub fn load(folder: impl AsRef<Path>, classes: Classes) -> Result<Split> {
    let folder = folder.as_ref();
    let (train, test, [train_records, test_records]) = classes.files();
    let names = names(folder, classes)?;
    let train = part(folder, train, train_records, classes)?;
    let test = part(folder, &[test], test_records, classes)?;
    match names {
        Some(names) => {
            Ok(Split { train: train.with_class_names(names.clone())?, test: test.with_class_names(names)? })
        }
        None => Ok(Split { train, test }),
    }
}

/// The files of a part, each of so many records.
#[track_caller]
fn part(folder: &Path, files: &[&str], records: usize, classes: Classes) -> Result<Dataset> {
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for file in files {
        let mut stream = Stream::open(&find(folder, file)?)?;
        let count = records_from(&mut stream, classes, records, &mut images, &mut labels)?;
        if count != records {
            return Err(stream.error(format!("has {count} records, not {records}")));
        }
    }
    Dataset::new(images, IMAGE_SHAPE, labels, classes.count())
}

/// Reads one file of such records, however many there are.
///
/// # Errors
/// [`Error::Data`]: a file that cannot be read, is empty, ends within a record or has more than 300,000; a class that does not exist,
/// with its record.
#[track_caller]
pub fn read(path: impl AsRef<Path>, classes: Classes) -> Result<Dataset> {
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    records_from(&mut Stream::open(path.as_ref())?, classes, MOST, &mut images, &mut labels)?;
    Dataset::new(images, IMAGE_SHAPE, labels, classes.count())
}

/// Appends the records of a file, `limit` at most, and returns how many there are.
#[track_caller]
fn records_from(
    stream: &mut Stream,
    classes: Classes,
    limit: usize,
    images: &mut Vec<u8>,
    labels: &mut Vec<u32>,
) -> Result<usize> {
    let (most, class) = classes.bytes();
    let record = most.len() + PIXELS;
    let bytes = stream.read_up_to((limit * record + 1) as u64)?;
    let count = bytes.len() / record;
    if bytes.len() > limit * record {
        return Err(stream.error(format!("has more than {limit} records")));
    }
    if bytes.is_empty() {
        return Err(stream.error("is empty"));
    }
    if bytes.len() % record != 0 {
        let end = stream.location(bytes.len() as u64);
        return Err(stream.error(format!("ends at {end}, within record {count}; each has {record} bytes")));
    }
    if images.try_reserve_exact(count * PIXELS).is_err() || labels.try_reserve_exact(count).is_err() {
        return Err(Error::memory(count * PIXELS, "the images of a dataset"));
    }
    for (number, record) in bytes.chunks_exact(record).enumerate() {
        let (head, pixels) = record.split_at(most.len());
        if let Some(stray) = head.iter().zip(most).position(|(byte, most)| byte > most) {
            let at = stream.location((number * record.len() + stray) as u64);
            let message = format!(
                "record {number} has class {} at {at}, but the classes are 0 to {}",
                head[stray], most[stray]
            );
            return Err(stream.error(message));
        }
        labels.push(head[class].into());
        images.extend_from_slice(pixels);
    }
    Ok(count)
}

/// The path of a file, plain or compressed.
fn find(folder: &Path, file: &str) -> Result<PathBuf> {
    let paths = [folder.join(file), folder.join(format!("{file}.gz"))];
    let missing =
        || Error::Data { path: folder.to_owned(), message: format!("has no {file}, nor {file}.gz") };
    paths.into_iter().find(|path| path.exists()).ok_or_else(missing)
}

/// The names of the classes, if there is a list.
fn names(folder: &Path, classes: Classes) -> Result<Option<Vec<String>>> {
    let Ok(path) = find(folder, classes.names()) else { return Ok(None) };
    let mut stream = Stream::open(&path)?;
    let bytes = stream.read_up_to(MOST_TEXT)?;
    let text = String::from_utf8_lossy(&bytes);
    let names: Vec<String> =
        text.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if names.len() != classes.count() {
        return Err(stream.error(format!("has {} names, not {}", names.len(), classes.count())));
    }
    Ok(Some(names))
}
