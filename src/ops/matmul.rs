//! The product of two matrices, or of two batches of them. (`Var::matmul`, which knows vectors as well, is in `batch_matmul.rs`.)

use std::sync::Arc;

use super::example::{Example, linear, normal, smooth};
use super::operands::all_real;
use super::rules;
use crate::error::Problem;
use crate::graph::kernel::{AnyKernel, BatchSplit, Consumer, Kernel};
use crate::graph::lowering::{Lowered, OperandLayout, Target};
use crate::graph::{Attributes, AxisMap, Call, Gradient, Op, Precision, TensorType, Var, VjpInputs};
use crate::graph::{NodeId, NodeRef, Rewrite};
use crate::shape::Shape;
use dagrad_kernels::elementwise::Function;
use dagrad_kernels::gemm::{Epilogue, Gemm};
use dagrad_kernels::real::Real;

/// `op(A) · op(B)`, where op transposes or does nothing: of two matrices, or of each pair of matrices of two batches
/// `[N, M, K]` and `[N, K, L]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Matmul {
    pub(super) transpose_a: bool,
    pub(super) transpose_b: bool,
    of_batches: bool,
}

impl Op for Matmul {
    fn name(&self) -> &'static str {
        if self.of_batches { "batch_matmul" } else { "matmul" }
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        all_real(operands)?;
        let (a, b) = (&operands[0].shape, &operands[1].shape);
        match (self.of_batches, &a[..], &b[..]) {
            (false, [_, _], [_, _]) => {}
            (true, [count, _, _], [other, _, _]) if count == other => {}
            (false, ..) => {
                return Err(Problem::new(format!("it multiplies matrices, not {a} by {b}")).hint(
                    "images become rows by `flatten`; a vector becomes a row or a column by `reshape`",
                ));
            }
            (true, ..) => {
                return Err(Problem::new(format!("{a} and {b} are not two batches of as many matrices")));
            }
        }
        let [[m, k], [inner, n]] = self.factors(a, b);
        if k != inner {
            return Err(Problem::new(format!("left has {k} columns but right has {inner} rows"))
                .hint("the columns of the left matrix meet the rows of the right one"));
        }
        Ok(TensorType::real(a[..a.len() - 2].iter().copied().chain([m, n]).collect::<Shape>()))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let gemm = self.gemm(call.operand_shape(0), call.operand_shape(1));
        let (a, b) = (call.real(0), call.real(1));
        if self.of_batches {
            gemm.run_batch(call.shape[0], a, b, call.output, call.scratch, call.workers);
        } else {
            gemm.run(a, b, Epilogue::default(), call.output, call.scratch, call.workers);
        }
    }

    /// With C = A·B and upstream U: dA = U·Bᵀ and dB = Aᵀ·U, transposed where A or B is.
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

    fn simplify(&self, node: NodeRef<'_>) -> Option<Rewrite> {
        rules::column_by_row(self, node)
            .or_else(|| rules::row_by_rows(self, node))
            .or_else(|| rules::product_of_transposed(self, node))
    }

    fn scaled(&self, node: NodeRef<'_>, axis: usize, vector: NodeId) -> Option<Rewrite> {
        let columns = usize::from(!self.transpose_b);
        let scaled = || rules::times_along(node.operand(1), columns, vector);
        let is_of_columns = axis == 1 && !self.of_batches;
        is_of_columns.then(|| Rewrite::op(*self, [Rewrite::Node(node.operand(0).id()), scaled()]))
    }

    fn lower(&self, _: NodeRef<'_>, _: Target) -> Option<Lowered> {
        if self.of_batches {
            return None;
        }
        let kernel = MatmulKernel { product: *self, bias: false, relu: false };
        let layouts = [OperandLayout::Keep, OperandLayout::Keep];
        Some(Lowered {
            layout: OperandLayout::Keep,
            is_faster: true,
            ..Lowered::new(Arc::new(kernel), layouts)
        })
    }

    fn axes(&self, _: &[&TensorType]) -> Vec<AxisMap> {
        if self.of_batches {
            return vec![];
        }
        vec![if self.transpose_a { AxisMap::whole() } else { AxisMap::sample() }, AxisMap::whole()]
    }
}

/// A product that may add a row to each row of the result, and rectify.
#[derive(Debug, Clone, Copy, PartialEq)]
struct MatmulKernel {
    product: Matmul,
    bias: bool,
    relu: bool,
}

