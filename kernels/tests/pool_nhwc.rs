//! Against the kernels on planes.

use crate::common::pools;
use dagrad_kernels::conv::nhwc::{nchw_to_nhwc, nhwc_to_nchw};
use dagrad_kernels::pool::Pooling;
use dagrad_kernels::real::Real;
use dagrad_kernels::window::Window;
use dagrad_kernels::workers::Workers;

fn poolings() -> Vec<Pooling> {
    let pooling = |plane, kernel, stride, padding| {
        let window = Window::new(kernel, stride, padding);
        Pooling { plane, output: window.output_size(plane).unwrap(), window }
    };
    vec![
        pooling([4, 6], [2, 2], [2, 2], [0, 0]),
        pooling([5, 7], [2, 2], [2, 2], [0, 0]),
        pooling([5, 6], [2, 2], [1, 1], [0, 0]),
        pooling([7, 9], [3, 2], [2, 3], [1, 1]),
        pooling([7, 8], [2, 1], [3, 4], [0, 0]),
        pooling([9, 11], [5, 6], [1, 2], [2, 3]),
        pooling([6, 7], [6, 7], [1, 1], [0, 0]),
        pooling([6, 5], [3, 3], [3, 3], [1, 1]),
        pooling([1, 1], [1, 1], [1, 1], [0, 0]),
        pooling([60, 40], [3, 2], [1, 1], [1, 0]),
    ]
}

/// Few different numbers, so that many are equal, some of them not numbers.
fn numbers<T: Real>(count: usize) -> Vec<T> {
    let number = |i: usize| match i * 7919 % 31 {
        0 => f64::NAN,
        1 => f64::NEG_INFINITY,
        2 => -0.0,
        n => (n % 5) as f64 - 2.0,
    };
    (0..count).map(|i| T::of(number(i / 3 * 5 + i % 7))).collect()
}

/// Equal bit by bit, but for which NaN it is.
fn same<T: Real>(a: &[T], b: &[T]) -> bool {
    let same =
        |(a, b): (&T, &T)| a.is_nan() && b.is_nan() || a == b && a.is_sign_negative() == b.is_sign_negative();
    a.len() == b.len() && a.iter().zip(b).all(same)
}

fn check<T: Real>(pooling: &Pooling, channels: usize, workers: &Workers) {
    const BATCH: usize = 3;
    let [area, pooled] = [pooling.area(), pooling.pooled()];
    let what = format!("{} {channels} {pooling:?}", T::NAME);
    let last = numbers::<T>(BATCH * channels * area);
    let mut first = vec![T::nan(); last.len()];
    nhwc_to_nchw(BATCH, channels, area, &last, &mut first, workers);
    let outputs = BATCH * channels * pooled;
    let transposed = |from: &[T], pixels: usize| {
        let mut to = vec![T::nan(); from.len()];
        nchw_to_nhwc(BATCH, channels, pixels, from, &mut to, workers);
        to
    };
    let (mut indices, mut values, mut adjoint) =
        (vec![u32::MAX; outputs], vec![T::nan(); outputs], vec![T::nan(); first.len()]);
    pooling.argmax(&first, &mut indices, workers);
    pooling.take(&first, &indices, &mut values, workers);
    pooling.put(&values, &indices, &mut adjoint, workers);

    let mut found = vec![u32::MAX; outputs];
    let (mut taken, mut maxima) = (vec![T::nan(); outputs], vec![T::nan(); outputs]);
    let mut put = vec![T::nan(); last.len()];
    pooling.max_nhwc(channels, &last, &mut [], Some(&mut found), workers);
    let numbers: Vec<T> = indices.iter().map(|&index| T::of(f64::from(index))).collect();
    let expected: Vec<u32> =
        transposed(&numbers, pooled).iter().map(|index| index.into_f64() as u32).collect();
    assert_eq!(found, expected, "{what}");
    pooling.take_nhwc(channels, &last, &found, &mut taken, workers);
    assert!(same(&taken, &transposed(&values, pooled)), "{what}");
    pooling.put_nhwc(channels, &taken, &found, &mut put, workers);
    assert!(same(&put, &transposed(&adjoint, area)), "{what}");
    pooling.max_nhwc(channels, &last, &mut maxima, None, workers);
    assert!(same(&maxima, &taken), "{what}");
    (maxima, found) = (vec![T::zero(); outputs], vec![u32::MAX; outputs]);
    pooling.max_nhwc(channels, &last, &mut maxima, Some(&mut found), workers);
    assert!(same(&maxima, &taken) && found == expected, "{what}");
}

#[test]
fn the_layout_of_an_image_does_not_change_its_maxima() {
    for workers in pools(1).iter().chain(&pools(2)) {
        for pooling in poolings() {
            for channels in [1, 3, 5, 16, 30, 35] {
                check::<f32>(&pooling, channels, workers);
                check::<f64>(&pooling, channels, workers);
            }
        }
    }
}

#[test]
fn nothing_is_pooled_to_nothing() {
    let workers = Workers::new(1).unwrap();
    let pooling = poolings()[0];
    for channels in [0, 3] {
        pooling.max_nhwc::<f32>(channels, &[], &mut [], Some(&mut []), &workers);
        pooling.take_nhwc::<f32>(channels, &[], &[], &mut [], &workers);
        pooling.put_nhwc::<f32>(channels, &[], &[], &mut [], &workers);
    }
}
