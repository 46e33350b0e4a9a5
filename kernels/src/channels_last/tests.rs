//! Every kernel on every instruction set, against the definition in double precision.

use super::*;
use crate::pool::Pooling;
use crate::window::Window;

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
/// pixels over or leave pixels out, more padding than the window covers, blocks of channels that are full and that
/// are not, and none of something.
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
        convolution([3, 1, 16], [9, 31], [7, 3], [1, 1], [3, 1]),
        convolution([1, 40, 20], [32, 34], [3, 3], [1, 1], [1, 1]),
        convolution([2, 33, 49], [6, 9], [3, 3], [2, 2], [1, 1]),
        convolution([2, 32, 64], [5, 7], [1, 1], [2, 1], [0, 0]),
        convolution([3, 70, 300], [3, 4], [3, 3], [1, 1], [1, 1]),
        convolution([0, 2, 3], [5, 6], [3, 3], [1, 1], [1, 1]),
        convolution([2, 0, 3], [5, 6], [3, 3], [2, 1], [1, 1]),
        convolution([2, 2, 0], [5, 6], [3, 3], [1, 2], [1, 1]),
    ]
}

/// One picture that comes in several bands.
fn banded() -> Convolution {
    convolution([2, 24, 3], [120, 130], [3, 5], [1, 2], [1, 2])
}

