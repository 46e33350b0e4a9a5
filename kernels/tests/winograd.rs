//! Every direction on every instruction set, against the definition in double precision.

use crate::common::{convolution as rectangular, different_pools, lengths, numbers, pools, products};
use dagrad_kernels::conv::Convolution;
use dagrad_kernels::gemm::Epilogue;
use dagrad_kernels::real::Real;
use dagrad_kernels::window::Window;
use dagrad_kernels::winograd::Winograd;
use dagrad_kernels::workers::Workers;

fn convolution(sizes: [usize; 3], image: [usize; 2], kernel: usize, padding: [usize; 2]) -> Convolution {
    rectangular(sizes, image, [kernel; 2], [1, 1], padding)
}

/// All sorts: sizes that differ along all axes, no padding and the most there can be, channels and filters that
/// do and do not fill registers, outputs of one pixel, several blocks and parts, many tiles, and none of something.
fn grid() -> Vec<Convolution> {
    vec![
        convolution([2, 3, 5], [7, 9], 3, [0, 0]),
        convolution([1, 1, 1], [3, 3], 3, [0, 0]),
        convolution([1, 2, 1], [1, 1], 3, [1, 1]),
        convolution([3, 17, 16], [8, 5], 3, [1, 1]),
        convolution([2, 16, 33], [6, 39], 3, [2, 1]),
        convolution([1, 70, 49], [5, 6], 3, [1, 2]),
        convolution([9, 5, 18], [12, 16], 3, [1, 1]),
        convolution([1, 35, 2], [92, 90], 3, [1, 1]),
        convolution([2, 4, 7], [9, 11], 5, [2, 2]),
        convolution([2, 18, 3], [6, 8], 5, [0, 4]),
        convolution([1, 3, 40], [5, 7], 5, [3, 1]),
        convolution([2, 2, 4], [10, 13], 7, [3, 3]),
        convolution([2, 16, 20], [7, 8], 7, [0, 6]),
        convolution([1, 5, 2], [2, 1], 7, [3, 3]),
        convolution([0, 2, 3], [5, 6], 3, [1, 1]),
        convolution([2, 0, 3], [5, 6], 3, [1, 1]),
        convolution([2, 2, 0], [5, 6], 5, [1, 2]),
    ]
}

/// What the three directions should be, in double precision: image last in channels, weights as they are stored,
/// and sums as \[row, tap, channel, filter\].
struct Expected {
    out: Vec<f64>,
    image: Vec<f64>,
    sums: Vec<f64>,
}

fn expected<T: Real>(sizes: &Convolution, [image, weight, upstream]: [&[T]; 3], every: usize) -> Expected {
    let [images, weights, outputs] = lengths(sizes);
    let rows = sizes.batch.div_ceil(every);
    let mut all =
        Expected { out: vec![0.0; outputs], image: vec![0.0; images], sums: vec![0.0; rows * weights] };
    products(sizes, true, |product| {
        let [n, sum] = product.sum;
        let [image, weight, upstream] =
            [image[product.image], weight[product.weight], upstream[product.output]].map(T::into_f64);
        all.out[product.output] += image * weight;
        all.image[product.image] += upstream * weight;
        all.sums[n / every * weights + sum] += upstream * image;
    });
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
    assert!(outside.into_iter().all(|edge| edge.into_f64() == CANARY), "{what}: wrote outside");
    let largest = expected.iter().fold(least, |largest, number| number.abs().max(largest));
    let errors =
        expected.iter().zip(&memory[16..]).map(|(expected, found)| (found.into_f64() - expected).abs());
    let error = errors.fold(0.0, |largest, error| if error <= largest { largest } else { error });
    error / largest
}

/// The errors of the three directions.
fn errors<T: Real>(sizes: &Convolution, every: usize, workers: &Workers) -> [f64; 3] {
    let it = Winograd::new(sizes).unwrap();
    let [images, weights, outputs] = lengths(sizes);
    let what = format!("{} {} {:?}", workers.isa().name(), T::NAME, sizes);
    let (image, weight) = (numbers::<T>(images, 1), numbers::<T>(weights, 2));
    let (upstream, bias) = (numbers::<T>(outputs, 3), numbers::<T>(sizes.filters, 4));
    let gate = numbers::<T>(images, 5);
    let mut expected = expected(sizes, [&image, &weight, &upstream], every);
    for (at, number) in expected.out.iter_mut().enumerate() {
        *number = (*number + bias[at % sizes.filters].into_f64()).max(0.0);
    }
    for (number, gate) in expected.image.iter_mut().zip(&gate) {
        *number = if *gate <= T::zero() { 0.0 } else { *number };
    }
    let mut prepared = vec![T::nan(); it.prepared()];
    it.prepare(&weight, &mut prepared, workers);
    let forward = error::<T>(&format!("forward {what}"), &expected.out, 0.5, |out| {
        let epilogue = Epilogue { bias: Some(&bias), relu: true };
        it.forward(&image, &prepared, epilogue, out, workers);
    });
    let mut prepared = vec![T::nan(); it.prepared_input_grad()];
    it.prepare_input_grad(&weight, &mut prepared, workers);
    let adjoint = error::<T>(&format!("image adjoint {what}"), &expected.image, 0.5, |out| {
        it.input_grad(&prepared, &upstream, Some(&gate), out, workers);
    });
    let sums = error::<T>(&format!("weight sums {what}"), &expected.sums, 0.5, |out| {
        it.weight_grad_sums(&image, &upstream, every, out, workers);
    });
    [forward, adjoint, sums]
}

