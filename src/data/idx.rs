//! Readers of IDX, the file format of MNIST and its kin, plain or compressed with gzip.
//!
//! An IDX file is a header of big-endian 32-bit words, a magic number and the extents, and then the values,
//! here bytes. Images have the magic number `0x00000803` and three extents: how many, height, width. Labels
//! have `0x00000801` and one extent. What a header claims is never trusted: memory grows with the bytes that
//! arrive, and no file takes more than [`MAX_BYTES`].
//!
//! Every error about a file is [`Error::Data`] and names the file, and the byte or the sample.

use std::fs;
use std::path::{Path, PathBuf};

use ndarray::Array3;

use super::dataset::{reserved, stray_label};
use super::stream::Stream;
use super::{Dataset, Split};
use crate::error::{Error, Result};
use crate::graph::setting::{self, COUNT};

/// The number of classes that [`load`] expects: that of MNIST, Fashion-MNIST and their kin.
pub const CLASSES: usize = 10;

/// The most bytes of pixels or labels that a file may hold, uncompressed: 1 GiB, over twenty times MNIST.
pub const MAX_BYTES: u64 = 1 << 30;

/// The magic number of unsigned bytes with no extents; the number of extents is added.
const UNSIGNED_BYTES: u32 = 0x0800;

/// The four files of a folder: what they hold, and the two parts of their names.
const FILES: [(&str, &str, &str); 4] = [
    ("training images", "train-images", "idx3-ubyte"),
    ("training labels", "train-labels", "idx1-ubyte"),
    ("test images", "t10k-images", "idx3-ubyte"),
    ("test labels", "t10k-labels", "idx1-ubyte"),
];

/// Reads the four files of a dataset with ten classes from a folder.
///
/// The files are `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
/// `t10k-labels-idx1-ubyte`; each may end in `.gz`, and the spelling `train-images.idx3-ubyte` is known too.
/// Images have the shape `[1, height, width]`.
///
/// # Errors
///
/// [`Error::Data`] if a file is missing, damaged, larger than [`MAX_BYTES`], or does not fit the others.
///
/// ```no_run
/// let split = dagrad::data::idx::load("datasets/fashion-mnist")?;
/// println!("{} to train on, {} to test with", split.train.len(), split.test.len());
/// # Ok::<(), dagrad::Error>(())
/// ```
#[track_caller]
pub fn load(folder: impl AsRef<Path>) -> Result<Split> {
    load_with_classes(folder, CLASSES)
}

/// [`load`] for another number of classes, such as the 47 of EMNIST Balanced.
///
/// # Errors
///
/// Those of [`load`], and [`Error::Setting`] if `classes` is zero.
#[track_caller]
pub fn load_with_classes(folder: impl AsRef<Path>, classes: usize) -> Result<Split> {
    setting::require("classes", classes, COUNT)?;
    let folder = folder.as_ref();
    let [train_images, train_labels, test_images, test_labels] = find_files(folder)?;
    let train = read(train_images, train_labels, classes)?;
    let test = read(test_images, test_labels, classes)?;
    let ([_, height, width], [_, test_height, test_width]) = (train.image_shape(), test.image_shape());
    if train.image_shape() != test.image_shape() {
        let message = format!(
            "training images have {height}x{width} pixels, but test images {test_height}x{test_width}"
        );
        return Err(Error::Data { path: folder.to_owned(), message });
    }
    Ok(Split { train, test })
}

/// Reads images and their labels from two files. The images have the shape `[1, height, width]`.
///
/// # Errors
///
/// [`Error::Data`] if a file cannot be read, if the two do not hold equally many samples, or if a label is
/// not below `classes`; [`Error::Setting`] if `classes` is zero.
///
/// ```no_run
/// use dagrad::data::idx;
///
/// let digits = idx::read("images-idx3-ubyte.gz", "labels-idx1-ubyte.gz", 10)?;
/// # Ok::<(), dagrad::Error>(())
/// ```
#[track_caller]
pub fn read(images: impl AsRef<Path>, labels: impl AsRef<Path>, classes: usize) -> Result<Dataset> {
    setting::require("classes", classes, COUNT)?;
    assemble(Stream::open(images.as_ref())?, Stream::open(labels.as_ref())?, classes)
}