impl Kernel for MatmulKernel {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn outputs(&self, operands: &[&TensorType]) -> Vec<TensorType> {
        let Gemm { m, n, .. } = self.product.gemm(&operands[0].shape, &operands[1].shape);
        vec![TensorType::real([m, n])]
    }

    fn run<T: Precision>(&self, call: Call<'_, T>) -> Result<(), Problem> {
        let gemm = self.product.gemm(call.operand_shape(0), call.operand_shape(1));
        let epilogue = Epilogue { bias: self.bias.then(|| call.real(2)), relu: self.relu };
        gemm.run(call.real(0), call.real(1), epilogue, call.output, call.scratch, call.workers);
        Ok(())
    }

    fn attributes(&self) -> String {
        let notes = [(self.bias, "+ bias"), (self.relu, "relu")];
        let notes = notes.into_iter().filter(|(is, _)| *is).map(|(_, note)| note.to_string());
        let product = Some(Op::attributes(&self.product).to_string()).filter(|text| !text.is_empty());
        product.into_iter().chain(notes).collect::<Vec<_>>().join(", ")
    }

    fn scratch(&self, operands: &[&TensorType]) -> usize {
        Op::scratch(&self.product, operands)
    }

    fn macs(&self, operands: &[&TensorType], output: &TensorType) -> usize {
        Op::macs(&self.product, operands, output)
    }

    /// Rows of a matrix that meet a vector are dealt with one by one. (Those that meet a matrix are better off together.)
    fn batch_split(&self, operands: &[&TensorType]) -> Option<BatchSplit> {
        let Gemm { m, n, .. } = self.product.gemm(&operands[0].shape, &operands[1].shape);
        (n == 1 && !self.product.transpose_a).then(|| BatchSplit::each(m, &[true, false, false]))
    }

    fn fuse(&self, consumer: &Consumer<'_>) -> Option<Arc<dyn AnyKernel>> {
        let takes_bias = !self.bias && !self.relu && consumer.other == Some(&[0, 1]);
        let kernel = match consumer.function {
            Some(Function::Add) if takes_bias => Self { bias: true, ..*self },
            Some(Function::Relu) if !self.relu => Self { relu: true, ..*self },
            _ => return None,
        };
        Some(Arc::new(kernel))
    }
}

impl Matmul {
    /// Rows and columns of both factors as they are multiplied.
    fn factors(&self, a: &Shape, b: &Shape) -> [[usize; 2]; 2] {
        let turned = |shape: &Shape, is_transposed: bool| match shape[..] {
            [.., columns, rows] if is_transposed => [rows, columns],
            [.., rows, columns] => [rows, columns],
            _ => unreachable!("the shape rule asks for matrices"),
        };
        [turned(a, self.transpose_a), turned(b, self.transpose_b)]
    }

    fn gemm(&self, a: &Shape, b: &Shape) -> Gemm {
        let [[m, k], [_, n]] = self.factors(a, b);
        Gemm { m, n, k, transpose_a: self.transpose_a, transpose_b: self.transpose_b }
    }
}

/// Records the product of two matrices, or of two batches of as many.
#[track_caller]
pub(super) fn product<'g>(a: Var<'g>, transpose_a: bool, b: Var<'g>, transpose_b: bool) -> Var<'g> {
    let of_batches = a.shape().len() == 3;
    a.graph().record(Matmul { transpose_a, transpose_b, of_batches }, &[a, b])
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    vec![
        linear("A · B", [normal([2, 3]), normal([3, 4])], |v| v[0].matmul(v[1])),
        linear("Aᵀ · B", [normal([3, 2]), normal([3, 4])], |v| v[0].transpose().matmul(v[1])),
        linear("A · Bᵀ", [normal([2, 3]), normal([4, 3])], |v| v[0].matmul(v[1].transpose())),
        linear("Aᵀ · Bᵀ", [normal([3, 2]), normal([4, 3])], |v| product(v[0], true, v[1], true)),
        smooth("A · A", [normal([3, 3])], |v| v[0].matmul(v[0])),
        smooth("A · Aᵀ", [normal([3, 2])], |v| v[0].matmul(v[0].transpose())),
        linear("one row", [normal([1, 5]), normal([5, 1])], |v| v[0].matmul(v[1])),
        linear("no inner axis", [normal([2, 0]), normal([0, 3])], |v| v[0].matmul(v[1])),
        linear("an empty batch", [normal([0, 3]), normal([3, 2])], |v| v[0].matmul(v[1])),
        linear("larger than a tile", [normal([19, 7]), normal([7, 37])], |v| v[0].matmul(v[1])),
    ]
}
