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
