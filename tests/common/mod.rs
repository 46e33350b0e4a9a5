//! What several test files need. Each program has this as a module and uses some of it.
#![allow(dead_code)]

pub mod network;

use std::path::Path;
use std::process::Command;

use dagrad::{Error, Feed, Options, Plan, Precision, Result, Store, Var, Workspace};
use ndarray::{ArrayD, IxDyn};

/// The repository's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder above that of the tests")
}

/// The list of the public interface, a line for each item.
pub fn public() -> String {
    let list = root().join("tests/documents/public.txt");
    std::fs::read_to_string(&list).unwrap_or_else(|error| panic!("{}: {error}", list.display()))
}

/// This program again, to run one test in a process of its own. The test is marked `#[ignore]`.
pub fn alone(test: &str) -> Command {
    let mut program = Command::new(std::env::current_exe().expect("the path of this program"));
    program.args(["--exact", test, "--ignored", "--nocapture"]);
    program
}

/// Runs one test in a process of its own, and fails with what it prints if it fails.
pub fn run_alone(test: &str) {
    let output = alone(test).output().expect("this program starts again");
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{}", text.join("\n"));
    assert!(text[0].contains("1 passed"), "there is no test {test}: {}", text[0]);
}

/// Numbers between −1 and 1 without a pattern, the same for the same seed. No two are equal.
pub fn numbers(shape: &[usize], seed: u64) -> ArrayD<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
    ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    })
}

/// An array of this shape, its elements in row-major order.
pub fn array(shape: &[usize], values: &[f64]) -> ArrayD<f64> {
    ArrayD::from_shape_vec(IxDyn(shape), values.to_vec()).expect("as many values as the shape holds")
}

/// The values of `outputs`, each an array of real numbers. Parameters start from seed 0.
pub fn try_run<T: Precision>(outputs: &[Var<'_>], feeds: &[Feed<'_>]) -> Result<Vec<ArrayD<T>>> {
    let plan = Options::new().without_assignments().compile(outputs[0].graph(), outputs)?;
    let mut store = Store::new(0);
    store.prepare(&plan)?;
    run_plan(&plan, &mut store, feeds)
}

/// As [`try_run`] in `f64`, for computations that are right.
pub fn run(outputs: &[Var<'_>], feeds: &[Feed<'_>]) -> Vec<ArrayD<f64>> {
    try_run(outputs, feeds).unwrap_or_else(|error| panic!("{error}"))
}

/// The value of one output.
pub fn value(output: Var<'_>, feeds: &[Feed<'_>]) -> ArrayD<f64> {
    run(&[output], feeds).remove(0)
}

/// The gradients of the sum of `y` in each of `xs`, as values.
pub fn gradients_of_sum(y: Var<'_>, xs: &[Var<'_>], feeds: &[Feed<'_>]) -> Vec<ArrayD<f64>> {
    run(&dagrad::gradients(y.sum_all(), xs).unwrap_or_else(|error| panic!("{error}")), feeds)
}

/// One run of a plan over a store, with one thread.
pub fn run_plan<T: Precision>(
    plan: &Plan<T>,
    store: &mut Store<T>,
    feeds: &[Feed<'_>],
) -> Result<Vec<ArrayD<T>>> {
    let mut workspace = Workspace::new(1)?;
    let outputs = plan.run(store, &mut workspace, feeds)?;
    Ok((0..outputs.len()).map(|i| outputs.at(i).expect("an array of real numbers").to_owned()).collect())
}

/// Fails unless two arrays have the same shape and agree within `tolerance`, relative to the larger of 1 and
/// the expected value.
#[track_caller]
pub fn assert_close(found: &ArrayD<f64>, expected: &ArrayD<f64>, tolerance: f64) {
    assert_eq!(found.shape(), expected.shape());
    for ((at, &a), &b) in found.indexed_iter().zip(expected) {
        let close = a == b || (a - b).abs() <= tolerance * b.abs().max(1.0);
        assert!(close, "at {at:?}: {a} instead of {b}\n{found}\ninstead of\n{expected}");
    }
}

/// As [`assert_close`], but NaN and infinities are values like others: each is expected where it is found.
#[track_caller]
pub fn assert_same(what: &str, found: &ArrayD<f64>, expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (&a, &b)) in found.iter().zip(expected).enumerate() {
        let is_near = (a - b).abs() <= tolerance * b.abs().max(1.0);
        assert!(a == b || is_near || a.is_nan() && b.is_nan(), "{what} {i}: {a} instead of {b}\n{found}");
    }
}

/// A function of two arrays.
pub type Pair = for<'g> fn(Var<'g>, Var<'g>) -> Var<'g>;

/// Compares the values of `function` and its gradients in both operands with expected ones: arrays of this shape, the values
/// of any.
#[track_caller]
pub fn assert_pair(
    name: &str,
    function: Pair,
    shape: &[usize],
    operands: [&[f64]; 2],
    expected: [&[f64]; 3],
) {
    let graph = dagrad::Graph::new();
    let arrays = operands.map(|values| array(shape, values));
    let [a, b] = [graph.input("a", shape), graph.input("b", shape)];
    let y = function(a, b);
    let derivatives =
        dagrad::gradients(y.sum_all(), &[a, b]).unwrap_or_else(|error| panic!("{name}: {error}"));
    let found = run(&[y, derivatives[0], derivatives[1]], &[a.feed(&arrays[0]), b.feed(&arrays[1])]);
    for (what, (found, expected)) in
        ["value", "left gradient", "right gradient"].iter().zip(found.iter().zip(expected))
    {
        assert_same(&format!("{name}, {what}"), found, expected, 1e-11);
    }
}

/// The text of an error that must be there.
#[track_caller]
pub fn message<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("an error was expected"),
        Err(error) => error.to_string(),
    }
}

/// Fails unless `text` holds all of `parts`.
#[track_caller]
pub fn assert_mentions(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

/// Asserts that the outcome is an error of this setting, with a message that has all these parts.
#[track_caller]
pub fn assert_setting_error<T: std::fmt::Debug>(outcome: Result<T>, name: &str, parts: &[&str]) {
    match outcome {
        Err(Error::Setting { setting, message, .. }) => {
            assert_eq!(setting, name, "{message}");
            assert_mentions(&message, parts);
        }
        other => panic!("not a setting error: {other:?}"),
    }
}
