//! A kernel that fails ends the run with an error that says which and why, and harms nothing else.

use std::sync::Arc;

use crate::common::{assert_mentions, message};
use dagrad::error::Problem;
use dagrad::graph::{
    BatchSplit, Call, Gradient, Kernel, Lowered, NodeRef, Op, OperandLayout, Target, VjpInputs,
};
use dagrad::{Error, Graph, Options, Precision, Real, Store, TensorType, Workspace};
use ndarray::Array2;

/// The array itself, by a kernel that refuses negative numbers. It says that there are so many samples in each row of the
/// array, of which 1 is true.
#[derive(Debug, Clone, PartialEq)]
struct Checked(usize);

impl Op for Checked {
    fn name(&self) -> &'static str {
        "checked"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        Ok(operands[0].clone())
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        call.output.copy_from_slice(call.real(0));
    }

    fn vjp<'g>(&self, _: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        Gradient::Of(inputs.upstream)
    }

    fn lower(&self, _: NodeRef<'_>, _: Target) -> Option<Lowered> {
        let lowered = Lowered::new(Arc::new(self.clone()), [OperandLayout::Keep]);
        Some(Lowered { layout: OperandLayout::Keep, is_faster: true, ..lowered })
    }
}

impl Kernel for Checked {
    fn name(&self) -> &'static str {
        "checked"
    }

    fn outputs(&self, operands: &[&TensorType]) -> Vec<TensorType> {
        vec![operands[0].clone()]
    }

    fn run<T: Precision>(&self, call: Call<'_, T>) -> Result<(), Problem> {
        call.output.copy_from_slice(call.real(0));
        match call.output.iter().find(|value| value.into_f64() < 0.0) {
            Some(value) => Err(Problem::new(format!("{value} is negative")).hint("feed no negative numbers")),
            None => Ok(()),
        }
    }

    fn batch_split(&self, operands: &[&TensorType]) -> Option<BatchSplit> {
        Some(BatchSplit::each(self.0 * operands[0].shape[0], &[true]))
    }
}

#[test]
fn the_first_failure_of_a_kernel_is_the_run_s_error() {
    for (tiles, threads) in [(false, 1), (true, 1), (true, 3)] {
        let graph = Graph::new();
        let x = graph.input("x", [64, 3]);
        let (y, line) = (graph.record(Checked(1), &[x * 2.0]).softmax(1), line!());
        let options = if tiles { Options::new() } else { Options::new().without("depth_first") };
        let plan = options.compile::<f64>(&graph, &[y]).unwrap();
        assert_eq!(plan.groups().is_empty(), !tiles, "{plan}");
        let (mut store, mut workspace) = (Store::new(0), Workspace::new(threads).unwrap());
        let mut values = Array2::<f64>::ones([64, 3]);
        plan.run(&mut store, &mut workspace, &[x.feed(&values)]).unwrap();
        (values[[20, 1]], values[[50, 2]]) = (-1.0, -7.0);
        let error = plan.run(&mut store, &mut workspace, &[x.feed(&values)]).map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::Kernel(_)), "{error}");
        let site = format!("{}:{line}", file!());
        assert_mentions(
            &error.to_string(),
            &["checked at", &site, "-2 is negative", "hint: feed no", "[64, 3]"],
        );
        values.fill(1.0);
        plan.run(&mut store, &mut workspace, &[x.feed(&values)]).unwrap();
    }
}

#[test]
fn a_kernel_that_splits_its_batch_wrongly_is_an_error_when_compiled() {
    let graph = Graph::new();
    let x = graph.input("x", [64, 3]);
    let (y, line) = (graph.record(Checked(2), &[graph.record(Checked(2), &[x])]), line!());
    let text = message(Options::new().compile::<f64>(&graph, &[y]));
    assert_mentions(&text, &[&format!("checked at {}:{line}", file!()), "batch_split", "[64, 3]", "128"]);
}
