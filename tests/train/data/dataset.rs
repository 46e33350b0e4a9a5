//! Datasets: the embedded digits, batches, and the order of an epoch.

use crate::common::assert_setting_error;
use dagrad::data::{Dataset, mnist_5k, shuffle};
use flate2::Crc;

// The embedded digits.

fn checksum(dataset: &Dataset) -> (u64, u32) {
    let mut crc = Crc::new();
    let mut sum = 0;
    for sample in 0..dataset.len() {
        let pixels = dataset.pixels(sample).unwrap();
        crc.update(pixels);
        sum += pixels.iter().copied().map(u64::from).sum::<u64>();
    }
    (sum, crc.sum())
}

#[test]
fn the_embedded_digits_are_all_there() {
    let split = mnist_5k().unwrap();
    for (dataset, per_class) in [(&split.train, 400), (&split.test, 100)] {
        assert_eq!(dataset.len(), 10 * per_class);
        assert_eq!(dataset.image_shape(), [1, 28, 28]);
        assert_eq!(dataset.image_len(), 784);
        assert_eq!(dataset.classes(), 10);
        for class in 0..10 {
            assert_eq!(dataset.labels().iter().filter(|&&label| label == class).count(), per_class);
        }
    }
    assert_eq!(checksum(&split.train), (104_646_036, 2_299_361_360));
    assert_eq!(checksum(&split.test), (26_621_066, 376_294_672));
}

// Datasets and batches.

/// Five grey images of 1×2 pixels.
fn five() -> Dataset {
    Dataset::new((0..10).map(|pixel| 5 * pixel).collect(), [1, 1, 2], vec![0, 1, 2, 0, 1], 4).unwrap()
}

#[test]
fn a_dataset_checks_what_it_is_made_of() {
    assert_setting_error(Dataset::new(vec![], [1, 1, 1], vec![], 0), "classes", &["1 or more"]);
    assert_setting_error(Dataset::new(vec![], [1, 0, 2], vec![], 2), "image_shape", &["[1, 0, 2]"]);
    assert_setting_error(Dataset::new(vec![], [1, usize::MAX, 2], vec![], 2), "image_shape", &["too many"]);
    assert_setting_error(
        Dataset::new(vec![0; 5], [1, 1, 2], vec![0; 3], 2),
        "images",
        &["5 bytes", "3 labels", "1x1x2"],
    );
    assert_setting_error(
        Dataset::new(vec![0; 3], [1, 1, 1], vec![0, 1, 2], 2),
        "labels",
        &["sample 2 has label 2", "0 to 1"],
    );
    let huge = Dataset::new(vec![0; 3], [1, 1, usize::MAX], vec![0; 3], 2);
    assert_setting_error(huge, "images", &["3 bytes"]);
}

#[test]
fn a_dataset_tells_what_it_holds() {
    let dataset = five();
    assert_eq!((dataset.len(), dataset.is_empty(), dataset.classes()), (5, false, 4));
    assert_eq!(dataset.pixels(4), Some([40, 45].as_slice()));
    assert_eq!(dataset.pixels(5), None);
    assert_eq!(dataset.pixels(usize::MAX), None);
    assert_eq!(format!("{dataset:?}"), "Dataset { len: 5, image_shape: [1, 1, 2], classes: 4, .. }");
}

#[test]
fn take_keeps_the_first_samples() {
    let two = five().take(2);
    assert_eq!(two, Dataset::new(vec![0, 5, 10, 15], [1, 1, 2], vec![0, 1], 4).unwrap());
    assert_eq!(five().take(usize::MAX), five());
    let none = five().take(0);
    assert!(none.is_empty());
    assert_eq!(none.batches(3, 0, 0).unwrap().count(), 0);
    assert_eq!(none.batch(&[]).unwrap().0.shape(), [0, 1, 1, 2]);
}

