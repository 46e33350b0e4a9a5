//! Laws that hold for every shape and every graph, tried on random ones.
//!
//! `PROPTEST_CASES=10000 cargo test --test properties` tries more of them.

use super::{equations, graphs, shapes, windows};
use crate::common::{array, assert_close, numbers, run, run_plan, try_run, value};
use dagrad::{Graph, Options, Precision, Store, Var, vjp};
use ndarray::{ArrayD, Axis};
use proptest::prelude::*;

/// One in so many of the usual number of cases.
fn one_in(share: u32) -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases.div_ceil(share), failure_persistence: None, ..usual }
}

/// A few values, many of them equal.
fn with_ties(shape: &[usize], seed: u64) -> ArrayD<f64> {
    numbers(shape, seed).mapv(|number| (number * 3.0).round())
}

/// The results of a function of one array, as values.
fn of<'a>(x: &'a ArrayD<f64>, function: impl for<'g> Fn(Var<'g>) -> Var<'g>) -> ArrayD<f64> {
    let graph = Graph::new();
    let input = graph.input("x", x.shape());
    value(function(input), &[input.feed(x)])
}

/// An array that takes part in the graph of `x` as it is.
fn beside<'g>(x: Var<'g>, array: &ArrayD<f64>) -> Var<'g> {
    x.graph().constant(array.clone())
}

proptest! {
    #![proptest_config(one_in(1))]

    #[test]
    fn a_convolution_is_its_definition(conv in windows::convolutions()) {
        let (image, weight) = (numbers(&conv.image(), conv.seed), numbers(&conv.weight(), !conv.seed));
        let graph = Graph::new();
        let (x, w) = (graph.input("x", conv.image()), graph.input("w", conv.weight()));
        let y = x.conv2d(w, conv.options());
        let (expected, feeds) = (conv.defined(&image, &weight), [x.feed(&image), w.feed(&weight)]);
        assert_close(&value(y, &feeds), &expected, 1e-13);
        let single = try_run::<f32>(&[y], &feeds).unwrap().remove(0);
        assert_close(&single.mapv(f64::from), &expected, 1e-4);
    }

    #[test]
    fn a_maximum_pool_is_its_definition(pool in windows::max_pools()) {
        let graph = Graph::new();
        let x = graph.input("x", pool.image());
        let y = x.max_pool2d(pool.options());
        let u = graph.input("u", pool.pooled());
        let gradient = vjp(&[(y, u)], &[x]).unwrap()[0].unwrap();
        let (image, upstream) = (with_ties(&pool.image(), pool.seed), numbers(&pool.pooled(), !pool.seed));
        let found = run(&[y, gradient], &[x.feed(&image), u.feed(&upstream)]);
        for (found, expected) in found.iter().zip(pool.maximum(&image, &upstream)) {
            assert_close(found, &expected, 1e-14);
        }
    }

    #[test]
    fn a_mean_pool_is_its_definition(pool in windows::mean_pools()) {
        let image = numbers(&pool.image(), pool.seed);
        assert_close(&of(&image, |x| x.avg_pool2d(pool.options())), &pool.mean(&image), 1e-14);
    }

    #[test]
    fn a_matrix_product_is_its_definition((left, right) in shapes::products(), seed: u64) {
        let (a, b) = (numbers(&left, seed), numbers(&right, !seed));
        let found = of(&a, |x| x.matmul(beside(x, &b)));
        assert_close(&found, &shapes::product(&a, &b), 1e-13);
    }

    #[test]
    fn an_einstein_sum_is_its_definition(equation in equations::equations(), seed: u64) {
        let arrays: Vec<_> = (seed..).zip(&equation.shapes).map(|(seed, shape)| numbers(shape, seed)).collect();
        let graph = Graph::new();
        let operands: Vec<_> = arrays.iter().map(|array| graph.constant(array.clone())).collect();
        let found = value(graph.einsum(&equation.text, &operands), &[]);
        assert_close(&found, &equation.defined(&arrays), 1e-13);
    }

    #[test]
    fn a_slice_is_that_of_python((shape, axis) in shapes::with_an_axis(), from in -6..7_isize, to in -6..7_isize,
                                 step in prop_oneof![-3..0_isize, 1..4_isize], seed: u64) {
        let x = numbers(&shape, seed);
        let axis_from_0 = if axis < 0 { axis + shape.len() as isize } else { axis } as usize;
        let size = shape[axis_from_0] as isize;
        let bound = |position: isize| if position < 0 { (position + size).max(0) } else { position.min(size) };
        let mut chosen: Vec<_> = (bound(from)..bound(to)).map(|index| index as usize).collect();
        if step < 0 {
            chosen.reverse();
        }
        let chosen: Vec<_> = chosen.into_iter().step_by(step.unsigned_abs()).collect();
        let found = of(&x, |x| x.slice_step(axis, from..to, step));
        assert_close(&found, &x.select(Axis(axis_from_0), &chosen), 0.0);
        let same = |end: Var<'_>, start: Var<'_>| assert_eq!(end.shape(), start.shape());
        let graph = Graph::new();
        let x = graph.constant(x);
        if to >= 0 {
            same(x.slice(axis, from..=to), x.slice(axis, from..to + 1));
        }
        same(x.slice(axis, from..=-1), x.slice(axis, from..));
    }

    #[test]
    fn arithmetic_broadcasts((left, right) in shapes::broadcast_pairs(), seed: u64) {
        let (a, b) = (numbers(&left, seed), numbers(&right, !seed));
        assert_close(&of(&a, |x| x + beside(x, &b)), &(&a + &b), 0.0);
        assert_close(&of(&a, |x| x - beside(x, &b)), &(&a - &b), 0.0);
        assert_close(&of(&a, |x| x * beside(x, &b)), &(&a * &b), 0.0);
        assert_close(&of(&a, |x| x / beside(x, &b)), &(&a / &b), 1e-15);
    }

    #[test]
    fn sums_and_means_go_over_the_axes_that_are_named((shape, axes) in shapes::reductions(), seed: u64) {
        let x = numbers(&shape, seed);
        let mut kept = x.clone();
        for &axis in &axes {
            kept = kept.sum_axis(Axis(axis as usize)).insert_axis(Axis(axis as usize));
        }
        let count: usize = axes.iter().map(|&axis| shape[axis as usize]).product();
        let left = (0..shape.len()).filter(|&axis| !axes.contains(&(axis as isize))).map(|axis| shape[axis]);
        let sums = array(&left.collect::<Vec<_>>(), &kept.iter().copied().collect::<Vec<_>>());
        assert_close(&of(&x, |x| x.sum_keep(&axes)), &kept, 1e-13);
        assert_close(&of(&x, |x| x.sum(&axes)), &sums, 1e-13);
        assert_close(&of(&x, |x| x.mean(&axes)), &(sums / count as f64), 1e-14);
        let from_the_end: Vec<isize> = axes.iter().map(|axis| axis - shape.len() as isize).collect();
        assert_close(&of(&x, |x| x.sum_keep(&from_the_end)), &kept, 1e-13);
    }
}

