//! Gradients as a property of graphs: accumulation, broadcasting, order, depth and paths.

use std::time::Instant;

use crate::common::{array, assert_close, gradients_of_sum, numbers, run, value};
use dagrad::inspect::receptive_field;
use dagrad::{Conv2dOptions, Graph, Init, Plan, Store, Var, Workspace, gradients, vjp};

#[test]
fn the_same_array_twice_receives_both_gradients() {
    let graph = Graph::new();
    let x = graph.input("x", [3]);
    let given = array(&[3], &[1.0, -2.0, 0.5]);
    let gradient = |y: Var<'_>| gradients_of_sum(y, &[x], &[x.feed(&given)]).remove(0);
    assert_eq!(gradient(x + x), array(&[3], &[2.0; 3]));
    assert_eq!(gradient(x - x), array(&[3], &[0.0; 3]));
    assert_eq!(gradient(x * x), &given * 2.0);
    assert_eq!(gradient(x * x * x), given.mapv(|x| 3.0 * x * x));
    assert_close(&gradient(x / x), &array(&[3], &[0.0; 3]), 1e-15);
    assert_eq!(gradient(x.gate(x)), array(&[3], &[1.0, 0.0, 1.0]));
}

#[test]
fn fan_out_adds_up_and_does_not_overwrite() {
    let graph = Graph::new();
    let x = graph.input("x", [2]);
    let h = x * 3.0;
    let y = h.powi(2) + h * 5.0 + h.exp() * 0.0 + x;
    let given = array(&[2], &[1.0, -1.0]);
    let expected = given.mapv(|x| 18.0 * x + 15.0 + 1.0);
    assert_close(&gradients_of_sum(y, &[x], &[x.feed(&given)])[0], &expected, 1e-14);
    // Seven readers of one value, in one sum.
    let all = (0..7).fold(h, |sum, _| sum + h);
    assert_eq!(gradients_of_sum(all, &[x], &[x.feed(&given)])[0], array(&[2], &[24.0; 2]));
}

#[test]
fn an_array_and_its_transpose_both_count() {
    let graph = Graph::new();
    let x = graph.input("x", [3, 3]);
    let given = numbers(&[3, 3], 4);
    // Σ (x · xᵀ) = Σⱼ (Σᵢ xᵢⱼ)², so the gradient is twice each column's sum.
    let gradient = gradients_of_sum(x.matmul(x.transpose()), &[x], &[x.feed(&given)]).remove(0);
    let sums = given.sum_axis(ndarray::Axis(0)) * 2.0;
    assert_close(&gradient, &sums.broadcast(vec![3, 3]).unwrap().to_owned(), 1e-14);
    let square = gradients_of_sum(x * x.transpose(), &[x], &[x.feed(&given)]).remove(0);
    assert_close(&square, &(&given.t() * 2.0).as_standard_layout().to_owned(), 1e-14);
}

#[test]
fn broadcasting_is_summed_back_over_exactly_the_axes_that_repeat() {
    let image = numbers(&[2, 3, 4, 5], 1);
    for shape in [&[][..], &[5], &[1], &[4, 1], &[3, 1, 1], &[2, 1, 4, 1], &[1, 3, 1, 5], &[2, 3, 4, 5]] {
        let graph = Graph::new();
        let (x, b) = (graph.input("x", [2, 3, 4, 5]), graph.input("b", shape));
        let bias = numbers(shape, 2);
        let gradient = gradients_of_sum(x * b, &[b], &[x.feed(&image), b.feed(&bias)]).remove(0);
        let mut expected = image.clone();
        let lead = 4 - shape.len();
        (0..lead).for_each(|_| expected = expected.sum_axis(ndarray::Axis(0)));
        for axis in (0..shape.len()).filter(|&axis| shape[axis] == 1) {
            expected = expected.sum_axis(ndarray::Axis(axis)).insert_axis(ndarray::Axis(axis));
        }
        assert_close(&gradient, &expected.as_standard_layout().to_owned(), 1e-13);
    }
}

#[test]
fn a_gradient_is_scaled_by_what_follows() {
    let graph = Graph::new();
    let x = graph.input("x", [4]);
    let given = numbers(&[4], 7);
    let plain = gradients_of_sum(x.sigmoid(), &[x], &[x.feed(&given)]).remove(0);
    let scaled = gradients_of_sum(x.sigmoid() * -3.0, &[x], &[x.feed(&given)]).remove(0);
    assert_close(&scaled, &(plain * -3.0), 1e-15);
}

