//! Direct convolution of NHWC images, against the definition in double precision.

use crate::common::*;
use dagrad_kernels::conv::Convolution;
use dagrad_kernels::conv::nhwc::{Direct, finish_weight_grad, nchw_to_nhwc, nhwc_to_nchw};
use dagrad_kernels::gemm::Epilogue;
use dagrad_kernels::pool::Pooling;
use dagrad_kernels::real::Real;
use dagrad_kernels::window::Window;
use dagrad_kernels::workers::Workers;

fn all() -> impl Iterator<Item = Convolution> {
    dense().into_iter().chain(others())
}

/// A window with more taps than are prepared at a time.
fn large() -> Convolution {
    convolution([2, 2, 2], [150, 65], [149, 64], [1, 1], [0, 0])
}

fn gated<T: Real>(value: f64, gate: T) -> f64 {
    if gate <= T::zero() { 0.0 } else { value }
}

/// Images in a row of weight sums.
const EVERY: usize = 2;

/// Compares the three directions with the definition.
fn check_all<T: Real>(sizes: &Convolution, workers: &Workers) {
    let what = format!("{} {} {sizes:?}", workers.isa().name(), T::NAME);
    let direct = Direct::new(sizes).unwrap();
    let [images, weights, outputs] = lengths(sizes);
    let (image, weight) = (numbers::<T>(images, 1), numbers::<T>(weights, 2));
    let (upstream, bias) = (numbers::<T>(outputs, 3), numbers::<T>(sizes.groups * sizes.filters, 4));
    let mut gate = numbers::<T>(images, 5);
    gate.iter_mut().step_by(7).for_each(|gate| *gate = T::nan());
    let mut out: Vec<f64> = (0..outputs).map(|at| bias[at % bias.len()].into_f64()).collect();
    let (mut image_out, mut weight_out) = (vec![0.0; images], vec![0.0; weights]);
    let rows = sizes.batch.div_ceil(EVERY);
    let mut sums_out = vec![0.0; rows * weights];
    products(sizes, true, |product| {
        let [n, sum] = product.sum;
        let [image, weight, upstream] =
            [image[product.image], weight[product.weight], upstream[product.output]].map(T::into_f64);
        out[product.output] += image * weight;
        image_out[product.image] += upstream * weight;
        weight_out[product.weight] += upstream * image;
        sums_out[n / EVERY * weights + sum] += upstream * image;
    });
    image_out.iter_mut().zip(&gate).for_each(|(out, &gate)| *out = gated(*out, gate));
    let mut prepared = vec![T::nan(); direct.prepared()];
    direct.prepare(&weight, &mut prepared, workers);
    check::<T>(
        &format!("forward {what}"),
        &out,
        rounding(weights / (sizes.groups * sizes.filters).max(1)),
        |out| {
            let epilogue = Epilogue { bias: Some(&bias), relu: false };
            direct.forward(&image, &prepared, epilogue, out, workers);
        },
    );
    let mut prepared = vec![T::nan(); direct.prepared_input_grad()];
    direct.prepare_input_grad(&weight, &mut prepared, workers);
    check::<T>(&format!("image adjoint {what}"), &image_out, rounding(weights), |out| {
        direct.input_grad(&prepared, &upstream, Some(&gate), out, workers);
    });
    let terms = rounding(outputs / (sizes.groups * sizes.filters).max(1));
    let mut sums = vec![T::nan(); rows * weights];
    check::<T>(&format!("weight sums {what}"), &sums_out, terms, |out| {
        direct.weight_grad_sums(&image, &upstream, EVERY, out, workers);
        sums.copy_from_slice(out);
    });
    check::<T>(&format!("finished weight sums {what}"), &weight_out, terms, |out| {
        finish_weight_grad(sizes, rows, &sums, out, workers);
    });
}

#[test]
fn all_directions_do_what_their_definition_says() {
    for workers in &pools(2) {
        for sizes in all() {
            check_all::<f32>(&sizes, workers);
            check_all::<f64>(&sizes, workers);
        }
    }
    let workers = Workers::new(2).unwrap();
    check_all::<f32>(&banded(), &workers);
    check_all::<f64>(&large(), &workers);
}

