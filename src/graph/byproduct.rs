//! The nodes by which by-products are read.

use super::op::{At, Call, Gradient, Meta, Op};
use crate::error::Problem;
use dagrad_kernels::real::Real;

/// Stands for what the operand's kernel makes along with its output. A plan has no step for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Byproduct {
    /// Which of the operand's by-products.
    pub number: usize,
    /// What is known of it.
    pub meta: Meta,
}

impl Op for Byproduct {
    fn name(&self) -> &'static str {
        "byproduct"
    }

    fn infer(&self, _: &[&Meta]) -> Result<Meta, Problem> {
        Ok(self.meta.clone())
    }

    fn forward<T: Real>(&self, _: Call<'_, T>) {
        unreachable!("the operand's kernel has made it");
    }

    fn vjp<'g>(&self, _: usize, _: At<'g>) -> Gradient<'g> {
        Gradient::NotDifferentiable
    }

    fn attributes(&self) -> String {
        self.number.to_string()
    }
}
