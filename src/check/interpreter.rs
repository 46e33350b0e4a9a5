//! One operation at a time, each in memory of its own between canaries: the reference that plans are held to.

use ndarray::ArrayD;

use super::samples::{Drawn, feed, inputs};
use super::{Mismatch, Tolerance, compare};
use crate::compile::{Options, Plan, Program};
use crate::error::Result;
use crate::graph::dag::Kind;
use crate::graph::op::{Call, Operand, Random};
use crate::graph::{Dtype, Graph, Precision, Var};
use crate::kernels::workers::Workers;
use crate::ops::Example;
use crate::run::{Feed, Store, Workspace};

/// Elements around an output that nobody may touch.
const MARGIN: usize = 17;
/// What they hold.
const CANARY: f64 = 123.5;

/// A computed value: real numbers, or indices.
enum Computed {
    Real(Vec<f64>),
    Index(Vec<u32>),
}

/// Runs an example and its gradient one operation at a time. Each output starts as NaN between canaries.
pub(super) fn check_kernels(example: &Example) -> Result<()> {
    with_gradient(example, |graph, outputs, values| {
        let reference = interpret(example, &Program::from_graph(graph, outputs, &[])?, values)?;
        let plan = Options::default().compile::<f64>(graph, outputs)?;
        let results = run(&plan, values, 1)?;
        let tolerance = Tolerance { relative: 1e-12, absolute: 1e-12 };
        agree(example, "a plan against one operation at a time", &results, &reference, tolerance)
    })
}

/// Compares plans with and without passes, for different threads, and repeated.
pub(super) fn check_plans(example: &Example) -> Result<()> {
    with_gradient(example, |graph, outputs, values| {
        let plan = Options::default().compile::<f64>(graph, outputs)?;
        let once = run(&plan, values, 1)?;
        let plain = run(&Options::plain().compile::<f64>(graph, outputs)?, values, 1)?;
        let rounding = Tolerance { relative: 1e-12, absolute: 1e-12 };
        agree(example, "all passes against none", &once, &plain, rounding)?;
        let exact = Tolerance { relative: 0.0, absolute: 0.0 };
        agree(example, "2 threads against 1", &run(&plan, values, 2)?, &once, exact)?;
        agree(example, "3 threads against 1", &run(&plan, values, 3)?, &once, exact)?;
        let single = Options::default().compile::<f32>(graph, outputs)?;
        let (once, twice) = (run(&single, values, 1)?, run(&single, values, 2)?);
        agree(example, "2 threads against 1 in f32", &twice, &once, exact)
    })
}

