//! What a network costs and sees, read off its graph.

use std::collections::HashSet;

use crate::graph::dag::{Dag, Kind, NodeId};
use crate::graph::{Meta, Var};

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
        (&[_, _, height, width], crate::graph::Dtype::Real) => height * width,
        _ => 0,
    }
}

/// Height and width of the part of `image` that one pixel of `value` sees, away from borders: a window of
/// size k adds (k − 1) times the product of the strides before it. `None` if `value` does not depend on
/// `image`, or not through windows and elementwise functions alone.
pub fn receptive_field(value: Var<'_>, image: Var<'_>) -> Option<[usize; 2]> {
    /// How much a pixel sees, and how far apart in the image its neighbours look.
    #[derive(Clone, Copy)]
    struct View {
        size: [usize; 2],
        step: [usize; 2],
    }
    let dag = value.graph().dag();
    let mut views: Vec<Option<Option<View>>> = vec![None; dag.len()];
    views[image.id().index()] = Some(Some(View { size: [1; 2], step: [1; 2] }));
    for id in dag.ids().filter(|id| *id != image.id()) {
        let Some(op) = dag.op(id) else { continue };
        let seen: Vec<Option<View>> = dag.operands(id).iter().filter_map(|o| views[o.index()]).collect();
        if seen.is_empty() {
            continue;
        }
        // The indices of a maximum see what the maximum sees; of other operands the widest counts.
        let wider = |a: View, b: View| View {
            size: [0, 1].map(|axis| a.size[axis].max(b.size[axis])),
            step: [0, 1].map(|axis| a.step[axis].max(b.step[axis])),
        };
        let seen: Option<Vec<View>> = seen.into_iter().collect();
        let widest = seen.and_then(|views| views.into_iter().reduce(wider));
        views[id.index()] = Some(match (widest, op.window(), op.elementwise()) {
            (Some(view), Some(window), _) => Some(View {
                size: [0, 1].map(|axis| view.size[axis] + (window.kernel[axis] - 1) * view.step[axis]),
                step: [0, 1].map(|axis| view.step[axis] * window.stride[axis]),
            }),
            (view, None, Some(_)) => view,
            // Indices are chosen from the picture itself.
            (view, None, None) if dag.node(id).meta.dtype == crate::graph::Dtype::Index => view,
            _ => None,
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
