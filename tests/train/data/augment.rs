//! Augmentation: what each transform does, and what it depends on.

use super::{index, real, try_real};
use crate::common::assert_setting_error;
use dagrad::Result;
use dagrad::data::{Augmented, Dataset, Draw, Field, Samples, Subset, TensorDataset};
use ndarray::{Array1, Array3, Array4, array};

const DRAW: Draw = Draw { seed: 42, epoch: 3 };

fn epoch(epoch: u64) -> Option<Draw> {
    Some(Draw { epoch, ..DRAW })
}

/// So many images of 2×3×4, whose pixels all differ and are not 0, with masks of the same numbers, and labels.
fn images(samples: usize) -> TensorDataset {
    let pixel = |(n, c, y, x)| (1 + x + 4 * (y + 3 * (c + 2 * n))) as f32;
    TensorDataset::new()
        .with("images", &Array4::from_shape_fn((samples, 2, 3, 4), pixel))
        .unwrap()
        .with("masks", &Array3::from_shape_fn((samples, 3, 4), |(n, y, x)| pixel((n, 0, y, x)) as i64))
        .unwrap()
        .with("labels", &Array1::from_iter((0..samples).map(|sample| sample as u32 % 3)))
        .unwrap()
}

fn augmented(samples: usize) -> Augmented<TensorDataset> {
    Augmented::new(images(samples), &["images", "masks"]).unwrap()
}

/// The channels of a sample, and its mask.
fn planes(samples: &dyn Samples, sample: usize, draw: Option<Draw>) -> (Array3<f32>, Vec<f32>) {
    let image = Array3::from_shape_vec((2, 3, 4), real(samples, sample, 0, draw)).unwrap();
    (image, index(samples, sample, 1, draw).into_iter().map(|class| class as f32).collect())
}

#[test]
fn a_flip_is_a_flip() {
    let plain = planes(&images(1), 0, None).0;
    let across = augmented(1).flip_horizontal(1.0).unwrap();
    let (image, mask) = planes(&across, 0, epoch(0));
    assert_eq!(image, plain.slice(ndarray::s![.., .., ..;-1]));
    assert_eq!(mask, image.slice(ndarray::s![0, .., ..]).iter().copied().collect::<Vec<_>>());
    let (image, mask) = planes(&augmented(1).flip_vertical(1.0).unwrap(), 0, epoch(0));
    assert_eq!(image, plain.slice(ndarray::s![.., ..;-1, ..]));
    assert_eq!(mask, image.slice(ndarray::s![0, .., ..]).iter().copied().collect::<Vec<_>>());
    let twice = across.flip_horizontal(1.0).unwrap();
    assert_eq!(planes(&twice, 0, epoch(0)).0, plain);
    let never = augmented(1).flip_horizontal(0.0).unwrap().flip_vertical(0.0).unwrap().erase(0.0).unwrap();
    assert!((0..20).all(|number| planes(&never, 0, epoch(number)).0 == plain));
}

#[test]
fn flips_are_as_frequent_as_they_should_be_and_independent() {
    let plain = planes(&images(1), 0, None).0;
    let both = augmented(1).flip_horizontal(0.3).unwrap().flip_vertical(0.3).unwrap();
    let mut counts = [0; 4];
    for number in 0..2000 {
        let image = planes(&both, 0, epoch(number)).0;
        let is_across = [plain[[0, 0, 3]], plain[[0, 2, 3]]].contains(&image[[0, 0, 0]]);
        let is_down = [plain[[0, 2, 0]], plain[[0, 2, 3]]].contains(&image[[0, 0, 0]]);
        counts[2 * usize::from(is_down) + usize::from(is_across)] += 1;
    }
    // 980, 420, 420, 180 are expected, with standard deviations of 22, 18, 18, 13.
    for (count, (expected, deviation)) in counts.into_iter().zip([(980, 22), (420, 18), (420, 18), (180, 13)])
    {
        assert!(i32::abs(count - expected) < 4 * deviation, "{counts:?}");
    }
}

