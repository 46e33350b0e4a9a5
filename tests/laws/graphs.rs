//! Graphs that nobody would write: smooth operations on whatever came before, read by whatever comes after.

use dagrad::{Graph, Var};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// An operation on one or two arrays `[2, 3]`, of a size that does not grow without bound.
type Smooth = for<'g> fn(Var<'g>, Var<'g>) -> Var<'g>;

const OPERATIONS: [(&str, Smooth); 20] = [
    ("tanh a", |a, _| a.tanh()),
    ("sigmoid a", |a, _| a.sigmoid()),
    ("sin a", |a, _| a.sin()),
    ("softplus a", |a, _| a.softplus()),
    ("e^tanh a", |a, _| a.tanh().exp()),
    ("ln(1 + a²)", |a, _| (a * a + 1.0).ln()),
    ("√(1 + a²)", |a, _| (a.powi(2) + 1.0).sqrt()),
    ("-a", |a, _| -a),
    ("1 - a/2", |a, _| 1.0 - a * 0.5),
    ("sin a · a", |a, _| a.sin() * a),
    ("softmax a", |a, _| a.softmax(1)),
    ("a without its mean", |a, _| a - a.mean(&[0])),
    ("a over its columns' norm", |a, _| a / (a.powi(2).sum_keep(&[0]) + 1.0).sqrt()),
    ("a, read by columns", |a, _| a.transpose().reshape([2, 3])),
    ("(a + b)/2", |a, b| (a + b) * 0.5),
    ("a - b", |a, b| (a - b) * 0.7),
    ("tanh a · b", |a, b| a.tanh() * b),
    ("a / (1 + b²)", |a, b| a / (b * b + 1.0)),
    ("sin(a · b)", |a, b| (a * b).sin()),
    ("tanh(a bᵀ) a", |a, b| a.matmul(b.transpose()).tanh().matmul(a) * 0.5),
];

/// One operation and the indices of its operands among all values before it; 0, 1 and 2 are the inputs.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    #[allow(dead_code, reason = "it is shown when a graph fails")]
    name: &'static str,
    record: Smooth,
    operands: [usize; 2],
}

/// Graphs of 5 to 25 operations.
pub fn graphs() -> impl Strategy<Value = Vec<Step>> {
    let step = (any::<Index>(), any::<Index>(), any::<Index>());
    vec(step, 5..=25).prop_map(|steps| {
        let resolve = |(number, (op, a, b)): (usize, (Index, Index, Index))| {
            let (name, record) = OPERATIONS[op.index(OPERATIONS.len())];
            Step { name, record, operands: [a.index(number + 3), b.index(number + 3)] }
        };
        steps.into_iter().enumerate().map(resolve).collect()
    })
}

/// Records the steps. The inputs are `[2, 3]`, a row and a single number; the results are all values that nobody
/// reads, and the inputs come along.
pub fn record<'g>(graph: &'g Graph, steps: &[Step]) -> ([Var<'g>; 3], Vec<Var<'g>>) {
    let inputs = [graph.input("x", [2, 3]), graph.input("row", [3]), graph.input("number", [])];
    let mut values: Vec<Var<'g>> = inputs.iter().map(|input| input.broadcast_to([2, 3])).collect();
    for step in steps {
        values.push((step.record)(values[step.operands[0]], values[step.operands[1]]));
    }
    let is_read = |index: usize| steps.iter().any(|step| step.operands.contains(&index));
    let unread = (0..values.len()).filter(|&index| !is_read(index));
    (inputs, unread.map(|index| values[index]).collect())
}
