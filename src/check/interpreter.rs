//! One operation at a time, each in memory of its own between canaries: the reference that plans are held to.

use std::ops::Range;

use ndarray::ArrayD;
use smallvec::SmallVec;

use super::samples::{self, Drawn, Purpose, feed, inputs};
use super::{Mismatch, Tolerance, compare};
use crate::compile::{Options, Plan, Program};
use crate::error::{Error, Result};
use crate::graph::call::{Call, Operand, Random};
use crate::graph::dag::{Dag, Kind, Node, NodeId};
use crate::graph::op::AnyOp;
use crate::graph::{AxisRead, Dtype, Graph, Precision, TensorType, Var};
use crate::ops::{Conv2dOptions, Example};
use crate::run::{Feed, Store, Workspace};
use crate::shape::Shape;
use dagrad_kernels::workers::Workers;

/// Elements around an output that nobody may touch.
const MARGIN: usize = 17;
/// What they hold.
const CANARY: f64 = 123.5;
/// Bits must agree.
const EXACT: Tolerance = Tolerance { relative: 0.0, absolute: 0.0 };
/// The seed of the random operations' masks.
const SEED: u64 = 1;

/// A computed value: real numbers, or indices.
enum Computed {
    Real(Vec<f64>),
    Index(Vec<u32>),
}

/// Runs an example and its gradient one operation at a time. Each output starts as NaN between canaries.
pub(super) fn check_kernels(example: &Example) -> Result<()> {
    with_gradient(example, |graph, outputs, values| {
        let reference = interpret(example, &Program::from_graph(graph, outputs, &[])?, values)?;
        all_numbers(example, &reference)?;
        let plan = Options::default().compile::<f64>(graph, outputs)?;
        let results = run(example, &plan, values, 1)?;
        let tolerance = Tolerance { relative: 1e-12, absolute: 1e-12 };
        agree(example, "a plan against one operation at a time", &results, &reference, tolerance)
    })
}

/// Compares plans with and without passes, for different threads, and repeated.
pub(super) fn check_plans(example: &Example) -> Result<()> {
    with_gradient(example, |graph, outputs, values| {
        let plan = Options::default().compile::<f64>(graph, outputs)?;
        let once = run(example, &plan, values, 1)?;
        let plain = run(example, &Options::plain().compile::<f64>(graph, outputs)?, values, 1)?;
        let rounding = Tolerance { relative: 1e-12, absolute: 1e-12 };
        agree(example, "all passes against none", &once, &plain, rounding)?;
        agree(example, "2 threads against 1", &run(example, &plan, values, 2)?, &once, EXACT)?;
        agree(example, "3 threads against 1", &run(example, &plan, values, 3)?, &once, EXACT)?;
        let single = Options::default().compile::<f32>(graph, outputs)?;
        let (once, twice) = (run(example, &single, values, 1)?, run(example, &single, values, 2)?);
        agree(example, "2 threads against 1 in f32", &twice, &once, EXACT)
    })
}

/// Compares plans with and without passes of the example on images that come from a convolution, and so lie NHWC.
pub(super) fn check_layout(example: &Example) -> Result<()> {
    record(example, Variant::OfConvolutions, |graph, outputs, values| {
        let found = run(example, &Options::default().compile::<f64>(graph, outputs)?, values, 1)?;
        let plain = run(example, &Options::plain().compile::<f64>(graph, outputs)?, values, 1)?;
        let rounding = Tolerance { relative: 1e-12, absolute: 1e-12 };
        agree(example, "images NHWC against NCHW", &found, &plain, rounding)
    })
}

/// Compares the example with the same as a block that its gradient computes again.
pub(super) fn check_checkpoint(example: &Example) -> Result<()> {
    let results = |variant: Variant| -> Result<Vec<ArrayD<f64>>> {
        let mut results = Vec::new();
        record(example, variant, |graph, outputs, values| {
            results = run(example, &Options::default().compile::<f64>(graph, outputs)?, values, 1)?;
            Ok(())
        })?;
        Ok(results)
    };
    agree(
        example,
        "as a checkpoint against kept",
        &results(Variant::Block)?,
        &results(Variant::Plain)?,
        EXACT,
    )
}

/// Records an example with random upstream and its gradients, and hands all of it on.
fn with_gradient(
    example: &Example,
    check: impl FnOnce(&Graph, &[Var<'_>], &[(Var<'_>, Drawn)]) -> Result<()>,
) -> Result<()> {
    record(example, Variant::Plain, check)
}

/// How an example is recorded.
#[derive(Clone, Copy, PartialEq)]
enum Variant {
    /// As it is.
    Plain,
    /// As a block that the gradient computes again.
    Block,
    /// On images that have gone through a convolution that leaves them as they are.
    OfConvolutions,
}

/// The same image, as a result of a convolution.
fn convolved<'g>(graph: &'g Graph, x: Var<'g>) -> Var<'g> {
    let TensorType { shape, dtype } = x.ty();
    if dtype == Dtype::Index || shape.len() != 4 || shape.contains(&0) {
        return x;
    }
    let channels = shape[1];
    let same = ndarray::Array2::<f64>::eye(channels);
    x.conv2d(graph.constant(same).reshape([channels, channels, 1, 1]), Conv2dOptions::new())
}

