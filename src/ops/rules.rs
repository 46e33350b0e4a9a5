//! Rewrite rules between families: what an operation of one becomes beside an operation of another. An operation's
//! `simplify` names the rules that begin with it; rules within a family stand in its own file.

use super::arithmetic::Binary;
use super::broadcast::{Broadcast, Sum};
use super::fill::Fill;
use super::matmul::Matmul;
use super::max_pool2d::Put;
use super::pointwise::Unary;
use super::reshape::Reshape;
use super::transpose::Permute;
use crate::graph::{NodeId, NodeRef, Rewrite};
use crate::shape::Shape;
use dagrad_kernels::elementwise::Function;

/// power(x, k) = x · x · … for whole numbers k. Products repeated more often than 32 times would lose digits that the
/// power itself has.
pub fn power_of_constant(node: NodeRef<'_>) -> Option<Rewrite> {
    let power = node.operand(1).constant().filter(|power| power.fract() == 0.0 && power.abs() <= 32.0)?;
    Some(Rewrite::op_on(Unary(Function::Power(power as i32)), [node.operand(0).id]))
}

/// broadcast(k) = fill(k).
pub fn broadcast_of_constant(node: NodeRef<'_>) -> Option<Rewrite> {
    let value = node.operand(0).constant()?;
    Some(Rewrite::op(Fill { shape: node.ty().shape.clone(), value }, []))
}

/// sum(put(u, i)) = sum(u), where whole planes are summed.
pub fn sum_of_put(sum: &Sum, node: NodeRef<'_>) -> Option<Rewrite> {
    let put = node.operand(0);
    let is_of_planes = put.op::<Put>()?.layout.plane().iter().all(|axis| sum.axes.contains(axis));
    is_of_planes.then(|| Rewrite::op_on(sum.clone(), [put.operand(0).id]))
}

/// A matrix or weight times a vector along one of its axes.
pub fn times_along(weight: NodeRef<'_>, axis: usize, vector: NodeId) -> Rewrite {
    let shape = &weight.ty().shape;
    let along: Shape = shape.iter().enumerate().map(|(i, &size)| if i == axis { size } else { 1 }).collect();
    let vector = Rewrite::op_on(Reshape { shape: along }, [vector]);
    let repeated = Rewrite::op(Broadcast { shape: shape.clone() }, [vector]);
    Rewrite::op(Binary(Function::Multiply), [Rewrite::Node(weight.id), repeated])
}

/// Σ a · s = s · Σ a, where s is the same along all summed axes: there are fewer sums than terms, and the sum without s may be
/// wanted as well.
pub fn sum_of_scaled(sum: &Sum, node: NodeRef<'_>) -> Option<Rewrite> {
    let (terms, scale) = without_scale(sum, node.operand(0), FACTORS)?;
    let (from, to) = (scale.operand(0), &node.ty().shape);
    let shape = kept(&from.ty().shape, node.operand(0).ty().shape.len(), sum);
    let is_whole = shape == *to;
    let once = Rewrite::op_on(Reshape { shape }, [from.id]);
    let along = if is_whole { once } else { Rewrite::op(Broadcast { shape: to.clone() }, [once]) };
    Some(Rewrite::op(Binary(Function::Multiply), [Rewrite::op(sum.clone(), [terms]), along]))
}

/// How many products of products are looked into for a factor.
const FACTORS: usize = 3;