#[test]
fn a_product_with_a_vector_is_linear_in_the_vector_and_exactly_zero_for_zero() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 1, 4, 4]);
    let w = graph.input("w", [2, 1, 3, 3]);
    let y = x.conv2d(w, Conv2dOptions::new().padding(1)).relu().max_pool2d(2).flatten().softmax(1);
    let u = graph.input("u", y.shape());
    let found: Vec<Var<'_>> = vjp(&[(y, u)], &[x, w]).unwrap().into_iter().flatten().collect();
    let (image, weight, upstream) =
        (numbers(&[2, 1, 4, 4], 1), numbers(&[2, 1, 3, 3], 2), numbers(&y.shape(), 3));
    let at = |scale: f64| run(&found, &[x.feed(&image), w.feed(&weight), u.feed(&(&upstream * scale))]);
    for (twice, once) in at(2.0).iter().zip(at(1.0)) {
        assert_close(twice, &(once * 2.0), 0.0);
    }
    assert!(at(0.0).iter().flatten().all(|&zero| zero == 0.0));
}

#[test]
fn several_outputs_add_their_gradients() {
    let graph = Graph::new();
    let x = graph.input("x", [2]);
    let (a, b) = (x * 3.0, x * x);
    let (u, v) = (graph.constant(ndarray::array![1.0, 2.0]), graph.constant(ndarray::array![10.0, 20.0]));
    let given = array(&[2], &[1.0, -1.0]);
    let both = vjp(&[(a, u), (b, v), (a, u)], &[x]).unwrap()[0].unwrap();
    assert_eq!(value(both, &[x.feed(&given)]), array(&[2], &[6.0 + 20.0, 12.0 - 40.0]));
    // The gradient in the output itself is its upstream.
    assert_eq!(value(vjp(&[(a, u)], &[a]).unwrap()[0].unwrap(), &[]), array(&[2], &[1.0, 2.0]));
    assert!(vjp(&[(x, u)], &[a]).unwrap()[0].is_none());
    assert!(vjp(&[], &[x]).unwrap()[0].is_none());
}

#[test]
fn relu_has_gradient_0_at_0_and_lets_nan_through() {
    let graph = Graph::new();
    let x = graph.input("x", [5]);
    let given = array(&[5], &[-1.0, 0.0, -0.0, 2.0, f64::NAN]);
    let y = value(x.relu(), &[x.feed(&given)]);
    assert_eq!(y.as_slice().unwrap()[..4], [0.0, 0.0, 0.0, 2.0]);
    assert!(y[4].is_nan(), "a diverging network shows");
    let gradient = gradients_of_sum(x.relu(), &[x], &[x.feed(&given)]).remove(0);
    assert_eq!(gradient.as_slice().unwrap()[..4], [0.0, 0.0, 0.0, 1.0]);
    // The second derivative is zero everywhere, in every precision.
    let first = gradients(x.relu().powi(2).sum_all(), &[x]).unwrap()[0];
    let second = gradients_of_sum(first, &[x], &[x.feed(&given)]).remove(0);
    assert_eq!(second.as_slice().unwrap()[..4], [0.0, 0.0, 0.0, 2.0]);
}

#[test]
fn a_gate_hides_what_it_holds_back() {
    // 0 · ∞ and 0 · NaN would poison the gradient of the branch that is not taken.
    let graph = Graph::new();
    let (x, by) = (graph.input("x", [3]), graph.input("by", [3]));
    let (given, gate) = (array(&[3], &[f64::INFINITY, f64::NAN, 1.0]), array(&[3], &[-1.0, 0.0, 1.0]));
    let feeds = [x.feed(&given), by.feed(&gate)];
    assert_eq!(value(x.gate(by), &feeds), array(&[3], &[0.0, 0.0, 1.0]));
    let u = graph.constant(ndarray::array![f64::NAN, f64::INFINITY, 3.0]);
    let gradient = vjp(&[(x.gate(by), u)], &[x]).unwrap()[0].unwrap();
    assert_eq!(value(gradient, &feeds), array(&[3], &[0.0, 0.0, 3.0]));
}

