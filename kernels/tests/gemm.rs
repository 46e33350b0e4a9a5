//! Products on every instruction set, against three loops in double precision.

use crate::common::{check as check_output, different_pools, numbers, pools, rounding};
use dagrad_kernels::gemm::{Epilogue, Gemm};
use dagrad_kernels::real::Real;
use dagrad_kernels::workers::Workers;

/// Sizes around those of tiles, panels and blocks, and none of something.
const SIZES: [[usize; 3]; 27] = [
    [1, 1, 1],
    [1, 17, 33],
    [2, 3, 5],
    [14, 32, 16],
    [15, 33, 17],
    [29, 7, 100],
    [100, 10, 100],
    [3, 200, 1],
    [61, 100, 600],
    [1, 40, 1300],
    [200, 65, 130],
    [1, 100, 1600],
    [2, 130, 37],
    [3, 50, 48],
    [4, 23, 5],
    [4, 70, 530],
    [5, 70, 530],
    [10, 10, 1100],
    [33, 97, 2100],
    [17, 1, 700],
    [40, 600, 3],
    [300, 530, 20],
    [150, 100, 1],
    [1, 40, 0],
    [5, 6, 0],
    [0, 4, 3],
    [4, 0, 3],
];

/// All ways to store the operands of a product.
fn products([m, n, k]: [usize; 3]) -> impl Iterator<Item = Gemm> {
    [(false, false), (false, true), (true, false), (true, true)]
        .into_iter()
        .map(move |(transpose_a, transpose_b)| Gemm { m, n, k, transpose_a, transpose_b })
}

fn expected<T: Real>(gemm: &Gemm, a: &[T], b: &[T], bias: &[T]) -> Vec<f64> {
    let Gemm { m, n, k, transpose_a, transpose_b } = *gemm;
    let a = |i: usize, p: usize| a[if transpose_a { p * m + i } else { i * k + p }].into_f64();
    let b = |p: usize, j: usize| b[if transpose_b { j * k + p } else { p * n + j }].into_f64();
    let element = |i, j: usize| (0..k).map(|p| a(i, p) * b(p, j)).sum::<f64>() + bias[j].into_f64();
    (0..m).flat_map(|i| (0..n).map(move |j| (i, j))).map(|(i, j)| element(i, j)).collect()
}

fn check<T: Real>(gemm: &Gemm, workers: &Workers) {
    let (a, b) = (numbers::<T>(gemm.m * gemm.k, 1), numbers::<T>(gemm.k * gemm.n, 2));
    let bias = numbers::<T>(gemm.n, 3);
    let mut scratch = vec![T::nan(); gemm.scratch()];
    let what = format!("{} {} {gemm:?}", workers.isa().name(), T::NAME);
    check_output::<T>(&what, &expected(gemm, &a, &b, &bias), rounding(gemm.k), |c| {
        let epilogue = Epilogue { bias: Some(&bias), relu: false };
        gemm.run(&a, &b, epilogue, c, &mut scratch, workers);
    });
}

#[test]
fn products_are_what_three_loops_say() {
    for workers in &pools(2) {
        for gemm in SIZES.into_iter().flat_map(products) {
            check::<f32>(&gemm, workers);
            check::<f64>(&gemm, workers);
        }
    }
}

#[test]
fn neither_threads_nor_registers_change_a_bit() {
    let pools = different_pools();
    for gemm in SIZES.into_iter().flat_map(products) {
        let (a, b) = (numbers::<f32>(gemm.m * gemm.k, 1), numbers::<f32>(gemm.k * gemm.n, 2));
        let run = |pool| {
            let (mut c, mut scratch) = (vec![f32::NAN; gemm.m * gemm.n], vec![f32::NAN; gemm.scratch()]);
            gemm.run(&a, &b, Epilogue::default(), &mut c, &mut scratch, pool);
            c
        };
        let expected = run(&pools[0]);
        for pool in &pools {
            assert!(run(pool) == expected, "{} {gemm:?}", pool.isa().name());
        }
    }
}

#[test]
fn an_epilogue_follows_the_whole_sum_however_it_is_cut() {
    let pools = pools(2);
    for [m, n, k] in [[3, 21, 2100], [40, 21, 2100], [2, 21, 40], [20, 21, 700]] {
        for gemm in products([m, n, k]) {
            let (a, b) = (vec![-1.0f32; m * k], vec![1.0; k * n]);
            let bias: Vec<_> = (0..n).map(|column| k as f32 + column as f32 - 10.0).collect();
            for workers in &pools {
                let (mut c, mut scratch) = (vec![f32::NAN; m * n], vec![f32::NAN; gemm.scratch()]);
                let epilogue = Epilogue { bias: Some(&bias), relu: true };
                gemm.run(&a, &b, epilogue, &mut c, &mut scratch, workers);
                for (index, &found) in c.iter().enumerate() {
                    assert_eq!(
                        found,
                        ((index % n) as f32 - 10.0).max(0.0),
                        "{} {gemm:?}",
                        workers.isa().name()
                    );
                }
            }
        }
    }
}

#[test]
fn relu_of_the_epilogue_lets_nan_pass() {
    let gemm = Gemm { m: 1, n: 3, k: 1, transpose_a: false, transpose_b: false };
    for workers in &pools(1) {
        let (mut c, mut scratch) = ([9.0f64; 3], vec![0.0; gemm.scratch()]);
        let epilogue = Epilogue { bias: Some(&[1.0, 1.0, -0.5]), relu: true };
        gemm.run(&[1.0], &[f64::NAN, 0.5, 0.5], epilogue, &mut c, &mut scratch, workers);
        assert!(c[0].is_nan());
        assert_eq!(c[1..], [1.5, 0.0]);
        assert!(c[2].is_sign_positive());
    }
}
