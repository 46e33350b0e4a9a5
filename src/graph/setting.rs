//! Settings are checked where they are given. A value outside its range, as NaN is of every range, is named with the range.

use std::ops::{Bound, RangeBounds};

use super::recorder::Graph;
use crate::error::Problem;

/// Says what is wrong with a setting outside its range. A range without an end has infinity in it.
pub(crate) fn check(name: &str, value: f64, range: impl RangeBounds<f64>) -> Result<(), Problem> {
    if range.contains(&value) {
        return Ok(());
    }
    let least = match range.start_bound() {
        Bound::Included(least) => format!("{least} or more"),
        Bound::Excluded(least) => format!("more than {least}"),
        Bound::Unbounded => "a number".to_owned(),
    };
    let most = match range.end_bound() {
        Bound::Included(&f64::MAX) => " and finite".to_owned(),
        Bound::Included(most) => format!(", and {most} at most"),
        Bound::Excluded(most) => format!(", and less than {most}"),
        Bound::Unbounded => String::new(),
    };
    Err(Problem::new(format!("{name} is {value}")).hint(format!("it is {least}{most}")))
}

/// From 0 on, without infinity.
pub(crate) const FINITE: std::ops::RangeInclusive<f64> = 0.0..=f64::MAX;

impl Graph {
    /// Refuses a setting of `op` that is outside its range; the recording goes on.
    #[track_caller]
    pub(crate) fn require(&self, op: &str, name: &str, value: f64, range: impl RangeBounds<f64>) {
        if let Err(problem) = check(name, value, range) {
            self.refuse(op, &[], &[], problem);
        }
    }
}
