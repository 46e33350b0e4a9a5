//! Is this gradient right? Checks for operations, losses and whole networks, in `f64` against finite
//! differences.
//!
//! ```
//! use dagrad::check;
//! use dagrad::ops::Example;
//! use dagrad::ops::example::{labels, normal};
//!
//! let loss = Example::new("my loss", [normal([3, 4]), labels([3], 4)], |v| {
//!     v[0].softmax_cross_entropy(v[1]) + v[0].powi(2).mean_all() * 0.1
//! });
//! check::example(&loss)?;
//! # Ok::<(), dagrad::Error>(())
//! ```
//!
//! Derivatives are taken with random upstream gradients, because an upstream of ones hides swapped
//! positions, and to the order that the example asks for: the gradient of a gradient is checked like any
//! other function. Finite differences have five points, whose error at a step of 10⁻³ is near 10⁻¹² for
//! smooth functions; operations that are linear in each operand are checked with a step of 1, which is exact.
//! Kinks and ties are no place for finite differences: choose operands that stay clear of them
//! ([`away_from_zero`](crate::ops::example::away_from_zero), [`distinct`](crate::ops::example::distinct)).

mod derivatives;
mod interpreter;
mod network;
mod samples;

pub use network::{NetworkCheck, network};

use ndarray::{ArrayD, Dimension};

pub use crate::error::Mismatch;
use crate::error::{Error, Result, SourceLine};
use crate::ops::Example;

/// Runs every check on one example: operations write exactly their outputs, from what their axes say; compiled plans
/// agree with one operation at a time; results do not depend on threads, repetition, layout or recomputation; derivatives
/// of every order agree with finite differences, and forward mode with reverse mode.
///
/// # Errors
/// [`Error::Check`] with the worst element, or any error of recording and running.
#[track_caller]
pub fn example(example: &Example) -> Result<()> {
    let here = SourceLine::caller();
    let checks = [
        interpreter::check_kernels,
        interpreter::check_plans,
        interpreter::check_layout,
        interpreter::check_recomputed,
        derivatives::check,
        derivatives::check_forward_mode,
    ];
    checks.iter().try_for_each(|check| check(example)).map_err(|error| error.at(here))
}

/// Checks all examples of a family of operations; see [`example`].
///
/// # Errors
/// The first check that fails; a family without examples.
#[track_caller]
pub fn family(name: &str, examples: &[Example]) -> Result<()> {
    if examples.is_empty() {
        return Err(Error::setting(name, "a family of operations has examples"));
    }
    for one in examples {
        example(one)?;
    }
    Ok(())
}

/// The relative and the absolute error that are allowed.
#[derive(Debug, Clone, Copy)]
struct Tolerance {
    relative: f64,
    absolute: f64,
}

/// What is checked.
#[derive(Clone, Copy)]
struct Subject<'a> {
    example: &'a Example,
    check: &'a str,
    of: &'a str,
}

impl Subject<'_> {
    /// The error about one element.
    fn mismatch(self, element: &[usize], found: f64, expected: f64) -> Error {
        let (example, check, of) = (self.example.name.clone(), self.check.into(), self.of.into());
        Box::new(Mismatch { example, check, of, element: element.to_vec(), found, expected }).into()
    }

    /// Compares two arrays element by element and names the worst.
    fn compare(self, found: &ArrayD<f64>, expected: &ArrayD<f64>, tolerance: Tolerance) -> Result<()> {
        let is_close = |a: f64, b: f64| {
            a.is_nan() && b.is_nan()
                || approx::relative_eq!(a, b, epsilon = tolerance.absolute, max_relative = tolerance.relative)
        };
        let wrong = found.indexed_iter().zip(expected).filter(|((_, a), b)| !is_close(**a, **b));
        let gap = |a: f64, b: f64| if (a - b).is_nan() { f64::INFINITY } else { (a - b).abs() };
        match wrong.max_by(|((_, a), b), ((_, c), d)| gap(**a, **b).total_cmp(&gap(**c, **d))) {
            None => Ok(()),
            Some(((element, &a), &b)) => Err(self.mismatch(element.slice(), a, b)),
        }
    }
}
