//! What a network costs and sees, read off its graph.

use std::collections::HashSet;

use crate::graph::dag::{Dag, Kind, NodeId};
use crate::graph::{Dtype, Meta, Var};
use crate::shape::Window;

/// Counts over everything that a value is computed from.
///
/// ```
/// use dagrad::nn::{self, Filters, Summary};
/// use dagrad::Graph;
///
/// let graph = Graph::new();
/// let image = graph.input("image", [1, 1, 28, 28]);
/// let y = nn::conv2d(image, "conv", Filters::new(16, 3).padding(1));
/// let summary = Summary::of(y);
/// assert_eq!((summary.parameters, summary.macs), (16 * 9 + 16, 16 * 9 * 28 * 28));
/// assert_eq!(nn::receptive_field(y, image), Some([3, 3]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Trainable numbers.
    pub parameters: usize,
    /// Multiplications with their additions in convolutions and matrix products, for the whole batch.
    pub macs: usize,
    /// Weights between one channel and one channel of the next layer, added up over all convolutions: 25 for
    /// one 5×5 filter, 18 for two of 3×3.
    pub weights_per_filter_pair: usize,
}

impl Summary {
    /// The counts for a value.
    pub fn of(value: Var<'_>) -> Self {
        let dag = value.graph().dag();
        let mut summary = Self { parameters: 0, macs: 0, weights_per_filter_pair: 0 };
        for id in ancestors(&dag, value.id()) {
            let metas = dag.operand_metas(id);
            match &dag.node(id).kind {
                Kind::Parameter { trainable: true, .. } => {
                    summary.parameters += dag.node(id).meta.shape.count()
                }
                Kind::Op(op) => {
                    summary.macs += op.macs(&metas, &dag.node(id).meta);
                    if op.window().is_some() {
                        summary.weights_per_filter_pair += metas.get(1).map_or(0, |meta| filter_area(meta));
                    }
                }
                _ => {}
            }
        }
        summary
    }
}

/// The pixels of one filter, if this is a weight of filters.
fn filter_area(meta: &Meta) -> usize {
    match (&meta.shape[..], meta.dtype) {
        (&[_, _, height, width], Dtype::Real) => height * width,
        _ => 0,
    }
}

/// How much of the image a pixel sees, and how far apart in the image its neighbours look.
#[derive(Clone, Copy)]
struct View {
    size: [usize; 2],
    step: [usize; 2],
}

impl View {
    /// A pixel of the image itself.
    const PIXEL: View = View { size: [1; 2], step: [1; 2] };

    /// What a window over pixels with this view sees.
    fn through(self, window: Window) -> View {
        View {
            size: [0, 1].map(|axis| self.size[axis] + (window.kernel[axis] - 1) * self.step[axis]),
            step: [0, 1].map(|axis| self.step[axis] * window.stride[axis]),
        }
    }

    /// What somebody sees who looks at two pixels.
    fn join(self, other: View) -> View {
        View {
            size: [0, 1].map(|axis| self.size[axis].max(other.size[axis])),
            step: [0, 1].map(|axis| self.step[axis].max(other.step[axis])),
        }
    }
}

/// Height and width of the part of `image` that one pixel of `value` sees, away from borders: a window of
/// size k adds (k − 1) times the product of the strides before it. `None` if `value` does not depend on
/// `image`, or not through windows and elementwise functions alone.
pub fn receptive_field(value: Var<'_>, image: Var<'_>) -> Option<[usize; 2]> {
    let dag = value.graph().dag();
    // For nodes that depend on the image: their view, if there is one.
    let mut views: Vec<Option<Option<View>>> = vec![None; dag.len()];
    views[image.id().index()] = Some(Some(View::PIXEL));
    for id in dag.ids().filter(|id| *id != image.id()) {
        let Some(op) = dag.op(id) else { continue };
        let seen = dag.operands(id).into_iter().filter_map(|operand| views[operand.index()]);
        let Some(seen) = seen.reduce(|a, b| Some(a?.join(b?))) else { continue };
        // The indices of maxima are chosen from the picture itself, pixel by pixel.
        let keeps_view = op.elementwise().is_some() || dag.node(id).meta.dtype == Dtype::Index;
        views[id.index()] = Some(match op.window() {
            Some(window) => seen.map(|view| view.through(window)),
            None => seen.filter(|_| keeps_view),
        });
    }
    views[value.id().index()]?.map(|view| view.size)
}

/// The nodes that a value is computed from, itself included.
fn ancestors(dag: &Dag, value: NodeId) -> HashSet<NodeId> {
    let (mut found, mut open) = (HashSet::from([value]), vec![value]);
    while let Some(id) = open.pop() {
        open.extend(dag.operands(id).into_iter().filter(|operand| found.insert(*operand)));
    }
    found
}
