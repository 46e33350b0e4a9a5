//! What operations ask of their operands.

use std::fmt::Display;

use crate::error::Problem;
use crate::graph::{Dtype, TensorType};

/// Refuses indices.
pub fn all_real(operands: &[&TensorType]) -> Result<(), Problem> {
    match operands.iter().any(|operand| operand.dtype == Dtype::Index) {
        true => Err(Problem::new("it takes real numbers, not indices")),
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
pub fn no_image(operand: impl Display) -> Problem {
    Problem::new(format!("image {operand} is not [batch, channels, height, width]"))
}