/// A product without a factor that is the same along all axes of a sum, and that factor.
fn without_scale<'a>(sum: &Sum, product: NodeRef<'a>, depth: usize) -> Option<(Rewrite, NodeRef<'a>)> {
    product.op::<Binary>().filter(|binary| depth > 0 && binary.0 == Function::Multiply)?;
    let [a, b] = [0, 1].map(|position| product.operand(position));
    let is_scale = |factor: NodeRef<'_>| {
        let (Some(_), rank) = (factor.op::<Broadcast>(), factor.ty().shape.len()) else { return false };
        let own = &factor.operand(0).ty().shape;
        sum.axes.iter().all(|&axis| axis + own.len() < rank || own[axis + own.len() - rank] == 1)
    };
    let with = |a, b| Rewrite::op(Binary(Function::Multiply), [a, b]);
    if is_scale(a) {
        Some((Rewrite::Node(b.id), a))
    } else if is_scale(b) {
        Some((Rewrite::Node(a.id), b))
    } else if let Some((terms, scale)) = without_scale(sum, a, depth - 1) {
        Some((with(terms, Rewrite::Node(b.id)), scale))
    } else {
        let (terms, scale) = without_scale(sum, b, depth - 1)?;
        Some((with(Rewrite::Node(a.id), terms), scale))
    }
}

/// The shape of an operand that is broadcast to `rank` axes, without the axes of a sum.
fn kept(shape: &Shape, rank: usize, sum: &Sum) -> Shape {
    let new = rank - shape.len();
    (new..rank).filter(|axis| !sum.axes.contains(axis)).map(|axis| shape[axis - new]).collect()
}

/// gate(put(u, i), y) = put(gate(u, take(y, i)), i): there are fewer values before they are put, and what gates them need
/// only be known where they go.
pub fn gate_of_put(node: NodeRef<'_>) -> Option<Rewrite> {
    let (values, by) = (node.operand(0), node.operand(1));
    let put: &Put = values.op()?;
    let (upstream, indices) = (values.operand(0).id, values.operand(1).id);
    let taken = Rewrite::op_on(put.adjoint(), [by.id, indices]);
    let gated = Rewrite::op(Binary(Function::Gate), [Rewrite::Node(upstream), taken]);
    Some(Rewrite::op(put.clone(), [gated, Rewrite::Node(indices)]))
}

/// a · b = broadcast(a) ⊙ broadcast(b), where a is a column and b a row.
pub fn column_by_row(product: &Matmul, node: NodeRef<'_>) -> Option<Rewrite> {
    let &[m, n] = &node.ty().shape[..] else { return None };
    let repeated = |position: usize, shape: [usize; 2]| {
        let vector = Rewrite::op_on(Reshape { shape: shape.into() }, [node.operand(position).id]);
        Rewrite::op(Broadcast { shape: [m, n].into() }, [vector])
    };
    let is_outer = node.operand(0).ty().shape[usize::from(!product.transpose_a)] == 1;
    is_outer.then(|| Rewrite::op(Binary(Function::Multiply), [repeated(0, [m, 1]), repeated(1, [1, n])]))
}

/// a · Bᵀ = (B · aᵀ)ᵀ, where a is a row. The rows of B are then samples.
pub fn row_by_rows(product: &Matmul, node: NodeRef<'_>) -> Option<Rewrite> {
    let [row, matrix] = [0, 1].map(|position| node.operand(position).id);
    let is_row = matches!(node.ty().shape[..], [1, columns] if columns > 1);
    let is_row = is_row && product.transpose_b && !product.transpose_a;
    let as_row = Reshape { shape: node.ty().shape.clone() };
    is_row.then(|| Rewrite::op(as_row, [Rewrite::op_on(*product, [matrix, row])]))
}

/// permute(A) · B = Aᵀ · B, and so for B: a transposed operand is read transposed.
pub fn product_of_transposed(product: &Matmul, node: NodeRef<'_>) -> Option<Rewrite> {
    let mut transposed = *product;
    let mut operands = [0, 1].map(|position| node.operand(position));
    for (operand, flag) in operands.iter_mut().zip([&mut transposed.transpose_a, &mut transposed.transpose_b])
    {
        if operand.op::<Permute>().is_some_and(Permute::is_matrix_transpose) {
            (*operand, *flag) = (operand.operand(0), !*flag);
        }
    }
    (transposed != *product).then(|| Rewrite::op_on(transposed, operands.map(NodeRef::id)))
}
