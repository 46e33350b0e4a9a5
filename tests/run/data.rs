//! Samples are read in place. Data files that are cut off, flipped and mutated: an error or samples, never a panic, and no more memory than the file gives
//! reason for.
//!
//! `DAGRAD_FUZZ_SECONDS=3600 cargo test --test run data:: -- --nocapture` goes on for an hour with each format.

use std::fs;
use std::path::{Path, PathBuf};

use dagrad::data::cifar::{self, Classes};
use dagrad::data::folder::{self, Fit};
use dagrad::data::{
    Augmented, ChannelStatistics, Draw, Normalised, Samples, Slot, Subset, TensorDataset, idx, mnist_5k, npz,
};
use dagrad::{Dtype, Error, Result};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::allocation::peak_of;
use crate::common::{root, run_alone};
use crate::mutants::mutants;

/// A format: its name, the ending of its files, small files of it, how it is read, and the most bytes of memory for a byte of file.
struct Format {
    name: &'static str,
    seeds: fn() -> Vec<Vec<u8>>,
    read: fn(&Path) -> Result<usize>,
    most: usize,
}

/// Deflate makes 1032 bytes of one; an image has them as pixels, of which eight may be a byte, and the decoder its own copies.
const FORMATS: [Format; 5] = [
    Format { name: "idx", seeds: idx_files, read: read_idx, most: 8 * 1032 },
    Format { name: "cifar", seeds: cifar_files, read: read_cifar, most: 8 * 1032 },
    Format { name: "npz", seeds: npz_files, read: read_npz, most: 64 },
    Format { name: "png", seeds: png_files, read: read_folder, most: 32 * 1032 },
    Format { name: "jpg", seeds: jpeg_files, read: read_folder, most: 32 * 1032 },
];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

fn idx_files() -> Vec<Vec<u8>> {
    let images = [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3][..], &[7; 12]].concat();
    let labels = [&[0, 0, 8, 1, 0, 0, 0, 2][..], &[1, 9]].concat();
    vec![gzip(&images), images, gzip(&labels), labels]
}

fn read_idx(path: &Path) -> Result<usize> {
    let (images, labels) = (idx::read_images(path), idx::read_labels(path));
    let both = idx::read(path, path, 10);
    assert!(both.is_err()); // no file is both
    images.map(|images| images.len()).or_else(|_| labels.map(|labels| labels.len()))
}

fn cifar_files() -> Vec<Vec<u8>> {
    let ten: Vec<u8> = [[3].as_slice(), &[5; 3072], &[9], &[6; 3072]].concat();
    let hundred: Vec<u8> = [[3, 72].as_slice(), &[5; 3072]].concat();
    vec![gzip(&ten), ten, gzip(&hundred), hundred]
}

fn read_cifar(path: &Path) -> Result<usize> {
    let all = [Classes::Ten, Classes::Fine, Classes::Coarse].map(|classes| cifar::read(path, classes));
    let [ten, fine, coarse] = all;
    assert_eq!(fine.is_ok(), coarse.is_ok());
    ten.or(fine).map(|samples| samples.len())
}

fn npz_files() -> Vec<Vec<u8>> {
    let names = ["small.npz", "small-compressed.npz"];
    names.map(|name| fs::read(root().join("tests/golden/weights").join(name)).unwrap()).to_vec()
}

fn read_npz(path: &Path) -> Result<usize> {
    let samples: TensorDataset = npz::read(path, &[("x", "a"), ("y", "b")])?;
    for (position, field) in samples.fields().iter().enumerate() {
        let count = field.ty.shape.count();
        assert!(samples.is_empty() || count < 1000);
        for sample in 0..samples.len().min(100) {
            match field.ty.dtype {
                Dtype::Real => samples.write(sample, position, None, Slot::Real(&mut vec![0.0; count]))?,
                Dtype::Index => samples.write(sample, position, None, Slot::Index(&mut vec![0; count]))?,
            }
        }
    }
    Ok(samples.len())
}

fn png_files() -> Vec<Vec<u8>> {
    use png::{BitDepth, ColorType};
    let file = |color, depth, bytes: usize| {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, 9, 5);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == ColorType::Indexed {
            encoder.set_palette((0..12).collect::<Vec<u8>>());
        }
        let pixels: Vec<u8> = (0..bytes).map(|byte| (byte * 37 % 251) as u8).collect();
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
        file
    };
    vec![
        file(ColorType::Grayscale, BitDepth::One, 10),
        file(ColorType::Indexed, BitDepth::Two, 15),
        file(ColorType::Rgb, BitDepth::Eight, 135),
        file(ColorType::Rgba, BitDepth::Sixteen, 360),
    ]
}