/// For a linear A: ⟨A x, u⟩ = ⟨x, Aᵀ u⟩ with the Aᵀ of the gradient rule, and (Aᵀ)ᵀ = A with that of its own.
///
/// It holds as well for what is linear as long as no choice changes, such as a maximum: A is then the choice at x.
fn assert_adjoint(shape: &[usize], seed: u64, linear: impl for<'g> Fn(Var<'g>) -> Var<'g>) {
    assert_adjoint_by(shape, seed, &[], |x, _| linear(x));
}

/// The same for what reads indices, too.
fn assert_adjoint_by(
    shape: &[usize],
    seed: u64,
    indices: &[u32],
    linear: impl for<'g> Fn(Var<'g>, Var<'g>) -> Var<'g>,
) {
    let graph = Graph::new();
    let x = graph.input("x", shape);
    let chosen = graph.labels("indices", [indices.len()]);
    let y = linear(x, chosen);
    let (u, v) = (graph.input("u", y.shape()), graph.input("v", shape));
    let back = vjp(&[(y, u)], &[x]).unwrap()[0].unwrap();
    let again = vjp(&[(back, v)], &[u]).unwrap()[0].unwrap();
    let (at, upstream) = (numbers(shape, seed), numbers(&y.shape(), seed ^ 0x5555));
    let indices = ndarray::aview1(indices);
    let feeds = [x.feed(&at), u.feed(&upstream), v.feed(&at), chosen.feed(&indices)];
    let found = run(&[y, back, again], &feeds);
    let (left, right) = (&found[0] * &upstream, &found[1] * &at);
    let scale = left.mapv(f64::abs).sum() + right.mapv(f64::abs).sum();
    let gap = (left.sum() - right.sum()).abs();
    assert!(gap <= 1e-12 * scale, "<A x, u> = {} but <x, At u> = {}", left.sum(), right.sum());
    assert_close(&found[2], &found[0], 1e-13);
}