#[test]
fn all_directions_do_what_their_definition_says() {
    let pools = pools(2);
    for sizes in grid() {
        for workers in &pools {
            for every in [1, 2, 9] {
                let bound = if sizes.window.kernel[0] < 7 { 3e-5 } else { 1e-4 };
                let single = errors::<f32>(&sizes, every, workers);
                let isa = workers.isa().name();
                assert!(single.iter().all(|&error| error < bound), "{single:?} {isa} {sizes:?}");
            }
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
        let it = convolution(sizes, [image; 2], window, [window / 2; 2]);
        let errors = errors::<f32>(&it, 4, &workers);
        println!("{window} × {window}, {sizes:?}: {:?}", errors.map(|error| format!("{error:.1e}")));
        assert!(errors.iter().zip(bounds).all(|(&error, bound)| error < bound), "{errors:?} {it:?}");
    }
}

/// The three directions one after the other, in one vector.
fn all_outputs(sizes: &Convolution, workers: &Workers) -> Vec<f32> {
    let it = Winograd::new(sizes).unwrap();
    let [images, weights, outputs] = lengths(sizes);
    let (image, weight) = (numbers(images, 1), numbers(weights, 2));
    let upstream = numbers(outputs, 3);
    let sums = sizes.batch.div_ceil(2) * weights;
    let mut all = vec![f32::NAN; outputs + images + sums];
    let (out, rest) = all.split_at_mut(outputs);
    let (image_out, sums) = rest.split_at_mut(images);
    let mut prepared = vec![f32::NAN; it.prepared()];
    it.prepare(&weight, &mut prepared, workers);
    it.forward(&image, &prepared, Epilogue::default(), out, workers);
    let mut prepared = vec![f32::NAN; it.prepared_input_grad()];
    it.prepare_input_grad(&weight, &mut prepared, workers);
    it.input_grad(&prepared, &upstream, None, image_out, workers);
    it.weight_grad_sums(&image, &upstream, 2, sums, workers);
    all
}

#[test]
fn neither_threads_nor_registers_change_a_bit() {
    let pools = different_pools();
    for sizes in grid() {
        let expected = all_outputs(&sizes, &pools[0]);
        for pool in &pools {
            assert!(all_outputs(&sizes, pool) == expected, "{} {sizes:?}", pool.isa().name());
        }
    }
}

#[test]
fn nan_passes_epilogue_and_gate() {
    let sizes = convolution([1, 1, 2], [3, 3], 3, [1, 1]);
    let (it, [_, weights, outputs]) = (Winograd::new(&sizes).unwrap(), lengths(&sizes));
    let (image, weight) = ([f32::NAN; 9], numbers(weights, 2));
    for workers in &pools(1) {
        let (mut prepared, mut out) = (vec![0.0; it.prepared()], [9.0; 18]);
        it.prepare(&weight, &mut prepared, workers);
        it.forward(&image, &prepared, Epilogue { bias: None, relu: true }, &mut out, workers);
        assert!(out.iter().all(|number| number.is_nan()));
        let (mut prepared, mut plain, mut gated) = (vec![0.0; it.prepared_input_grad()], [9.0; 9], [9.0; 9]);
        let upstream: Vec<f32> = numbers(outputs, 3);
        it.prepare_input_grad(&weight, &mut prepared, workers);
        it.input_grad(&prepared, &upstream, None, &mut plain, workers);
        it.input_grad(&prepared, &upstream, Some(&[f32::NAN; 9]), &mut gated, workers);
        assert_eq!(plain, gated);
        it.input_grad(&prepared, &upstream, Some(&[-0.0; 9]), &mut gated, workers);
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
    for workers in &pools(1) {
        let mut out = vec![f32::NAN; 13 * 11 * 5];
        let epilogue = Epilogue { bias: Some(&bias), relu: false };
        winograd.forward(&image, &prepared, epilogue, &mut out, workers);
        for (pixel, values) in out.chunks(5).enumerate() {
            let is_near = (pixel / 11).abs_diff(6) <= 1 && (pixel % 11).abs_diff(5) <= 1;
            assert_eq!(values == bias, !is_near, "pixel {pixel} on {}", workers.isa().name());
        }
    }
}
