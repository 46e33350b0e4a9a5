//! The checker's own checks: operations with planted mistakes, each of which it must find and name.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::common::network::{batch, network};
use crate::common::{assert_mentions, message, numbers};
use dagrad::check;
use dagrad::error::Problem;
use dagrad::graph::{AxisMap, Call, Gradient, Op, VjpInputs};
use dagrad::ops::Example;
use dagrad::ops::example::{Sample, normal, positive};
use dagrad::{Error, Graph, Init, Real, Store, TensorType, Var};

/// What is wrong with an operation.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Nothing,
    // In the gradient rule.
    Factor,
    Sign,
    Upstream,
    Confused,
    SecondOrder,
    Positions,
    Sum,
    Shape,
    Constant,
    NotDifferentiable,
    Stranger,
    // In the kernel.
    Unwritten,
    Outside,
    Added,
    Threads,
    Drift,
    Single,
    // In what it says of its axes.
    Axes,
}
use Fault::*;

/// The square of each element.
#[derive(Debug, Clone, PartialEq)]
struct Square(Fault);

impl Op for Square {
    fn name(&self) -> &'static str {
        "square"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        Ok(operands[0].clone())
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let (x, threads) = (call.real(0), call.workers.threads());
        let written = x.len() - usize::from(self.0 == Unwritten);
        for (out, &x) in call.output.iter_mut().zip(x).take(written) {
            let square = match self.0 {
                Added => *out + x * x,
                Threads => x * x + T::of(1e-9 * threads as f64),
                Drift => x * x + T::of(1e-9 * RUNS.fetch_add(1, Ordering::SeqCst) as f64),
                Single => T::of(f64::from((x * x).into_f64() as f32)),
                _ => x * x,
            };
            *out = square;
        }
        if self.0 == Outside {
            // SAFETY: there is none, which is the point; the checker keeps canaries there.
            unsafe { *call.output.as_mut_ptr().add(x.len()) = T::of(1.0) };
        }
    }

    fn vjp<'g>(&self, _: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        let (x, upstream) = (inputs.operands[0], inputs.upstream);
        Gradient::Of(match self.0 {
            Factor => x * upstream,
            Sign => -2.0 * x * upstream,
            Upstream => 2.0 * x,
            Confused => 2.0 * x * x,
            SecondOrder => 2.0 * x.graph().record(Frozen, &[x]) * upstream,
            Shape => (2.0 * x * upstream).sum_all(),
            Constant => return Gradient::Constant,
            NotDifferentiable => return Gradient::NotDifferentiable,
            Stranger => Box::leak(Box::<Graph>::default()).fill(x.shape(), 1.0),
            _ => 2.0 * x * upstream,
        })
    }
}

/// The array itself, which claims not to depend on it.
#[derive(Debug, Clone, PartialEq)]
struct Frozen;

impl Op for Frozen {
    fn name(&self) -> &'static str {
        "frozen"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        Ok(operands[0].clone())
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        call.output.copy_from_slice(call.real(0));
    }

    fn vjp<'g>(&self, _: usize, _: VjpInputs<'g>) -> Gradient<'g> {
        Gradient::Constant
    }
}

/// All products of two vectors: y[i, j] = a[i] · b[j].
#[derive(Debug, Clone, PartialEq)]
struct Outer(Fault);

impl Op for Outer {
    fn name(&self) -> &'static str {
        "outer"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        match (&operands[0].shape[..], &operands[1].shape[..]) {
            (&[n], &[m]) => Ok(TensorType::real([n, m])),
            _ => Err(Problem::new("it takes two vectors")),
        }
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let (a, b) = (call.real(0), call.real(1));
        for (row, &a) in call.output.chunks_exact_mut(b.len()).zip(a) {
            row.iter_mut().zip(b).for_each(|(out, &b)| *out = a * b);
        }
    }

    fn axes(&self, _: &[&TensorType]) -> Vec<AxisMap> {
        vec![AxisMap::sample(), if self.0 == Axes { AxisMap::sample() } else { AxisMap::whole() }]
    }

    fn vjp<'g>(&self, argument: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        let (a, b, u) = (inputs.operands[0], inputs.operands[1], inputs.upstream);
        let column = |v: Var<'g>| v.reshape([v.shape()[0], 1]);
        let (rows, columns) = (u.matmul(column(b)), u.transpose().matmul(column(a)));
        let [first, second] = if self.0 == Positions { [columns, rows] } else { [rows, columns] };
        Gradient::Of(match (self.0, argument) {
            (Sum, 0) => (u * b).mean(&[1]),
            (Shape, 0) => u,
            (_, 0) => first.reshape(a.shape()),
            _ => second.reshape(b.shape()),
        })
    }
}

