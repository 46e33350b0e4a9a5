//! Differentiation: one walk backwards over the graph that asks each operation for its gradient rule.
//!
//! The rules are written in graph operations, so a gradient is more graph, and the gradient of a gradient
//! needs nothing more than calling these functions again. Nothing here names an operation.

use crate::error::{Error, Problem, Result};
use crate::graph::dag::{Dag, Kind, NodeId};
use crate::graph::{At, Gradient, Graph, Var};

/// The gradients of the single number `y` with respect to each of `xs`: ∂y/∂x, of x's shape.
///
/// They are appended to the graph of `y` and are values like any others; differentiate them again for
/// second derivatives.
///
/// ```
/// use dagrad::{Graph, gradients};
///
/// let graph = Graph::new();
/// let x = graph.input("x", [3]);
/// let y = (x * x * x).sum_all();
/// let dy = gradients(y, &[x])?[0];              // 3 x²
/// let d2y = gradients(dy.sum_all(), &[x])?[0];  // 6 x
/// assert_eq!(d2y.shape(), [3].into());
/// # Ok::<(), dagrad::Error>(())
/// ```
///
/// # Errors
/// A misuse recorded earlier on the graph; a `y` of more than one element; an `x` that `y` does not depend
/// on ([`Error::Unreached`], with its name: never a silent zero); an operation on the way that is not
/// differentiable.
#[track_caller]
pub fn gradients<'g>(y: Var<'g>, xs: &[Var<'g>]) -> Result<Vec<Var<'g>>> {
    let graph = y.graph();
    graph.check()?;
    if y.shape().count() != 1 {
        let problem =
            Problem::new(format!("a gradient is taken of one number, not of an array {}", y.shape()))
                .hint("reduce it first, for example with `sum_all`, or give an upstream gradient to `vjp`");
        return Err(graph.op_error("gradients", &["y"], &[y], problem));
    }
    let found = vjp(&[(y, graph.fill(y.shape(), 1.0))], xs)?;
    let unreached = |(x, gradient): (&Var<'g>, &Option<Var<'g>>)| gradient.is_none().then(|| x.name());
    let names: Vec<String> = xs.iter().zip(&found).filter_map(unreached).collect();
    if !names.is_empty() {
        return Err(Error::Unreached { target: y.name(), names });
    }
    Ok(found.into_iter().flatten().collect())
}

/// Vector-Jacobian products: the gradients of Σ ⟨y, upstream⟩ over the given pairs `(y, upstream)` with
/// respect to each of `xs`, or `None` where no y depends on x.
///
/// # Errors
/// A misuse recorded earlier; an upstream gradient whose shape is not its y's; an operation on the way that
/// is not differentiable.
#[track_caller]
pub fn vjp<'g>(outputs: &[(Var<'g>, Var<'g>)], xs: &[Var<'g>]) -> Result<Vec<Option<Var<'g>>>> {
    let Some(&(first, _)) = outputs.first() else {
        return Ok(vec![None; xs.len()]);
    };
    let graph = first.graph();
    check_arguments(graph, outputs, xs)?;

    let last = outputs.iter().map(|(y, _)| y.id().index()).max().unwrap_or(0);
    let depends = dependents(&graph.dag(), xs, last);
    let mut gradient: Vec<Option<Var<'g>>> = vec![None; depends.len()];
    for &(y, upstream) in outputs {
        accumulate(&mut gradient[y.id().index()], upstream);
    }
    for index in (0..depends.len()).rev() {
        let (true, Some(upstream)) = (depends[index], gradient[index]) else { continue };
        let node = NodeId::new(index);
        let operands = graph.dag().operands(node);
        for (position, operand) in operands.into_iter().enumerate() {
            if depends[operand.index()]
                && let Some(of_operand) = apply_rule(graph, node, position, upstream)?
            {
                graph.differentiate(node, || accumulate(&mut gradient[operand.index()], of_operand));
            }
        }
    }
    graph.check()?;
    Ok(xs.iter().map(|x| gradient.get(x.id().index()).copied().flatten()).collect())
}

/// Fan-out adds up: a value that is read twice receives both gradients.
#[track_caller]
fn accumulate<'g>(sum: &mut Option<Var<'g>>, gradient: Var<'g>) {
    *sum = Some(match *sum {
        Some(sum) => sum + gradient,
        None => gradient,
    });
}

/// Which nodes up to `last` change when one of `xs` changes.
fn dependents(dag: &Dag, xs: &[Var<'_>], last: usize) -> Vec<bool> {
    let mut depends = vec![false; last + 1];
    for x in xs.iter().filter(|x| x.id().index() <= last) {
        depends[x.id().index()] = true;
    }
    for index in 0..depends.len() {
        depends[index] |= dag.operands(NodeId::new(index)).iter().any(|operand| depends[operand.index()]);
    }
    depends
}

/// Asks the operation at `node` for the gradient of its operand at `position`.
fn apply_rule<'g>(
    graph: &'g Graph,
    node: NodeId,
    position: usize,
    upstream: Var<'g>,
) -> Result<Option<Var<'g>>> {
    let Kind::Op(op) = graph.dag().node(node).kind.clone() else { return Ok(None) };
    let operands: Vec<Var<'g>> = graph.dag().operands(node).into_iter().map(|id| graph.var(id)).collect();
    let at = At { operands: operands.as_slice().into(), output: graph.var(node), upstream };
    let fail = |text: String| {
        let error = || graph.op_error(op.name(), op.roles(), &operands, Problem::new(text));
        Err(graph.differentiate(node, error))
    };
    match graph.differentiate(node, || op.vjp(position, at)) {
        Gradient::Of(found) if !found.belongs_to(graph) => {
            fail(format!("its gradient rule answered with a value of another graph for operand {position}"))
        }
        Gradient::Of(found) if found.is_poisoned() => graph.check().map(|()| None),
        Gradient::Of(found) if found.meta() != operands[position].meta() => fail(format!(
            "its gradient rule made {} for operand {position} of {}",
            found.meta(),
            operands[position].meta()
        )),
        Gradient::Of(found) => Ok(Some(found)),
        Gradient::Constant => Ok(None),
        Gradient::NotDifferentiable => fail(format!("it is not differentiable in operand {position}")),
    }
}

#[track_caller]
fn check_arguments<'g>(graph: &'g Graph, outputs: &[(Var<'g>, Var<'g>)], xs: &[Var<'g>]) -> Result<()> {
    graph.check()?;
    let all = outputs.iter().flat_map(|&(y, upstream)| [y, upstream]).chain(xs.iter().copied());
    for var in all {
        if !var.belongs_to(graph) {
            let problem = Problem::new(format!("{} belongs to another graph", var.name()));
            return Err(graph.op_error("vjp", &[], &[], problem));
        }
    }
    for &(y, upstream) in outputs {
        if y.meta() != upstream.meta() {
            let problem = Problem::new("an upstream gradient has the shape of what it is the gradient of");
            return Err(graph.op_error("vjp", &["y", "upstream"], &[y, upstream], problem));
        }
    }
    Ok(())
}