#[test]
fn a_batch_is_scaled_and_keeps_the_order_asked_for() {
    let (mut images, mut labels) = ([7.0; 6], [7; 3]);
    five().copy_batch(&[4, 0, 4], &mut images, &mut labels).unwrap();
    assert_eq!(images, [40.0 / 255.0, 45.0 / 255.0, 0.0, 5.0 / 255.0, 40.0 / 255.0, 45.0 / 255.0]);
    assert_eq!(labels, [1, 0, 1]);

    let (arrays, classes) = five().batch(&[4, 0, 4]).unwrap();
    assert_eq!(arrays.shape(), [3, 1, 1, 2]);
    assert_eq!(arrays.as_slice().unwrap(), images);
    assert_eq!(classes.as_slice().unwrap(), labels);

    let full = Dataset::new(vec![0, 255], [1, 1, 2], vec![0], 1).unwrap();
    assert_eq!(full.batch(&[0]).unwrap().0.as_slice().unwrap(), [0.0, 1.0]);
}

#[test]
fn channels_stay_in_order() {
    let colour = Dataset::new((0..12).collect(), [3, 2, 2], vec![0], 1).unwrap();
    let (images, _) = colour.batch(&[0]).unwrap();
    assert_eq!(images[[0, 2, 1, 0]], 10.0 / 255.0);
}

#[test]
fn a_batch_that_does_not_fit_is_an_error_and_writes_nothing() {
    let (mut images, mut labels) = ([7.0; 4], [7; 2]);
    let missing = five().copy_batch(&[0, 5], &mut images, &mut labels);
    assert_setting_error(missing, "samples", &["position 1 asks for sample 5", "there are 5"]);
    let short = five().copy_batch(&[0, 1], &mut images[..3], &mut labels);
    assert_setting_error(short, "images", &["room for 3 floats", "2 images of 1x1x2"]);
    let long = five().copy_batch(&[0], &mut images[..2], &mut labels);
    assert_setting_error(long, "labels", &["room for 2 labels", "has 1"]);
    assert_eq!((images, labels), ([7.0; 4], [7; 2]));
    assert_setting_error(five().batch(&[usize::MAX]), "samples", &["position 0"]);
}

// Shuffling.

#[test]
fn a_shuffle_is_a_permutation_that_seed_and_epoch_determine() {
    let order = |seed, epoch| {
        let mut order = vec![usize::MAX; 1000];
        shuffle(seed, epoch, &mut order);
        order
    };
    let mut sorted = order(1, 0);
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(0..1000));
    assert_eq!(order(1, 7), order(1, 7));
    assert_ne!(order(1, 0), order(1, 1));
    assert_ne!(order(1, 1), order(2, 0));
    assert_ne!(order(1, 0), order(2, 0));
    shuffle(0, u64::MAX, &mut []);

    // The same on every machine; another version of `rand` may change it, which users should then be told.
    let mut pinned = [0; 8];
    shuffle(42, 1, &mut pinned);
    assert_eq!(pinned, [6, 4, 5, 3, 2, 1, 0, 7]);
}

#[test]
fn the_order_of_an_epoch_reuses_its_vector() {
    let mut order = Vec::with_capacity(64);
    let address = order.as_ptr();
    for epoch in 0..3 {
        five().epoch_order(9, epoch, &mut order);
        assert_eq!((order.len(), order.as_ptr()), (5, address));
    }
    let mut alone = [0; 5];
    shuffle(9, 2, &mut alone);
    assert_eq!(order, alone);
}

#[test]
fn batches_hold_every_sample_once_and_the_last_is_ragged() {
    let dataset = five();
    let batches = dataset.batches(2, 3, 1).unwrap();
    assert_eq!(batches.len(), 3);
    let batches: Vec<_> = batches.collect();
    assert_eq!(batches[2].0.shape(), [1, 1, 1, 2]);

    let mut order = Vec::new();
    dataset.epoch_order(3, 1, &mut order);
    for (samples, batch) in order.chunks(2).zip(batches) {
        assert_eq!(batch, dataset.batch(samples).unwrap());
    }
}

#[test]
fn any_batch_size_but_zero_will_do() {
    let dataset = five();
    assert_setting_error(dataset.batches(0, 0, 0), "batch_size", &["1 or more"]);
    assert_eq!(dataset.batches(usize::MAX, 0, 0).unwrap().count(), 1);
    let mut batches = dataset.batches(5, 0, 0).unwrap();
    assert_eq!((batches.by_ref().count(), batches.len()), (1, 0));
    assert!(batches.next().is_none());
}