/// What all three directions compute, one after the other.
fn all_outputs<T: Real>(sizes: &Convolution, workers: &Workers) -> Vec<T> {
    let direct = Direct::new(sizes).unwrap();
    let [images, weights, outputs] = lengths(sizes);
    let (image, weight) = (numbers::<T>(images, 1), numbers::<T>(weights, 2));
    let (upstream, bias) = (numbers::<T>(outputs, 3), numbers::<T>(sizes.groups * sizes.filters, 4));
    let (mut out, mut image_out) = (vec![T::nan(); outputs], vec![T::nan(); images]);
    let mut sums = vec![T::nan(); sizes.batch.div_ceil(EVERY) * weights];
    let mut prepared = vec![T::nan(); direct.prepared()];
    direct.prepare(&weight, &mut prepared, workers);
    let epilogue = Epilogue { bias: Some(&bias), relu: true };
    direct.forward(&image, &prepared, epilogue, &mut out, workers);
    let mut adjoint = vec![T::nan(); direct.prepared_input_grad()];
    direct.prepare_input_grad(&weight, &mut adjoint, workers);
    direct.input_grad(&adjoint, &upstream, None, &mut image_out, workers);
    direct.weight_grad_sums(&image, &upstream, EVERY, &mut sums, workers);
    let mut finished = vec![T::nan(); weights];
    finish_weight_grad(sizes, sizes.batch.div_ceil(EVERY), &sums, &mut finished, workers);
    [out, image_out, sums, finished].concat()
}

#[test]
fn neither_threads_nor_registers_change_a_bit() {
    let pools = different_pools();
    for sizes in all().chain([banded()]) {
        let bits =
            |pool| -> Vec<u32> { all_outputs::<f32>(&sizes, pool).into_iter().map(f32::to_bits).collect() };
        let expected = bits(&pools[0]);
        for pool in &pools {
            assert!(bits(pool) == expected, "{} {sizes:?}", pool.isa().name());
        }
    }
}

#[test]
fn an_image_alone_comes_out_as_it_does_in_its_batch() {
    let workers = Workers::new(2).unwrap();
    let sizes = convolution([3, 5, 18], [21, 13], [3, 3], [2, 1], [1, 1]);
    let one = Convolution { batch: 1, ..sizes };
    let (direct, alone) = (Direct::new(&sizes).unwrap(), Direct::new(&one).unwrap());
    let [images, weights, outputs] = lengths(&sizes);
    let (image, weight) = (numbers::<f32>(images, 1), numbers::<f32>(weights, 2));
    let mut prepared = vec![0.0; direct.prepared()];
    direct.prepare(&weight, &mut prepared, &workers);
    let mut out = vec![f32::NAN; outputs];
    direct.forward(&image, &prepared, Epilogue::default(), &mut out, &workers);
    for (image, expected) in image.chunks_exact(images / 3).zip(out.chunks_exact(outputs / 3)) {
        let mut out = vec![f32::NAN; outputs / 3];
        alone.forward(image, &prepared, Epilogue::default(), &mut out, &workers);
        assert_eq!(out, expected);
    }
}

#[test]
fn relu_of_the_epilogue_lets_nan_pass() {
    let direct = Direct::new(&convolution([1, 1, 2], [1, 3], [1, 1], [1, 1], [0, 0])).unwrap();
    for workers in &pools(1) {
        let (mut prepared, mut out) = (vec![0.0; direct.prepared()], [9.0f32; 6]);
        direct.prepare(&[1.0, 1.0], &mut prepared, workers);
        let epilogue = Epilogue { bias: Some(&[1.0, -1.0]), relu: true };
        direct.forward(&[f32::NAN, 0.5, -3.0], &prepared, epilogue, &mut out, workers);
        assert!(out[0].is_nan() && out[1].is_nan());
        assert_eq!(out[2..], [1.5, 0.0, 0.0, 0.0]);
    }
}