/// The shift of an image: all pixels that are left have it, and where there are none the image has 0 and the mask `outside`.
fn check_shift(samples: &Augmented<TensorDataset>, draw: Option<Draw>, outside: f32) -> (i64, i64) {
    let plain = planes(&images(1), 0, None).0;
    let (image, mask) = planes(samples, 0, draw);
    let (mut down, mut right, mut found) = (0, 0, false);
    for ((c, y, x), &value) in image.indexed_iter().filter(|(_, value)| **value != 0.0) {
        let (_, from) = plain.indexed_iter().map(|(at, &v)| (v, at)).find(|(v, _)| *v == value).unwrap();
        let shift = (y as i64 - from.1 as i64, x as i64 - from.2 as i64);
        assert!(c == from.0 && (!found || shift == (down, right)), "{image}");
        ((down, right), found) = (shift, true);
    }
    assert!(found);
    let shifted = |(c, y, x): (usize, usize, usize)| {
        let at = (y as i64 - down, x as i64 - right);
        if (0..3).contains(&at.0) && (0..4).contains(&at.1) {
            plain[[c, at.0 as usize, at.1 as usize]]
        } else {
            0.0
        }
    };
    assert_eq!(image, Array3::from_shape_fn((2, 3, 4), shifted));
    for (class, pixel) in mask.iter().zip(image.slice(ndarray::s![0, .., ..])) {
        assert_eq!(*class, if *pixel == 0.0 { outside } else { *pixel });
    }
    (down, right)
}

#[test]
fn a_crop_is_any_part_of_the_padded_image() {
    let crop = augmented(1).crop(2).unwrap();
    let mut seen = std::collections::BTreeMap::new();
    for number in 0..1000 {
        *seen.entry(check_shift(&crop, epoch(number), 0.0)).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 25, "{seen:?}"); // -2 to 2, both ways
    assert!(seen.values().all(|&count| (15..70).contains(&count)), "{seen:?}");
    let plain = planes(&images(1), 0, None);
    let none = augmented(1).crop(0).unwrap().shift(0.1).unwrap().rotate(0.0).unwrap(); // a tenth of 4 pixels is none
    assert!((0..20).all(|number| planes(&none, 0, epoch(number)) == plain));
}

#[test]
fn a_shift_goes_as_far_as_its_fraction() {
    let shift = augmented(1).shift(0.5).unwrap().outside_mask(99);
    let seen: std::collections::BTreeSet<_> =
        (0..600).map(|number| check_shift(&shift, epoch(number), 99.0)).collect();
    let (down, right): (Vec<_>, Vec<_>) = seen.iter().copied().unzip();
    assert_eq!((down.iter().min(), down.iter().max()), (Some(&-2), Some(&2))); // half of 3, rounded
    assert_eq!((right.iter().min(), right.iter().max()), (Some(&-2), Some(&2)));
    // Beyond the border there is nothing left.
    let all = augmented(1).shift(1.0).unwrap().outside_mask(9);
    let gone = (0..600)
        .map(|number| planes(&all, 0, epoch(number)))
        .filter(|(image, _)| image.iter().all(|&v| v == 0.0));
    assert!(gone.filter(|(_, mask)| mask.iter().all(|&class| class == 9.0)).count() > 50);
}

/// An image of 1×5×5 and its mask, turned by what `rotate` draws. The angle is read off the centre of mass.
#[test]
fn a_rotation_turns_about_the_centre() {
    let mut image = Array4::<f32>::zeros((1, 1, 21, 21));
    image[[0, 0, 10, 17]] = 1.0; // 7 to the right of the centre
    let mask = image.map(|&value| value as u8 * 3);
    let samples = TensorDataset::new().with("images", &image).unwrap().with("masks", &mask).unwrap();
    let samples = samples.with_indices("masks").unwrap();
    let turned = Augmented::new(&samples, &["images", "masks"]).unwrap().rotate(90.0).unwrap();
    let angle = |values: &[f32]| {
        let mass: f32 = values.iter().sum();
        let mean = |of: fn(usize) -> usize| {
            values.iter().enumerate().map(|(at, &value)| value * of(at) as f32).sum::<f32>() / mass - 10.0
        };
        (-mean(|at| at / 21)).atan2(mean(|at| at % 21)).to_degrees()
    };
    let mut angles = Vec::new();
    for number in 0..300 {
        let image = real(&turned, 0, 0, epoch(number));
        let mask: Vec<f32> = index(&turned, 0, 1, epoch(number)).iter().map(|&class| class as f32).collect();
        assert!(
            mask.iter().all(|class| [0.0, 3.0].contains(class))
                && image.iter().all(|v| (0.0..=1.0).contains(v))
        );
        assert!((image.iter().sum::<f32>() - 1.0).abs() < 0.35);
        angles.push(angle(&image));
        if mask.contains(&3.0) {
            assert!((angle(&mask) - angle(&image)).abs() < 8.0, "{number}");
        }
    }
    let (least, most) =
        angles.iter().fold((0f32, 0f32), |(least, most), &angle| (least.min(angle), most.max(angle)));
    assert!((-93.0..-80.0).contains(&least) && (80.0..93.0).contains(&most), "{least} to {most}");
    let mean = angles.iter().sum::<f32>() / 300.0;
    assert!(mean.abs() < 12.0, "{mean}"); // a deviation of 52 / √300 = 3
}

