//! CIFAR's binary files.

use super::{Folder, assert_data_error, gzip};
use dagrad::data::Samples;
use dagrad::data::cifar::{self, Classes};

/// Records with these classes, of which every pixel is the number of the record.
fn records(heads: &[&[u8]]) -> Vec<u8> {
    heads.iter().enumerate().flat_map(|(number, head)| [head, &[number as u8; 3072][..]].concat()).collect()
}

/// As many records as a file should have.
fn many(count: usize, classes: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0..count {
        bytes.extend(classes.iter().map(|classes| (number % usize::from(*classes)) as u8));
        bytes.resize(bytes.len() + 3072, (number / 1000) as u8);
    }
    bytes
}

#[test]
fn a_file_is_read_record_by_record() {
    let folder = Folder::new();
    let mut bytes = records(&[&[3], &[9]]);
    bytes[3073 + 1 + 1024 + 2 * 32 + 5] = 77; // green, row 2, column 5
    let ten = cifar::read(folder.write("ten.bin", &bytes), Classes::Ten).unwrap();
    assert_eq!((ten.labels(), ten.classes(), ten.image_shape()), ([3, 9].as_slice(), 10, [3, 32, 32]));
    let (images, _) = ten.batch(&[1]).unwrap();
    assert_eq!((images[[0, 1, 2, 5]], images[[0, 0, 2, 5]]), (77.0 / 255.0, 1.0 / 255.0));
    let zipped = cifar::read(folder.write("ten.bin.gz", &gzip(&bytes)), Classes::Ten).unwrap();
    assert_eq!(zipped, ten);

    let path = folder.write("hundred.bin", &records(&[&[4, 72], &[19, 99]]));
    let fine = cifar::read(&path, Classes::Fine).unwrap();
    assert_eq!((fine.labels(), fine.classes()), ([72, 99].as_slice(), 100));
    let coarse = cifar::read(&path, Classes::Coarse).unwrap();
    assert_eq!((coarse.labels(), coarse.classes()), ([4, 19].as_slice(), 20));
    assert_eq!(fine.pixels(1), Some([1; 3072].as_slice()));
}

#[test]
fn both_datasets_are_read_from_their_folders() {
    let folder = Folder::new();
    let batch = many(10_000, &[10]);
    for name in ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin"] {
        folder.write(name, &batch);
    }
    folder.write("data_batch_5.bin.gz", &gzip(&batch));
    assert_data_error(cifar::load(&folder.0, Classes::Ten), &folder.0, &["no test_batch.bin", ".gz"]);
    folder.write("test_batch.bin", &batch);
    folder.write("batches.meta.txt", b"a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
    let split = cifar::load(&folder.0, Classes::Ten).unwrap();
    assert_eq!((split.train.len(), split.test.len(), split.train.classes()), (50_000, 10_000, 10));
    assert_eq!(split.train.labels()[40_003], 3);
    assert_eq!(split.test.class_names().unwrap()[9], "j");
    let names = folder.write("batches.meta.txt", b"a\r\nb\n");
    assert_data_error(cifar::load(&folder.0, Classes::Ten), &names, &["2 names, not 10"]);
    let names = folder.write("batches.meta.txt", b"a\nb\nc\nd\ne\nf\ng\nh\ni\n");
    assert_data_error(cifar::load(&folder.0, Classes::Ten), &names, &["9 names, not 10"]);
    std::fs::remove_file(names).unwrap();
    let short = folder.write("data_batch_2.bin", &batch[3073..]);
    assert_data_error(cifar::load(&folder.0, Classes::Ten), &short, &["9999 records, not 10000"]);
    let long = folder.write("data_batch_2.bin", &[&batch[..], &batch[..3073]].concat());
    assert_data_error(cifar::load(&folder.0, Classes::Ten), &long, &["more than 10000 records"]);

    assert_data_error(cifar::load(&folder.0, Classes::Fine), &folder.0, &["no train.bin"]);
    folder.write("train.bin", &many(50_000, &[20, 100]));
    folder.write("test.bin", &many(10_000, &[20, 100]));
    let fine = cifar::load(&folder.0, Classes::Fine).unwrap();
    assert_eq!((fine.train.len(), fine.test.len(), fine.train.labels()[199]), (50_000, 10_000, 99));
    assert!(fine.train.class_names().is_none());
}

#[test]
fn a_file_that_is_cut_off_or_lies_is_an_error() {
    let folder = Folder::new();
    // Every byte of the first record, and some of the second, which is no different.
    for (bytes, classes) in
        [(records(&[&[3], &[9]]), Classes::Ten), (records(&[&[4, 72], &[1, 1]]), Classes::Fine)]
    {
        let record = bytes.len() / 2;
        for length in (0..record).chain((record + 1..2 * record).step_by(61)) {
            let path = folder.write("cut.bin", &bytes[..length]);
            let part = match length {
                0 => "is empty".to_owned(),
                _ => format!("byte {length}, within record {}", length / record),
            };
            assert_data_error(cifar::read(&path, classes), &path, &[&part]);
        }
    }
    let path = folder.write("ten.bin", &records(&[&[3], &[10]]));
    assert_data_error(
        cifar::read(&path, Classes::Ten),
        &path,
        &["record 1 has class 10 at byte 3073", "0 to 9"],
    );
    let path = folder.write("hundred.bin", &records(&[&[3, 99], &[20, 5]]));
    assert_data_error(
        cifar::read(&path, Classes::Fine),
        &path,
        &["record 1 has class 20 at byte 3074", "0 to 19"],
    );
    let path = folder.write("hundred.bin", &records(&[&[3, 100]]));
    assert_data_error(
        cifar::read(&path, Classes::Coarse),
        &path,
        &["record 0 has class 100 at byte 1", "0 to 99"],
    );
    let zipped = gzip(&records(&[&[3], &[9]]));
    for length in 1..zipped.len() {
        let path = folder.write("cut.gz", &zipped[..length]);
        assert!(cifar::read(&path, Classes::Ten).is_err(), "{length}");
    }
    assert_data_error(cifar::read(&folder.0, Classes::Ten), &folder.0, &["is a folder"]);
}