fn jpeg_files() -> Vec<Vec<u8>> {
    let file = |is_progressive: bool, color| {
        let mut file = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut file, 70);
        encoder.set_progressive(is_progressive);
        let turned = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        encoder.add_app_segment(1, turned).unwrap();
        let pixels: Vec<u8> = (0..20 * 12 * 3).map(|byte| (byte * 37 % 251) as u8).collect();
        let channels = if color == jpeg_encoder::ColorType::Luma { 1 } else { 3 };
        encoder.encode(&pixels[..20 * 12 * channels], 20, 12, color).unwrap();
        file
    };
    use jpeg_encoder::ColorType::{Luma, Rgb, Ycbcr};
    vec![file(false, Rgb), file(true, Rgb), file(false, Luma), file(true, Ycbcr)]
}

/// A PNG file whose chunks have the right checksums, as far as it has chunks: so that what else is wrong is met.
fn repaired(bytes: &[u8]) -> Vec<u8> {
    let (mut file, mut at) = (bytes.to_vec(), 8);
    while let Some(length) = file.get(at..at + 4) {
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        let Some(chunk) = file.get(at + 4..at.saturating_add(8).saturating_add(length)) else { break };
        let mut sum = flate2::Crc::new();
        sum.update(chunk);
        at += 8 + length;
        let Some(checksum) = file.get_mut(at..at + 4) else { break };
        checksum.copy_from_slice(&sum.sum().to_be_bytes());
        at += 4;
    }
    file
}

/// The file is an image of a class.
fn read_folder(path: &Path) -> Result<usize> {
    let folder = path.parent().and_then(Path::parent).unwrap();
    let stretched = folder::load(folder, [3, 4, 4], Fit::Stretch);
    let cropped = folder::load(folder, [1, 3, 2], Fit::Crop);
    assert_eq!(stretched.is_ok(), cropped.is_ok());
    stretched.map(|samples| samples.len())
}

/// A folder of classes with one file, which is there as long as this.
struct Reader(PathBuf);

impl Reader {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("dagrad-fuzz-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("class")).unwrap();
        Self(folder)
    }

    /// Whether a file with this content is read.
    fn survives(&self, format: &Format, bytes: &[u8]) -> bool {
        let path = self.0.join("class").join("file").with_extension(format.name);
        fs::write(&path, bytes).unwrap();
        let (outcome, peak) = peak_of(|| (format.read)(&path));
        let most = format.most * bytes.len() + (1 << 20);
        assert!(peak <= most, "{}: {peak} bytes for a file of {}", format.name, bytes.len());
        if let Err(Error::Data { path: named, message }) = &outcome {
            assert!(*named == path && !message.is_empty(), "{}: {message}", named.display());
        }
        outcome.is_ok()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn reading_samples_allocates_nothing_after_the_first() {
    run_alone("data::samples_are_read_in_place");
}

#[test]
#[ignore = "memory is counted in the whole process: the test above runs it in one of its own"]
fn samples_are_read_in_place() {
    let digits = mnist_5k().unwrap().test;
    let statistics = ChannelStatistics::of(&digits, "images").unwrap();
    let normal = Normalised::new(&digits, "images", &statistics).unwrap();
    let some = Subset::new(normal, (0..100).rev().collect()).unwrap();
    let samples = Augmented::new(some, &["images"]).unwrap().rotate(10.0).and_then(|samples| {
        samples.crop(2)?.flip_horizontal(0.5)?.flip_vertical(0.5)?.erase(0.5)?.mixup(0.4, "labels", 10)
    });
    let (samples, mut image, mut classes) = (samples.unwrap(), [0.0; 784], [0.0; 10]);
    let mut read = |epoch| {
        for sample in 0..samples.len() {
            let draw = Some(Draw { seed: 1, epoch });
            samples.write(sample, 0, draw, Slot::Real(&mut image)).unwrap();
            samples.write(sample, 1, draw, Slot::Real(&mut classes)).unwrap();
        }
    };
    read(0);
    assert_eq!(peak_of(|| read(1)).1, 0);
}

#[test]
fn files_are_survived_whatever_they_hold() {
    run_alone("data::damaged_files_and_mutants_are_survived");
}

#[test]
#[ignore = "memory is counted in the whole process: the test above runs it in one of its own"]
fn damaged_files_and_mutants_are_survived() {
    for format in &FORMATS {
        let (reader, seeds) = (Reader::new(format.name), (format.seeds)());
        let mut executions = 0;
        for seed in &seeds {
            assert!(reader.survives(format, seed), "{}", format.name);
            // All of a small file, and the header of a large one.
            for length in 0..seed.len().min(1000) {
                assert!(
                    !reader.survives(format, &seed[..length]),
                    "{}: {length} bytes are read",
                    format.name
                );
            }
            let mut bytes = seed.clone();
            for bit in 0..8 * seed.len().min(100) {
                bytes[bit / 8] ^= 1 << (bit % 8);
                reader.survives(format, &bytes);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            executions += 9 * seed.len().min(100);
        }
        let mut read = 0;
        mutants(&seeds, 1_000, |_, bytes| {
            let bytes = if format.name == "png" { &repaired(bytes) } else { bytes };
            read += usize::from(reader.survives(format, bytes));
            executions += 1;
        });
        println!("{}: {executions} files, {read} of the mutants read", format.name);
    }
}