/// The same, recorded in some way.
fn record(
    example: &Example,
    variant: Variant,
    check: impl FnOnce(&Graph, &[Var<'_>], &[(Var<'_>, Drawn)]) -> Result<()>,
) -> Result<()> {
    let graph = Graph::new();
    let (operands, drawn) = inputs(&graph, &example.operands)?;
    let images: Vec<Var<'_>> = match variant {
        Variant::OfConvolutions => operands.iter().map(|&operand| convolved(&graph, operand)).collect(),
        _ => operands.clone(),
    };
    let y = match operands.first() {
        Some(first) if variant == Variant::Block => first.checkpoint(|_| (example.build)(&graph, &operands)),
        _ => (example.build)(&graph, &images),
    };
    graph.check()?;
    let real: Vec<Var<'_>> = operands.iter().copied().filter(|var| var.ty().dtype == Dtype::Real).collect();
    let upstream = graph.constant(samples::normal(&y.shape(), &mut samples::generator(Purpose::Directions)));
    let gradients = crate::autodiff::vjp(&[(y, upstream)], &real)?;
    let outputs: Vec<Var<'_>> = [y].into_iter().chain(gradients.into_iter().flatten()).collect();
    let values: Vec<(Var<'_>, Drawn)> = operands.into_iter().zip(drawn).collect();
    check(&graph, &outputs, &values)
}

