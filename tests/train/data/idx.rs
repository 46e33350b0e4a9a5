//! Data files: as they should be, and not what they claim.

use std::fs;

use super::{Folder, assert_data_error, gzip};
use crate::common::assert_setting_error;
use dagrad::data::idx;

/// An IDX file: the magic number, the extents, the values.
fn idx_bytes(magic: u32, extents: &[u32], values: &[u8]) -> Vec<u8> {
    let header = std::iter::once(&magic).chain(extents).flat_map(|word| word.to_be_bytes());
    header.chain(values.iter().copied()).collect()
}

fn images(extents: [u32; 3], values: &[u8]) -> Vec<u8> {
    idx_bytes(0x0803, &extents, values)
}

fn labels(values: &[u8]) -> Vec<u8> {
    idx_bytes(0x0801, &[values.len() as u32], values)
}

/// Two images of 2×3 pixels.
fn small_images() -> Vec<u8> {
    images([2, 2, 3], &[0, 1, 2, 3, 4, 5, 250, 251, 252, 253, 254, 255])
}

#[track_caller]
fn assert_images_error(bytes: &[u8], parts: &[&str]) {
    let folder = Folder::new();
    let path = folder.write("images", bytes);
    assert_data_error(idx::read_images(&path), &path, parts);
}

// Files as they should be.

#[test]
fn plain_and_gzip_files_read_the_same_whatever_their_name() {
    let folder = Folder::new();
    let plain = folder.write("images.gz", &small_images());
    let packed = folder.write("images", &gzip(&small_images()));
    let images = idx::read_images(&plain).unwrap();
    assert_eq!(images.dim(), (2, 2, 3));
    assert_eq!(images[[1, 0, 2]], 252);
    assert_eq!(images, idx::read_images(&packed).unwrap());

    let plain = folder.write("labels", &labels(&[3, 9]));
    let packed = folder.write("labels.gz", &gzip(&labels(&[3, 9])));
    assert_eq!(idx::read_labels(&plain).unwrap(), [3, 9]);
    assert_eq!(idx::read_labels(&packed).unwrap(), [3, 9]);
}

#[test]
fn a_folder_loads_in_every_spelling() {
    for (dash, suffix) in [("-", ""), (".", ""), ("-", ".gz"), (".", ".gz")] {
        let folder = Folder::new();
        for part in ["train", "t10k"] {
            let pack = |bytes: Vec<u8>| if suffix.is_empty() { bytes } else { gzip(&bytes) };
            folder.write(&format!("{part}-images{dash}idx3-ubyte{suffix}"), &pack(small_images()));
            folder.write(&format!("{part}-labels{dash}idx1-ubyte{suffix}"), &pack(labels(&[3, 9])));
        }
        let split = idx::load(&folder.0).unwrap();
        assert_eq!(split.train, split.test);
        assert_eq!(split.train.image_shape(), [1, 2, 3]);
        assert_eq!((split.train.labels(), split.train.classes()), ([3, 9].as_slice(), 10));
        assert_eq!(idx::load_with_classes(&folder.0, 47).unwrap().test.classes(), 47);
        assert_setting_error(idx::load_with_classes(&folder.0, 0), "classes", &["1 or more"]);
    }
}

// Files that are not what they claim.

#[test]
fn missing_files_are_named_all_at_once() {
    let folder = Folder::new();
    folder.write("train-images-idx3-ubyte", &small_images());
    fs::create_dir(folder.0.join("t10k-labels-idx1-ubyte")).unwrap();
    let parts = [
        "no training labels (train-labels-idx1-ubyte, train-labels-idx1-ubyte.gz, train-labels.idx1-ubyte",
        "no test images (t10k-images-idx3-ubyte",
        "no test labels (t10k-labels-idx1-ubyte",
    ];
    assert_data_error(idx::load(&folder.0), &folder.0, &parts);

    let absent = folder.0.join("absent");
    assert_data_error(idx::load(&absent), &absent, &["cannot be opened"]);
    let file = folder.0.join("train-images-idx3-ubyte");
    assert_data_error(idx::load(&file), &file, &["is not a folder"]);
}

#[test]
fn a_path_that_is_no_file_is_an_error() {
    let folder = Folder::new();
    assert_data_error(idx::read_images(&folder.0), &folder.0, &["is a folder, not a file"]);
    let absent = folder.0.join("absent");
    assert_data_error(idx::read_labels(&absent), &absent, &["cannot be opened"]);
}

#[cfg(unix)]
#[test]
fn a_socket_is_not_waited_for() {
    let folder = Folder::new();
    let path = folder.0.join("socket");
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert_data_error(idx::read_images(&path), &path, &["is not a regular file"]);
}

#[test]
fn a_header_must_make_sense() {
    assert_images_error(&[], &["is empty"]);
    assert_images_error(&gzip(&[]), &["is empty"]);
    assert_images_error(&small_images()[..9], &["ends at byte 9, within the header of 16 bytes"]);
    assert_images_error(&labels(&[1; 20]), &["0x00000801 (labels) at byte 0", "not 0x00000803 (images)"]);
    assert_images_error(b"P5 28 28 255\n...", &["magic number 0x50352032 at byte 0"]);
    assert_images_error(&images([2, 0, 3], &[]), &["2 images of 0x3 pixels", "zero at byte 8"]);
    assert_images_error(&gzip(&images([0, 2, 3], &[])), &["zero at byte 4 of the uncompressed stream"]);

    let folder = Folder::new();
    let path = folder.write("labels", &small_images());
    assert_data_error(idx::read_labels(&path), &path, &["0x00000803 (images)", "not 0x00000801 (labels)"]);
    let path = folder.write("none", &labels(&[]));
    assert_data_error(idx::read_labels(&path), &path, &["0 labels", "zero at byte 4"]);
}