/// Reads a file of images: bytes of the shape `[images, height, width]`.
///
/// # Errors
///
/// [`Error::Data`] if the file cannot be read or is not what it claims.
///
/// ```
/// use dagrad::data::idx;
///
/// // One image of 1×2 pixels.
/// let bytes = [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 50, 60];
/// let path = std::env::temp_dir().join(format!("one-image-{}.idx", std::process::id()));
/// std::fs::write(&path, bytes)?;
/// let images = idx::read_images(&path);
/// std::fs::remove_file(&path)?;
/// assert_eq!(images?, ndarray::array![[[50, 60]]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_images(path: impl AsRef<Path>) -> Result<Array3<u8>> {
    images_from(&mut Stream::open(path.as_ref())?)
}

/// Reads a file of labels: one byte a sample.
///
/// # Errors
///
/// [`Error::Data`] if the file cannot be read or is not what it claims.
pub fn read_labels(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    labels_from(&mut Stream::open(path.as_ref())?)
}

/// Makes a dataset of a stream of images and the stream of their labels, of at least one class.
#[track_caller]
pub(super) fn assemble(mut images: Stream, mut labels: Stream, classes: usize) -> Result<Dataset> {
    let pixels = images_from(&mut images)?;
    let bytes = labels_from(&mut labels)?;
    let (count, height, width) = pixels.dim();
    if count != bytes.len() {
        let message = format!("{count} images, but {} labels in {}", bytes.len(), labels.path.display());
        return Err(images.error(message));
    }
    if let Some((sample, label)) = stray_label(bytes.iter().copied().map(u32::from), classes) {
        let byte = labels.location(header_len(1) + sample as u64);
        let message =
            format!("sample {sample} has label {label} at {byte}, but the classes are 0 to {}", classes - 1);
        return Err(labels.error(message));
    }
    // Labels take four times the memory in the dataset.
    let mut labels = reserved(bytes.len(), "the labels of a dataset")?;
    labels.extend(bytes.iter().copied().map(u32::from));
    let (pixels, _) = pixels.into_raw_vec_and_offset();
    Dataset::new(pixels, [1, height, width], labels, classes)
}

fn images_from(stream: &mut Stream) -> Result<Array3<u8>> {
    let extents: [u32; 3] = read_header(stream)?;
    let pixels = read_values(stream, &extents)?;
    // The values that arrived are as many as the extents call for, so each extent fits a `usize` too.
    Array3::from_shape_vec(extents.map(|extent| extent as usize), pixels)
        .map_err(|error| stream.error(error.to_string()))
}

fn labels_from(stream: &mut Stream) -> Result<Vec<u8>> {
    let extents: [u32; 1] = read_header(stream)?;
    read_values(stream, &extents)
}

/// The bytes of a header with so many extents.
const fn header_len(extents: usize) -> u64 {
    4 + 4 * extents as u64
}

