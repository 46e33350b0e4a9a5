//! What the compiler writes anew means the same: every plan against the plain one, which runs no pass.

use crate::common::{numbers, run_plan};
use dagrad::{Conv2dOptions, Graph, Options, Pool2dOptions, Store, Var, vjp};

/// Every choice of some of `count` things, as the bits of a number.
fn subsets(count: usize) -> impl Iterator<Item = Vec<isize>> {
    (0..1 << count).map(move |bits| (0..count as isize).filter(|axis| bits >> axis & 1 == 1).collect())
}

/// Runs what is recorded of an array with and without passes, and compares.
fn check(what: &str, shape: [usize; 4], record: impl for<'g> Fn(&'g Graph, Var<'g>) -> Var<'g>) {
    let graph = Graph::new();
    let input = graph.input("x", shape);
    let output = record(&graph, input);
    graph.check().unwrap();
    let values = numbers(&shape, 3);
    let [plain, found] = [Options::plain(), Options::new()].map(|options| {
        let plan = options.compile::<f64>(&graph, &[output]).unwrap();
        run_plan(&plan, &mut Store::new(0), &[input.feed(&values)]).unwrap().remove(0)
    });
    assert_eq!(found.shape(), plain.shape(), "{what}");
    let error = found.iter().zip(&plain).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(error <= 1e-12, "{what}: {error:.1e}\n{found}\ninstead of\n{plain}");
}

/// A pool's gradient is summed before it is put back, if whole planes are summed. (As a convolution's
/// output, the image may have its channels last.)
#[test]
fn the_gradient_of_a_pool_is_summed_over_any_axes() {
    for axes in subsets(4) {
        for after_convolution in [false, true] {
            check(&format!("a sum over {axes:?}"), [3, 2, 7, 6], |graph, x| {
                let weight = graph.constant(numbers(&[4, 2, 3, 3], 5));
                let options = Conv2dOptions::new().padding(1);
                let image = if after_convolution { x.conv2d(weight, options) } else { x };
                let pooled = image.max_pool2d(Pool2dOptions::new([3, 2]).stride([2, 1]));
                let upstream = graph.constant(numbers(&pooled.shape(), 7));
                vjp(&[(pooled, upstream)], &[image]).unwrap()[0].unwrap().sum(&axes)
            });
        }
    }
}

/// The names of a plan's steps, not fused, with the shapes of what they make.
fn steps(output: Var<'_>) -> Vec<String> {
    let options = Options::new().without("fuse");
    let plan = options.compile::<f64>(output.graph(), &[output]).unwrap();
    plan.steps().iter().map(|step| format!("{} {}", step.name(), step.output().ty)).collect()
}

#[test]
fn whole_powers_are_multiplied() {
    for power in [-3.0, 0.0, 1.0, 2.0, 32.0, 33.0, 0.5] {
        check(&format!("power {power}"), [2, 3, 1, 2], |graph, x| {
            (x * x * 0.1 + 1.0).pow(graph.fill([2, 3, 1, 2], power))
        });
    }
    let graph = Graph::new();
    let x = graph.input("x", [2]);
    assert_eq!(steps(x.pow(graph.fill([2], 3.0))), ["powi [2]"]);
    assert_eq!(steps(x.pow(graph.fill([2], 0.5))), ["fill [2]", "pow [2]"]);
}

#[test]
fn a_repeated_constant_is_a_constant() {
    let graph = Graph::new();
    let ones = graph.fill([3, 1], 2.5).broadcast_to([2, 3, 4]);
    assert_eq!(steps(ones), ["fill [2, 3, 4]"]);
    check("a repeated constant", [2, 3, 1, 4], |graph, x| {
        x + graph.fill([3, 1, 1], 2.5).broadcast_to([2, 3, 1, 4])
    });
}

/// What a rectifier lets pass is decided at the pool's outputs, of which there are fewer.
#[test]
fn a_gate_passes_before_a_pool_s_gradient_is_put_back() {
    check("relu, then a pool", [3, 2, 7, 6], |graph, x| {
        let pooled = x.relu().max_pool2d(2);
        let upstream = graph.constant(numbers(&pooled.shape(), 7));
        vjp(&[(pooled, upstream)], &[x]).unwrap()[0].unwrap()
    });
    let graph = Graph::new();
    let x = graph.input("x", [3, 2, 8, 6]);
    let pooled = x.relu().max_pool2d(2);
    let gradient = vjp(&[(pooled, graph.input("u", pooled.shape()))], &[x]).unwrap()[0].unwrap();
    let steps = steps(gradient);
    assert!(steps.contains(&"gate [3, 2, 4, 3]".to_string()), "{steps:?}");
    assert_eq!(steps.last().map(String::as_str), Some("max_pool2d_put [3, 2, 8, 6]"));
}

#[test]
fn products_of_vectors_and_of_transposed_matrices_are_written_simpler() {
    let graph = Graph::new();
    let (column, row) = (graph.input("column", [4, 1]), graph.input("row", [1, 5]));
    let outer = steps(column.matmul(row));
    assert!(outer.iter().all(|step| !step.starts_with("matmul")), "{outer:?}");
    let (rows, transposed) = (graph.input("rows", [3, 5]), graph.input("transposed", [4, 3]));
    assert_eq!(steps(row.matmul(rows.transpose())), ["matmul [3, 1]"]);
    assert_eq!(steps(transposed.transpose().matmul(graph.input("b", [4, 2]))), ["matmul [3, 2]"]);
    for (rows, columns) in [(1, 60), (2, 30), (60, 1)] {
        check(&format!("products of {rows} rows"), [3, 4, 1, 5], |_, x| {
            let a = x.reshape([rows, columns]);
            let [inner, outer] = [a.matmul(a.transpose()), a.transpose().matmul(a)];
            inner.sum_all() + outer.powi(2).sum(&[0])
        });
    }
}

#[test]
fn two_permutations_are_one() {
    let orders = || {
        (0..256_isize).map(|code| [code / 64, code / 16 % 4, code / 4 % 4, code % 4]).filter(|order| {
            let mut axes = *order;
            axes.sort_unstable();
            axes == [0, 1, 2, 3]
        })
    };
    assert_eq!(orders().count(), 24);
    for (first, second) in orders().flat_map(|first| orders().map(move |second| (first, second))) {
        check(&format!("{first:?}, then {second:?}"), [2, 3, 4, 5], |_, x| {
            x.permute(&first).permute(&second)
        });
    }
}