#[test]
fn what_is_erased_is_a_rectangle() {
    let bright = Dataset::new(vec![255; 3 * 20 * 30], [3, 20, 30], vec![0], 1).unwrap();
    let samples = Augmented::new(&bright, &["images"]).unwrap().erase(0.5).unwrap();
    let (mut erased, mut areas) = (0, Vec::new());
    for number in 0..400 {
        let image = Array3::from_shape_vec((3, 20, 30), real(&samples, 0, 0, epoch(number))).unwrap();
        let black: Vec<_> =
            image.indexed_iter().filter(|(_, value)| **value == 0.0).map(|(at, _)| at).collect();
        assert!(image.iter().all(|&value| value == 0.0 || value == 1.0));
        let Some(&(_, top, left)) = black.first() else { continue };
        let &(_, bottom, right) = black.last().unwrap();
        let area = (bottom - top + 1) * (right - left + 1);
        assert_eq!(black.len(), 3 * area);
        let aspect = (bottom - top + 1) as f64 / (right - left + 1) as f64;
        assert!((0.2..5.0).contains(&aspect), "{aspect}");
        erased += 1;
        areas.push(area as f64 / 600.0);
    }
    assert!((160..240).contains(&erased), "{erased}");
    assert!(areas.iter().all(|area| (0.015..0.35).contains(area)), "{areas:?}");
    let masks = augmented(1).erase(1.0).unwrap();
    assert!((0..20).all(|number| planes(&masks, 0, epoch(number)).1 == planes(&images(1), 0, None).1));
}

fn every_transform(samples: usize) -> Result<Augmented<TensorDataset>> {
    let chosen = Augmented::new(images(samples), &["images"])?;
    chosen
        .crop(1)?
        .flip_horizontal(0.5)?
        .flip_vertical(0.5)?
        .shift(0.3)?
        .rotate(20.0)?
        .erase(0.3)?
        .mixup(0.4, "labels", 3)
}

#[test]
fn a_draw_decides_everything_whatever_the_order_and_the_thread() {
    let samples = every_transform(30).unwrap();
    let all = |order: &mut dyn Iterator<Item = usize>| {
        let mut read: Vec<_> = order
            .map(|sample| (sample, [0, 2].map(|field| real(&samples, sample, field, Some(DRAW)))))
            .collect();
        read.sort_by_key(|(sample, _)| *sample);
        read
    };
    let once = all(&mut (0..30));
    assert_eq!(all(&mut (0..30).rev()), once);
    assert_eq!(std::thread::scope(|scope| scope.spawn(|| all(&mut (0..30))).join().unwrap()), once);
    // Of a subset, a sample is what it is among all.
    let some = Subset::new(&samples, vec![7, 3]).unwrap();
    assert_eq!(real(&some, 1, 0, Some(DRAW)), once[3].1[0]);
    for other in [Draw { epoch: 4, ..DRAW }, Draw { seed: 43, ..DRAW }, Draw { seed: 3, epoch: 42 }] {
        let same =
            (0..30).filter(|&sample| real(&samples, sample, 0, Some(other)) == once[sample].1[0]).count();
        assert!(same < 3, "{same} images are the same for {other:?}");
    }
}

#[test]
fn without_a_draw_samples_are_as_they_are() {
    let samples = every_transform(5).unwrap();
    for sample in 0..5 {
        assert_eq!(real(&samples, sample, 0, None), real(&images(5), sample, 0, None));
        let one_hot: Vec<f32> = (0..3).map(|class| if sample % 3 == class { 1.0 } else { 0.0 }).collect();
        assert_eq!(real(&samples, sample, 2, None), one_hot);
    }
    assert_eq!(samples.fields()[2], Field::real("labels", [3]));
    assert_eq!(index(&samples, 1, 1, Some(DRAW)), index(&images(5), 1, 1, None)); // a field that was not chosen
}

#[test]
fn one_augmentation_inside_another_draws_numbers_of_its_own() {
    let inside = augmented(1).flip_horizontal(0.5).unwrap();
    let outside = Augmented::new(&inside, &["images"]).unwrap().flip_horizontal(0.5).unwrap();
    let plain = planes(&images(1), 0, None).0;
    let unflipped = (0..200).filter(|&number| planes(&outside, 0, epoch(number)).0 == plain).count();
    assert!((70..130).contains(&unflipped), "{unflipped}"); // with the same draws, 200
}

