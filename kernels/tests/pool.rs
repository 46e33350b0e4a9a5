//! Maxima of windows.

use proptest::prelude::*;

use dagrad_kernels::pool::Pooling;
use dagrad_kernels::tuning::POOL_BLOCK;
use dagrad_kernels::window::{Remainder, Window};
use dagrad_kernels::workers::Workers;

/// The pixels of the window at `position`, with their indices, by the definition.
fn window(pooling: &Pooling, position: usize) -> Vec<usize> {
    let Window { kernel, dilation, stride, padding, .. } = pooling.window;
    let (y, x) = (position / pooling.output[1], position % pooling.output[1]);
    let pixels = (0..kernel[0]).flat_map(|p| (0..kernel[1]).map(move |q| (p, q)));
    let inside = pixels.filter_map(|(p, q)| {
        let along = |axis: usize, position: usize, tap: usize| {
            let pixel = (position * stride[axis] + tap * dilation[axis]).checked_sub(padding[axis]);
            pixel.filter(|&pixel| pixel < pooling.plane[axis])
        };
        Some(along(0, y, p)? * pooling.plane[1] + along(1, x, q)?)
    });
    inside.collect()
}

fn poolings() -> impl Strategy<Value = Pooling> {
    let axis = (1..5_usize, 1..4_usize, 1..4_usize).prop_flat_map(|(kernel, stride, dilation)| {
        let extent = dilation * (kernel - 1) + 1;
        (extent.max(dilation)..14, Just(kernel), Just(stride), Just(dilation), 0..=extent / 2)
    });
    (axis.clone(), axis, any::<bool>(), any::<bool>()).prop_map(|(a, b, ceil, dilated)| {
        let remainder = if ceil { Remainder::Covered } else { Remainder::Dropped };
        let (mut dilation, mut padding) = ([a.3, b.3], [a.4, b.4]);
        if !dilated {
            (dilation, padding) = ([1; 2], [a.4.min(a.1 / 2), b.4.min(b.1 / 2)]);
        }
        let plain = Window::new([a.1, b.1], [a.2, b.2], padding);
        let window = Window { dilation, remainder, ..plain };
        let plane = [a.0, b.0];
        Pooling { plane, output: window.output_size(plane).unwrap(), window }
    })
}

proptest! {
    #[test]
    fn pooling_agrees_with_its_definition(pooling in poolings(), seed in 0..1000_usize) {
        let value = |i: usize| match (i * 7919 + seed * 31) % 17 {
            0 if seed % 3 == 0 => f64::NAN,
            n if seed % 5 == 0 && n < 13 => f64::NEG_INFINITY,
            n => (n % 7) as f64 - 3.0,
        };
        let data: Vec<f64> = (0..3 * pooling.area()).map(value).collect();
        let mut indices = vec![u32::MAX; 3 * pooling.pooled()];
        for threads in 1..=2 {
            let workers = Workers::new(threads).unwrap();
            pooling.argmax(&data, &mut indices, &workers);
            for (number, plane) in data.chunks(pooling.area()).enumerate() {
                for position in 0..pooling.pooled() {
                    let larger = |a: usize, b: usize| plane[b] > plane[a] || plane[b].is_nan() && !plane[a].is_nan();
                    let first = window(&pooling, position).into_iter().reduce(|a, b| if larger(a, b) { b } else { a });
                    prop_assert_eq!(Some(indices[number * pooling.pooled() + position] as usize), first);
                }
            }
        }
    }
}

#[test]
fn a_window_of_almost_nothing_but_padding_takes_no_longer() {
    let window = Window::new([1 << 33, 3], [1, 1], [1 << 32, 1]);
    let pooling = Pooling { plane: [2, 3], output: [3, 3], window };
    let mut indices = [u32::MAX; 9];
    pooling.argmax(&[1.0, 5.0, 2.0, 4.0, 3.0, 6.0], &mut indices, &Workers::new(1).unwrap());
    assert_eq!(indices, [1, 5, 5].repeat(3)[..]);
}

#[test]
fn a_row_longer_than_a_block_is_pooled_whole() {
    let window = Window::new([1, 2], [1, 1], [0, 1]);
    let pooling = Pooling { plane: [1, 3 * POOL_BLOCK], output: [1, 3 * POOL_BLOCK + 1], window };
    let data: Vec<f32> = (0..3 * POOL_BLOCK).map(|i| i as f32).collect();
    let mut indices = vec![u32::MAX; 3 * POOL_BLOCK + 1];
    pooling.argmax(&data, &mut indices, &Workers::new(1).unwrap());
    let expected: Vec<u32> = (0..3 * POOL_BLOCK as u32).chain([3 * POOL_BLOCK as u32 - 1]).collect();
    assert_eq!(indices, expected);
}
