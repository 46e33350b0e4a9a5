//! A folder of images by class: a folder for each class, named as the class is, with its images, PNG or JPEG.
//!
//! The rules are those of torchvision's `ImageFolder`: classes are sorted by name and numbered from 0, images may lie in folders
//! within that of their class, and come sorted by folder and then by name. What is hidden (`.ipynb_checkpoints`, `._cat.png`)
//! is passed over, and so is every file that is not called like an image. Symbolic links are followed.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use ndarray::Array3;

use super::dataset::image_len;
use super::{Dataset, Split, image, resize::resize};
use crate::error::{Error, Result};

/// How file names end, in any case, of images that are read,
const READ: [&str; 3] = ["png", "jpg", "jpeg"];
/// and of images that are not: passing over these would lose samples unseen.
const OTHERS: [&str; 8] = ["bmp", "gif", "pgm", "ppm", "tif", "tiff", "webp", "avif"];

/// What becomes of an image of another size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fit {
    /// It is an error.
    #[default]
    Exact,
    /// It is resized until it just covers the size asked for, and what juts out on two sides is cut off: torchvision's `Resize`
    /// and `CenterCrop`.
    Crop,
    /// It is resized to the size asked for, whatever its proportions.
    Stretch,
}

/// Reads a folder of images by class, as a dataset with class names. `image_shape` is `[channels, height, width]`, with 1 channel for
/// grey or 3 for red, green and blue, whatever the files hold; colours become grey by Pillow's weights, and transparency is left
/// out. Unlike torchvision, a photograph is turned upright if the camera wrote down how it was held.
///
/// Resizing is bilinear with antialiasing, like Pillow's and torchvision's; a byte may differ from theirs by 1.
///
/// # Errors
/// [`Error::Setting`]: another number of channels, or no pixels. [`Error::Data`], with the file or folder: one that cannot be
/// read; a file that is damaged, cut off, neither PNG nor JPEG, or of more than 2²⁶ pixels; an image of another size, for
/// [`Fit::Exact`]; a class without images; no classes; a folder that is reached twice, as over a link to a folder above it.
///
/// ```no_run
/// use dagrad::data::folder::{self, Fit};
///
/// let pets = folder::load("pets/train", [3, 64, 64], Fit::Crop)?; // pets/train/cat/1.jpg, pets/train/dog/7.png, …
/// # Ok::<(), dagrad::Error>(())
/// ```
#[track_caller]
pub fn load(folder: impl AsRef<Path>, image_shape: [usize; 3], fit: Fit) -> Result<Dataset> {
    let folder = folder.as_ref();
    image::check_channels(image_shape[0])?;
    let length = image_len(image_shape)?;
    let mut seen = BTreeSet::new();
    let classes = classes(folder, &mut seen)?;
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for (label, class) in classes.iter().enumerate() {
        let mut files = Vec::new();
        collect(class, &mut seen, &mut files)?;
        if files.is_empty() {
            return Err(error(class, "has no images (.png, .jpg, .jpeg)"));
        }
        files.sort();
        for (_, path) in files {
            if images.try_reserve(length).is_err() {
                return Err(Error::memory(images.len().saturating_add(length), "the images of a dataset"));
            }
            append(&path, image_shape, fit, &mut images)?;
            labels.push(label as u32);
        }
    }
    let names = classes.iter().map(|class| name(class).to_string_lossy().into_owned());
    Dataset::new(images, image_shape, labels, classes.len())?.with_class_names(names)
}

/// Reads the folders `train` and `test` (or `val`) within a folder. Both must have the same classes: a class that only one of them has
/// would give the others different numbers.
///
/// # Errors
/// Those of [`load`]; [`Error::Data`] if the classes differ.
#[track_caller]
pub fn load_split(folder: impl AsRef<Path>, image_shape: [usize; 3], fit: Fit) -> Result<Split> {
    let folder = folder.as_ref();
    let test = ["test", "val"].map(|name| folder.join(name));
    let test = test.iter().find(|test| test.is_dir()).unwrap_or(&test[0]);
    let (train, test) = (load(folder.join("train"), image_shape, fit)?, load(test, image_shape, fit)?);
    if train.class_names != test.class_names {
        let [train, test] =
            [train, test].map(|part| BTreeSet::from_iter(part.class_names.unwrap_or_default()));
        let only: Vec<_> = train.symmetric_difference(&test).map(|class| format!("{class:?}")).collect();
        return Err(error(folder, format!("only one of both parts has the classes {}", only.join(", "))));
    }
    Ok(Split { train, test })
}

