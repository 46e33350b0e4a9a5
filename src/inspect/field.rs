//! How much of a picture a pixel sees.

use std::fmt;
use std::ops::Range;

use crate::graph::dag::{Dag, NodeId};
use crate::graph::{Dtype, Var};
use crate::shape::Window;

/// What the pixels of a value see of a picture: each a rectangle of the same size (A. Araujo and others, *Computing
/// Receptive Fields of Convolutional Neural Networks*, 2019). It prints as its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceptiveField {
    /// Height and width of what one pixel sees.
    pub size: [usize; 2],
    /// How far apart in the picture neighbours look, along each axis.
    pub stride: [usize; 2],
    /// Row and column at which the first pixel's view begins; below 0 it begins in the padding.
    pub start: [isize; 2],
}

impl ReceptiveField {
    /// A pixel of the picture itself.
    const PIXEL: Self = Self { size: [1; 2], stride: [1; 2], start: [0; 2] };

    /// The rows and the columns that a pixel sees. They may reach beyond the picture, into its padding.
    ///
    /// ```
    /// use dagrad::Graph;
    /// use dagrad::inspect::receptive_field;
    /// use dagrad::nn::{self, Filters};
    ///
    /// let graph = Graph::new();
    /// let image = graph.input("image", [1, 1, 28, 28]);
    /// let h = nn::conv2d(image, "conv", Filters::new(16, 3).padding(1)).max_pool2d(2);
    /// let field = receptive_field(h, image).unwrap();
    /// assert_eq!(field.of_pixel([0, 5]), [-1..3, 9..13]);
    /// ```
    pub fn of_pixel(&self, pixel: [usize; 2]) -> [Range<isize>; 2] {
        [0, 1].map(|axis| {
            let start = self.start[axis].saturating_add(product(pixel[axis], self.stride[axis]));
            start..start.saturating_add_unsigned(self.size[axis])
        })
    }

    /// What a window over pixels with this field sees.
    fn through(self, window: Window) -> Self {
        let extent = window.extent();
        Self {
            size: [0, 1].map(|axis| {
                self.size[axis].saturating_add((extent[axis] - 1).saturating_mul(self.stride[axis]))
            }),
            stride: [0, 1].map(|axis| self.stride[axis].saturating_mul(window.stride[axis])),
            start: [0, 1].map(|axis| {
                self.start[axis].saturating_sub(product(window.padding[axis], self.stride[axis]))
            }),
        }
    }

    /// The least that holds what each of two pixels sees.
    fn join(self, other: Self) -> Self {
        let start = [0, 1].map(|axis| self.start[axis].min(other.start[axis]));
        let end = |field: Self, axis: usize| field.start[axis].saturating_add_unsigned(field.size[axis]);
        Self {
            size: [0, 1].map(|axis| end(self, axis).max(end(other, axis)).abs_diff(start[axis])),
            stride: [0, 1].map(|axis| self.stride[axis].max(other.stride[axis])),
            start,
        }
    }
}

impl fmt::Display for ReceptiveField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}", self.size[0], self.size[1])
    }
}

fn product(a: usize, b: usize) -> isize {
    isize::try_from(a.saturating_mul(b)).unwrap_or(isize::MAX)
}

/// The part of `image` that a pixel of `value` sees: a window of size k adds (k − 1) times the product of the strides
/// before it. `None` if `value` does not depend on `image` (which may be on another graph), or not through windows and
/// elementwise functions alone.
///
/// What reaches a pixel only as a number for a whole plane, such as the mean that batch normalisation takes off while
/// training, is not counted.
///
/// ```
/// use dagrad::Graph;
/// use dagrad::inspect::receptive_field;
/// use dagrad::nn::{self, Filters};
///
/// let graph = Graph::new();
/// let image = graph.input("image", [1, 1, 28, 28]);
/// let once = nn::conv2d(image, "conv1", Filters::new(16, 3));
/// let twice = nn::conv2d(once, "conv2", Filters::new(16, 3));
/// assert_eq!(receptive_field(twice, image).unwrap().size, [5, 5]);
/// ```
pub fn receptive_field(value: Var<'_>, image: Var<'_>) -> Option<ReceptiveField> {
    if !std::ptr::eq(value.graph(), image.graph()) {
        return None;
    }
    views(&value.graph().dag(), image.id())[value.id().index()].field()
}

/// What a value sees of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// It does not depend on it.
    Nothing,
    /// Each pixel sees a part of it.
    Pixels(ReceptiveField),
    /// There are no pixels any more: a number for a plane, or less.
    Statistic,
    /// Its pixels are in another order.
    Unknown,
}

impl View {
    /// The field of each pixel, where it is known.
    pub(crate) fn field(self) -> Option<ReceptiveField> {
        if let View::Pixels(field) = self { Some(field) } else { None }
    }

    /// What is seen by whoever looks at both.
    fn join(self, other: View) -> View {
        match (self, other) {
            (View::Nothing, view) | (view, View::Nothing) => view,
            (View::Pixels(a), View::Pixels(b)) => View::Pixels(a.join(b)),
            (View::Unknown, _) | (_, View::Unknown) => View::Unknown,
            (View::Statistic, view) | (view, View::Statistic) => view,
        }
    }
}

/// What each node sees of the image.
pub(crate) fn views(dag: &Dag, image: NodeId) -> Vec<View> {
    let mut views = vec![View::Nothing; dag.len()];
    views[image.index()] = View::Pixels(ReceptiveField::PIXEL);
    for id in dag.ids().filter(|id| *id != image) {
        let Some(op) = dag.op(id) else { continue };
        let seen = dag.operands(id).into_iter().map(|operand| views[operand.index()]);
        let seen = seen.fold(View::Nothing, View::join);
        let View::Pixels(field) = seen else {
            views[id.index()] = seen;
            continue;
        };
        // The indices of maxima are chosen from the picture itself, pixel by pixel.
        let keeps_pixels = op.elementwise().is_some() || dag.node(id).ty.dtype == Dtype::Index;
        views[id.index()] = match op.window() {
            Some(window) => View::Pixels(field.through(window)),
            None if keeps_pixels => seen,
            None if sums_planes(dag, id) => View::Statistic,
            None => View::Unknown,
        };
    }
    views
}

/// Whether no more than one number is left of each plane of a node's first operand.
fn sums_planes(dag: &Dag, id: NodeId) -> bool {
    let planes = dag.operand_types(id).first().and_then(|ty| match ty.shape[..] {
        [samples, channels, ..] if ty.shape.len() == 4 => Some(samples * channels),
        _ => None,
    });
    planes.is_some_and(|planes| dag.node(id).ty.shape.count() <= planes)
}