/// A window with more taps than are prepared at a time.
fn large() -> Convolution {
    convolution([2, 2, 2], [150, 65], [149, 64], [1, 1], [0, 0])
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

/// How many numbers pictures, weights and outputs have.
fn lengths(sizes: &Convolution) -> [usize; 3] {
    let Convolution { batch, channels, filters, image, output, window, .. } = *sizes;
    let area = |[height, width]: [usize; 2]| height * width;
    [batch * channels * area(image), filters * channels * area(window.kernel), batch * filters * area(output)]
}

/// The definition: calls `visit(place, pixel, weight, [picture, row of sums])` for every product, with the indices of
/// the output and the picture, both channels last, of the weights, and of a sum [kh, kw, channels, filters].
fn products(sizes: &Convolution, mut visit: impl FnMut(usize, usize, usize, [usize; 2])) {
    let Convolution { batch, channels, filters, image, output, window, .. } = *sizes;
    let [tall, wide] = window.kernel;
    for n in 0..batch {
        for (y, x) in (0..output[0]).flat_map(|y| (0..output[1]).map(move |x| (y, x))) {
            for (i, j) in (0..tall).flat_map(|i| (0..wide).map(move |j| (i, j))) {
                let row = (y * window.stride[0] + i).wrapping_sub(window.padding[0]);
                let column = (x * window.stride[1] + j).wrapping_sub(window.padding[1]);
                if row >= image[0] || column >= image[1] {
                    continue;
                }
                for (o, c) in (0..filters).flat_map(|o| (0..channels).map(move |c| (o, c))) {
                    let place = ((n * output[0] + y) * output[1] + x) * filters + o;
                    let pixel = ((n * image[0] + row) * image[1] + column) * channels + c;
                    let weight = ((o * channels + c) * tall + i) * wide + j;
                    visit(place, pixel, weight, [n, ((i * wide + j) * channels + c) * filters + o]);
                }
            }
        }
    }
}

fn gated<T: Real>(value: f64, gate: T) -> f64 {
    if gate <= T::zero() { 0.0 } else { value }
}

/// Pictures in a row of weight sums.
const EVERY: usize = 2;

/// Compares the three directions with the definition.
fn check_all<T: Real>(sizes: &Convolution, isa: Isa, workers: &Workers) {
    let what = format!("{} {} {sizes:?}", isa.name(), T::NAME);
    let direct = Direct::new(sizes).unwrap();
    let [images, weights, outputs] = lengths(sizes);
    let (image, weight) = (numbers::<T>(images, 1), numbers::<T>(weights, 2));
    let (upstream, bias) = (numbers::<T>(outputs, 3), numbers::<T>(sizes.filters, 4));
    let mut gate = numbers::<T>(images, 5);
    gate.iter_mut().step_by(7).for_each(|gate| *gate = T::nan());
    let mut out: Vec<f64> = (0..outputs).map(|at| bias[at % sizes.filters].wide()).collect();
    let (mut image_out, mut weight_out) = (vec![0.0; images], vec![0.0; weights]);
    let rows = sizes.batch.div_ceil(EVERY);
    let mut sums_out = vec![0.0; rows * weights];
    products(sizes, |place, pixel, tap, [n, sum]| {
        out[place] += image[pixel].wide() * weight[tap].wide();
        image_out[pixel] += upstream[place].wide() * weight[tap].wide();
        weight_out[tap] += upstream[place].wide() * image[pixel].wide();
        sums_out[n / EVERY * weights + sum] += upstream[place].wide() * image[pixel].wide();
    });
    image_out.iter_mut().zip(&gate).for_each(|(out, &gate)| *out = gated(*out, gate));
    // Rounding grows at most with the number of terms, of a quarter each; the root of it is typical.
    let scale = |terms: usize| 4.0 + terms as f64 / 8.0;
    let taps = weights / sizes.filters.max(1);
    let mut prepared = vec![T::nan(); direct.prepared()];
    direct.forward.prepare(isa, &weight, &mut prepared, workers);
    check::<T>(&format!("forward {what}"), &out, scale(taps), |out| {
        let epilogue = Epilogue { bias: Some(&bias), relu: false };
        direct.forward.run(isa, (&image, &prepared), epilogue, None, out, workers);
    });
    let mut prepared = vec![T::nan(); direct.prepared_adjoint()];
    direct.adjoint.prepare(isa, &weight, &mut prepared, workers);
    check::<T>(&format!("image adjoint {what}"), &image_out, scale(weights), |out| {
        let sources = (&upstream[..], &prepared[..]);
        direct.adjoint.run(isa, sources, Epilogue::default(), Some(&gate), out, workers);
    });
    let terms = scale(outputs / sizes.filters.max(1));
    let mut sums = vec![T::nan(); rows * weights];
    check::<T>(&format!("weight sums {what}"), &sums_out, terms, |out| {
        weight::sums(sizes, isa, (&image, &upstream), EVERY, out, workers);
        sums.copy_from_slice(out);
    });
    check::<T>(&format!("finished weight sums {what}"), &weight_out, terms, |out| {
        finish_weight_sums(sizes, rows, &sums, out, workers);
    });
}

#[test]
fn all_directions_do_what_their_definition_says() {
    let workers = Workers::new(2).unwrap();
    for sizes in grid() {
        for isa in Isa::available() {
            check_all::<f32>(&sizes, isa, &workers);
            check_all::<f64>(&sizes, isa, &workers);
        }
    }
    check_all::<f32>(&banded(), Isa::detect(), &workers);
    check_all::<f64>(&large(), Isa::detect(), &workers);
}

/// What all three directions compute, one after the other.
fn all_outputs<T: Real>(sizes: &Convolution, isa: Isa, workers: &Workers) -> Vec<T> {
    let direct = Direct::new(sizes).unwrap();
    let [images, weights, outputs] = lengths(sizes);
    let (image, weight) = (numbers::<T>(images, 1), numbers::<T>(weights, 2));
    let (upstream, bias) = (numbers::<T>(outputs, 3), numbers::<T>(sizes.filters, 4));
    let (mut out, mut image_out) = (vec![T::nan(); outputs], vec![T::nan(); images]);
    let mut sums = vec![T::nan(); sizes.batch.div_ceil(EVERY) * weights];
    let mut prepared = vec![T::nan(); direct.prepared()];
    direct.forward.prepare(isa, &weight, &mut prepared, workers);
    let epilogue = Epilogue { bias: Some(&bias), relu: true };
    direct.forward.run(isa, (&image, &prepared), epilogue, None, &mut out, workers);
    let mut adjoint = vec![T::nan(); direct.prepared_adjoint()];
    direct.adjoint.prepare(isa, &weight, &mut adjoint, workers);
    let sources = (&upstream[..], &adjoint[..]);
    direct.adjoint.run(isa, sources, Epilogue::default(), None, &mut image_out, workers);
    weight::sums(sizes, isa, (&image, &upstream), EVERY, &mut sums, workers);
    let mut finished = vec![T::nan(); weights];
    finish_weight_sums(sizes, sizes.batch.div_ceil(EVERY), &sums, &mut finished, workers);
    [out, image_out, sums, finished].concat()
}

#[test]
fn neither_threads_nor_registers_change_a_bit() {
    let pools: Vec<_> = (1..=3).map(|threads| Workers::new(threads).unwrap()).collect();
    for sizes in grid().into_iter().chain([banded()]) {
        let bits = |isa, pool| -> Vec<u32> {
            all_outputs::<f32>(&sizes, isa, pool).into_iter().map(f32::to_bits).collect()
        };
        let expected = bits(Isa::detect(), &pools[0]);
        for pool in &pools {
            assert!(bits(Isa::detect(), pool) == expected, "{sizes:?}");
        }
        for isa in Isa::available() {
            assert!(bits(isa, &pools[1]) == expected, "{} {sizes:?}", isa.name());
        }
    }
}

#[test]
fn a_picture_alone_comes_out_as_it_does_in_its_batch() {
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
fn a_window_that_no_scratch_can_hold_is_refused() {
    assert!(Direct::new(&convolution([1, 1, 1], [1 << 40, 9], [1 << 39, 3], [1, 1], [0, 0])).is_none());
    assert!(Direct::new(&convolution([1, 1, 1], [5, 9], [3, 3], [1, 1], [1 << 40, 1])).is_some());
}

#[test]
fn relu_of_the_epilogue_lets_nan_pass() {
    let workers = Workers::new(1).unwrap();
    let direct = Direct::new(&convolution([1, 1, 2], [1, 3], [1, 1], [1, 1], [0, 0])).unwrap();
    for isa in Isa::available() {
        let (mut prepared, mut out) = (vec![0.0; direct.prepared()], [9.0f32; 6]);
        direct.forward.prepare(isa, &[1.0, 1.0], &mut prepared, &workers);
        let epilogue = Epilogue { bias: Some(&[1.0, -1.0]), relu: true };
        let image = [f32::NAN, 0.5, -3.0];
        direct.forward.run(isa, (&image, &prepared), epilogue, None, &mut out, &workers);
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
    direct.weight_sums(&[f32::MIN_POSITIVE, 0.0], &[0.5, 0.5], 1, &mut sums, &workers);
    assert_eq!(sums, [0.0]);
}

#[test]
fn layouts_change_there_and_back() {
    let workers = Workers::new(2).unwrap();
    for [batch, channels, pixels] in [[2, 3, 35], [3, 17, 1], [1, 1, 40], [2, 33, 50], [0, 3, 4], [2, 0, 4]] {
        let first = numbers::<f32>(batch * channels * pixels, 1);
        let mut last = vec![f32::NAN; first.len()];
        to_channels_last(batch, channels, pixels, &first, &mut last, &workers);
        for (index, &number) in last.iter().enumerate() {
            let (pixel, channel) = (index / channels, index % channels);
            assert_eq!(number, first[(pixel / pixels * channels + channel) * pixels + pixel % pixels]);
        }
        let mut back = vec![f32::NAN; first.len()];
        to_channels_first(batch, channels, pixels, &last, &mut back, &workers);
        assert_eq!(back, first);
    }
}

/// Compares a convolution that pools with one that is pooled afterwards, bit for bit.
fn check_pooled<T: Real>(sizes: &Convolution, isa: Isa, relu: bool, workers: &Workers) {
    let what = format!("{} {} {sizes:?}", isa.name(), T::NAME);
    let direct = Direct::new(sizes).unwrap();
    let Convolution { batch, filters, output, .. } = *sizes;
    let [images, weights, outputs] = lengths(sizes);
    // Of numbers with few digits many sums are equal.
    let coarse = |number: T| (number * T::of(4.0)).round();
    let mut image: Vec<T> = numbers(images, 1).into_iter().map(coarse).collect();
    image.iter_mut().skip(3).step_by(61).for_each(|pixel| *pixel = T::nan());
    let weight: Vec<T> = numbers(weights, 2).into_iter().map(coarse).collect();
    let bias = numbers::<T>(filters, 4);
    let mut prepared = vec![T::nan(); direct.prepared()];
    direct.forward.prepare(isa, &weight, &mut prepared, workers);
    let epilogue = Epilogue { bias: Some(&bias), relu };
    let mut whole = vec![T::zero(); outputs];
    direct.forward.run(isa, (&image, &prepared), epilogue, None, &mut whole, workers);

    let window = Window::new([2; 2], [2; 2], [0; 2]);
    let pooling = Pooling { plane: output, places: output.map(|size| size / 2), window };
    let count = batch * pooling.places[0] * pooling.places[1] * filters;
    let (mut expected, mut places) = (vec![T::zero(); count], vec![0; count]);
    pooling.max_last(filters, &whole, &mut expected, Some(&mut places), workers);

    let expected: Vec<T> = expected;
    let is_same = |maxima: &[T]| {
        maxima.iter().zip(&expected).all(|(a, b)| a.carried() == b.carried() || a.is_nan() && b.is_nan())
    };
    let (mut maxima, mut positions) = (vec![T::zero(); count], vec![u32::MAX; count]);
    let sources = (&image[..], &prepared[..]);
    direct.forward.run_pooled(isa, sources, epilogue, &mut maxima, Some(&mut positions), workers);
    assert!(is_same(&maxima), "{what}");
    assert_eq!(positions, places, "{what}");
    maxima.fill(T::zero());
    direct.forward.run_pooled(isa, sources, epilogue, &mut maxima, None, workers);
    assert!(is_same(&maxima), "without positions {what}");
}

#[test]
fn pooling_on_the_way_out_is_pooling_afterwards() {
    let workers = Workers::new(2).unwrap();
    for sizes in grid().into_iter().chain([banded()]).filter(|sizes| sizes.batch > 0) {
        for (isa, relu) in Isa::available().flat_map(|isa| [(isa, false), (isa, true)]) {
            check_pooled::<f32>(&sizes, isa, relu, &workers);
            check_pooled::<f64>(&sizes, isa, relu, &workers);
        }
    }
}