#[test]
fn a_mixup_mixes_images_and_labels_alike() {
    // Sample n is n everywhere, with class n: so an image says what was mixed, and how.
    let samples = 6;
    let data = TensorDataset::new()
        .with("images", &Array4::from_shape_fn((samples, 1, 2, 2), |(n, ..)| (1 << n) as f32))
        .unwrap()
        .with("labels", &Array1::from_iter(0..samples))
        .unwrap()
        .with_class_names(["a", "b", "c", "d", "e", "f"])
        .unwrap();
    for alpha in [0.2, 1.0, 4.0] {
        let mixed = Augmented::new(&data, &["images"]).unwrap().mixup(alpha, "labels", samples).unwrap();
        assert_eq!(mixed.class_names(), data.class_names());
        let (mut shares, mut partners) = (Vec::new(), [0; 6]);
        for number in 0..1000 {
            let sample = number as usize % samples;
            let image = real(&mixed, sample, 0, epoch(number));
            let classes = real(&mixed, sample, 1, epoch(number));
            assert!((classes.iter().sum::<f32>() - 1.0).abs() < 1e-6 && classes.iter().all(|&p| p >= 0.0));
            assert!(classes.iter().filter(|&&p| p > 0.0).count() <= 2);
            let expected: f32 = classes.iter().enumerate().map(|(class, p)| p * (1 << class) as f32).sum();
            assert!(image.iter().all(|value| (value - expected).abs() < 1e-4), "{image:?}, {classes:?}");
            let other = classes.iter().enumerate().find(|&(class, &p)| class != sample && p > 0.0);
            shares.extend(other.map(|(_, &p)| f64::from(p)));
            other.iter().for_each(|(class, _)| partners[*class] += 1);
        }
        // Beta(α, α) has the mean 1/2 and the variance 1 / (8α + 4).
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        let variance = shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / shares.len() as f64;
        assert!((mean - 0.5).abs() < 0.06, "{alpha}: {mean}");
        let expected = 1.0 / (8.0 * alpha + 4.0);
        assert!((variance / expected - 1.0).abs() < 0.15, "{alpha}: {variance}, not {expected}");
        assert!(partners.iter().all(|&count| count > 80), "{partners:?}");
    }
}

#[test]
fn what_cannot_be_augmented_is_refused() {
    let data = images(3);
    assert_setting_error(Augmented::new(&data, &[]), "fields", &["none"]);
    assert_setting_error(Augmented::new(&data, &["image"]), "field", &["images"]);
    assert_setting_error(Augmented::new(&data, &["labels"]), "labels", &["index []", "height, width"]);
    let other = data.clone().with("small", &Array4::<f32>::zeros((3, 2, 3, 3))).unwrap();
    assert_setting_error(
        Augmented::new(&other, &["images", "small"]),
        "small",
        &["[2, 3, 3]", "images is [2, 3, 4]"],
    );
    let empty = TensorDataset::new().with("x", &Array4::<f32>::zeros((3, 2, 0, 3))).unwrap();
    assert_setting_error(Augmented::new(&empty, &["x"]), "x", &["[2, 0, 3]"]);

    let plain = || Augmented::new(&data, &["images"]).unwrap();
    assert_setting_error(plain().crop(4), "padding", &["4 is given", "3 at most"]);
    for wrong in [-0.1, 1.1, f64::NAN] {
        assert_setting_error(plain().flip_horizontal(wrong), "probability", &["0 or more, and 1 at most"]);
        assert_setting_error(plain().flip_vertical(wrong), "probability", &["0 or more, and 1 at most"]);
        assert_setting_error(plain().erase(wrong), "probability", &["0 or more, and 1 at most"]);
        assert_setting_error(plain().shift(wrong), "fraction", &["0 or more, and 1 at most"]);
    }
    assert_setting_error(plain().rotate(181.0), "degrees", &["180 at most"]);
    assert_setting_error(plain().mixup(0.0, "labels", 3), "alpha", &["more than 0"]);
    assert_setting_error(plain().mixup(0.2, "labels", 0), "classes", &["1 or more"]);
    assert_setting_error(plain().mixup(0.2, "masks", 3), "masks", &["not one class"]);
    assert_setting_error(plain().mixup(0.2, "label", 3), "field", &["labels"]);
    let masks = Augmented::new(&data, &["images", "masks"]).unwrap().mixup(0.2, "labels", 3);
    assert_setting_error(masks, "mixup", &["masks is a mask"]);
    let few = plain().mixup(0.2, "labels", 2).unwrap();
    assert_setting_error(try_real(&few, 2, 2, None), "labels", &["sample 2 has label 2", "0 to 1"]);
    assert_setting_error(try_real(&plain(), 3, 0, None), "sample", &["3"]);
    assert_eq!(array![data.len()], array![3]);
}
