//! Some of the samples, and samples in two parts.

use super::{index, real};
use crate::common::assert_setting_error;
use dagrad::data::{Dataset, Samples, Slot, Subset, TensorDataset, mnist_5k};
use ndarray::{Array1, array};

/// So many samples, whose number is their only value, each with a class.
fn numbered(classes: &[u32]) -> TensorDataset {
    TensorDataset::new()
        .with("x", &Array1::from_iter((0..classes.len()).map(|number| number as f32)))
        .and_then(|samples| samples.with("labels", &Array1::from(classes.to_vec())))
        .unwrap()
}

/// The numbers of samples.
fn numbers(samples: &dyn Samples) -> Vec<usize> {
    (0..samples.len()).map(|sample| real(samples, sample, 0, None)[0] as usize).collect()
}

#[test]
fn a_subset_has_the_samples_that_are_named() {
    let all = numbered(&[0, 1, 0, 1]).with_class_names(["a", "b"]).unwrap();
    let some = Subset::new(&all, vec![3, 0, 3]).unwrap();
    assert_eq!(numbers(&some), [3, 0, 3]);
    assert_eq!(index(&some, 0, 1, None), [1]);
    assert_eq!((some.fields(), some.class_names()), (all.fields(), all.class_names()));
    assert_eq!(numbers(&Subset::new(&some, vec![1]).unwrap()), [0]);
    assert_setting_error(Subset::new(&all, vec![0, 4]), "indices", &["sample 4", "there are 4"]);
    assert_setting_error(some.write(3, 0, None, Slot::Real(&mut [0.0])), "sample", &["3"]);
}

#[test]
fn a_split_puts_every_sample_in_one_part() {
    let all = numbered(&[0; 100]);
    let [train, held] = Subset::split(&all, 0.07, 5).unwrap();
    assert_eq!((train.len(), held.len()), (93, 7));
    let (first, second) = (numbers(&train), numbers(&held));
    assert!(first.is_sorted() && second.is_sorted());
    let mut both = [first, second.clone()].concat();
    both.sort();
    assert!(both.into_iter().eq(0..100));
    let again = |seed| numbers(&Subset::split(&all, 0.07, seed).unwrap()[1]);
    assert_eq!(again(5), second);
    assert_ne!(again(6), second);
    assert_eq!(Subset::split(&all, 0.071, 5).unwrap()[1].len(), 8); // rounded up
    for fraction in [0.0, 1.0, -0.5, f64::NAN, f64::INFINITY] {
        assert_setting_error(Subset::split(&all, fraction, 0), "fraction", &["more than 0", "less than 1"]);
    }
    assert_setting_error(Subset::split(&all, 0.999, 0), "fraction", &["would be empty"]);
    assert_setting_error(Subset::split(numbered(&[]), 0.5, 0), "fraction", &["would be empty"]);
}

#[test]
fn classes_have_equal_shares_of_both_parts() {
    // 50, 30 and 20 samples, out of order.
    let classes: Vec<u32> = (0..100).map(|number| [0, 1, 2, 0, 1, 0, 1, 0, 2, 0][number * 7 % 10]).collect();
    let count = |samples: &Subset<&TensorDataset>, class| {
        (0..samples.len()).filter(|&sample| index(samples, sample, 1, None) == [class]).count()
    };
    let all = numbered(&classes);
    let [train, held] = Subset::split_by_class(&all, "labels", 0.3, 1).unwrap();
    assert_eq!([0, 1, 2].map(|class| count(&held, class)), [15, 9, 6]);
    assert_eq!([0, 1, 2].map(|class| count(&train, class)), [35, 21, 14]);
    // 25.5, 15.3 and 10.2: the largest remainders are rounded up.
    let [_, held] = Subset::split_by_class(&all, "labels", 0.51, 1).unwrap();
    assert_eq!([0, 1, 2].map(|class| count(&held, class)), [26, 15, 10]);
    assert_setting_error(Subset::split_by_class(&all, "x", 0.5, 1), "x", &["not one index"]);
    assert_setting_error(Subset::split_by_class(&all, "label", 0.5, 1), "field", &["labels"]);

    let digits = mnist_5k().unwrap().train;
    let split = digits.split(0.2, 9).unwrap();
    for (part, each) in [(&split.train, 320), (&split.test, 80)] {
        assert!((0..10).all(|class| part.labels().iter().filter(|&&label| label == class).count() == each));
    }
    let [train, _] = Subset::split_by_class(&digits, "labels", 0.2, 9).unwrap();
    assert!(
        (0..3200)
            .step_by(97)
            .all(|sample| real(&train, sample, 0, None) == real(&split.train, sample, 0, None))
    );
}

#[test]
fn a_part_of_a_dataset_is_a_dataset() {
    let all = Dataset::new(vec![0, 1, 2, 3, 4, 5], [1, 1, 2], vec![0, 1, 2], 3).unwrap();
    let all = all.with_class_names(["a", "b", "c"]).unwrap();
    let part = all.subset(&[2, 0, 2]).unwrap();
    let expected = Dataset::new(vec![4, 5, 0, 1, 4, 5], [1, 1, 2], vec![2, 0, 2], 3).unwrap();
    assert_eq!(part, expected.with_class_names(["a", "b", "c"]).unwrap());
    assert_setting_error(all.subset(&[3]), "indices", &["sample 3", "there are 3"]);
    assert_setting_error(all.clone().with_class_names(["a"]), "class_names", &["1 names for 3"]);
    assert_setting_error(all.split(2.0, 0), "fraction", &["2"]);
    assert_eq!(array![all.len()], array![3]);
}
