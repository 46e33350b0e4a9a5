//! Settings are checked where they are given. A value outside its range, as NaN is of every range, is named with the range.

use std::fmt::Display;
use std::ops::{Bound, RangeBounds};

use super::recorder::Graph;
use crate::error::{Error, Problem, Result};

/// A number that a setting may be. It prints as it was given.
pub(crate) trait Number: Copy + Display {
    /// The nearest number of this type, to be compared.
    fn nearest(self) -> f64;
}

impl Number for f64 {
    fn nearest(self) -> f64 {
        self
    }
}

impl Number for u32 {
    fn nearest(self) -> f64 {
        self.into()
    }
}

impl Number for usize {
    fn nearest(self) -> f64 {
        self as f64
    }
}

/// Says what is wrong with a setting outside its range.
pub(crate) fn check(name: &str, value: impl Number, range: impl RangeBounds<f64>) -> Result<(), Problem> {
    let outside = || Problem::new(format!("{name} is {value}")).hint(format!("it is {}", words(&range)));
    if range.contains(&value.nearest()) { Ok(()) } else { Err(outside()) }
}

/// The same for what is no operation of a graph: an error at the caller's line.
#[track_caller]
pub(crate) fn require(name: &str, value: impl Number, range: impl RangeBounds<f64>) -> Result<()> {
    if range.contains(&value.nearest()) {
        return Ok(());
    }
    Err(Error::setting(name, format!("{value} is given, but it is {}", words(&range))))
}

/// A range in words. One without an end has infinity in it.
fn words(range: &impl RangeBounds<f64>) -> String {
    let least = match range.start_bound() {
        Bound::Included(&(f64::MIN | f64::NEG_INFINITY)) => "a number".to_owned(),
        Bound::Included(least) => format!("{least} or more"),
        Bound::Excluded(least) => format!("more than {least}"),
        Bound::Unbounded => "a number".to_owned(),
    };
    let most = match range.end_bound() {
        Bound::Included(&f64::MAX) => " and finite".to_owned(),
        Bound::Included(&f64::INFINITY) => String::new(),
        Bound::Included(most) => format!(", and {most} at most"),
        Bound::Excluded(most) => format!(", and less than {most}"),
        Bound::Unbounded => String::new(),
    };
    format!("{least}{most}")
}

/// Any number without the infinite ones.
pub(crate) const NUMBER: std::ops::RangeInclusive<f64> = f64::MIN..=f64::MAX;

/// Any number, also an infinite one.
pub(crate) const NOT_NAN: std::ops::RangeInclusive<f64> = f64::NEG_INFINITY..=f64::INFINITY;

/// What there is at least one of.
pub(crate) const COUNT: std::ops::RangeFrom<f64> = 1.0..;

/// From 0 on, without infinity.
pub(crate) const FINITE: std::ops::RangeInclusive<f64> = 0.0..=f64::MAX;

impl Graph {
    /// Refuses a setting of `op` that is outside its range; the recording goes on.
    #[track_caller]
    pub(crate) fn require(&self, op: &str, name: &str, value: impl Number, range: impl RangeBounds<f64>) {
        if let Err(problem) = check(name, value, range) {
            self.refuse(op, &[], &[], problem);
        }
    }
}