proptest! {
    #![proptest_config(one_in(2))]

    #[test]
    fn convolutions_are_adjoint_to_their_gradients(conv in windows::convolutions()) {
        let (image, weight) = (numbers(&conv.image(), 1), numbers(&conv.weight(), 2));
        assert_adjoint(&conv.image(), conv.seed, |x| x.conv2d(beside(x, &weight), conv.options()));
        assert_adjoint(&conv.weight(), conv.seed, |w| beside(w, &image).conv2d(w, conv.options()));
    }

    #[test]
    fn pools_are_adjoint_to_their_gradients(mean in windows::mean_pools(), largest in windows::max_pools()) {
        assert_adjoint(&mean.image(), mean.seed, |x| x.avg_pool2d(mean.options()));
        assert_adjoint(&largest.image(), largest.seed, |x| x.max_pool2d(largest.options()));
        let patches = mean.options();
        assert_adjoint(&mean.image(), mean.seed, |x| x.im2col(patches));
        assert_adjoint(&mean.image(), mean.seed, |x| x.adaptive_avg_pool2d([2, 3]));
        assert_adjoint(&mean.image(), mean.seed, |x| x.global_avg_pool2d());
    }

    #[test]
    fn transposed_convolutions_are_adjoint_to_their_gradients(conv in windows::convolutions()) {
        // The images that a convolution makes, with as many pixels over at the end as its stride leaves.
        let (weight, made, more) = (numbers(&conv.weight(), 2), conv.made(), conv.left_over());
        let back = |y: Var<'_>| y.conv_transpose2d(beside(y, &weight), conv.options(), more).shape();
        let graph = Graph::new();
        prop_assert_eq!(back(graph.input("y", made)), dagrad::Shape::from(conv.image()));
        assert_adjoint(&made, conv.seed, |y| y.conv_transpose2d(beside(y, &weight), conv.options(), more));
        let image = numbers(&made, 1);
        assert_adjoint(&conv.weight(), conv.seed, |w| beside(w, &image).conv_transpose2d(w, conv.options(), more));
    }

    #[test]
    fn products_are_adjoint_to_their_gradients((left, right) in shapes::products(), seed: u64) {
        let (a, b) = (numbers(&left, 1), numbers(&right, 2));
        assert_adjoint(&left, seed, |a| a.matmul(beside(a, &b)));
        assert_adjoint(&right, seed, |b| beside(b, &a).matmul(b));
    }

    #[test]
    fn arithmetic_is_adjoint_to_its_gradients((left, right) in shapes::broadcast_pairs(), seed: u64) {
        let b = numbers(&right, 2);
        assert_adjoint(&left, seed, |a| a * beside(a, &b));
        assert_adjoint(&left, seed, |a| beside(a, &b) * a);
        assert_adjoint(&left, seed, |a| a / (beside(a, &b) + 3.0));
        assert_adjoint(&left, seed, |a| a + beside(a, &b) * a - a * 0.5);
    }

    #[test]
    fn what_only_moves_numbers_is_adjoint_to_its_gradient(
        (shape, order) in shapes::orders(),
        (summed, axes) in shapes::reductions(),
        (small, other) in shapes::broadcast_pairs(),
        seed: u64,
    ) {
        assert_adjoint(&shape, seed, |x| x.permute(&order));
        assert_adjoint(&shape, seed, |x| x.permute(&order).reshape([x.shape().count()]));
        assert_adjoint(&summed, seed, |x| x.sum(&axes));
        assert_adjoint(&summed, seed, |x| x.sum_keep(&axes));
        assert_adjoint(&summed, seed, |x| x.mean(&axes));
        assert_adjoint(&summed, seed, |x| x.max_keep(&axes));
        assert_adjoint(&shape, seed, |x| x.flip(&order[..order.len() / 2]));
        let both = dagrad::Shape::from(&small[..]).broadcast(&other[..].into()).unwrap();
        assert_adjoint(&small, seed, |x| x.broadcast_to(&both));
        assert_adjoint(&shape, seed, |x| x.relu());
        assert_adjoint(&shape, seed, |x| -x);
    }
}

