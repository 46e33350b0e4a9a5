//! Graphs that are very deep or have very many paths: exact values, on a thread whose stack would not hold a recursion
//! over them. (That the time grows linearly is checked in `differentiation.rs`.)

use crate::common::{array, run_plan};
use dagrad::{Graph, Options, Store, Var, gradients};

/// Records a function of one number, its first and its second derivative, compiles them with all passes and with
/// none, runs both at `x`, drops everything, and compares.
fn assert_derivatives(x: f64, function: impl for<'g> Fn(Var<'g>) -> Var<'g>, expected: [f64; 3]) {
    let graph = Graph::new();
    let input = graph.input("x", []);
    let y = function(input);
    let first = gradients(y, &[input]).unwrap()[0];
    let second = gradients(first, &[input]).unwrap()[0];
    for options in [Options::new(), Options::plain()] {
        let plan = options.compile::<f64>(&graph, &[y, first, second]).unwrap();
        let found = run_plan(&plan, &mut Store::new(0), &[input.feed(&array(&[], &[x]))]).unwrap();
        assert_eq!(found.iter().map(|number| number.sum()).collect::<Vec<_>>(), expected);
    }
}

/// Runs a test with 1 MiB of stack, some 50 bytes for each value of a long chain. (Kernels that were not optimised need
/// half of it.)
fn on_a_small_stack(test: fn()) {
    std::thread::Builder::new().stack_size(1024 * 1024).spawn(test).unwrap().join().unwrap();
}

#[test]
fn a_chain_of_20000_reciprocals_is_exact() {
    /// x, 1/x, x, …: the derivatives of two steps are powers of two at 2, and cancel.
    fn chain(x: Var<'_>) -> Var<'_> {
        (0..20_000).fold(x, |y, _| 1.0 / y)
    }
    on_a_small_stack(|| assert_derivatives(2.0, chain, [2.0, 1.0, 0.0]));
}

#[test]
fn two_to_the_30_factors_are_counted() {
    /// x to the power of n = 2³⁰, whose derivatives at 1 are n and n (n - 1).
    fn power(x: Var<'_>) -> Var<'_> {
        (0..30).fold(x, |y, _| y * y)
    }
    const N: f64 = (1u64 << 30) as f64;
    on_a_small_stack(|| assert_derivatives(1.0, power, [1.0, N, N * (N - 1.0)]));
}

#[test]
fn two_to_the_30_paths_over_different_operations_add_up() {
    /// 3y - 2y = y along two paths that cannot be merged, thirty times over; then its square.
    fn square(x: Var<'_>) -> Var<'_> {
        (0..30).fold(x, |y, _| y * 3.0 + -(y + y)).powi(2)
    }
    on_a_small_stack(|| assert_derivatives(5.0, square, [25.0, 10.0, 2.0]));
}
