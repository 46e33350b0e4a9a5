//! Differentiation: one walk backwards over the graph that asks each operation for its gradient rule.
//!
//! The rules are written in graph operations, so a gradient is more graph, and the gradient of a gradient
//! needs nothing more than calling these functions again. Nothing here names an operation.

use crate::error::{Error, Problem, Result, SourceLine};
use crate::graph::dag::{Dag, Kind, NodeId};
use crate::graph::recompute::Copies;
use crate::graph::{Dtype, Gradient, Graph, Var, VjpInputs};
use crate::shape::Shape;

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
    check_one_number("gradients", "y", y)?;
    check_pairs(graph, ["gradients", "y", "x"], &[], xs)?;
    let found = vjp(&[(y, graph.fill(y.shape(), 1.0))], xs)?;
    let unreached = |(x, gradient): (&Var<'g>, &Option<Var<'g>>)| gradient.is_none().then(|| x.known_as());
    let names: Vec<String> = xs.iter().zip(&found).filter_map(unreached).collect();
    if !names.is_empty() {
        return Err(Error::Unreached { target: y.known_as(), names, site: SourceLine::caller() });
    }
    Ok(found.into_iter().flatten().collect())
}

/// Refuses to take the gradient of anything but one real number, under the name of whoever was asked for it.
#[track_caller]
pub(crate) fn check_one_number(op: &str, role: &str, y: Var<'_>) -> Result<()> {
    let problem = if y.ty().dtype == Dtype::Index {
        Problem::new("a gradient is taken of a real number, not of an index")
    } else if y.shape().count() != 1 {
        Problem::new(format!("a gradient is taken of one number, not of an array {}", y.shape()))
            .hint("reduce it first, for example with `sum_all`, or give an upstream gradient to `vjp`")
    } else {
        return Ok(());
    };
    Err(y.graph().op_error(op, &[role], &[y], problem))
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
    check_pairs(graph, ["vjp", "y", "upstream"], outputs, xs)?;

    let last = outputs.iter().map(|(y, _)| y.id().index()).max().unwrap_or(0);
    let depends = dependents(&graph.dag(), xs, last);
    let mut gradient: Vec<Option<Var<'g>>> = vec![None; depends.len()];
    let mut copies = Copies::new(graph);
    for &(y, upstream) in outputs {
        accumulate(&mut gradient[y.id().index()], upstream);
    }
    for index in (0..depends.len()).rev() {
        let (true, Some(upstream)) = (depends[index], gradient[index]) else { continue };
        let node = NodeId::new(index);
        copies.prepare(graph, node, upstream);
        let operands = graph.dag().operands(node);
        let read = |id: NodeId| graph.var(copies.of(id));
        let given = operands.iter().copied().map(read).collect();
        let inputs = VjpInputs { operands: given, output: read(node), upstream };
        for (position, operand) in operands.into_iter().enumerate() {
            if depends[operand.index()]
                && let Some(of_operand) = apply_rule(node, position, &inputs)?
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
#[track_caller]
fn apply_rule<'g>(node: NodeId, position: usize, inputs: &VjpInputs<'g>) -> Result<Option<Var<'g>>> {
    let (graph, operands) = (inputs.upstream.graph(), &inputs.operands);
    let Kind::Op(op) = graph.dag().node(node).kind.clone() else { return Ok(None) };
    let fail = |text: String| {
        let error = || graph.op_error(op.name(), op.roles(), operands, Problem::new(text));
        Err(graph.differentiate(node, error))
    };
    let given = VjpInputs { operands: operands.clone(), ..*inputs };
    match graph.differentiate(node, || op.vjp(position, given)) {
        Gradient::Of(found) if !found.belongs_to(graph) => {
            fail(format!("its gradient rule returned a value of another graph for operand {position}"))
        }
        Gradient::Of(found) if found.is_poisoned() => graph.check().map(|()| None),
        Gradient::Of(found) if found.ty() != operands[position].ty() => fail(format!(
            "its gradient rule made {} for operand {position} of {}",
            found.ty(),
            operands[position].ty()
        )),
        Gradient::Of(found) => Ok(Some(found)),
        Gradient::Constant => Ok(None),
        Gradient::NotDifferentiable => fail(format!("it is not differentiable in operand {position}")),
    }
}

/// Jacobian-vector products, also called forward mode: how each of `ys` changes when every x moves along its tangent,
/// Σ ∂y/∂x · tangent over the given pairs `(x, tangent)`; `None` where a y depends on no x.
///
/// A vector-Jacobian product is linear in its upstream gradient; its adjoint in that is the Jacobian-vector product.
/// So every operation has this derivative because it has the other one.
///
/// ```
/// use dagrad::{Graph, jvp};
///
/// let graph = Graph::new();
/// let (x, v) = (graph.input("x", [3]), graph.input("v", [3]));
/// let along = jvp(&[x.sin()], &[(x, v)])?;    // cos(x) · v
/// assert_eq!(along[0].map(|y| y.shape()), Some([3].into()));
/// # Ok::<(), dagrad::Error>(())
/// ```
///
/// # Errors
/// As [`vjp`]; a tangent whose shape is not its x's.
#[track_caller]
pub fn jvp<'g>(ys: &[Var<'g>], xs: &[(Var<'g>, Var<'g>)]) -> Result<Vec<Option<Var<'g>>>> {
    let mut found = Vec::with_capacity(ys.len());
    for &y in ys {
        let graph = y.graph();
        check_pairs(graph, ["jvp", "x", "tangent"], xs, &[y])?;
        let points: Vec<Var<'g>> = xs.iter().map(|(x, _)| *x).collect();
        // Any upstream will do: the result does not depend on it.
        let upstream = graph.fill(y.shape(), 0.0);
        let gradients = vjp(&[(y, upstream)], &points)?;
        let pairs: Vec<_> = gradients.into_iter().zip(xs).filter_map(|(g, (_, v))| Some((g?, *v))).collect();
        found.push(vjp(&pairs, &[upstream])?[0]);
    }
    Ok(found)
}