fn square(fault: Fault, operand: Sample) -> Example {
    Example::new(&format!("square, {fault:?}"), [operand], move |v| v[0].graph().record(Square(fault), v))
}

fn outer(fault: Fault) -> Example {
    let operands = [normal([3]), normal([3])];
    Example::new(&format!("outer, {fault:?}"), operands, move |v| v[0].graph().record(Outer(fault), v))
}

/// Fails unless the checker refuses the example and says all of this.
#[track_caller]
fn refused(example: &Example, parts: &[&str]) {
    let text = message(check::example(example));
    assert_mentions(&text, parts);
    assert_mentions(&text, &[&example.name]);
}

#[test]
fn a_right_operation_of_one_s_own_passes() {
    check::example(&square(Nothing, normal([2, 3])).smooth()).unwrap();
    check::example(&outer(Nothing)).unwrap();
    check::example(&outer(Nothing).linear()).unwrap();
    check::family("mine", &[square(Nothing, normal([0])), outer(Nothing)]).unwrap();
    assert_mentions(&message(check::family("mine", &[])), &["mine", "examples"]);
}

#[test]
fn a_wrong_gradient_is_found_and_named() {
    let first = ["derivative of order 1", "operand 0", "at [", "expected"];
    for fault in [Factor, Sign, Upstream, Confused, Constant] {
        refused(&square(fault, normal([2, 3])), &first);
    }
    refused(&outer(Positions), &first);
    refused(&outer(Sum), &first);
    assert_mentions(&message(check::family("mine", &[outer(Nothing), outer(Sum)])), &["outer, Sum"]);
}

#[test]
fn a_gradient_at_the_wrong_places_is_found() {
    let turned = Example::new("turned", [normal([3, 3])], |v| {
        // The transpose of a matrix whose gradient is not turned back.
        v[0].graph().record(Unturned, v)
    });
    refused(&turned.linear(), &["derivative of order 1", "operand 0"]);
}

/// A transpose that passes its gradient on as it is.
#[derive(Debug, Clone, PartialEq)]
struct Unturned;

impl Op for Unturned {
    fn name(&self) -> &'static str {
        "unturned"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        Ok(operands[0].clone())
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let size = call.shape[0];
        let x = call.real(0);
        call.output.iter_mut().enumerate().for_each(|(at, out)| *out = x[at % size * size + at / size]);
    }

    fn vjp<'g>(&self, _: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        Gradient::Of(inputs.upstream)
    }
}

/// The sum of neighbours along axis 0, which says that it keeps axis 0.
#[derive(Debug, Clone, PartialEq)]
struct Neighbours;

impl Op for Neighbours {
    fn name(&self) -> &'static str {
        "neighbours"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        Ok(TensorType::real([operands[0].shape[0] - 1]))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let pairs = call.real(0).windows(2);
        call.output.iter_mut().zip(pairs).for_each(|(out, pair)| *out = pair[0] + pair[1]);
    }

    fn vjp<'g>(&self, _: usize, _: VjpInputs<'g>) -> Gradient<'g> {
        Gradient::NotDifferentiable
    }

    fn axes(&self, _: &[&TensorType]) -> Vec<AxisMap> {
        vec![AxisMap::sample()]
    }
}

#[test]
fn an_operation_whose_axes_do_not_fit_its_shapes_is_refused() {
    let graph = Graph::new();
    let x = graph.input("x", [4]);
    graph.record(Neighbours, &[x]);
    assert_mentions(&message(graph.check()), &["neighbours at", file!(), "axis 0 of [4]", "result is [3]"]);
}

#[test]
fn a_gradient_that_is_wrong_only_in_second_order_is_found() {
    refused(&square(SecondOrder, normal([4])), &["derivative of order 2", "operand 0", "at [", "expected"]);
    let mut first_only = square(SecondOrder, normal([4]));
    first_only.order = 1;
    check::example(&first_only).expect("its first derivative is right");
}