/// Reads the magic number, which must be that of `EXTENTS` extents, and the extents, none of them zero.
fn read_header<const EXTENTS: usize>(stream: &mut Stream) -> Result<[u32; EXTENTS]> {
    let bytes = stream.read_up_to(header_len(EXTENTS))?;
    if bytes.is_empty() {
        return Err(stream.error("is empty"));
    }
    let words: Vec<u32> = bytes.as_chunks::<4>().0.iter().map(|&word| u32::from_be_bytes(word)).collect();
    let expected = UNSIGNED_BYTES + EXTENTS as u32;
    if let Some(&magic) = words.first().filter(|&&magic| magic != expected) {
        let found = match magic.checked_sub(UNSIGNED_BYTES) {
            Some(1) => " (labels)",
            Some(3) => " (images)",
            _ => "",
        };
        let wanted = if EXTENTS == 1 { "labels" } else { "images" };
        let location = stream.location(0);
        let message =
            format!("magic number {magic:#010x}{found} at {location}, not {expected:#010x} ({wanted})");
        return Err(stream.error(message));
    }
    let Some(extents) = words.get(1..).and_then(|rest| <[u32; EXTENTS]>::try_from(rest).ok()) else {
        let (location, length) = (stream.location(bytes.len() as u64), header_len(EXTENTS));
        return Err(stream.error(format!("ends at {location}, within the header of {length} bytes")));
    };
    if let Some(zero) = extents.iter().position(|&extent| extent == 0) {
        let message =
            format!("the header claims {}: zero at {}", claim(&extents), stream.location(header_len(zero)));
        return Err(stream.error(message));
    }
    Ok(extents)
}

/// Reads as many values as the extents call for, and makes sure that the file ends there.
fn read_values(stream: &mut Stream, extents: &[u32]) -> Result<Vec<u8>> {
    let start = stream.position;
    let size = claimed_size(extents).filter(|&size| size <= MAX_BYTES).ok_or_else(|| {
        let message =
            format!("the header claims {}, more than the {MAX_BYTES} bytes allowed", claim(extents));
        stream.error(message)
    })?;
    let values = stream.read_up_to(size)?;
    let end = start + size;
    if stream.position < end {
        let sample = values.len() as u64 / claimed_size(&extents[1..]).unwrap_or(1).max(1);
        let location = stream.location(stream.position);
        let message = format!(
            "ends at {location}, within sample {sample}, but the header claims {}, which end at byte {end}",
            claim(extents)
        );
        return Err(stream.error(message));
    }
    // This reads one byte at most, and has gzip's checksum verified.
    if !stream.read_up_to(1)?.is_empty() {
        let location = stream.location(end);
        return Err(stream.error(format!("goes on after {}, which end at {location}", claim(extents))));
    }
    Ok(values)
}

/// The number of values that the extents call for; `None` if it is beyond 64 bits.
fn claimed_size(extents: &[u32]) -> Option<u64> {
    extents.iter().try_fold(1, |size: u64, &extent| size.checked_mul(u64::from(extent)))
}

/// What extents claim, in words.
fn claim(extents: &[u32]) -> String {
    match extents {
        [images, height, width] => format!("{images} images of {height}x{width} pixels"),
        _ => format!("{} labels", claimed_size(extents).unwrap_or(u64::MAX)),
    }
}

/// The paths of the four files in a folder, in the order of [`FILES`], or an error that names all that are
/// missing.
fn find_files(folder: &Path) -> Result<[PathBuf; 4]> {
    let error = |message| Error::Data { path: folder.to_owned(), message };
    let metadata = fs::metadata(folder).map_err(|cause| error(format!("cannot be opened: {cause}")))?;
    if !metadata.is_dir() {
        return Err(error("is not a folder".to_owned()));
    }
    let mut missing = Vec::new();
    let found = FILES.map(|(what, stem, kind)| {
        let names = spellings(stem, kind);
        // Folders are passed over: some distributions have one by the name of the file.
        let path = names.iter().map(|name| folder.join(name)).find(|path| path.is_file());
        path.unwrap_or_else(|| {
            missing.push(format!("no {what} ({})", names.join(", ")));
            PathBuf::new()
        })
    });
    if missing.is_empty() { Ok(found) } else { Err(error(missing.join("; "))) }
}

/// The names under which a file is distributed.
fn spellings(stem: &str, kind: &str) -> [String; 4] {
    [
        format!("{stem}-{kind}"),
        format!("{stem}-{kind}.gz"),
        format!("{stem}.{kind}"),
        format!("{stem}.{kind}.gz"),
    ]
}