#[test]
fn a_header_that_claims_too_much_costs_nothing() {
    let allowed = "more than the 1073741824 bytes allowed";
    assert_images_error(&images([1 << 31, 1 << 15, 1 << 14], &[]), &["2147483648 images", allowed]);
    assert_images_error(&images([u32::MAX; 3], &[]), &["4294967295 images", allowed]);
    assert_images_error(&images([1 << 20, 1 << 10, 1], &[1; 7]), &["ends at byte 23, within sample 0"]);
}

#[test]
fn a_file_must_hold_what_its_header_claims() {
    let short = images([3, 2, 3], &[0; 13]);
    let claim = "within sample 2, but the header claims 3 images of 2x3 pixels, which end at byte 34";
    assert_images_error(&short, &["ends at byte 29, ", claim]);
    assert_images_error(&gzip(&short), &["ends at byte 29 of the uncompressed stream, ", claim]);

    let long = images([2, 2, 3], &[0; 13]);
    assert_images_error(&long, &["goes on after 2 images of 2x3 pixels", "end at byte 28"]);
    assert_images_error(&gzip(&long), &["goes on after", "byte 28 of the uncompressed stream"]);

    // 64 MiB of zeros in 64 KiB, behind a header that claims two small images.
    let bomb = gzip(&images([2, 2, 3], &vec![0; 64 << 20]));
    assert_images_error(&bomb, &["goes on after", "byte 28 of the uncompressed stream"]);
}

#[test]
fn damaged_gzip_is_an_error_that_says_where() {
    let noise: Vec<u8> = (0..5000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let good = gzip(&images([5, 10, 100], &noise));

    let mut flipped_checksum = good.clone();
    let checksum = good.len() - 8;
    flipped_checksum[checksum] ^= 1;
    assert_images_error(&flipped_checksum, &["gzip data near byte 5016 of the uncompressed stream"]);
    assert_images_error(&good[..good.len() / 2], &["gzip data near byte", "of the uncompressed stream"]);
    assert_images_error(&[0x1f, 0x8b, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9], &["gzip data near byte 0"]);
    let trailing = [good, b"trailing".to_vec()].concat();
    assert_images_error(&trailing, &["gzip data near byte 5016"]);
}

#[test]
fn images_and_labels_must_fit_each_other() {
    let folder = Folder::new();
    let images = folder.write("images", &small_images());
    let three = folder.write("three", &labels(&[1, 2, 3]));
    assert_data_error(idx::read(&images, &three, 10), &images, &["2 images, but 3 labels in", "three"]);

    let stray = folder.write("stray", &labels(&[9, 10]));
    let parts = ["sample 1 has label 10 at byte 9, but the classes are 0 to 9"];
    assert_data_error(idx::read(&images, &stray, 10), &stray, &parts);
    let packed = folder.write("packed", &gzip(&labels(&[9, 10])));
    let parts = ["sample 1 has label 10 at byte 9 of the uncompressed stream"];
    assert_data_error(idx::read(&images, &packed, 10), &packed, &parts);
    assert_eq!(idx::read(&images, &stray, 11).unwrap().labels(), [9, 10]);
}

#[test]
fn training_and_test_images_must_have_one_shape() {
    let folder = Folder::new();
    folder.write("train-images-idx3-ubyte", &small_images());
    folder.write("train-labels-idx1-ubyte", &labels(&[3, 9]));
    folder.write("t10k-images-idx3-ubyte", &images([1, 3, 2], &[0; 6]));
    folder.write("t10k-labels-idx1-ubyte", &labels(&[3]));
    assert_data_error(idx::load(&folder.0), &folder.0, &["2x3 pixels", "test images 3x2"]);
}

#[test]
fn every_truncation_is_an_error() {
    let folder = Folder::new();
    for whole in [small_images(), gzip(&small_images())] {
        for length in 0..whole.len() {
            let path = folder.write("cut", &whole[..length]);
            assert_data_error(idx::read_images(&path), &path, &[]);
        }
    }
}

#[test]
fn no_flipped_byte_panics() {
    let folder = Folder::new();
    for whole in [small_images(), gzip(&small_images())] {
        for (position, flip) in (0..whole.len().min(28)).flat_map(|p| (1..=255).map(move |flip| (p, flip))) {
            let mut bytes = whole.clone();
            bytes[position] ^= flip;
            let path = folder.write("flipped", &bytes);
            let outcome = idx::read_images(&path);
            // A plain file is wrong wherever its header is; of gzip's header some bytes, such as the time,
            // mean nothing here.
            if whole == small_images() && position < 16 {
                assert_data_error(outcome, &path, &[]);
            }
        }
    }
}

#[test]
fn a_file_is_not_read_beyond_what_its_header_claims() {
    // A thousand images, and then 64 GiB of zeros, which only a file system that keeps holes can hold.
    let folder = Folder::new();
    let path = folder.write("images", &images([1000, 10, 10], &[0; 100_000]));
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    if file.set_len(1 << 36).is_err() {
        eprintln!("SKIPPED: the file system has no room for a file with holes");
        return;
    }
    assert_data_error(idx::read_images(&path), &path, &["goes on after 1000 images", "byte 100016"]);
}
