//! Every direction on every instruction set, against the definition in double precision.

use super::*;
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
    kernel: usize,
    padding: [usize; 2],
) -> Convolution {
    let window = Window::new([kernel; 2], [1, 1], padding);
    Convolution { batch, groups: 1, channels, filters, image, output: window.output_size(image).unwrap(), window }
}

fn winograd(sizes: [usize; 3], image: [usize; 2], kernel: usize, padding: [usize; 2]) -> Winograd {
    Winograd::new(&convolution(sizes, image, kernel, padding)).unwrap()
}

/// All sorts: sizes that differ along all axes, no padding and the most there can be, channels and filters that
/// do and do not fill registers, outputs of one pixel, several blocks and cuts, many tiles, and none of something.
fn grid() -> Vec<Winograd> {
    vec![
        winograd([2, 3, 5], [7, 9], 3, [0, 0]),
        winograd([1, 1, 1], [3, 3], 3, [0, 0]),
        winograd([1, 2, 1], [1, 1], 3, [1, 1]),
        winograd([3, 17, 16], [8, 5], 3, [1, 1]),
        winograd([2, 16, 33], [6, 39], 3, [2, 1]),
        winograd([1, 70, 49], [5, 6], 3, [1, 2]),
        winograd([9, 5, 18], [12, 16], 3, [1, 1]),
        winograd([1, 35, 2], [92, 90], 3, [1, 1]),
        winograd([2, 4, 7], [9, 11], 5, [2, 2]),
        winograd([2, 18, 3], [6, 8], 5, [0, 4]),
        winograd([1, 3, 40], [5, 7], 5, [3, 1]),
        winograd([2, 2, 4], [10, 13], 7, [3, 3]),
        winograd([2, 16, 20], [7, 8], 7, [0, 6]),
        winograd([1, 5, 2], [2, 1], 7, [3, 3]),
        winograd([0, 2, 3], [5, 6], 3, [1, 1]),
        winograd([2, 0, 3], [5, 6], 3, [1, 1]),
        winograd([2, 2, 0], [5, 6], 5, [1, 2]),
    ]
}

/// What the three directions should be, in double precision: image last in channels, weights as they are stored,
/// and sums as \[row, tap, channel, filter\].
struct Expected {
    out: Vec<f64>,
    image: Vec<f64>,
    sums: Vec<f64>,
}

fn expected<T: Real>(it: &Winograd, [image, weight, upstream]: [&[T]; 3], every: usize) -> Expected {
    let Convolution { batch, channels, filters, image: size, output, window, .. } = it.sizes;
    let k = window.kernel[0];
    let rows = batch.div_ceil(every);
    let mut all = Expected {
        out: vec![0.0; it.outputs()],
        image: vec![0.0; it.images()],
        sums: vec![0.0; rows * it.weights()],
    };
    for (n, y, x) in (0..batch * output[0] * output[1])
        .map(|place| (place / output[1] / output[0], place / output[1] % output[0], place % output[1]))
    {
        for (i, j) in (0..k).flat_map(|i| (0..k).map(move |j| (i, j))) {
            let row = (y + i).wrapping_sub(window.padding[0]);
            let column = (x + j).wrapping_sub(window.padding[1]);
            if row >= size[0] || column >= size[1] {
                continue;
            }
            for (c, o) in (0..channels).flat_map(|c| (0..filters).map(move |o| (c, o))) {
                let place = ((n * output[0] + y) * output[1] + x) * filters + o;
                let pixel = ((n * size[0] + row) * size[1] + column) * channels + c;
                let tap = ((o * channels + c) * k + i) * k + j;
                let sum = (((n / every * k + i) * k + j) * channels + c) * filters + o;
                all.out[place] += image[pixel].wide() * weight[tap].wide();
                all.image[pixel] += upstream[place].wide() * weight[tap].wide();
                all.sums[sum] += upstream[place].wide() * image[pixel].wide();
            }
        }
    }
    all
}

/// The largest error relative to the largest number there should be (or to `least`, if that is larger), of a kernel
/// that writes all of its output and nothing beside it.
fn error<T: Real>(what: &str, expected: &[f64], least: f64, kernel: impl FnOnce(&mut [T])) -> f64 {
    const CANARY: f64 = 1234.5;
    let len = expected.len();
    let mut memory = vec![T::of(CANARY); len + 32];
    memory[16..16 + len].fill(T::nan());
    kernel(&mut memory[16..16 + len]);
    let outside = memory[..16].iter().chain(&memory[16 + len..]);
    assert!(outside.into_iter().all(|edge| edge.wide() == CANARY), "{what}: wrote outside");
    let largest = expected.iter().fold(least, |largest, number| number.abs().max(largest));
    let errors = expected.iter().zip(&memory[16..]).map(|(expected, found)| (found.wide() - expected).abs());
    let error = errors.fold(0.0, |largest, error| if error <= largest { largest } else { error });
    error / largest
}

