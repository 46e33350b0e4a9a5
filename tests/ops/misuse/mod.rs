//! Misuse of every operation while recording: each is refused with what, where and why, and nothing panics.

mod derivatives;
mod hints;
mod layers;
mod layout;
mod losses;
mod poison;
mod shown;
mod windows;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use crate::common::{message, public};
use dagrad::{Graph, Init, Plan, Var};

const HUGE: usize = usize::MAX;

/// A misuse, its source, and what its error must contain beside the name of the method that is called last.
type Case = (&'static str, fn(&Graph), &'static str, &'static [&'static str]);

/// `name: what is recorded on the graph => what the error contains;`
macro_rules! misuses {
    ($graph:ident, $($name:literal: $record:expr => $($part:literal),+;)+) => {
        $crate::misuse::check(file!(), &[$(($name, |$graph| { let _ = $record; }, stringify!($record), &[$($part),+])),+])
    };
}
use misuses;

/// Records every case on a graph of its own. The chain goes on after the misuse, and whatever uses the graph
/// afterwards returns the same error.
fn check(file: &str, cases: &[Case]) {
    let mut failures = Vec::new();
    for (name, record, source, parts) in cases {
        let graph = Graph::new();
        let text = catch_unwind(AssertUnwindSafe(|| {
            record(&graph);
            let text = message(graph.check());
            let last = graph.fill([], 1.0).relu();
            assert_eq!(message(Plan::<f32>::compile(&graph, &[last])), text);
            text
        }));
        match text {
            Err(_) => failures.push(format!("{name}: panicked or was accepted")),
            Ok(text) => {
                let called = called(source);
                let (op, at) = text.split_once(" at ").unwrap_or_default();
                if !at.starts_with(file)
                    || !called.is_empty() && !called.contains(op) && !source.contains(&format!("{op}("))
                {
                    failures.push(format!("{name}: names {op}, not {called:?}: {text}"));
                }
                let lost = parts.iter().filter(|part| !text.contains(**part));
                failures.extend(lost.map(|part| format!("{name}: {part:?} is missing in: {text}")));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

/// The public methods and functions that an expression calls, but for those that record what it begins with. Of the tests'
/// own functions it is not known what they call.
fn called(source: &str) -> BTreeSet<&str> {
    static PUBLIC: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
        let list = public();
        let methods = ["graph::Var::", "graph::Graph::"];
        let recording = list.lines().filter(|line| {
            methods.iter().any(|of| line.starts_with(of))
                || line.starts_with("nn::") && line.contains(": pub fn ")
        });
        let names = recording.filter_map(|line| line.split_once("pub fn ")?.1.split(['(', '<']).next());
        names.map(str::to_string).collect()
    });
    const BEGINNING: [&str; 8] =
        ["input", "labels", "param", "fill", "constant", "record", "recompute", "new"];
    let before = source.split('(').map(|before| before.split("::<").next().unwrap_or_default().trim_end());
    let names = before.filter_map(|before| before.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next());
    names.filter(|name| PUBLIC.contains(*name) && !BEGINNING.contains(name)).collect()
}

fn image(graph: &Graph) -> Var<'_> {
    graph.input("image", [2, 3, 5, 4])
}

fn rows(graph: &Graph) -> Var<'_> {
    graph.input("rows", [2, 3])
}

fn digits(graph: &Graph) -> Var<'_> {
    graph.labels("digits", [2])
}

fn rows_again(graph: &Graph) -> Var<'_> {
    graph.input("rows again", [2, 3])
}

fn digits_again(graph: &Graph) -> Var<'_> {
    graph.labels("digits again", [2])
}