proptest! {
    #![proptest_config(one_in(2))]

    #[test]
    fn parts_are_adjoint_to_their_gradients(
        (shape, axis) in shapes::with_an_axis(),
        (from, to) in (-5..6isize, -5..6isize),
        step in prop_oneof![-3..0isize, 1..4isize],
        sides in proptest::collection::vec([0..3usize, 0..3usize], 6),
        rows in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        seed: u64,
    ) {
        assert_adjoint(&shape, seed, |x| x.slice_step(axis, from..to, step));
        assert_adjoint(&shape, seed, |x| x.pad(&sides[..shape.len()], 0.0));
        let other = numbers(&shape, 2);
        assert_adjoint(&shape, seed, |x| x.graph().concat(&[x, beside(x, &other) * x, x], axis));
        assert_adjoint(&shape, seed, |x| x.graph().stack(&[x * 2.0, x], axis));
        let size = shape[dagrad::Shape::from(&shape[..]).axes(&[axis]).unwrap()[0]];
        let rows: Vec<u32> = rows.iter().filter(|_| size > 0).map(|row| row.index(size.max(1)) as u32).collect();
        assert_adjoint_by(&shape, seed, &rows, |x, rows| x.index_select(axis, rows));
        assert_adjoint(&shape, seed, |x| x.roll(axis, from));
        assert_adjoint(&shape, seed, |x| x.repeat_interleave(axis, sides[0][0]));
        assert_adjoint(&shape, seed, |x| x.tile(&sides.iter().map(|[times, _]| times + 1).collect::<Vec<_>>()[..3]));
        if size > 0 {
            let before = (0..shape.len()).map(|at| if shape[at] > 1 { sides[at].map(|side| side.min(shape[at] - 1)) } else { [0; 2] });
            let mirrored: Vec<_> = before.collect();
            assert_adjoint(&shape, seed, |x| x.pad_reflect(&mirrored));
        }
        if !shape.contains(&0) {
            assert_adjoint(&shape, seed, |x| x.pad_replicate(&sides[..shape.len()]));
        }
    }

    #[test]
    fn images_of_other_sizes_are_adjoint_to_their_gradients(
        [n, c, h, w] in [1..3usize, 1..3usize, 1..6usize, 1..6usize],
        to in [1..9usize, 1..9usize],
        factor in 1..4usize,
        aligned: bool,
        seed: u64,
    ) {
        assert_adjoint(&[n, c, h, w], seed, |x| x.upsample_nearest(to));
        assert_adjoint(&[n, c, h, w], seed, |x| x.upsample_nearest_by(to));
        assert_adjoint(&[n, c, h, w], seed, |x| x.upsample_bilinear(to, aligned));
        assert_adjoint(&[n, c * factor * factor, h, w], seed, |x| x.pixel_shuffle(factor));
        assert_adjoint(&[n, c, h * factor, w * factor], seed, |x| x.pixel_unshuffle(factor));
    }

    #[test]
    fn einstein_sums_are_adjoint_to_their_gradients(equation in equations::equations(), seed: u64) {
        let arrays: Vec<_> = (seed..).zip(&equation.shapes).map(|(seed, shape)| numbers(shape, seed)).collect();
        for (at, shape) in equation.shapes.iter().enumerate() {
            assert_adjoint(shape, seed, |x| {
                let operand = |(other, array)| if other == at { x } else { beside(x, array) };
                x.graph().einsum(&equation.text, &arrays.iter().enumerate().map(operand).collect::<Vec<_>>())
            });
        }
    }
}

/// What a random graph computes: Σ of its results, its gradients, and the gradients of a sum of those.
struct Derived<'g> {
    inputs: [Var<'g>; 3],
    total: Var<'g>,
    first: Vec<Var<'g>>,
    derivative: Var<'g>,
    second: Vec<Var<'g>>,
}