#[test]
fn subnormal_results_become_zero() {
    let workers = Workers::new(1).unwrap();
    let sizes = convolution([1, 1, 1], [1, 2], [1, 1], [1, 1], [0, 0]);
    let direct = Direct::new(&sizes).unwrap();
    let (mut prepared, mut out, mut sums) = (vec![0.0; direct.prepared()], [9.0f32; 2], [9.0f32]);
    direct.prepare(&[0.5], &mut prepared, &workers);
    direct.forward(&[f32::MIN_POSITIVE, 1.0], &prepared, Epilogue::default(), &mut out, &workers);
    assert_eq!(out, [0.0, 0.5]);
    direct.weight_grad_sums(&[f32::MIN_POSITIVE, 0.0], &[0.5, 0.5], 1, &mut sums, &workers);
    assert_eq!(sums, [0.0]);
}

#[test]
fn layouts_change_there_and_back() {
    let workers = Workers::new(2).unwrap();
    for [batch, channels, pixels] in [[2, 3, 35], [3, 17, 1], [1, 1, 40], [2, 33, 50], [0, 3, 4], [2, 0, 4]] {
        let first = numbers::<f32>(batch * channels * pixels, 1);
        let mut last = vec![f32::NAN; first.len()];
        nchw_to_nhwc(batch, channels, pixels, &first, &mut last, &workers);
        for (index, &number) in last.iter().enumerate() {
            let (pixel, channel) = (index / channels, index % channels);
            assert_eq!(number, first[(pixel / pixels * channels + channel) * pixels + pixel % pixels]);
        }
        let mut back = vec![f32::NAN; first.len()];
        nhwc_to_nchw(batch, channels, pixels, &last, &mut back, &workers);
        assert_eq!(back, first);
    }
}

/// Compares a convolution that pools with one that is pooled afterwards, bit for bit.
fn check_pooled<T: Real>(sizes: &Convolution, relu: bool, workers: &Workers) {
    let what = format!("{} {} {sizes:?}", workers.isa().name(), T::NAME);
    let direct = Direct::new(sizes).unwrap();
    let (batch, filters, output) = (sizes.batch, sizes.groups * sizes.filters, sizes.output);
    let [images, weights, outputs] = lengths(sizes);
    // Of numbers with few digits many sums are equal.
    let coarse = |number: T| (number * T::of(4.0)).round();
    let mut image: Vec<T> = numbers(images, 1).into_iter().map(coarse).collect();
    image.iter_mut().skip(3).step_by(61).for_each(|pixel| *pixel = T::nan());
    let weight: Vec<T> = numbers(weights, 2).into_iter().map(coarse).collect();
    let bias = numbers::<T>(filters, 4);
    let mut prepared = vec![T::nan(); direct.prepared()];
    direct.prepare(&weight, &mut prepared, workers);
    let epilogue = Epilogue { bias: Some(&bias), relu };
    let mut whole = vec![T::zero(); outputs];
    direct.forward(&image, &prepared, epilogue, &mut whole, workers);

    let window = Window::new([2; 2], [2; 2], [0; 2]);
    let pooling = Pooling { plane: output, output: output.map(|size| size / 2), window };
    let count = batch * pooling.output[0] * pooling.output[1] * filters;
    let (mut expected, mut expected_indices) = (vec![T::zero(); count], vec![0; count]);
    pooling.max_nhwc(filters, &whole, &mut expected, Some(&mut expected_indices), workers);

    let expected: Vec<T> = expected;
    let is_same = |maxima: &[T]| {
        maxima.iter().zip(&expected).all(|(a, b)| a.to_index() == b.to_index() || a.is_nan() && b.is_nan())
    };
    let (mut maxima, mut positions) = (vec![T::zero(); count], vec![u32::MAX; count]);
    direct.forward_pooled(&image, &prepared, epilogue, &mut maxima, Some(&mut positions), workers);
    assert!(is_same(&maxima), "{what}");
    assert_eq!(positions, expected_indices, "{what}");
    maxima.fill(T::zero());
    direct.forward_pooled(&image, &prepared, epilogue, &mut maxima, None, workers);
    assert!(is_same(&maxima), "without positions {what}");
}

#[test]
fn pooling_on_the_way_out_is_pooling_afterwards() {
    for workers in &pools(2) {
        for sizes in
            all().chain([banded()]).filter(|sizes| sizes.batch > 0 && Direct::new(sizes).unwrap().pools())
        {
            for relu in [false, true] {
                check_pooled::<f32>(&sizes, relu, workers);
                check_pooled::<f64>(&sizes, relu, workers);
            }
        }
    }
}
