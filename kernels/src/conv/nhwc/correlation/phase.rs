//! The pixels of the target that the same taps reach.

use super::StripCorrelation;
use crate::conv::geometry::AxisPhase;

/// The pixels of the target that the same taps reach, by rows and by columns.
#[derive(Debug, Clone)]
pub struct Phase {
    pub rows: AxisPhase,
    pub columns: AxisPhase,
    /// Where their weights start.
    pub weights: usize,
}

impl Phase {
    /// How many taps there are.
    pub fn taps(&self) -> usize {
        self.rows.taps.count * self.columns.taps.count
    }

    /// Row and column in the window of the tap at `index`.
    pub fn tap(&self, index: usize) -> [usize; 2] {
        let across = self.columns.taps.count;
        [self.rows.taps.tap(index / across), self.columns.taps.tap(index % across)]
    }
}

impl StripCorrelation {
    /// All phases that a tap reaches.
    pub(super) fn phases(&self) -> impl Iterator<Item = Phase> {
        let [rows, columns] = self.axes;
        let pairs =
            rows.phases().flat_map(move |row| columns.phases().map(move |column| (row.clone(), column)));
        pairs
            .scan(0, |weights, (rows, columns)| {
                let phase = Phase { rows, columns, weights: *weights };
                *weights += self.weights(phase.taps());
                Some(phase)
            })
            .filter(|phase| phase.taps() > 0)
    }

    /// Whether there are pixels that no tap reaches.
    pub(super) fn has_gaps(&self) -> bool {
        self.axes.iter().any(|axis| axis.phases().any(|phase| phase.taps.count == 0))
    }

    /// How many steps the sums of a phase have.
    pub(super) fn steps(&self, phase: &Phase) -> usize {
        phase.taps() * self.depth
    }
}
