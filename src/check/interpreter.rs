//! One operation at a time, each in memory of its own between canaries: the reference that plans are held to.

use std::ops::Range;

use ndarray::{ArrayD, Axis, Dimension};
use smallvec::SmallVec;

use super::samples::{self, Purpose, Value, feeds, inputs};
use super::{Subject, Tolerance};
use crate::autodiff::vjp;
use crate::compile::{Options, Plan, Program};
use crate::error::{Error, Result};
use crate::graph::call::{Call, Operand, Random};
use crate::graph::dag::{Dag, NodeId};
use crate::graph::op::AnyOp;
use crate::graph::{AxisRead, Dtype, Graph, Precision, TensorType, Var};
use crate::ops::{Conv2dOptions, Example};
use crate::run::{Store, Workspace};
use dagrad_kernels::workers::Workers;

/// Elements around an output that nobody may touch.
const MARGIN: usize = 17;
/// What they hold.
const CANARY: f64 = 123.5;
/// Bits must agree.
const EXACT: Tolerance = Tolerance { relative: 0.0, absolute: 0.0 };
/// Sums may be rounded in another order.
const ROUNDING: Tolerance = Tolerance { relative: 1e-12, absolute: 1e-12 };
/// The seed of the random operations' masks.
const SEED: u64 = 1;

/// Runs an example and its gradient one operation at a time. Each output starts as NaN between canaries.
pub(super) fn check_kernels(example: &Example) -> Result<()> {
    record(example, Variant::Plain, |graph, outputs, values| {
        let reference = interpret(example, &Program::from_graph(graph, outputs, &[])?, values)?;
        all_numbers(example, &reference)?;
        let plan = Options::default().compile::<f64>(graph, outputs)?;
        let results = run(example, &plan, values, 1)?;
        agree(example, "a plan against one operation at a time", &results, &reference, ROUNDING)
    })
}

/// Compares plans with and without passes, for different threads, and repeated.
pub(super) fn check_plans(example: &Example) -> Result<()> {
    record(example, Variant::Plain, |graph, outputs, values| {
        let plan = Options::default().compile::<f64>(graph, outputs)?;
        let once = run(example, &plan, values, 1)?;
        let plain = run(example, &Options::plain().compile::<f64>(graph, outputs)?, values, 1)?;
        agree(example, "all passes against none", &once, &plain, ROUNDING)?;
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
        agree(example, "images NHWC against NCHW", &found, &plain, ROUNDING)
    })
}

/// Compares the example with the same as a block that its gradient computes again.
pub(super) fn check_recomputed(example: &Example) -> Result<()> {
    let results = |variant: Variant| {
        record(example, variant, |graph, outputs, values| {
            run(example, &Options::default().compile::<f64>(graph, outputs)?, values, 1)
        })
    };
    let (block, plain) = (results(Variant::Block)?, results(Variant::Plain)?);
    agree(example, "computed again against kept", &block, &plain, EXACT)
}

/// How an example is recorded.
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
    let same = graph.constant(ndarray::Array2::<f64>::eye(shape[1]));
    x.conv2d(same.reshape([shape[1], shape[1], 1, 1]), Conv2dOptions::new())
}

/// Records an example with random upstream and its gradients, and hands all of it on.
fn record<R>(
    example: &Example,
    variant: Variant,
    check: impl FnOnce(&Graph, &[Var<'_>], &[(Var<'_>, Value)]) -> Result<R>,
) -> Result<R> {
    let graph = Graph::new();
    let values = inputs(&graph, &example.operands)?;
    let operands: Vec<Var<'_>> = values.iter().map(|(operand, _)| *operand).collect();
    let y = match (variant, operands.first()) {
        (Variant::Block, Some(first)) => first.recompute(|_| (example.build)(&graph, &operands)),
        (Variant::OfConvolutions, _) => {
            let images: Vec<Var<'_>> = operands.iter().map(|&operand| convolved(&graph, operand)).collect();
            (example.build)(&graph, &images)
        }
        _ => (example.build)(&graph, &operands),
    };
    graph.check()?;
    let real: Vec<Var<'_>> = operands.into_iter().filter(|var| var.ty().dtype == Dtype::Real).collect();
    let upstream = graph.constant(samples::normal(&y.shape(), &mut samples::generator(Purpose::Directions)));
    let gradients = vjp(&[(y, upstream)], &real)?;
    let outputs: Vec<Var<'_>> = [y].into_iter().chain(gradients.into_iter().flatten()).collect();
    check(&graph, &outputs, &values)
}

