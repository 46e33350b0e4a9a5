//! Settings of what is recorded.

use std::ops::RangeBounds;

use super::recorder::Graph;
use crate::setting;

impl Graph {
    /// Refuses a setting of `op` that is outside its range; the recording goes on.
    #[track_caller]
    pub(crate) fn require(&self, op: &str, name: &str, value: f64, range: impl RangeBounds<f64>) {
        if let Err(problem) = setting::check(name, value, range) {
            self.refuse(op, &[], &[], problem);
        }
    }
}