/// The errors of the three directions.
fn errors<T: Real>(it: &Winograd, isa: Isa, every: usize, workers: &Workers) -> [f64; 3] {
    let what = format!("{} {} {:?}", isa.name(), T::NAME, it.sizes);
    let (image, weight) = (numbers::<T>(it.images(), 1), numbers::<T>(it.weights(), 2));
    let (upstream, bias) = (numbers::<T>(it.outputs(), 3), numbers::<T>(it.sizes.filters, 4));
    let gate = numbers::<T>(it.images(), 5);
    let mut expected = expected(it, [&image, &weight, &upstream], every);
    for (at, number) in expected.out.iter_mut().enumerate() {
        *number = (*number + bias[at % it.sizes.filters].wide()).max(0.0);
    }
    for (number, gate) in expected.image.iter_mut().zip(&gate) {
        *number = if *gate <= T::zero() { 0.0 } else { *number };
    }
    let mut prepared = vec![T::nan(); it.prepared()];
    it.prepare_on(isa, &weight, &mut prepared, workers);
    let forward = error::<T>(&format!("forward {what}"), &expected.out, 0.5, |out| {
        let epilogue = Epilogue { bias: Some(&bias), relu: true };
        it.forward_on(isa, (&image, &prepared), epilogue, out, workers);
    });
    let mut prepared = vec![T::nan(); it.prepared_adjoint()];
    it.prepare_adjoint_on(isa, &weight, &mut prepared, workers);
    let adjoint = error::<T>(&format!("image adjoint {what}"), &expected.image, 0.5, |out| {
        it.image_adjoint_on(isa, (&prepared, &upstream), Some(&gate), out, workers);
    });
    let sums = error::<T>(&format!("weight sums {what}"), &expected.sums, 0.5, |out| {
        it.weight_sums_on(isa, (&image, &upstream), every, out, workers);
    });
    [forward, adjoint, sums]
}

#[test]
fn all_directions_do_what_their_definition_says() {
    let workers = Workers::new(2).unwrap();
    for (it, isa) in grid().iter().flat_map(|it| Isa::available().map(move |isa| (it, isa))) {
        for every in [1, 2, 9] {
            let bound = if it.window() < 7 { 3e-5 } else { 1e-4 };
            let single = errors::<f32>(it, isa, every, &workers);
            assert!(single.iter().all(|&error| error < bound), "{single:?} {} {it:?}", isa.name());
        }
    }
}

#[test]
fn errors_stay_small_where_there_are_many_terms() {
    let workers = Workers::new(2).unwrap();
    for (sizes, image, window, bounds) in [
        ([4, 16, 16], 28, 3, [1e-5, 1e-5, 1e-5]),
        ([2, 96, 80], 9, 3, [1e-5, 1e-5, 1e-5]),
        ([4, 16, 16], 28, 5, [1e-5, 1e-5, 1e-5]),
        ([4, 16, 16], 28, 7, [4e-5, 4e-5, 5e-5]),
    ] {
        let it = winograd(sizes, [image; 2], window, [window / 2; 2]);
        let errors = errors::<f32>(&it, Isa::detect(), 4, &workers);
        println!("{window} × {window}, {sizes:?}: {:?}", errors.map(|error| format!("{error:.1e}")));
        assert!(errors.iter().zip(bounds).all(|(&error, bound)| error < bound), "{errors:?} {it:?}");
    }
}

/// The three directions one after the other, in one vector.
fn all_outputs(it: &Winograd, isa: Isa, workers: &Workers) -> Vec<f32> {
    let (image, weight) = (numbers(it.images(), 1), numbers(it.weights(), 2));
    let upstream = numbers(it.outputs(), 3);
    let sums = it.sizes.batch.div_ceil(2) * it.weights();
    let mut all = vec![f32::NAN; it.outputs() + it.images() + sums];
    let (out, rest) = all.split_at_mut(it.outputs());
    let (image_out, sums) = rest.split_at_mut(it.images());
    let mut prepared = vec![f32::NAN; it.prepared()];
    it.prepare_on(isa, &weight, &mut prepared, workers);
    it.forward_on(isa, (&image, &prepared), Epilogue::default(), out, workers);
    let mut prepared = vec![f32::NAN; it.prepared_adjoint()];
    it.prepare_adjoint_on(isa, &weight, &mut prepared, workers);
    it.image_adjoint_on(isa, (&prepared, &upstream), None, image_out, workers);
    it.weight_sums_on(isa, (&image, &upstream), 2, sums, workers);
    all
}

#[test]
fn neither_threads_nor_registers_change_a_bit() {
    let pools: Vec<_> = (1..=3).map(|threads| Workers::new(threads).unwrap()).collect();
    for it in grid() {
        let expected = all_outputs(&it, Isa::detect(), &pools[0]);
        for pool in &pools {
            assert!(all_outputs(&it, Isa::detect(), pool) == expected, "{it:?}");
        }
        for isa in Isa::available() {
            assert!(all_outputs(&it, isa, &pools[1]) == expected, "{} {it:?}", isa.name());
        }
    }
}

