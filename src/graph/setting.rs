//! Settings are checked where they are given. A value outside its range, as NaN is of every range, is named with the range.
//!
//! They are given before the precision is chosen. So each is a number in `f32`, too: one that would become infinite there, or 0,
//! is outside every range.

use std::fmt::Display;
use std::ops::{Bound, RangeBounds};

use super::recorder::Graph;
use crate::error::{Error, Problem, Result};

/// A number that a setting may be.
pub(crate) trait Number: Copy + Display {
    /// The nearest number of this type, to be compared.
    fn nearest(self) -> f64;

    /// As it was given.
    fn text(self) -> String {
        self.to_string()
    }
}

impl Number for f64 {
    fn nearest(self) -> f64 {
        self
    }

    fn text(self) -> String {
        short(self)
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
    if holds(&range, value.nearest()) {
        return Ok(());
    }
    Err(Problem::new(format!("{name} is {}", value.text()))
        .hint(format!("it is {}", words(&range, value.nearest()))))
}

/// The same for what is no operation of a graph: an error at the caller's line.
#[track_caller]
pub(crate) fn require(name: &str, value: impl Number, range: impl RangeBounds<f64>) -> Result<()> {
    if holds(&range, value.nearest()) {
        return Ok(());
    }
    Err(Error::setting(
        name,
        format!("{} is given, but it is {}", value.text(), words(&range, value.nearest())),
    ))
}

fn holds(range: &impl RangeBounds<f64>, value: f64) -> bool {
    range.contains(&value) && is_single(value)
}

/// Whether `f32` has the number: as an infinite one, as 0, or neither. What is subnormal there, products take for 0.
fn is_single(value: f64) -> bool {
    let [least, most] = [f32::MIN_POSITIVE, f32::MAX].map(f64::from);
    value == 0.0 || value.is_infinite() || (least..=most).contains(&value.abs())
}

/// A number in few digits.
fn short(value: f64) -> String {
    if value == 0.0 || (1e-9..1e16).contains(&value.abs()) { value.to_string() } else { format!("{value:e}") }
}

/// The range in words that a value is not in. One without an end has infinity in it.
fn words(range: &impl RangeBounds<f64>, value: f64) -> String {
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
    let single = match range.contains(&value) {
        true => ", and what `f32` has too: 0, or in size from 1.2e-38 to 3.4e38",
        false => "",
    };
    format!("{least}{most}{single}")
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
