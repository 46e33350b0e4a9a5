//! Means of windows.

use proptest::prelude::*;

use dagrad_kernels::pool::{Average, Regions};
use dagrad_kernels::window::{Remainder, Window};
use dagrad_kernels::workers::Workers;

fn windows() -> impl Strategy<Value = Average> {
    let axis = (1..5_usize, 1..4_usize)
        .prop_flat_map(|(kernel, stride)| (kernel..12, Just(kernel), Just(stride), 0..=kernel / 2));
    (axis.clone(), axis, any::<bool>(), any::<bool>()).prop_map(|(a, b, ceil, count_include_pad)| {
        let remainder = if ceil { Remainder::Covered } else { Remainder::Dropped };
        let window = Window { remainder, ..Window::new([a.1, b.1], [a.2, b.2], [a.3, b.3]) };
        let (plane, regions) = ([a.0, b.0], Regions::Window { window, count_include_pad });
        Average { plane, output: window.output_size(plane).unwrap(), regions }
    })
}

proptest! {
    #[test]
    fn means_of_windows_agree_with_their_definition(average in windows()) {
        let Regions::Window { window, count_include_pad } = average.regions else { unreachable!() };
        let ([height, width], [out_h, out_w]) = (average.plane, average.output);
        let data: Vec<f64> = (0..3 * height * width).map(|i| ((i * 7919) % 17) as f64).collect();
        let mut means = vec![f64::NAN; 3 * out_h * out_w];
        average.mean(&data, &mut means, &Workers::new(2).unwrap());
        for (at, &found) in means.iter().enumerate() {
            let position = [at / out_w % out_h, at % out_w];
            let (mut sum, mut true_pixels, mut padded) = (0.0, 0, 0_u32);
            for (i, j) in (0..window.kernel[0]).flat_map(|i| (0..window.kernel[1]).map(move |j| (i, j))) {
                let pixel = [0, 1].map(|axis| position[axis] * window.stride[axis] + [i, j][axis]);
                let inside = |axis: usize| pixel[axis] < average.plane[axis] + 2 * window.padding[axis];
                padded += u32::from(inside(0) && inside(1));
                let [row, column] = [0, 1].map(|axis| pixel[axis].wrapping_sub(window.padding[axis]));
                if row < height && column < width {
                    true_pixels += 1;
                    sum += data[(at / (out_h * out_w) * height + row) * width + column];
                }
            }
            let mean = sum / f64::from(if count_include_pad { padded } else { true_pixels });
            prop_assert!((mean - found).abs() < 1e-12);
        }
    }
}

/// ⟨mean(x), y⟩ = ⟨x, mean_adjoint(y)⟩, on rows of more than a tile too.
#[test]
fn the_adjoint_of_a_mean_is_its_adjoint() {
    for (width, stride, padding) in [(700, 1, 2), (700, 3, 0), (30, 2, 1), (256, 1, 0), (3, 4, 1)] {
        for count_include_pad in [false, true] {
            let window = Window::new([3, 5.min(width)], [2, stride], [1, padding]);
            let plane = [9, width];
            let regions = Regions::Window { window, count_include_pad };
            let average = Average { plane, output: window.output_size(plane).unwrap(), regions };
            let (pooled, workers) = (average.output[0] * average.output[1], Workers::new(2).unwrap());
            let x: Vec<f64> = (0..2 * 9 * width).map(|i| ((i * 7919) % 17) as f64).collect();
            let y: Vec<f64> = (0..2 * pooled).map(|i| ((i * 104_729) % 13) as f64).collect();
            let (mut means, mut adjoint) = (vec![f64::NAN; y.len()], vec![f64::NAN; x.len()]);
            average.mean(&x, &mut means, &workers);
            average.mean_adjoint(&y, &mut adjoint, &workers);
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let (left, right) = (dot(&means, &y), dot(&x, &adjoint));
            assert!((left - right).abs() < 1e-9 * left.abs(), "{left} {right} {average:?}");
        }
    }
}

#[test]
fn equal_regions_share_the_pixels_on_their_borders() {
    let average = Average { plane: [5, 2], output: [3, 4], regions: Regions::Equal([3, 4]) };
    assert_eq!([0, 1, 2].map(|position| average.pixels(0, position)), [0..2, 1..4, 3..5]);
    assert_eq!([0, 1, 2, 3].map(|position| average.pixels(1, position)), [0..1, 0..1, 1..2, 1..2]);
}