#[test]
fn the_best_registers_are_taken() {
    let workers = Workers::new(2).unwrap();
    let it = winograd([3, 17, 16], [8, 5], 3, [1, 1]);
    let (image, weight) = (numbers(it.images(), 1), numbers(it.weights(), 2));
    let upstream = numbers(it.outputs(), 3);
    let (mut prepared, mut adjoint) = (vec![f32::NAN; it.prepared()], vec![f32::NAN; it.prepared_adjoint()]);
    it.prepare(&weight, &mut prepared, &workers);
    it.prepare_adjoint(&weight, &mut adjoint, &workers);
    let (mut out, mut image_out) = (vec![f32::NAN; it.outputs()], vec![f32::NAN; it.images()]);
    let mut sums = vec![f32::NAN; 2 * it.weights()];
    it.forward(&image, &prepared, Epilogue::default(), &mut out, &workers);
    it.image_adjoint(&adjoint, &upstream, None, &mut image_out, &workers);
    it.weight_sums(&image, &upstream, 2, &mut sums, &workers);
    assert!([out, image_out, sums].concat() == all_outputs(&it, Isa::detect(), &workers));
}

#[test]
fn nan_passes_epilogue_and_gate() {
    let workers = Workers::new(1).unwrap();
    let it = winograd([1, 1, 2], [3, 3], 3, [1, 1]);
    let (image, weight) = ([f32::NAN; 9], numbers(it.weights(), 2));
    for isa in Isa::available() {
        let (mut prepared, mut out) = (vec![0.0; it.prepared()], [9.0; 18]);
        it.prepare_on(isa, &weight, &mut prepared, &workers);
        it.forward_on(isa, (&image, &prepared), Epilogue { bias: None, relu: true }, &mut out, &workers);
        assert!(out.iter().all(|number| number.is_nan()));
        let (mut prepared, mut plain, mut gated) = (vec![0.0; it.prepared_adjoint()], [9.0; 9], [9.0; 9]);
        let upstream: Vec<f32> = numbers(it.outputs(), 3);
        it.prepare_adjoint_on(isa, &weight, &mut prepared, &workers);
        it.image_adjoint_on(isa, (&prepared, &upstream), None, &mut plain, &workers);
        it.image_adjoint_on(isa, (&prepared, &upstream), Some(&[f32::NAN; 9]), &mut gated, &workers);
        assert_eq!(plain, gated);
        it.image_adjoint_on(isa, (&prepared, &upstream), Some(&[-0.0; 9]), &mut gated, &workers);
        assert_eq!(gated, [0.0; 9]);
    }
}

#[test]
fn only_what_it_is_for_is_accepted() {
    let fine = convolution([1, 2, 3], [9, 9], 3, [1, 1]);
    assert!(Winograd::new(&fine).is_some());
    let window = |window: Window| Winograd::new(&Convolution { window, ..fine });
    assert!(window(Window { stride: [1, 2], ..fine.window }).is_none());
    assert!(window(Window { kernel: [3, 5], ..fine.window }).is_none());
    assert!(window(Window { kernel: [4, 4], ..fine.window }).is_none());
    assert!(window(Window { padding: [1, 3], ..fine.window }).is_none());
    assert!(Winograd::new(&Convolution { channels: 5000, ..fine }).is_none());
    assert!(Winograd::new(&Convolution { filters: usize::MAX, ..fine }).is_none());
}

#[test]
fn windows_that_see_only_zeros_yield_exactly_the_bias() {
    let (sizes, workers) = (convolution([1, 17, 5], [13, 11], 3, [1, 1]), Workers::new(1).unwrap());
    let winograd = Winograd::new(&sizes).unwrap();
    // One pixel of one channel: only the nine outputs around it see it.
    let mut image = vec![0.0_f32; sizes.channels * 13 * 11];
    image[(6 * 11 + 5) * sizes.channels + 16] = 0.7;
    let (weight, bias) = (numbers::<f32>(5 * 17 * 9, 1), [0.0, -0.0, 0.25, -1.0, 3.0]);
    let mut prepared = vec![0.0; winograd.prepared()];
    winograd.prepare(&weight, &mut prepared, &workers);
    for isa in Isa::available() {
        let mut out = vec![f32::NAN; 13 * 11 * 5];
        let epilogue = Epilogue { bias: Some(&bias), relu: false };
        winograd.forward_on(isa, (&image, &prepared), epilogue, &mut out, &workers);
        for (pixel, values) in out.chunks(5).enumerate() {
            let is_near = (pixel / 11).abs_diff(6) <= 1 && (pixel % 11).abs_diff(5) <= 1;
            assert_eq!(values == bias, !is_near, "pixel {pixel} on {}", isa.name());
        }
    }
}