/// Hessian-vector products of the single number `y`: for each of the given pairs `(x, v)`, Σ ∂²y/∂x∂x' · v' over all
/// pairs `(x', v')`, of x's shape. It costs two gradients and stores no matrix. Zero where the gradient is constant.
///
/// # Errors
/// As [`gradients`]; a v whose shape is not its x's.
#[track_caller]
pub fn hvp<'g>(y: Var<'g>, xs: &[(Var<'g>, Var<'g>)]) -> Result<Vec<Var<'g>>> {
    let points: Vec<Var<'g>> = xs.iter().map(|(x, _)| *x).collect();
    check_pairs(y.graph(), ["hvp", "x", "v"], xs, &[y])?;
    let gradients = gradients(y, &points)?;
    let pairs: Vec<_> = gradients.into_iter().zip(xs).map(|(gradient, (_, v))| (gradient, *v)).collect();
    let products = vjp(&pairs, &points)?;
    let zero = |x: &Var<'g>| x.graph().fill(x.shape(), 0.0);
    Ok(products.into_iter().zip(&points).map(|(product, x)| product.unwrap_or_else(|| zero(x))).collect())
}

/// All derivatives of `y` in `x`, an array of y's axes followed by x's: one gradient for each element of y. Zero where
/// `y` does not depend on `x`.
///
/// # Errors
/// As [`vjp`]; a `y` of more than 10,000 elements, for each of which the graph would grow by a gradient.
#[track_caller]
pub fn jacobian<'g>(y: Var<'g>, x: Var<'g>) -> Result<Var<'g>> {
    const MOST: usize = 10_000;
    let (graph, count) = (y.graph(), y.shape().count());
    check_pairs(graph, ["jacobian", "y", "x"], &[], &[y, x])?;
    let shape: Shape = y.shape().iter().chain(x.shape().iter()).copied().collect();
    if count > MOST {
        let problem = Problem::new(format!("a gradient for each of {count} elements is too much graph"))
            .hint("take `jvp` or `vjp` along the directions that matter");
        return Err(graph.op_error("jacobian", &["y", "x"], &[y, x], problem));
    }
    let (flat, one) = (y.reshape([count]), graph.fill([], 1.0));
    let mut rows = Vec::with_capacity(count);
    for element in 0..count as isize {
        let number = flat.slice(0, element..element + 1).sum_all();
        let row = vjp(&[(number, one)], &[x])?[0];
        rows.push(row.unwrap_or_else(|| graph.fill(x.shape(), 0.0)));
    }
    let found = if rows.is_empty() { graph.fill(&shape, 0.0) } else { graph.stack(&rows, 0).reshape(&shape) };
    graph.check()?;
    Ok(found)
}

/// All second derivatives of the single number `y` in `x`, an array of x's axes twice.
///
/// ```
/// use dagrad::{Graph, hessian};
///
/// let graph = Graph::new();
/// let x = graph.input("x", [2, 3]);
/// assert_eq!(hessian((x * x).sum_all(), x)?.shape(), [2, 3, 2, 3].into());
/// # Ok::<(), dagrad::Error>(())
/// ```
///
/// # Errors
/// As [`gradients`] and [`jacobian`].
#[track_caller]
pub fn hessian<'g>(y: Var<'g>, x: Var<'g>) -> Result<Var<'g>> {
    check_pairs(y.graph(), ["hessian", "y", "x"], &[], &[x])?;
    jacobian(gradients(y, &[x])?[0], x)
}

/// Checks that all values belong to the graph, and that the two of each pair have one shape.
#[track_caller]
fn check_pairs<'g>(
    graph: &'g Graph,
    [op, value, beside]: [&str; 3],
    pairs: &[(Var<'g>, Var<'g>)],
    others: &[Var<'g>],
) -> Result<()> {
    graph.check()?;
    for var in pairs.iter().flat_map(|&(a, b)| [a, b]).chain(others.iter().copied()) {
        if !var.belongs_to(graph) {
            let problem = Problem::new(format!("{} belongs to another graph", var.known_as()));
            return Err(graph.op_error(op, &[], &[], problem));
        }
    }
    for &(a, b) in pairs {
        if a.ty() != b.ty() {
            let problem = Problem::new(format!("the {beside} does not have the shape of its {value}"))
                .hint("there is one number in it for each number that it goes with");
            return Err(graph.op_error(op, &[value, beside], &[a, b], problem));
        }
    }
    Ok(())
}