fn derive<'g>(graph: &'g Graph, steps: &[graphs::Step]) -> Derived<'g> {
    let (inputs, results) = graphs::record(graph, steps);
    let weighted =
        |(seed, value): (u64, Var<'g>)| (value * graph.constant(numbers(&value.shape(), seed))).sum_all();
    let sum = |values: Vec<Var<'g>>| {
        (1..).zip(values).map(weighted).fold(graph.fill([], 0.0), |sum, term| sum + term)
    };
    let gradients = |y: Var<'g>| {
        let found = vjp(&[(y, graph.fill([], 1.0))], &inputs).unwrap();
        let or_zero =
            |(x, found): (&Var<'g>, Option<Var<'g>>)| found.unwrap_or_else(|| graph.fill(x.shape(), 0.0));
        inputs.iter().zip(found).map(or_zero).collect::<Vec<_>>()
    };
    let total = sum(results);
    let first = gradients(total);
    let derivative = sum(first.clone());
    let second = gradients(derivative);
    Derived { inputs, total, first, derivative, second }
}

/// The derivative of a number by central differences of fourth order, for each element of the inputs.
fn differences(y: Var<'_>, inputs: &[Var<'_>; 3], at: &[ArrayD<f64>; 3]) -> Vec<ArrayD<f64>> {
    const STEP: f64 = 1e-3;
    let plan = Options::new().compile::<f64>(y.graph(), &[y]).unwrap();
    let mut store = Store::new(0);
    let mut value = |at: &[ArrayD<f64>; 3]| {
        let feeds = [0, 1, 2].map(|input| inputs[input].feed(&at[input]));
        run_plan(&plan, &mut store, &feeds).unwrap()[0].sum()
    };
    let mut derivative = |input: usize, element: usize| {
        let mut moved = |by: f64| {
            let mut at = at.clone();
            at[input].as_slice_mut().unwrap()[element] += by * STEP;
            value(&at)
        };
        (8.0 * (moved(1.0) - moved(-1.0)) - (moved(2.0) - moved(-2.0))) / (12.0 * STEP)
    };
    let of =
        |input: usize| (0..at[input].len()).map(|element| derivative(input, element)).collect::<Vec<_>>();
    [0, 1, 2].map(of).iter().zip(at).map(|(derivatives, at)| array(at.shape(), derivatives)).collect()
}

/// The values of some results under some options.
fn results<T: Precision>(options: &Options, derived: &Derived<'_>, at: &[ArrayD<f64>; 3]) -> Vec<ArrayD<T>> {
    let all = [&[derived.total, derived.derivative], &derived.first[..], &derived.second].concat();
    let plan = options.compile::<T>(derived.total.graph(), &all).unwrap();
    let feeds = [0, 1, 2].map(|input| derived.inputs[input].feed(&at[input]));
    run_plan(&plan, &mut Store::new(0), &feeds).unwrap()
}

/// Fails unless all elements agree within a share of the largest.
fn assert_near(found: &[ArrayD<f64>], expected: &[ArrayD<f64>], tolerance: f64) {
    for (found, expected) in found.iter().zip(expected) {
        let largest = expected.iter().fold(1.0_f64, |largest, value| largest.max(value.abs()));
        assert_close(&(found / largest), &(expected / largest), tolerance);
    }
}

proptest! {
    #![proptest_config(one_in(4))]

    #[test]
    fn random_graphs_have_the_gradients_of_their_values(steps in graphs::graphs(), seed: u64) {
        let graph = Graph::new();
        let derived = derive(&graph, &steps);
        let at = [numbers(&[2, 3], seed), numbers(&[3], !seed), numbers(&[], seed ^ 1)];
        let found = results::<f64>(&Options::new(), &derived, &at);
        assert_near(&found[2..5], &differences(derived.total, &derived.inputs, &at), 1e-7);
        assert_near(&found[5..8], &differences(derived.derivative, &derived.inputs, &at), 1e-6);
        let plain = results::<f64>(&Options::plain(), &derived, &at);
        assert_near(&found, &plain, 1e-12);
        let single: Vec<_> = results::<f32>(&Options::new(), &derived, &at).iter().map(|x| x.mapv(f64::from)).collect();
        assert_near(&single, &plain, 1e-3);
    }
}