/// The plan's results, from two runs that must agree.
fn run<T: Precision>(
    example: &Example,
    plan: &Plan<T>,
    values: &[(Var<'_>, Drawn)],
    threads: usize,
) -> Result<Vec<ArrayD<f64>>> {
    let mut workspace = Workspace::new(threads)?;
    let feeds: Vec<Feed<'_>> = values.iter().map(|(var, value)| feed(*var, value)).collect();
    let mut once = || -> Result<Vec<ArrayD<f64>>> {
        let mut store = Store::new(SEED);
        let outputs = plan.run(&mut store, &mut workspace, &feeds)?;
        Ok((0..outputs.len()).filter_map(|i| outputs.at(i)).map(|view| view.mapv(|x| x.into_f64())).collect())
    };
    let (first, second) = (once()?, once()?);
    agree(example, "a second run against the first", &second, &first, EXACT)?;
    Ok(first)
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
            of: name_of(result),
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

/// Finds a NaN: an element that a kernel forgot, or a result that no comparison can prove right.
fn all_numbers(example: &Example, results: &[ArrayD<f64>]) -> Result<()> {
    for (result, array) in results.iter().enumerate() {
        if let Some((element, &found)) = array.indexed_iter().find(|(_, value)| value.is_nan()) {
            let (name, element) = (example.name.clone(), ndarray::Dimension::slice(&element).to_vec());
            let check = "every element written, with a number".into();
            let of = name_of(result);
            return Err(Box::new(Mismatch { example: name, check, of, element, found, expected: 0.0 }).into());
        }
    }
    Ok(())
}

fn name_of(result: usize) -> String {
    if result == 0 { "the result".into() } else { format!("gradient {}", result - 1) }
}

/// Computes the program's outputs without a plan.
fn interpret(example: &Example, program: &Program, values: &[(Var<'_>, Drawn)]) -> Result<Vec<ArrayD<f64>>> {
    let dag = &program.dag;
    let workers = Workers::alone();
    let mut computed: Vec<Computed> = Vec::with_capacity(dag.len());
    for id in dag.ids() {
        let node = dag.node(id);
        let value = match &node.kind {
            Kind::Op(op) => {
                let operands: Vec<&Computed> =
                    dag.operands(id).iter().map(|id| &computed[id.index()]).collect();
                let value = call(example, dag, id, op.as_ref(), &operands, &workers)?;
                check_axes(example, dag, id, op.as_ref(), &operands, &value)?;
                value
            }
            _ => given(node, values),
        };
        computed.push(value);
    }
    let results = program.outputs.iter().map(|&output| {
        let values = match &computed[output.index()] {
            Computed::Real(values) => values.clone(),
            Computed::Index(values) => values.iter().map(|&index| f64::from(index)).collect(),
        };
        ArrayD::from_shape_vec(&dag.node(output).ty.shape[..], values)
            .map_err(|error| Error::setting("check", error.to_string()))
    });
    results.collect()
}

/// The value of a leaf.
fn given(node: &Node, values: &[(Var<'_>, Drawn)]) -> Computed {
    match values.iter().find(|(var, _)| Some(&*var.name()) == node.label.as_deref()) {
        Some((_, Drawn::Real(array))) => Computed::Real(array.iter().copied().collect()),
        Some((_, Drawn::Index(array))) => Computed::Index(array.iter().copied().collect()),
        None => Computed::Real(vec![0.0; node.ty.shape.count()]),
    }
}

/// Computes an operation once more for some positions along each axis, from operands that hold only what these read
/// according to its [`axes`](AnyOp::axes). The result must be the same there.
fn check_axes(
    example: &Example,
    dag: &Dag,
    id: NodeId,
    op: &dyn AnyOp,
    operands: &[&Computed],
    value: &Computed,
) -> Result<()> {
    let (shape, types) = (&dag.node(id).ty.shape, dag.operand_types(id));
    let maps = op.axes(&types);
    for (axis, &size) in shape.iter().enumerate() {
        let reads: Vec<AxisRead> = (maps.iter().zip(&types))
            .map(
                |(map, ty)| {
                    if axis == 0 || ty.shape.len() == shape.len() { map.along(axis) } else { AxisRead::All }
                },
            )
            .collect();
        if reads.iter().all(|&read| read == AxisRead::All) {
            continue;
        }
        for position in [0, size / 2, size.saturating_sub(1)].into_iter().filter(|&position| position < size)
        {
            let alone: Vec<Computed> = (operands.iter().zip(&types).enumerate())
                .map(|(number, (operand, ty))| match reads.get(number) {
                    None | Some(AxisRead::All) => operand.only(&ty.shape, 0, 0..usize::MAX),
                    Some(read) => operand.only(&ty.shape, axis, read.positions(position, ty.shape[axis])),
                })
                .collect();
            let found = call(example, dag, id, op, &alone.iter().collect::<Vec<_>>(), &Workers::alone())?;
            let pairs = found.at(shape, axis, position).into_iter().zip(value.at(shape, axis, position));
            if let Some((found, expected)) = pairs.into_iter().find(|(a, b)| a.to_bits() != b.to_bits()) {
                let (example, of) = (example.name.clone(), op.name().into());
                let check = format!("position {position} of axis {axis} from what `axes` says that it reads");
                return Err(
                    Box::new(Mismatch { example, check, of, element: vec![], found, expected }).into()
                );
            }
        }
    }
    Ok(())
}

impl Computed {
    /// What lies at some positions along an axis, and NaN or 0 everywhere else.
    fn only(&self, shape: &Shape, axis: usize, positions: Range<usize>) -> Self {
        let keeps = |element: usize| positions.contains(&position(shape, axis, element));
        match self {
            Self::Real(values) => {
                let values = values.iter().enumerate();
                Self::Real(values.map(|(i, &value)| if keeps(i) { value } else { f64::NAN }).collect())
            }
            Self::Index(values) => {
                let values = values.iter().enumerate();
                Self::Index(values.map(|(i, &value)| if keeps(i) { value } else { 0 }).collect())
            }
        }
    }

    /// The elements at one position along an axis.
    fn at(&self, shape: &Shape, axis: usize, wanted: usize) -> Vec<f64> {
        let value = |element: usize| match self {
            Self::Real(values) => values[element],
            Self::Index(values) => f64::from(values[element]),
        };
        let elements = (0..shape.count()).filter(|&element| position(shape, axis, element) == wanted);
        elements.map(value).collect()
    }
}

/// Where along an axis an element lies.
fn position(shape: &Shape, axis: usize, element: usize) -> usize {
    let inner: usize = shape.iter().skip(axis + 1).product();
    element / inner % shape.get(axis).copied().unwrap_or(1)
}

/// Calls one kernel. Its output starts as NaN, its scratch too, and canaries stand around the output.
fn call<'a>(
    example: &Example,
    dag: &'a Dag,
    id: NodeId,
    op: &dyn AnyOp,
    operands: &'a [&'a Computed],
    workers: &Workers,
) -> Result<Computed> {
    let TensorType { shape, dtype } = &dag.node(id).ty;
    let operand = |(operand, ty): (&&'a Computed, &'a TensorType)| match operand {
        Computed::Real(values) => Operand::Real(&ty.shape, &values[..]),
        Computed::Index(values) => Operand::Index(&ty.shape, &values[..]),
    };
    let [reals, indices] = if *dtype == Dtype::Real { [shape.count(), 0] } else { [0, shape.count()] };
    let mut output = vec![CANARY; reals + 2 * MARGIN];
    output[MARGIN..MARGIN + reals].fill(f64::NAN);
    let mut indices = vec![u32::MAX; indices];
    op.forward_f64(Call {
        operands: operands.iter().zip(dag.operand_types(id)).map(operand).collect(),
        output: &mut output[MARGIN..MARGIN + reals],
        indices: &mut indices,
        further_outputs: SmallVec::new(),
        shape,
        scratch: &mut vec![f64::NAN; op.scratch(&dag.operand_types(id))],
        workers,
        random: Random { seed: SEED, step: 0 },
    });
    let mut canaries = output[..MARGIN].iter().chain(&output[MARGIN + reals..]);
    if let Some(&found) = canaries.find(|&&canary| canary != CANARY) {
        let check = "memory beside the output".into();
        let (example, of) = (example.name.clone(), op.name().into());
        return Err(
            Box::new(Mismatch { example, check, of, element: vec![], found, expected: CANARY }).into()
        );
    }
    Ok(match dtype {
        Dtype::Real => Computed::Real(output[MARGIN..MARGIN + reals].to_vec()),
        Dtype::Index => Computed::Index(indices),
    })
}
