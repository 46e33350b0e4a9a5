//! Sums over axes.

use dagrad_kernels::reduce::sum;
use dagrad_kernels::workers::Workers;

/// Index by index, without any merging of axes.
fn naive(data: &[f64], shape: &[usize], summed: &[bool]) -> Vec<f64> {
    let kept: usize = shape.iter().zip(summed).filter(|(_, s)| !**s).map(|(n, _)| n).product();
    let mut out = vec![0.0; kept];
    for (flat, value) in data.iter().enumerate() {
        let (mut rest, mut position, mut stride) = (flat, 0, 1);
        for (&size, &is_summed) in shape.iter().zip(summed).rev() {
            if !is_summed {
                position += rest % size * stride;
                stride *= size;
            }
            rest /= size;
        }
        out[position] += value;
    }
    out
}

#[test]
fn sums_over_every_set_of_axes_agree_with_index_by_index_loops() {
    let shape = [3, 1, 4, 5, 2];
    let data: Vec<f64> = (0..120).map(|i| f64::from(i * i % 37)).collect();
    for threads in 1..=3 {
        let workers = Workers::new(threads).unwrap();
        for set in 0..32_usize {
            let summed: Vec<bool> = (0..5).map(|axis| set >> axis & 1 == 1).collect();
            let expected = naive(&data, &shape, &summed);
            let mut out = vec![f64::NAN; expected.len()];
            sum(&data, &shape, &|axis| summed[axis], &mut out, &workers);
            assert_eq!(out, expected, "axes {summed:?}");
        }
    }
}

#[test]
fn a_long_sum_in_f32_is_exact_to_the_last_place() {
    let workers = Workers::new(2).unwrap();
    let data = vec![0.1_f32; 1_000_003];
    let mut out = [0.0_f32];
    sum(&data, &[data.len()], &|_| true, &mut out, &workers);
    assert_eq!(out[0], (0.1_f32 as f64 * 1_000_003.0) as f32);
}
