//! The reference, im2col, and the choice of a kernel.

use crate::common::*;
use dagrad_kernels::conv::{Choice, Convolution, WinogradUse, select};
use dagrad_kernels::gemm::Epilogue;
use dagrad_kernels::real::Real;
use dagrad_kernels::window::Window;
use dagrad_kernels::workers::Workers;

/// A window of which not even one row of positions fits a thread's scratch.
fn oversized() -> Convolution {
    convolution([2, 1, 2], [1500, 1650], [1449, 1648], [1, 1], [0, 0])
}

fn all() -> impl Iterator<Item = Convolution> {
    dense().into_iter().chain(others())
}

/// Compares the three directions with the definition.
fn check_all<T: Real>(sizes: &Convolution, workers: &Workers) {
    let what = format!("{} {} {sizes:?}", workers.isa().name(), T::NAME);
    let [images, weights, outputs] = lengths(sizes);
    let (image, weight) = (numbers::<T>(images, 1), numbers::<T>(weights, 2));
    let (upstream, bias) = (numbers::<T>(outputs, 3), numbers::<T>(sizes.groups * sizes.filters, 4));
    let plane = sizes.output[0] * sizes.output[1];
    let mut out: Vec<f64> = (0..outputs).map(|at| bias[at / plane % bias.len()].into_f64()).collect();
    let (mut image_out, mut weight_out) = (vec![0.0; images], vec![0.0; weights]);
    products(sizes, false, |product| {
        out[product.output] += image[product.image].into_f64() * weight[product.weight].into_f64();
        image_out[product.image] += upstream[product.output].into_f64() * weight[product.weight].into_f64();
        weight_out[product.weight] += upstream[product.output].into_f64() * image[product.image].into_f64();
    });
    check::<T>(&format!("forward {what}"), &out, rounding(weights), |out| {
        let epilogue = Epilogue { bias: Some(&bias), relu: false };
        sizes.forward(&image, &weight, epilogue, out, workers);
    });
    check::<T>(&format!("image adjoint {what}"), &image_out, rounding(weights), |out| {
        sizes.input_grad(&weight, &upstream, out, workers);
    });
    check::<T>(&format!("weight adjoint {what}"), &weight_out, rounding(sizes.batch * plane), |out| {
        sizes.weight_grad(&image, &upstream, out, workers);
    });
}

/// Sums of more than 2¹² products, which are computed in parts: over channels, over filters, and over positions.
fn long() -> [Convolution; 3] {
    [
        convolution([1, 460, 2], [4, 5], [3, 3], [1, 1], [1, 0]),
        convolution([1, 2, 920], [5, 4], [3, 3], [2, 1], [0, 1]),
        convolution([2, 1, 1], [70, 60], [3, 2], [1, 1], [1, 1]),
    ]
}

#[test]
fn the_reference_does_what_its_definition_says() {
    let workers = Workers::new(2).unwrap();
    for sizes in all().chain(long()) {
        check_all::<f32>(&sizes, &workers);
        check_all::<f64>(&sizes, &workers);
    }
}

/// The three directions one after the other, in one vector.
fn all_outputs<T: Real>(sizes: &Convolution, workers: &Workers) -> [Vec<T>; 3] {
    let [images, weights, outputs] = lengths(sizes);
    let (image, weight) = (numbers::<T>(images, 1), numbers::<T>(weights, 2));
    let upstream = numbers::<T>(outputs, 3);
    let mut all = [outputs, images, weights].map(|count| vec![T::nan(); count]);
    sizes.forward(&image, &weight, Epilogue::default(), &mut all[0], workers);
    sizes.input_grad(&weight, &upstream, &mut all[1], workers);
    sizes.weight_grad(&image, &upstream, &mut all[2], workers);
    all
}

#[test]
fn threads_do_not_change_a_bit() {
    let pools = different_pools();
    for sizes in all() {
        let expected = all_outputs::<f32>(&sizes, &pools[0]);
        for pool in &pools {
            assert!(all_outputs::<f32>(&sizes, pool) == expected, "{sizes:?}");
        }
    }
}