#[test]
fn arithmetic_and_matrices_refuse_what_does_not_fit() {
    misuses! { g,
        "shapes that do not broadcast": rows(g) + g.input("other", [3, 2])
            => "add at", "the shapes [2, 3] and [3, 2] do not broadcast", "left [2, 3]", "hint:";
        "a quotient": rows(g) / g.input("other", [4]) => "div at", "[2, 3] and [4]";
        "classes in a sum": digits(g) + g.fill([2], 1.0) => "add at", "not indices", "softmax_cross_entropy";
        "classes and a number": 2.0 * digits(g) => "mul at", "not indices";
        "minus classes": -digits(g) => "neg at", "not indices";
        "classes rectified": digits(g).relu() => "relu at", "not indices";
        "classes raised": digits(g).exp() => "exp at", "x [2] input \"digits\"";
        "a gate of another shape": rows(g).gate(g.input("by", [3])) => "gate at", "[2, 3] and [3]", "by [3]";
        "a power without derivative": rows(g).powi(i32::MIN) => "powi at", "too small", "hint: ";
        "a vector of another length": g.input("v", [3]).matmul(rows(g))
            => "matmul at", "left has 3 columns but right has 2 rows", "left [3] input \"v\"", "is a row";
        "what a composed operation made": rows(g).gelu().matmul(rows_again(g).softplus().std_dev_keep(&[0], 0).at_least(0.0))
            => "matmul at", "left [2, 3] gelu at", "right [1, 3] at_least at";
        "matrices that do not fit": image(g).matmul(g.input("w", [2, 3, 5, 4])) => "matmul at", "`permute`";
        "an image times a matrix": image(g).matmul(rows(g)) => "left has 4 columns but right has 2 rows";
        "a number times a matrix": g.input("x", []).matmul(rows(g))
            => "it multiplies vectors and matrices, not [] by [2, 3]", "`*`";
        "batches that do not broadcast": image(g).matmul(g.input("b", [2, 4, 1]))
            => "matmul at", "the batches [2, 3] and [2] do not broadcast", "hint: ";
        "batches beyond memory": g.input("a", [1 << 30, 1, 1, 2]).matmul(g.input("b", [1 << 30, 2, 3]))
            => "beyond any memory";
        "inner sizes that differ": rows(g).matmul(g.input("b", [2, 3]))
            => "left has 3 columns but right has 2 rows";
        "classes as a matrix": g.labels("l", [2, 2]).matmul(rows(g)) => "matmul at", "not indices";
        "a matrix beyond memory": g.input("a", [1 << 40, 1]).matmul(g.input("b", [1, 1 << 40]))
            => "matmul at", "beyond any memory";
        "a broadcast of other sizes": rows(g).broadcast_to([4, 3])
            => "broadcast_to at", "[2, 3] does not broadcast to [4, 3]";
        "a broadcast to fewer axes": rows(g).broadcast_to([3]) => "[2, 3] does not broadcast to [3]";
        "a broadcast that shrinks": rows(g).broadcast_to([1, 3]) => "does not broadcast to [1, 3]";
        "a broadcast beyond memory": rows(g).broadcast_to([HUGE, 2, 3])
            => "broadcast_to at", "beyond any memory";
        "classes broadcast": digits(g).broadcast_to([2, 2]) => "broadcast_to at", "not indices";
        "dropout of no number": rows(g).dropout(f64::NAN)
            => "dropout at", "the probability to drop is NaN", "it is 0 or more, and 1 at most";
        "dropout below 0": rows(g).dropout(-1.0) => "drop is -1";
        "dropout above 1": rows(g).dropout(2.0) => "drop is 2", "x [2, 3] input \"rows\"";
        "endless dropout": rows(g).dropout(f64::INFINITY) => "drop is inf";
        "dropout of classes": digits(g).dropout(0.5) => "not indices";
    }
}

