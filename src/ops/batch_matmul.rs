//! Matrix products by the rules of NumPy: of vectors, and of batches of matrices.

use super::example::{Example, linear, normal, smooth};
use super::matmul::product;
use crate::error::Problem;
use crate::graph::Var;
use crate::shape::Shape;

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
        let _called = self.graph().called("matmul");
        let (a, b) = (self.shape(), right.shape());
        // A vector is a matrix whose further axis is not in the result.
        let vectors = [&a, &b].into_iter().filter(|shape| shape.len() == 1).count();
        let rank = a.len().max(b.len()).max(2) - vectors;
        if [a.len(), b.len()] == [2, 2] {
            return product(self, false, right, false);
        }
        if a.is_empty() || b.is_empty() {
            let problem = Problem::new(format!("it multiplies vectors and matrices, not {a} by {b}"))
                .hint("single numbers multiply with `*`");
            return self.graph().refuse("matmul", &["left", "right"], &[self, right], problem).or_rank(rank);
        }
        let (k, inner) = (a[a.len() - 1], b[b.len().max(2) - 2]);
        if k != inner {
            let problem = Problem::new(format!("left has {k} columns but right has {inner} rows"));
            let problem = problem.hint(if a.len() > 2 && a[1..].iter().product::<usize>() == inner {
                "`flatten` makes a row of each sample"
            } else if vectors > 0 {
                "a vector on the left is a row, one on the right a column"
            } else {
                "the last axis of left is summed with the last but one of right; `transpose` and `permute` exchange axes"
            });
            return self.graph().refuse("matmul", &["left", "right"], &[self, right], problem).or_rank(rank);
        }
        let (row, column) = (a.len() == 1, b.len() == 1);
        let left = if row { self.reshape([1, a[0]]) } else { self };
        let right = if column { right.reshape([b[0], 1]) } else { right };
        let gone = [(row, -2), (column, -1)].into_iter().filter_map(|(is, axis)| is.then_some(axis));
        batches(left, right).squeeze(&gone.collect::<Vec<isize>>())
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
        return product(rows, false, right.reshape([k, n]), false).reshape(with([m, n]));
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
    let pair =
        |name: &str, a: &[usize], b: &[usize]| linear(name, [normal(a), normal(b)], |v| v[0].matmul(v[1]));
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
        smooth("by itself", [normal([2, 3, 3])], |v| v[0].matmul(v[0])),
        smooth("by its transpose", [normal([2, 3, 2])], |v| v[0].matmul(v[0].transpose())),
    ]
}