/// Records an example with random upstream and its gradients, and hands all of it on.
fn with_gradient(
    example: &Example,
    check: impl FnOnce(&Graph, &[Var<'_>], &[(Var<'_>, Drawn)]) -> Result<()>,
) -> Result<()> {
    let graph = Graph::new();
    let (operands, drawn) = inputs(&graph, &example.operands)?;
    let y = (example.build)(&graph, &operands);
    graph.check()?;
    let real: Vec<Var<'_>> = operands.iter().copied().filter(|var| var.meta().dtype == Dtype::Real).collect();
    let upstream = graph.constant(super::samples::normal(&y.shape(), &mut super::samples::generator()));
    let gradients = crate::autodiff::vjp(&[(y, upstream)], &real)?;
    let outputs: Vec<Var<'_>> = [y].into_iter().chain(gradients.into_iter().flatten()).collect();
    let values: Vec<(Var<'_>, Drawn)> = operands.into_iter().zip(drawn).collect();
    check(&graph, &outputs, &values)
}

/// The plan's results, from two runs that must agree to the bit.
fn run<T: Precision>(
    plan: &Plan<T>,
    values: &[(Var<'_>, Drawn)],
    threads: usize,
) -> Result<Vec<ArrayD<f64>>> {
    let mut workspace = Workspace::new(threads)?;
    let feeds: Vec<Feed<'_>> = values.iter().map(|(var, value)| feed(*var, value)).collect();
    let mut once = || -> Result<Vec<ArrayD<f64>>> {
        let mut store = Store::new(1);
        let outputs = plan.run(&mut store, &mut workspace, &feeds)?;
        Ok((0..outputs.len()).filter_map(|i| outputs.at(i)).map(|view| view.mapv(|x| x.wide())).collect())
    };
    let (first, second) = (once()?, once()?);
    let same = |a: &ArrayD<f64>, b: &ArrayD<f64>| a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
    debug_assert!(first.iter().zip(&second).all(|(a, b)| same(a, b)), "a second run differs");
    Ok(if first.iter().zip(&second).all(|(a, b)| same(a, b)) { first } else { Vec::new() })
}

fn agree(
    example: &Example,
    check: &str,
    found: &[ArrayD<f64>],
    expected: &[ArrayD<f64>],
    tolerance: Tolerance,
) -> Result<()> {
    let blame = |result: usize| {
        move |element: Vec<usize>, found: f64, expected: f64| Mismatch {
            example: example.name.clone(),
            check: check.to_string(),
            of: if result == 0 { "the result".into() } else { format!("gradient {}", result - 1) },
            element,
            found,
            expected,
        }
    };
    if found.len() != expected.len() {
        return Err(Box::new(blame(0)(vec![], found.len() as f64, expected.len() as f64)).into());
    }
    let pairs = found.iter().zip(expected).enumerate();
    pairs.into_iter().try_for_each(|(result, (a, b))| compare(a, b, tolerance, blame(result)))
}

/// Computes the program's outputs without a plan.
fn interpret(example: &Example, program: &Program, values: &[(Var<'_>, Drawn)]) -> Result<Vec<ArrayD<f64>>> {
    let dag = &program.dag;
    let workers = Workers::new(1).map_err(|error| crate::Error::setting("threads", error.to_string()))?;
    let mut computed: Vec<Computed> = Vec::with_capacity(dag.len());
    for id in dag.ids() {
        let node = dag.node(id);
        let value = match &node.kind {
            Kind::Op(op) => {
                let operands = dag.operands(id);
                let count = node.meta.shape.count();
                let is_real = node.meta.dtype == Dtype::Real;
                let mut output = vec![CANARY; count + 2 * MARGIN];
                output[MARGIN..MARGIN + count].fill(f64::NAN);
                let mut indices = vec![u32::MAX; if is_real { 0 } else { count }];
                let mut scratch = vec![f64::NAN; op.scratch(&dag.operand_metas(id))];
                let operand = |&operand: &crate::graph::dag::NodeId| {
                    let shape = &dag.node(operand).meta.shape;
                    match &computed[operand.index()] {
                        Computed::Real(values) => Operand::Real(shape, &values[..]),
                        Computed::Index(values) => Operand::Index(shape, &values[..]),
                    }
                };
                op.forward_f64(Call {
                    operands: operands.iter().map(operand).collect(),
                    output: if is_real { &mut output[MARGIN..MARGIN + count] } else { &mut [] },
                    indices: &mut indices,
                    shape: &node.meta.shape,
                    scratch: &mut scratch,
                    workers: &workers,
                    random: Random { seed: 1, step: 0 },
                });
                let canaries = output[..MARGIN].iter().chain(&output[MARGIN + count..]);
                if canaries.into_iter().any(|&canary| canary != CANARY) {
                    let (name, of) = (example.name.clone(), op.name().to_string());
                    let check = "memory beside the output".to_string();
                    let element = vec![];
                    return Err(Box::new(Mismatch {
                        example: name,
                        check,
                        of,
                        element,
                        found: f64::NAN,
                        expected: CANARY,
                    })
                    .into());
                }
                if is_real {
                    Computed::Real(output[MARGIN..MARGIN + count].to_vec())
                } else {
                    Computed::Index(indices)
                }
            }
            _ => match values.iter().find(|(var, _)| Some(&*var.name()) == node.label.as_deref()) {
                Some((_, Drawn::Real(array))) => Computed::Real(array.iter().copied().collect()),
                Some((_, Drawn::Index(array))) => Computed::Index(array.iter().copied().collect()),
                None => Computed::Real(vec![0.0; node.meta.shape.count()]),
            },
        };
        computed.push(value);
    }
    let results = program.outputs.iter().map(|&output| {
        let values = match &computed[output.index()] {
            Computed::Real(values) => values.clone(),
            Computed::Index(values) => values.iter().map(|&index| f64::from(index)).collect(),
        };
        ArrayD::from_shape_vec(&dag.node(output).meta.shape[..], values)
            .map_err(|error| crate::Error::setting("check", error.to_string()))
    });
    results.collect()
}