#[test]
fn functions_at_their_edges_have_finite_gradients() {
    let graph = Graph::new();
    let x = graph.input("x", [4]);
    let given = array(&[4], &[-1e4, -750.0, 750.0, 1e4]);
    for y in [x.sigmoid(), x.tanh()] {
        assert_eq!(gradients_of_sum(y, &[x], &[x.feed(&given)])[0], array(&[4], &[0.0; 4]));
    }
    assert_eq!(value(x.sigmoid(), &[x.feed(&given)]), array(&[4], &[0.0, (-750f64).exp(), 1.0, 1.0]));
    let zero = array(&[4], &[0.0; 4]);
    for (power, gradient) in [(1, 1.0), (2, 0.0), (3, 0.0)] {
        assert_eq!(gradients_of_sum(x.powi(power), &[x], &[x.feed(&zero)])[0], array(&[4], &[gradient; 4]));
    }
    let gradient = gradients_of_sum(x.powi(0) + x * 0.0, &[x], &[x.feed(&zero)]).remove(0);
    assert_eq!(gradient, zero);
}

#[test]
fn derivatives_of_derivatives_need_no_extra_rules() {
    let graph = Graph::new();
    let x = graph.input("x", [3]);
    let given = array(&[3], &[0.5, -1.5, 2.0]);
    let mut y = x.powi(5);
    for order in 0..5 {
        let factor = (0..=order).map(|n| f64::from(5 - n)).product::<f64>();
        y = gradients(y.sum_all(), &[x]).unwrap()[0];
        assert_close(&value(y, &[x.feed(&given)]), &given.mapv(|x| factor * x.powi(4 - order)), 1e-13);
    }
}

#[test]
fn a_gradient_penalty_has_the_gradient_of_its_formula() {
    // loss = Σ y + ½ ‖∂(Σ y)/∂x‖² with y = (x·w)³ / 3, so ∂/∂x Σ y = s² wᵀ with s = x·w.
    let graph = Graph::new();
    let (x, w) = (graph.input("x", [1, 3]), graph.param("w", [3, 1], Init::ZEROS));
    let s = x.matmul(w);
    let y = s.powi(3) * (1.0 / 3.0);
    let gradient = gradients(y.sum_all(), &[x]).unwrap()[0];
    let loss = y.sum_all() + gradient.powi(2).sum_all() * 0.5;
    let found = gradients(loss, &[w]).unwrap()[0];
    let (image, weight) = (numbers(&[1, 3], 1), numbers(&[3, 1], 2));
    let plan = Plan::<f64>::compile(&graph, &[found]).unwrap();
    let mut store = Store::new(0);
    store.set("w", &weight).unwrap();
    let found = crate::common::run_plan(&plan, &mut store, &[x.feed(&image)]).unwrap().remove(0);
    let (s, norm): (f64, f64) =
        (image.iter().zip(&weight).map(|(x, w)| x * w).sum(), weight.mapv(|w| w * w).sum());
    // ½ ‖s² w‖² = ½ s⁴ ‖w‖², so its gradient is 2 s³ ‖w‖² x + s⁴ w.
    let expected = image.t().mapv(|x| (s * s + 2.0 * s.powi(3) * norm) * x) + &weight * s.powi(4);
    assert_close(&found, &expected.as_standard_layout().to_owned(), 1e-13);
}

/// Fails if eight times the length takes far more than eight times as long: a quadratic step takes 64 times.
/// The best of a few runs counts, since other processes only ever add to a time.
fn assert_linear(work: impl Fn(usize)) {
    let time = |length: usize| {
        let start = Instant::now();
        work(length);
        start.elapsed().as_secs_f64()
    };
    let linear = (0..5).any(|_| time(20_000) < 30.0 * time(2_500));
    assert!(linear, "{} s and {} s", time(2_500), time(20_000));
}

/// Records, differentiates, compiles, runs and drops a chain of `length` values.
fn chain(length: usize) {
    let graph = Graph::new();
    let x = graph.input("x", [2]);
    let mut y = x;
    for step in 0..length {
        y = if step % 2 == 0 { y.tanh() } else { y * 1.0001 + 0.0001 };
    }
    let gradient = gradients(y.sum_all(), &[x]).unwrap()[0];
    let plan = Plan::<f64>::compile(&graph, &[y, gradient]).unwrap();
    let given = array(&[2], &[0.3, -0.8]);
    let found = crate::common::run_plan(&plan, &mut Store::new(0), &[x.feed(&given)]).unwrap();
    assert!(found.iter().flatten().all(|value| value.is_finite()));
}

#[test]
fn chains_of_20000_values_take_linear_time_and_no_stack() {
    let small = std::thread::Builder::new().stack_size(1024 * 1024);
    small.spawn(|| assert_linear(chain)).unwrap().join().unwrap();
}