#[test]
fn both_values_and_the_element_are_named() {
    // Only the last of four elements is off: the gate is closed for the others.
    let example = Example::new("one of four", [positive([4])], |v| {
        let (x, graph) = (v[0], v[0].graph());
        let last = graph.constant(ndarray::array![-1.0, -1.0, -1.0, 1.0]);
        graph.record(Square(Sign), &[x]).gate(last) + x.powi(3)
    });
    let error = check::example(&example).unwrap_err();
    let Error::Check(mismatch) = &error else { panic!("{error}") };
    assert_eq!((mismatch.example.as_str(), mismatch.of.as_str()), ("one of four", "operand 0"));
    assert_eq!(mismatch.element, [3]);
    let values = [format!("{:e}", mismatch.found), format!("{:e}", mismatch.expected)];
    assert_mentions(&error.to_string(), &["at [3] is", &values[0], &values[1]]);
    assert!((mismatch.found - mismatch.expected).abs() > 0.1);
}

#[test]
fn a_rule_that_answers_with_another_shape_or_not_at_all_is_an_error_with_its_name() {
    let text = message(check::example(&square(Shape, normal([4]))));
    assert_mentions(&text, &["square at", file!(), "gradient rule made []", "operand 0 of [4]"]);
    assert_mentions(
        &message(check::example(&outer(Shape))),
        &["outer at", "made [3, 3] for operand 0 of [3]"],
    );
    let text = message(check::example(&square(NotDifferentiable, normal([4]))));
    assert_mentions(&text, &["square at", "not differentiable in operand 0", "operand 0"]);
}

#[test]
fn a_rule_that_answers_on_another_graph_is_an_error_and_no_silent_zero() {
    let graph = Graph::new();
    let x = graph.input("x", [4]);
    let y = graph.record(Square(Stranger), &[x.exp()]);
    let text = message(dagrad::vjp(&[(y, graph.fill([4], 1.0))], &[x]));
    assert_mentions(&text, &["square at", "another graph"]);
}

#[test]
fn a_kernel_that_writes_too_little_or_too_much_is_found() {
    refused(&square(Unwritten, normal([5])), &["the result", "at [4]"]);
    refused(&square(Added, normal([5])), &["the result"]);
    refused(&square(Outside, normal([5])), &["memory beside the output", "square"]);
}

#[test]
fn a_kernel_whose_result_depends_on_threads_or_on_the_run_is_found() {
    refused(&square(Threads, normal([5])), &["threads", "the result"]);
    refused(&square(Drift, normal([5])), &["the result"]);
}

#[test]
fn a_kernel_that_computes_in_less_than_its_precision_is_found() {
    refused(&square(Single, normal([5])), &["derivative of order 1"]);
}

#[test]
fn a_wrong_map_of_axes_is_found() {
    refused(&outer(Axes), &["position 0 of axis 0", "outer"]);
}

#[test]
fn an_example_that_yields_no_number_proves_nothing_and_is_refused() {
    // Wrong by any standard, but NaN on both sides of the comparison.
    let example = Example::new("root of negatives", [positive([3])], |v| (-v[0]).sqrt());
    refused(&example, &["NaN"]);
}

#[test]
fn a_whole_network_is_checked_as_it_trains() {
    let graph = Graph::new();
    let net = network(&graph, 2);
    let (images, labels) = batch(2);
    let feeds = [net.image.feed(&images), net.classes.feed(&labels)];
    let mut store = Store::new(1);
    let report = check::network(net.loss, &mut store, &feeds, 7).unwrap_or_else(|error| panic!("{error}"));
    assert!(report.compared >= 60 && report.worst < 0.1, "{report:?}");
    assert_eq!(store.step(), 0, "a check is no training step");
}

#[test]
fn a_wrong_operation_in_a_network_is_found_and_the_parameter_named() {
    let check = |fault: Fault| {
        let graph = Graph::new();
        let x = graph.input("x", [4, 3]);
        let w = graph.param("first.weight", [3, 5], Init::xavier(3, 5));
        let v = graph.param("second.weight", [5, 2], Init::xavier(5, 2));
        let h = graph.record(Square(fault), &[x.matmul(w)]);
        let loss = h.matmul(v).softmax(1).powi(2).mean_all();
        check::network(loss, &mut Store::new(3), &[x.feed(&numbers(&[4, 3], 1))], 100)
    };
    assert_eq!(check(Nothing).unwrap().compared, 2 * 25);
    assert_mentions(&message(check(Sign)), &["order 1", "first.weight", "expected"]);
    assert_mentions(&message(check(SecondOrder)), &["order 2", "first.weight"]);
    assert_mentions(&message(check(NotDifferentiable)), &["square at", "not differentiable"]);

    let graph = Graph::new();
    let (w, _) = (graph.param("used", [2], Init::ONES), graph.param("lost", [2], Init::ONES));
    let text = message(check::network(w.powi(2).sum_all(), &mut Store::new(0), &[], 5));
    assert_mentions(&text, &["does not depend on lost"]);
}
