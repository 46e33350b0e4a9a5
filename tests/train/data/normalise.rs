//! Mean 0 and standard deviation 1.

use super::{index, real};
use crate::common::assert_setting_error;
use dagrad::data::{ChannelStatistics, Dataset, Normalised, Samples, TensorDataset, mnist_5k};
use ndarray::{Array2, array};

#[test]
fn statistics_are_those_of_each_channel() {
    // Channel 0 has 0, 2, 4, 6 and channel 1 has 10, 10, 20, 20.
    let samples = TensorDataset::new()
        .with("x", &array![[[0.0, 2.0], [10.0, 10.0]], [[4.0, 6.0], [20.0, 20.0]]])
        .and_then(|samples| samples.with("labels", &array![1u8, 0]))
        .unwrap()
        .with_class_names(["a", "b"])
        .unwrap();
    let statistics = ChannelStatistics::of(&samples, "x").unwrap();
    assert_eq!(statistics, ChannelStatistics { mean: vec![3.0, 15.0], std: vec![5f32.sqrt(), 5.0] });
    let normal = Normalised::new(&samples, "x", &statistics).unwrap();
    let root = 5f32.sqrt();
    assert_eq!(real(&normal, 1, 0, None), [1.0 / root, 3.0 / root, 1.0, 1.0]);
    assert_eq!(index(&normal, 0, 1, None), [1]);
    assert_eq!(
        (normal.fields(), normal.class_names(), normal.len()),
        (samples.fields(), samples.class_names(), 2)
    );
    let given = ChannelStatistics { mean: vec![0.5, 1.0], std: vec![0.5, 0.25] };
    assert_eq!(real(&Normalised::new(&samples, "x", &given).unwrap(), 0, 0, None), [-1.0, 3.0, 36.0, 36.0]);
}

#[test]
fn numbers_far_from_0_keep_their_deviation() {
    let samples = TensorDataset::new()
        .with("x", &Array2::from_shape_fn((1000, 1), |(n, _)| 1e4 + (n % 2) as f64))
        .unwrap();
    assert_eq!(ChannelStatistics::of(&samples, "x").unwrap().std, [0.5]);
    let scalars = TensorDataset::new().with("x", &array![1.0, 3.0]).unwrap();
    let statistics = ChannelStatistics::of(&scalars, "x").unwrap();
    assert_eq!(statistics, ChannelStatistics { mean: vec![2.0], std: vec![1.0] });
    assert_eq!(real(&Normalised::new(scalars, "x", &statistics).unwrap(), 1, 0, None), [1.0]);
}

#[test]
fn what_is_measured_is_normal_afterwards() {
    let digits = mnist_5k().unwrap().test;
    let statistics = ChannelStatistics::of(&digits, "images").unwrap();
    let normal =
        ChannelStatistics::of(&Normalised::new(&digits, "images", &statistics).unwrap(), "images").unwrap();
    assert!(normal.mean[0].abs() < 1e-5 && (normal.std[0] - 1.0).abs() < 1e-5, "{normal:?}");
}

#[test]
fn what_cannot_be_normalised_is_refused() {
    let black = Dataset::new(vec![0; 4], [1, 2, 2], vec![0], 1).unwrap();
    let statistics = ChannelStatistics::of(&black, "images").unwrap();
    assert_setting_error(Normalised::new(&black, "images", &statistics), "std", &["0 is given", "or more"]);
    assert_setting_error(ChannelStatistics::of(&black, "labels"), "labels", &["not real numbers"]);
    assert_setting_error(ChannelStatistics::of(&black, "image"), "field", &["images"]);
    assert_setting_error(ChannelStatistics::of(&black.clone().take(0), "images"), "images", &["no numbers"]);
    let with = |mean, std| Normalised::new(&black, "images", &ChannelStatistics { mean, std });
    assert_setting_error(with(vec![0.0; 3], vec![1.0]), "mean", &["3 for the 1 channels"]);
    assert_setting_error(with(vec![0.0], vec![]), "std", &["0 for the 1 channels"]);
    assert_setting_error(with(vec![f32::NAN], vec![1.0]), "mean", &["NaN"]);
    assert_setting_error(with(vec![0.0], vec![f32::INFINITY]), "std", &["inf"]);
    assert_setting_error(with(vec![0.0], vec![-1.0]), "std", &["-1"]);
    let wild = TensorDataset::new().with("x", &array![1.0, f64::NAN]).unwrap();
    assert_setting_error(ChannelStatistics::of(&wild, "x"), "x", &["NaN"]);
}
