//! The product of two batches of matrices, and matrix products by the rules of NumPy.

use super::example::{Example, normal};
use super::matmul;
use crate::error::Problem;
use crate::graph::{Attributes, Call, Dtype, Gradient, Op, TensorType, Var, VjpInputs};
use crate::shape::Shape;
use dagrad_kernels::gemm::Gemm;
use dagrad_kernels::real::Real;

/// `op(A) · op(B)` for each pair of matrices of `[N, M, K]` and `[N, K, L]`, where op transposes or does nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchMatmul {
    transpose_a: bool,
    transpose_b: bool,
}

impl Op for BatchMatmul {
    fn name(&self) -> &'static str {
        "batch_matmul"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        let (a, b) = (operands[0], operands[1]);
        if a.dtype == Dtype::Index || b.dtype == Dtype::Index {
            return Err(Problem::new("it takes real numbers, not indices"));
        }
        if a.shape.len() != 3 || b.shape.len() != 3 || a.shape[0] != b.shape[0] {
            return Err(Problem::new(format!(
                "{} and {} are not two batches of as many matrices",
                a.shape, b.shape
            )));
        }
        let gemm = self.gemm(&a.shape, &b.shape);
        let inner = b.shape[if self.transpose_b { 2 } else { 1 }];
        if gemm.k != inner {
            return Err(Problem::new(format!("left has {} columns but right has {inner} rows", gemm.k))
                .hint("the columns of the left matrices meet the rows of the right ones"));
        }
        Ok(TensorType::real([a.shape[0], gemm.m, gemm.n]))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let gemm = self.gemm(call.operand_shape(0), call.operand_shape(1));
        gemm.run_batch(call.shape[0], call.real(0), call.real(1), call.output, call.scratch, call.workers);
    }

    /// As for two matrices: dA = U·Bᵀ and dB = Aᵀ·U, transposed where A or B is.
    fn vjp<'g>(&self, argument: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        let (a, b, upstream) = (inputs.operands[0], inputs.operands[1], inputs.upstream);
        Gradient::Of(match (argument, self.transpose_a, self.transpose_b) {
            (0, false, b_is_transposed) => product(upstream, false, b, !b_is_transposed),
            (0, true, b_is_transposed) => product(b, b_is_transposed, upstream, true),
            (_, a_is_transposed, false) => product(a, !a_is_transposed, upstream, false),
            (_, a_is_transposed, true) => product(upstream, true, a, a_is_transposed),
        })
    }

    fn roles(&self) -> &'static [&'static str] {
        &["left", "right"]
    }

    fn attributes(&self) -> Attributes {
        let transpose_a = Attributes::new().unless("transpose_a", self.transpose_a, false);
        transpose_a.unless("transpose_b", self.transpose_b, false)
    }

    fn scratch(&self, operands: &[&TensorType]) -> usize {
        self.gemm(&operands[0].shape, &operands[1].shape).scratch()
    }

    fn macs(&self, operands: &[&TensorType], output: &TensorType) -> usize {
        output.shape.count().saturating_mul(self.gemm(&operands[0].shape, &operands[1].shape).k)
    }
}

impl BatchMatmul {
    fn gemm(&self, a: &Shape, b: &Shape) -> Gemm {
        let (transpose_a, transpose_b) = (self.transpose_a, self.transpose_b);
        let [m, k] = if transpose_a { [a[2], a[1]] } else { [a[1], a[2]] };
        let n = if transpose_b { b[1] } else { b[2] };
        Gemm { m, n, k, transpose_a, transpose_b }
    }
}

#[track_caller]
fn product<'g>(a: Var<'g>, transpose_a: bool, b: Var<'g>, transpose_b: bool) -> Var<'g> {
    a.graph().record(BatchMatmul { transpose_a, transpose_b }, &[a, b])
}