#[test]
fn two_to_the_30_paths_take_linear_time() {
    let graph = Graph::new();
    let x = graph.input("x", []);
    let y = (0..30).fold(x, |y, _| y + y);
    let before = graph.len();
    let gradient = gradients(y, &[x]).unwrap()[0];
    assert!(graph.len() < before + 100, "{} nodes", graph.len());
    let found = run(&[y, gradient], &[x.feed(&array(&[], &[3.0]))]);
    assert_eq!((found[0].sum(), found[1].sum()), (3.0 * 2f64.powi(30), 2f64.powi(30)));
}

#[test]
fn a_value_with_20000_readers_is_differentiated_in_linear_time() {
    assert_linear(|readers| {
        let graph = Graph::new();
        let x = graph.input("x", []);
        let y = (0..readers).fold(x * 0.0, |sum, _| sum + x * 2.0);
        let gradient = value(gradients(y, &[x]).unwrap()[0], &[x.feed(&array(&[], &[1.0]))]);
        assert_eq!(gradient.sum(), 2.0 * readers as f64);
    });
}

#[test]
fn thousands_of_arrays_are_joined_and_parted_in_linear_time() {
    assert_linear(|count| {
        let graph = Graph::new();
        let image = graph.input("image", [1, 1, 2, 2]);
        let parts: Vec<_> = (0..count).map(|number| image * number as f64).collect();
        let joined = graph.concat(&parts, 1);
        let part = |number: isize| joined.slice(1, number..number + 1);
        let sum = (0..count as isize).fold(image, |sum, number| sum + part(number));
        assert_eq!(receptive_field(sum, image).unwrap().size, [1, 1]);
        Plan::<f64>::compile(&graph, &[sum]).unwrap();
    });
}

#[test]
fn an_empty_batch_has_empty_and_zero_gradients() {
    let graph = Graph::new();
    let x = graph.input("x", [0, 2, 6, 6]);
    let w = graph.param("w", [3, 2, 3, 3], Init::he(18));
    let v = graph.param("v", [12, 4], Init::he(12));
    let b = graph.param("b", [4], Init::ONES);
    let y = (x.conv2d(w, Conv2dOptions::new()).relu().max_pool2d(2).flatten().matmul(v) + b).log_softmax(1);
    let found = gradients_of_sum(y, &[x, w, v, b], &[x.feed(&numbers(&[0, 2, 6, 6], 1))]);
    assert_eq!(found[0].shape(), [0, 2, 6, 6]);
    assert!(found.iter().flatten().all(|&value| value == 0.0));
    assert_eq!(found[1].shape(), [3, 2, 3, 3]);
}

#[test]
fn arrays_of_many_axes_are_differentiated() {
    let graph = Graph::new();
    let x = graph.input("x", [1, 2, 1, 2, 1, 2, 1, 3]);
    let order = [7, 0, 3, 1, 2, 6, 5, 4];
    let weight = numbers(&[3, 1, 2, 2, 1, 1, 2, 1], 3);
    let y = x.permute(&order) * graph.constant(weight.clone());
    let gradient = gradients_of_sum(y, &[x], &[x.feed(&numbers(&[1, 2, 1, 2, 1, 2, 1, 3], 1))]).remove(0);
    let mut inverse = [0; 8];
    order.iter().enumerate().for_each(|(position, &axis)| inverse[axis as usize] = position);
    assert_eq!(gradient, weight.permuted_axes(&inverse[..]).as_standard_layout());
}

#[test]
fn differentiating_twice_gives_the_same_bits() {
    let graph = Graph::new();
    let x = graph.input("x", [3, 4]);
    let w = graph.input("w", [4, 5]);
    let loss = x.matmul(w).tanh().softmax(1).powi(2).sum_all();
    let (first, again) = (gradients(loss, &[x]).unwrap()[0], gradients(loss, &[x]).unwrap()[0]);
    let (image, weight) = (numbers(&[3, 4], 1), numbers(&[4, 5], 2));
    let plan = dagrad::Options::plain().compile::<f64>(&graph, &[first, again]).unwrap();
    let (mut store, mut workspace) = (Store::new(0), Workspace::new(2).unwrap());
    let outputs = plan.run(&mut store, &mut workspace, &[x.feed(&image), w.feed(&weight)]).unwrap();
    assert_eq!(outputs.get(first).unwrap(), outputs.get(again).unwrap());
}
