//! What operations ask of their operands.

use crate::error::Problem;
use crate::graph::{Dtype, TensorType};

/// Refuses indices.
pub fn all_real(operands: &[&TensorType]) -> Result<(), Problem> {
    match operands.iter().any(|operand| operand.dtype == Dtype::Index) {
        true => Err(Problem::new("it takes real numbers, not indices").hint(
            "labels go into a loss such as `softmax_cross_entropy`; `one_hot` makes real numbers of indices",
        )),
        false => Ok(()),
    }
}

/// The sizes of images of real numbers.
pub fn image_sizes(ty: &TensorType) -> Result<[usize; 4], Problem> {
    match (&ty.shape[..], ty.dtype) {
        (&[batch, channels, height, width], Dtype::Real) => Ok([batch, channels, height, width]),
        _ => Err(no_image(ty)),
    }
}

/// What is wrong with an operand that is none.
pub fn no_image(operand: &TensorType) -> Problem {
    let problem = Problem::new(format!("image {operand} is not [batch, channels, height, width]"));
    match operand.shape.len() {
        _ if operand.dtype == Dtype::Index => {
            problem.hint("images are real numbers: record them with `graph.input`")
        }
        2 => problem.hint("rows become images by `reshape`"),
        3 => problem.hint(
            "`unsqueeze(0)` makes a batch of a single image, `unsqueeze(2)` images of one row of signals",
        ),
        _ => problem,
    }
}
