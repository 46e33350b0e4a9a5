//! Every direction on every instruction set, against the definition in double precision.

use super::*;

/// Numbers that look random, between −½ and ½.
fn numbers<T: Real>(count: usize, seed: u64) -> Vec<T> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f64 / (1u64 << 24) as f64 - 0.5
    };
    (0..count).map(|_| T::of(next())).collect()
}

fn convolution(
    [batch, channels, filters]: [usize; 3],
    image: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> Convolution {
    let window = Window::new(kernel, stride, padding);
    Convolution { batch, groups: 1, channels, filters, image, output: window.output_size(image).unwrap(), window }
}

/// All sorts: sizes that differ along all axes, windows as large as the picture or larger, strides that leave
/// pixels over or leave pixels out, more padding than the window covers, and none of something.
fn grid() -> Vec<Convolution> {
    vec![
        convolution([2, 3, 5], [7, 9], [3, 2], [1, 1], [0, 0]),
        convolution([1, 1, 1], [1, 1], [1, 1], [1, 1], [0, 0]),
        convolution([3, 2, 17], [6, 5], [6, 5], [1, 1], [0, 0]),
        convolution([2, 4, 3], [5, 8], [1, 1], [1, 1], [0, 0]),
        convolution([2, 2, 4], [9, 11], [3, 3], [2, 3], [1, 0]),
        convolution([2, 3, 2], [10, 13], [2, 3], [3, 5], [0, 2]),
        convolution([2, 2, 3], [4, 3], [2, 3], [1, 2], [3, 4]),
        convolution([1, 2, 3], [3, 2], [5, 4], [1, 1], [1, 1]),
        convolution([1, 2, 2], [2, 3], [1, 2], [4, 3], [5, 6]),
        convolution([5, 16, 33], [12, 11], [5, 5], [1, 1], [2, 2]),
        convolution([19, 1, 30], [8, 28], [5, 5], [1, 1], [0, 0]),
        convolution([1, 40, 20], [32, 34], [3, 3], [1, 1], [1, 1]),
        convolution([25, 2, 3], [24, 25], [2, 3], [1, 1], [0, 0]),
        convolution([0, 2, 3], [5, 6], [3, 3], [1, 1], [1, 1]),
        convolution([2, 0, 3], [5, 6], [3, 3], [2, 1], [1, 1]),
        convolution([2, 2, 0], [5, 6], [3, 3], [1, 2], [1, 1]),
    ]
}

/// The same with other attributes: groups, dilation, and padding after the last pixel.
fn attributed() -> Vec<Convolution> {
    let with = |groups: usize, dilation: [usize; 2], padding_after: [usize; 2], sizes: Convolution| {
        let window = Window { dilation, padding_after, ..sizes.window };
        Convolution { groups, output: window.output_size(sizes.image).unwrap(), window, ..sizes }
    };
    vec![
        with(1, [2, 3], [0, 0], convolution([2, 3, 5], [7, 9], [3, 2], [1, 1], [0, 0])),
        with(1, [3, 2], [2, 1], convolution([2, 2, 3], [11, 9], [3, 4], [2, 3], [1, 0])),
        with(1, [2, 4], [1, 3], convolution([1, 2, 3], [12, 13], [3, 3], [4, 2], [2, 2])),
        with(1, [6, 4], [0, 5], convolution([2, 1, 2], [17, 16], [3, 2], [4, 6], [5, 0])),
        with(1, [1, 1], [2, 0], convolution([2, 3, 4], [6, 5], [2, 4], [2, 1], [0, 3])),
        with(3, [1, 1], [0, 0], convolution([2, 2, 4], [6, 5], [3, 2], [1, 1], [0, 0])),
        with(4, [1, 1], [1, 1], convolution([2, 1, 1], [8, 7], [3, 3], [2, 1], [1, 1])),
        with(2, [2, 1], [2, 0], convolution([3, 3, 1], [9, 6], [3, 2], [1, 2], [2, 1])),
        with(33, [1, 2], [1, 2], convolution([1, 1, 2], [6, 8], [3, 3], [1, 1], [1, 2])),
        with(5, [1, 1], [1, 1], convolution([0, 2, 3], [5, 6], [3, 3], [1, 1], [1, 1])),
        with(2, [1, 1], [1, 1], convolution([2, 0, 3], [5, 6], [3, 3], [2, 1], [1, 1])),
    ]
}

/// One picture that a thread's scratch holds only in several bands.
fn banded() -> Convolution {
    convolution([2, 24, 3], [120, 130], [3, 5], [1, 2], [1, 2])
}

/// A window of which not even one row of places fits a thread's scratch.
fn oversized() -> Convolution {
    convolution([2, 2, 2], [450, 650], [449, 648], [1, 1], [0, 0])
}

/// Checks that a kernel writes all of its output, nothing beside it, and what it should.
fn check<T: Real>(what: &str, expected: &[f64], scale: f64, kernel: impl FnOnce(&mut [T])) {
    const CANARY: f64 = 1234.5;
    let len = expected.len();
    let mut memory = vec![T::of(CANARY); len + 32];
    memory[16..16 + len].fill(T::nan());
    kernel(&mut memory[16..16 + len]);
    for (index, (&expected, found)) in expected.iter().zip(&memory[16..]).enumerate() {
        let error = (found.wide() - expected).abs();
        assert!(error <= scale * T::epsilon().wide(), "{what}: {found} at {index} instead of {expected}");
    }
    assert!(
        memory[..16].iter().chain(&memory[16 + len..]).all(|edge| edge.wide() == CANARY),
        "{what}: wrote outside"
    );
}

/// The definition, in double precision: calls `visit(place, pixel, tap)` with the indices of every product in the
/// output, the picture and the weights.
fn products(sizes: &Convolution, mut visit: impl FnMut(usize, usize, usize)) {
    let Convolution { batch, groups, channels, filters, image, output, window } = *sizes;
    let (all_filters, all_channels) = (groups * filters, groups * channels);
    for n in 0..batch {
        for (o, c) in (0..all_filters).flat_map(|o| (0..channels).map(move |c| (o, c))) {
            for (y, x) in (0..output[0]).flat_map(|y| (0..output[1]).map(move |x| (y, x))) {
                for (i, j) in (0..window.kernel[0]).flat_map(|i| (0..window.kernel[1]).map(move |j| (i, j))) {
                    let row = (y * window.stride[0] + i * window.dilation[0]).wrapping_sub(window.padding[0]);
                    let column =
                        (x * window.stride[1] + j * window.dilation[1]).wrapping_sub(window.padding[1]);
                    if row < image[0] && column < image[1] {
                        let place = ((n * all_filters + o) * output[0] + y) * output[1] + x;
                        let channel = n * all_channels + o / filters * channels + c;
                        let pixel = (channel * image[0] + row) * image[1] + column;
                        visit(
                            place,
                            pixel,
                            ((o * channels + c) * window.kernel[0] + i) * window.kernel[1] + j,
                        );
                    }
                }
            }
        }
    }
}

/// Compares the three directions with the definition.
fn check_all<T: Real>(sizes: &Convolution, isa: Isa, workers: &Workers) {
    let what = format!("{} {} {sizes:?}", isa.name(), T::NAME);
    let (image, weight) = (numbers::<T>(sizes.images(), 1), numbers::<T>(sizes.weights(), 2));
    let (upstream, bias) = (numbers::<T>(sizes.outputs(), 3), numbers::<T>(sizes.groups * sizes.filters, 4));
    let plane = sizes.output[0] * sizes.output[1];
    let mut out: Vec<f64> = (0..sizes.outputs()).map(|at| bias[at / plane % bias.len()].wide()).collect();
    let (mut image_out, mut weight_out) = (vec![0.0; sizes.images()], vec![0.0; sizes.weights()]);
    products(sizes, |place, pixel, tap| {
        out[place] += image[pixel].wide() * weight[tap].wide();
        image_out[pixel] += upstream[place].wide() * weight[tap].wide();
        weight_out[tap] += upstream[place].wide() * image[pixel].wide();
    });
    // Rounding grows at most with the number of terms, of a quarter each; the root of it is typical.
    let scale = |terms: usize| 4.0 + terms as f64 / 8.0;
    let mut scratch = numbers::<T>(sizes.forward_scratch(), 5);
    check::<T>(&format!("forward {what}"), &out, scale(sizes.taps()), |out| {
        let epilogue = Epilogue { bias: Some(&bias), relu: false };
        sizes.forward_on(isa, (&image, &weight), epilogue, out, &mut scratch, workers);
    });
    let mut scratch = numbers::<T>(sizes.image_adjoint_scratch(), 6);
    check::<T>(&format!("image adjoint {what}"), &image_out, scale(sizes.weights()), |out| {
        sizes.image_adjoint_on(isa, (&weight, &upstream), out, &mut scratch, workers);
    });
    let mut scratch = numbers::<T>(sizes.weight_adjoint_scratch(), 7);
    check::<T>(&format!("weight adjoint {what}"), &weight_out, scale(sizes.batch * plane), |out| {
        sizes.weight_adjoint_on(isa, (&image, &upstream), out, &mut scratch, workers);
    });
}

#[test]
fn all_directions_do_what_their_definition_says() {
    let workers = Workers::new(2).unwrap();
    for sizes in grid().into_iter().chain(attributed()) {
        for isa in Isa::available() {
            check_all::<f32>(&sizes, isa, &workers);
            check_all::<f64>(&sizes, isa, &workers);
        }
    }
    check_all::<f32>(&banded(), Isa::detect(), &workers);
    let whole = oversized();
    let groups = Convolution { batch: 1, groups: 2, channels: 1, filters: 1, ..whole };
    let window = Window { kernel: [225, 324], dilation: [2, 2], ..whole.window };
    let dilated = Convolution { output: window.output_size(whole.image).unwrap(), window, ..groups };
    for sizes in [whole, dilated] {
        check_all::<f64>(&sizes, Isa::detect(), &workers);
    }
}

#[test]
fn bands_and_oversized_windows_are_what_they_are_meant_to_be() {
    assert!(Correlation::forward(&oversized()).fit::<f64>().is_none());
    assert!(Correlation::forward(&banded()).fit::<f32>().is_some_and(|plan| plan.bands() > 2));
    assert!(Correlation::forward(&banded()).fit::<f64>().is_some());
    assert!(weight::Plan::new::<f64>(&banded()).is_some_and(|plan| plan.bands() > 1));
}

/// The three directions one after the other, in one vector.
fn all_outputs<T: Real>(sizes: &Convolution, isa: Isa, workers: &Workers) -> Vec<T> {
    let (image, weight) = (numbers::<T>(sizes.images(), 1), numbers::<T>(sizes.weights(), 2));
    let upstream = numbers::<T>(sizes.outputs(), 3);
    let mut scratch = vec![T::nan(); sizes.forward_scratch() + sizes.weight_adjoint_scratch()];
    let mut all = vec![T::nan(); sizes.outputs() + sizes.images() + sizes.weights()];
    let (out, rest) = all.split_at_mut(sizes.outputs());
    let (image_out, weight_out) = rest.split_at_mut(sizes.images());
    sizes.forward_on(isa, (&image, &weight), Epilogue::default(), out, &mut scratch, workers);
    sizes.image_adjoint_on(isa, (&weight, &upstream), image_out, &mut scratch, workers);
    sizes.weight_adjoint_on(isa, (&image, &upstream), weight_out, &mut scratch, workers);
    all
}

#[test]
fn neither_threads_nor_registers_change_a_bit() {
    let pools: Vec<_> = (1..=3).map(|threads| Workers::new(threads).unwrap()).collect();
    for sizes in grid().into_iter().chain(attributed()).chain([banded()]) {
        let expected = all_outputs::<f32>(&sizes, Isa::detect(), &pools[0]);
        for pool in &pools {
            assert!(all_outputs::<f32>(&sizes, Isa::detect(), pool) == expected, "{sizes:?}");
        }
        for isa in Isa::available() {
            assert!(all_outputs::<f32>(&sizes, isa, &pools[1]) == expected, "{} {sizes:?}", isa.name());
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn adjoints_are_adjoint() {
    let workers = Workers::new(2).unwrap();
    for sizes in grid().into_iter().chain(attributed()) {
        let (image, weight) = (numbers(sizes.images(), 1), numbers(sizes.weights(), 2));
        let upstream = numbers(sizes.outputs(), 3);
        let all = all_outputs::<f64>(&sizes, Isa::detect(), &workers);
        let (out, rest) = all.split_at(sizes.outputs());
        let (image_out, weight_out) = rest.split_at(sizes.images());
        let product = dot(out, &upstream);
        let near = |other: f64| (product - other).abs() <= 1e-12 * (1.0 + product.abs());
        assert!(near(dot(image_out, &image)), "image {sizes:?}");
        assert!(near(dot(weight_out, &weight)), "weight {sizes:?}");
    }
}

#[test]
fn columns_hold_the_patches_and_col2im_is_their_adjoint() {
    let workers = Workers::new(2).unwrap();
    for sizes in grid().into_iter().chain(attributed()).filter(|sizes| sizes.groups == 1) {
        let (plane, taps) = (sizes.output[0] * sizes.output[1], sizes.taps());
        let image = numbers::<f64>(sizes.images(), 1);
        let mut expected = vec![0.0; sizes.batch * plane * taps];
        products(&Convolution { filters: 1, ..sizes }, |place, pixel, tap| {
            expected[place * taps + tap] = image[pixel]
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
    for isa in Isa::available() {
        let mut out = [9.0f32; 6];
        let mut scratch = vec![0.0; sizes.forward_scratch()];
        let epilogue = Epilogue { bias: Some(&[1.0, -1.0]), relu: true };
        let image = [f32::NAN, 0.5, -3.0];
        sizes.forward_on(isa, (&image, &[1.0, 1.0]), epilogue, &mut out, &mut scratch, &workers);
        assert!(out[0].is_nan() && out[3].is_nan());
        assert_eq!([out[1], out[2], out[4], out[5]], [1.5, 0.0, 0.0, 0.0]);
    }
}