#[test]
fn functions_of_two_arrays_refuse_what_does_not_fit() {
    misuses! { g,
        "a maximum of other shapes": rows(g).maximum(g.input("x", [3, 2]))
            => "maximum at", "[2, 3] and [3, 2] do not broadcast";
        "a minimum of classes": digits(g).minimum(1.0) => "minimum at", "not indices";
        "a power of another shape": rows(g).pow(g.input("n", [2])) => "pow at", "[2, 3] and [2]";
        "classes as exponents": g.input("x", [2]).pow(digits(g)) => "pow at", "not indices";
        "classes compared": digits(g).greater(0.0) => "greater at", "not indices";
        "classes compared with classes": digits(g).equal(digits_again(g)) => "equal at", "not indices";
        "classes that differ": digits(g).not_equal(3.0) => "equal at", "not indices";
        "less than another shape": rows(g).less(g.input("x", [4])) => "do not broadcast";
        "at most another shape": rows(g).less_equal(g.input("x", [4])) => "[4]";
        "a mask of another shape": g.input("m", [4]).choose(rows(g), 0.0)
            => "choose at", "the shapes [4], [2, 3] and [4] do not broadcast", "mask [4]";
        "a choice of two shapes": rows(g).choose(g.input("x", [3, 1]), 1.0) => "choose at", "[3, 1]";
        "classes as a mask": digits(g).choose(1.0, 0.0) => "not indices";
        "classes to choose": g.input("m", [2]).choose(digits(g), 0.0) => "not indices";
        "a comparison beyond memory": g.input("a", [1 << 40, 1]).equal(g.input("b", [1 << 40]))
            => "beyond any memory";
    }
}

#[test]
fn statistics_refuse_what_does_not_fit() {
    misuses! { g,
        "a variance over an axis too many": rows(g).variance(&[2], 0) => "axis 2 does not exist";
        "a variance over an axis twice": rows(g).variance_keep(&[1, -1], 0) => "axis -1 is named twice";
        "a variance of one": g.input("x", [3, 1]).variance(&[1], 1)
            => "variance at", "a variance of 1 elements with a correction of 1", "hint: ";
        "a correction beyond all": rows(g).std_dev(&[0], HUGE) => "of 2 elements";
        "a variance of nothing": g.input("x", [0, 3]).std_dev_keep(&[0], 0) => "of 0 elements";
        "a deviation of classes": digits(g).std_dev(&[0], 0) => "not indices";
        "a length over an axis before the first": rows(g).norm(&[-3]) => "axis -3 does not exist";
        "a length of classes": digits(g).norm_keep(&[0]) => "not indices";
        "exponentials over no axis": rows(g).log_sum_exp(&[5]) => "axis 5 does not exist";
        "no exponentials": g.input("x", [2, 0]).log_sum_exp_keep(&[1]) => "largest of 0 numbers";
        "a mean over an axis twice": rows(g).mean_keep(&[0, 0]) => "axis 0 is named twice";
    }
}

#[test]
fn operations_that_users_record_themselves_refuse_a_wrong_number_of_operands() {
    use dagrad::kernels::Function;
    use dagrad::ops::{Binary, Unary};
    misuses! { g,
        "a sum of one": g.record(Binary(Function::Add), &[rows(g)]) => "add at";
        "a product of three": { let x = rows(g); g.record(Binary(Function::Multiply), &[x, x, x]) }
            => "mul at";
        "relu of nothing": g.record(Unary(Function::Relu), &[]) => "relu at";
        "relu of two": { let x = rows(g); g.record(Unary(Function::Relu), &[x, x]) } => "relu at";
        "a gate without a condition": g.record(Binary(Function::Gate), &[rows(g)]) => "gate at";
        "exp of two": { let x = rows(g); g.record(Unary(Function::Exp), &[x, x]) } => "exp at";
    }
}

#[test]
fn starts_take_any_sizes() {
    let Init::Normal { std } = Init::xavier(HUGE, HUGE) else { panic!("another distribution") };
    assert!(std > 0.0 && std < 1e-9);
    let Init::Normal { std } = Init::he(0) else { panic!("another distribution") };
    assert!(std.is_finite());
    let Init::Normal { std } = Init::xavier(0, 0) else { panic!("another distribution") };
    assert!(std.is_finite());
}