fn error(path: &Path, message: impl Into<String>) -> Error {
    Error::Data { path: path.to_owned(), message: message.into() }
}

/// The last part of a path.
fn name(path: &Path) -> &OsStr {
    path.file_name().unwrap_or_default()
}

/// What is in a folder and not hidden.
fn entries(folder: &Path, seen: &mut BTreeSet<PathBuf>) -> Result<Vec<PathBuf>> {
    let unreadable = |cause: std::io::Error| error(folder, format!("cannot be opened: {cause}"));
    if !seen.insert(folder.canonicalize().map_err(unreadable)?) {
        return Err(error(folder, "is a link to a folder that is read already"));
    }
    let entries = fs::read_dir(folder).map_err(unreadable)?.map(|entry| entry.map(|entry| entry.path()));
    let entries: Vec<PathBuf> = entries.collect::<Result<_, _>>().map_err(unreadable)?;
    let is_hidden = |path: &PathBuf| name(path).as_encoded_bytes().starts_with(b".");
    Ok(entries.into_iter().filter(|path| !is_hidden(path)).collect())
}

/// The folders of the classes, sorted by name.
fn classes(folder: &Path, seen: &mut BTreeSet<PathBuf>) -> Result<Vec<PathBuf>> {
    let mut classes = entries(folder, seen)?;
    classes.retain(|path| path.is_dir());
    classes.sort_by(|one, other| name(one).cmp(name(other)));
    if classes.is_empty() {
        return Err(error(folder, "has no folders, one for each class"));
    }
    Ok(classes)
}

/// The images in a folder and the folders within it, each with its folder, by which they are sorted first.
fn collect(folder: &Path, seen: &mut BTreeSet<PathBuf>, files: &mut Vec<(OsString, PathBuf)>) -> Result<()> {
    for path in entries(folder, seen)? {
        if path.is_dir() {
            collect(&path, seen, files)?;
            continue;
        }
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if READ.contains(&&*ending) {
            // As text: a `-` comes before the `/` between names.
            files.push((folder.as_os_str().to_owned(), path));
        } else if OTHERS.contains(&&*ending) {
            return Err(error(&path, "only PNG and JPEG files are read"));
        }
    }
    Ok(())
}

/// Reads an image and appends its bytes.
fn append(path: &Path, [channels, height, width]: [usize; 3], fit: Fit, bytes: &mut Vec<u8>) -> Result<()> {
    let image = image::read(path, channels)?;
    let (_, own_height, own_width) = image.dim();
    if [own_height, own_width] == [height, width] {
        bytes.extend(&image);
        return Ok(());
    }
    if fit == Fit::Exact {
        let message = format!(
            "has {own_height}×{own_width} pixels (height×width), not {height}×{width}\n  hint: `Fit::Crop` and \
             `Fit::Stretch` resize it"
        );
        return Err(error(path, message));
    }
    let full = if fit == Fit::Crop { covering(&image, [height, width]) } else { [height, width] };
    // Half of what juts out, rounded to an even number as in Python.
    let half = |juts_out: usize| (juts_out + juts_out / 2 % 2) / 2;
    let offset = [half(full[0] - height), half(full[1] - width)];
    resize(&image, full, offset, [height, width], bytes);
    Ok(())
}

/// The size of an image, in its own proportions, that just covers a size.
fn covering(image: &Array3<u8>, size: [usize; 2]) -> [usize; 2] {
    let (_, own_height, own_width) = image.dim();
    let [height, width] = size.map(|size| size as u128);
    let [own_height, own_width] = [own_height, own_width].map(|size| size as u128);
    // Beyond `usize` nothing would be in memory.
    let number = |size: u128| usize::try_from(size).unwrap_or(usize::MAX);
    if height * own_width >= width * own_height {
        [size[0], number(own_width * height / own_height)]
    } else {
        [number(own_height * width / own_width), size[1]]
    }
}