#[test]
fn adjoints_are_adjoint() {
    let workers = Workers::new(2).unwrap();
    for sizes in all() {
        let [images, weights, outputs] = lengths(&sizes);
        let [out, image_out, weight_out] = all_outputs::<f64>(&sizes, &workers);
        let product = dot(&out, &numbers(outputs, 3));
        let near = |other: f64| (product - other).abs() <= 1e-12 * (1.0 + product.abs());
        assert!(near(dot(&image_out, &numbers(images, 1))), "image {sizes:?}");
        assert!(near(dot(&weight_out, &numbers(weights, 2))), "weight {sizes:?}");
    }
}

#[test]
fn columns_hold_the_patches_and_col2im_is_their_adjoint() {
    let workers = Workers::new(2).unwrap();
    for sizes in all().filter(|sizes| sizes.groups == 1) {
        let Convolution { batch, channels, output, window, .. } = sizes;
        let (plane, taps) = (output[0] * output[1], channels * window.kernel[0] * window.kernel[1]);
        let image = numbers::<f64>(lengths(&sizes)[0], 1);
        let mut expected = vec![0.0; batch * plane * taps];
        products(&Convolution { filters: 1, ..sizes }, false, |product| {
            expected[product.output * taps + product.weight] = image[product.image];
        });
        let mut found = vec![f64::NAN; expected.len()];
        sizes.im2col(&image, &mut found, &workers);
        assert_eq!(found, expected, "{sizes:?}");
        let columns = numbers::<f64>(expected.len(), 2);
        let mut back = vec![f64::NAN; image.len()];
        sizes.col2im(&columns, &mut back, &workers);
        let (one, two) = (dot(&found, &columns), dot(&image, &back));
        assert!((one - two).abs() <= 1e-12 * (1.0 + one.abs()), "{sizes:?}");
    }
}

#[test]
fn relu_of_the_epilogue_lets_nan_pass() {
    let workers = Workers::new(1).unwrap();
    let sizes = convolution([1, 1, 2], [1, 3], [1, 1], [1, 1], [0, 0]);
    let mut out = [9.0f32; 6];
    let epilogue = Epilogue { bias: Some(&[1.0, -1.0]), relu: true };
    let image = [f32::NAN, 0.5, -3.0];
    sizes.forward(&image, &[1.0, 1.0], epilogue, &mut out, &workers);
    assert!(out[0].is_nan() && out[3].is_nan());
    assert_eq!([out[1], out[2], out[4], out[5]], [1.5, 0.0, 0.0, 0.0]);
}

#[test]
fn each_case_has_its_kernel() {
    let name = |sizes: &Convolution, winograd| match select(sizes, winograd) {
        Choice::Winograd(_) => "winograd",
        Choice::Direct(_) => "direct",
        Choice::Reference => "reference",
    };
    let [paying, possible, never] =
        [WinogradUse::WherePaying, WinogradUse::WherePossible, WinogradUse::Never];
    let wide = convolution([100, 16, 16], [28, 28], [3, 3], [1, 1], [1, 1]);
    let few = Convolution { batch: 1, ..wide };
    assert_eq!([paying, possible, never].map(|wish| name(&wide, wish)), ["winograd", "winograd", "direct"]);
    assert_eq!([paying, possible, never].map(|wish| name(&few, wish)), ["direct", "winograd", "direct"]);
    let strided = convolution([100, 16, 16], [28, 28], [3, 3], [2, 2], [1, 1]);
    let narrow = Convolution { channels: 7, ..wide };
    let grouped = attributed(2, [1, 1], [1, 1], wide);
    let dilated = attributed(1, [2, 2], [2, 2], convolution([100, 16, 16], [28, 28], [3, 3], [1, 1], [2, 2]));
    let empty = Convolution { batch: 0, ..wide };
    for sizes in [strided, narrow, grouped, dilated, empty] {
        assert_eq!(name(&sizes, paying), "direct", "{sizes:?}");
    }
    for sizes in all() {
        assert_eq!(name(&sizes, never), "direct", "{sizes:?}");
    }
    assert_eq!(name(&oversized(), paying), "reference");
    let far = Window { kernel: [1, 1], padding: [1 << 40, 1], padding_after: [1 << 40, 1], ..wide.window };
    let far = Convolution { output: far.output_size([5, 9]).unwrap(), image: [5, 9], window: far, ..wide };
    assert_eq!(name(&far, paying), "direct");
    let immense = convolution([1, 1, 1], [1 << 40, 9], [1 << 39, 3], [1, 1], [0, 0]);
    assert_eq!(name(&immense, paying), "reference");
}