/// The plan's results, from two runs that must agree.
fn run<T: Precision>(
    example: &Example,
    plan: &Plan<T>,
    values: &[(Var<'_>, Value)],
    threads: usize,
) -> Result<Vec<ArrayD<f64>>> {
    let mut workspace = Workspace::new(threads)?;
    let feeds = feeds(values);
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
    if found.len() != expected.len() {
        let subject = Subject { example, check, of: &name_of(0) };
        return Err(subject.mismatch(&[], found.len() as f64, expected.len() as f64));
    }
    let mut pairs = found.iter().zip(expected).enumerate();
    pairs.try_for_each(|(result, (found, expected))| {
        Subject { example, check, of: &name_of(result) }.compare(found, expected, tolerance)
    })
}

/// Finds a NaN: an element that a kernel forgot, or a result that no comparison can prove right.
fn all_numbers(example: &Example, results: &[ArrayD<f64>]) -> Result<()> {
    for (result, array) in results.iter().enumerate() {
        if let Some((element, &found)) = array.indexed_iter().find(|(_, value)| value.is_nan()) {
            let check = "every element written, with a number";
            let subject = Subject { example, check, of: &name_of(result) };
            return Err(subject.mismatch(element.slice(), found, 0.0));
        }
    }
    Ok(())
}

fn name_of(result: usize) -> String {
    if result == 0 { "the result".into() } else { format!("gradient {}", result - 1) }
}

/// Computes the program's outputs without a plan.
fn interpret(example: &Example, program: &Program, values: &[(Var<'_>, Value)]) -> Result<Vec<ArrayD<f64>>> {
    let dag = &program.dag;
    let mut computed: Vec<Value> = Vec::with_capacity(dag.len());
    for id in dag.ids() {
        let node = dag.node(id);
        let value = if let Some(op) = dag.op(id) {
            let operands: Vec<&Value> = dag.operands(id).iter().map(|id| &computed[id.index()]).collect();
            let value = call(example, dag, id, op, &operands)?;
            check_axes(example, dag, id, op, &operands, &value)?;
            value
        } else {
            let given = values.iter().find(|(var, _)| Some(&*var.name()) == node.label.as_deref());
            given.map_or_else(|| Value::Real(ArrayD::zeros(&node.ty.shape[..])), |(_, value)| value.clone())
        };
        computed.push(value);
    }
    Ok(program.outputs.iter().map(|output| computed[output.index()].to_real()).collect())
}

/// Computes an operation once more for some positions along each axis, from operands that hold only what these read
/// according to its [`axes`](AnyOp::axes). The result must be the same there.
fn check_axes(
    example: &Example,
    dag: &Dag,
    id: NodeId,
    op: &dyn AnyOp,
    operands: &[&Value],
    value: &Value,
) -> Result<()> {
    let (shape, types) = (&dag.node(id).ty.shape, dag.operand_types(id));
    let (maps, value) = (op.axes(&types), value.to_real());
    for (axis, &size) in shape.iter().enumerate() {
        let read = |(number, ty): (usize, &&TensorType)| match maps.get(number) {
            Some(map) if axis == 0 || ty.shape.len() == shape.len() => map.along(axis),
            _ => AxisRead::All,
        };
        let reads: Vec<AxisRead> = types.iter().enumerate().map(read).collect();
        if reads.iter().all(|&read| read == AxisRead::All) {
            continue;
        }
        for position in [0, size / 2, size.saturating_sub(1)].into_iter().filter(|&position| position < size)
        {
            let alone = |((&operand, ty), read): ((&&Value, &&TensorType), &AxisRead)| match read {
                AxisRead::All => operand.clone(),
                read => operand.clone().only(axis, &read.positions(position, ty.shape[axis])),
            };
            let alone: Vec<Value> = operands.iter().zip(&types).zip(&reads).map(alone).collect();
            let found = call(example, dag, id, op, &alone.iter().collect::<Vec<_>>())?.to_real();
            let [found, expected] = [&found, &value].map(|all| all.index_axis(Axis(axis), position));
            let mut pairs = found.iter().zip(expected);
            if let Some((&found, &expected)) = pairs.find(|(a, b)| a.to_bits() != b.to_bits()) {
                let check = format!("position {position} of axis {axis} from what `axes` says that it reads");
                let subject = Subject { example, check: &check, of: op.name() };
                return Err(subject.mismatch(&[], found, expected));
            }
        }
    }
    Ok(())
}

impl Value {
    /// What lies at some positions along an axis, and NaN or 0 everywhere else.
    fn only(mut self, axis: usize, positions: &Range<usize>) -> Self {
        fn clear<T: Copy>(array: &mut ArrayD<T>, axis: usize, positions: &Range<usize>, nothing: T) {
            let parts = array.axis_iter_mut(Axis(axis)).enumerate();
            parts.filter(|(at, _)| !positions.contains(at)).for_each(|(_, mut part)| part.fill(nothing));
        }
        match &mut self {
            Self::Real(array) => clear(array, axis, positions, f64::NAN),
            Self::Index(array) => clear(array, axis, positions, 0),
        }
        self
    }
}

/// Calls one kernel. Its output starts as NaN, its scratch too, and canaries stand around the output.
fn call<'a>(
    example: &Example,
    dag: &'a Dag,
    id: NodeId,
    op: &dyn AnyOp,
    operands: &[&'a Value],
) -> Result<Value> {
    let TensorType { shape, dtype } = &dag.node(id).ty;
    let operand = |(operand, ty): (&&'a Value, &'a TensorType)| match operand {
        Value::Real(array) => Operand::Real(&ty.shape, array.as_slice().unwrap_or_default()),
        Value::Index(array) => Operand::Index(&ty.shape, array.as_slice().unwrap_or_default()),
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
        workers: &Workers::alone(),
        random: Random { seed: SEED, step: 0 },
    });
    let mut canaries = output[..MARGIN].iter().chain(&output[MARGIN + reals..]);
    if let Some(&found) = canaries.find(|&&canary| canary != CANARY) {
        let subject = Subject { example, check: "memory beside the output", of: op.name() };
        return Err(subject.mismatch(&[], found, CANARY));
    }
    let value = match dtype {
        Dtype::Real => {
            ArrayD::from_shape_vec(&shape[..], output[MARGIN..MARGIN + reals].to_vec()).map(Value::Real)
        }
        Dtype::Index => ArrayD::from_shape_vec(&shape[..], indices).map(Value::Index),
    };
    value.map_err(|error| Error::setting("check", error.to_string()))
}