impl<'g> Var<'g> {
    /// The matrix product by the rules of NumPy and PyTorch: `[M, K]` by `[K, N]` is `[M, N]`,
    /// C\[m, n\] = Σₖ A\[m, k\] · B\[k, n\]. A vector on the left is a row and on the right a column, whose axis disappears
    /// again. Axes before the last two are batches, which are broadcast.
    ///
    /// ```
    /// use dagrad::Graph;
    ///
    /// let graph = Graph::new();
    /// let (a, b) = (graph.input("a", [8, 1, 2, 3]), graph.input("b", [5, 3, 4]));
    /// assert_eq!(a.matmul(b).shape(), [8, 5, 2, 4].into());
    /// assert_eq!(a.matmul(graph.input("v", [3])).shape(), [8, 1, 2].into());
    /// ```
    ///
    /// # Errors
    /// Recorded on the graph: single numbers, inner sizes that differ, batches that do not broadcast.
    #[track_caller]
    pub fn matmul(self, right: Var<'g>) -> Var<'g> {
        let (a, b) = (self.shape(), right.shape());
        match (a.len(), b.len()) {
            (2, 2) => return matmul::product(self, false, right, false),
            (0, _) | (_, 0) => {
                let problem = Problem::new(format!("it multiplies vectors and matrices, not {a} by {b}"))
                    .hint("single numbers multiply with `*`");
                return self.graph().refuse("matmul", &["left", "right"], &[self, right], problem);
            }
            _ => {}
        }
        let (k, inner) = (a[a.len() - 1], b[b.len().max(2) - 2]);
        if k != inner {
            let problem = Problem::new(format!("left has {k} columns but right has {inner} rows"))
                .hint("a vector on the left is a row, one on the right a column");
            return self.graph().refuse("matmul", &["left", "right"], &[self, right], problem);
        }
        let (row, column) = (a.len() == 1, b.len() == 1);
        let left = if row { self.reshape([1, a[0]]) } else { self };
        let right = if column { right.reshape([b[0], 1]) } else { right };
        let found = batches(left, right);
        let mut kept = found.shape().to_vec();
        if kept.len() < 2 {
            return found; // it was refused
        }
        if column {
            kept.pop();
        }
        if row {
            kept.remove(kept.len() - if column { 1 } else { 2 });
        }
        found.reshape(kept)
    }
}

/// The product of matrices with any axes before.
#[track_caller]
fn batches<'g>(left: Var<'g>, right: Var<'g>) -> Var<'g> {
    let (a, b) = (left.shape(), right.shape());
    let ((before_a, [m, k]), (before_b, [_, n])) = (parts(&a), parts(&b));
    let Some(before) = Shape::from(before_a).broadcast(&before_b.into()) else {
        let problem = Problem::new(format!("the batches {before_a:?} and {before_b:?} do not broadcast"))
            .hint("axes before the last two are batches, aligned at the last one; only size 1 is repeated");
        return left.graph().refuse("matmul", &["left", "right"], &[left, right], problem);
    };
    let with = |sizes: [usize; 2]| -> Shape { before.iter().copied().chain(sizes).collect() };
    // One matrix for all rows of all batches, or one batch.
    if before_b.iter().all(|&size| size == 1) && Shape::from(before_a).count() == before.count() {
        let rows = left.reshape([before.count().saturating_mul(m), k]);
        return matmul::product(rows, false, right.reshape([k, n]), false).reshape(with([m, n]));
    }
    let count = before.count();
    let left = left.broadcast_to(with([m, k])).reshape([count, m, k]);
    let right = right.broadcast_to(with([k, n])).reshape([count, k, n]);
    product(left, false, right, false).reshape(with([m, n]))
}

/// The axes before the last two, and these.
fn parts(shape: &Shape) -> (&[usize], [usize; 2]) {
    match &shape[..] {
        [before @ .., rows, columns] => (before, [*rows, *columns]),
        _ => (&[], [1, 1]),
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    let pair = |name: &str, a: &[usize], b: &[usize]| {
        Example::new(name, [normal(a), normal(b)], |v| v[0].matmul(v[1])).linear()
    };
    vec![
        pair("a batch each", &[2, 3, 4], &[2, 4, 5]),
        pair("two axes of batches, broadcast both ways", &[2, 1, 3, 4], &[3, 4, 2]),
        pair("one matrix for all", &[2, 3, 2, 4], &[4, 3]),
        pair("one left matrix for all", &[2, 4], &[3, 4, 2]),
        pair("vector by vector", &[4], &[4]),
        pair("matrix by vector", &[3, 4], &[4]),
        pair("vector by matrix", &[4], &[4, 3]),
        pair("batch by vector", &[2, 3, 4], &[4]),
        pair("vector by batch", &[4], &[2, 4, 3]),
        pair("an empty batch", &[0, 2, 3], &[0, 3, 4]),
        pair("no inner axis", &[2, 3, 0], &[2, 0, 4]),
        pair("many small ones", &[33, 2, 3], &[33, 3, 1]),
        pair("long rows", &[2, 1, 520], &[2, 520, 1]),
        Example::new("by itself", [normal([2, 3, 3])], |v| v[0].matmul(v[0])).smooth(),
        Example::new("by its transpose", [normal([2, 3, 2])], |v| v[0].matmul(v[0].transpose())).smooth(),
    ]
}
