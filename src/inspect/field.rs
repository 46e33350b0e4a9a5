//! Receptive fields.

use std::fmt;
use std::ops::Range;

use crate::graph::dag::{Dag, NodeId};
use crate::graph::{AxisRead, Var};

/// The receptive field of each pixel of a value: the rectangle of the image on which it depends, of one size for all
/// (A. Araujo and others, *Computing Receptive Fields of Convolutional Neural Networks*, 2019). It prints as its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceptiveField {
    /// Height and width.
    pub size: [usize; 2],
    /// How far apart in the image the fields of neighbours are, along each axis.
    pub stride: [usize; 2],
    /// Row and column at which the first pixel's field begins; below 0 it begins in the padding.
    pub start: [isize; 2],
}

impl ReceptiveField {
    /// A pixel of the image itself.
    const PIXEL: Self = Self { size: [1; 2], stride: [1; 2], start: [0; 2] };

    /// The rows and the columns in the field of a pixel. They may reach beyond the image, into its padding.
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
            let offset = pixel[axis].saturating_mul(self.stride[axis]);
            let start = self.start[axis].saturating_add_unsigned(offset);
            start..start.saturating_add_unsigned(self.size[axis])
        })
    }

    /// The field of what reads pixels with this field so along height and width.
    fn through(mut self, plane: [AxisRead; 2]) -> Self {
        for (axis, read) in plane.into_iter().enumerate() {
            let AxisRead::Window { extent, stride, padding } = read else { continue };
            let before = isize::try_from(self.stride[axis]).unwrap_or(isize::MAX).saturating_mul(padding);
            self.start[axis] = self.start[axis].saturating_sub(before);
            self.size[axis] = self.size[axis].saturating_add((extent - 1).saturating_mul(self.stride[axis]));
            self.stride[axis] = self.stride[axis].saturating_mul(stride);
        }
        self
    }

    /// The least field that holds both.
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

/// The receptive field in `image` of a pixel of `value`: a window of size k adds (k − 1) times the product of the strides
/// before it. `None` if `value` does not depend on `image` (which may be on another graph), or not through operations alone
/// that read pixels in order ([`AxisRead`]).
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
    dependences(&value.graph().dag(), image.id())[value.id().index()].field()
}

/// How a value depends on an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dependence {
    /// It does not.
    None,
    /// Each pixel has a receptive field.
    Pixels(ReceptiveField),
    /// There are no pixels any more: a number for a plane, or less.
    Statistic,
    /// Its pixels are in another order.
    Unknown,
}

impl Dependence {
    /// The field of each pixel, where it is known.
    pub(crate) fn field(self) -> Option<ReceptiveField> {
        if let Dependence::Pixels(field) = self { Some(field) } else { None }
    }

    /// The dependence of whatever reads both.
    fn join(self, other: Dependence) -> Dependence {
        match (self, other) {
            (Dependence::None, other) | (other, Dependence::None) => other,
            (Dependence::Pixels(a), Dependence::Pixels(b)) => Dependence::Pixels(a.join(b)),
            (Dependence::Unknown, _) | (_, Dependence::Unknown) => Dependence::Unknown,
            (Dependence::Statistic, other) | (other, Dependence::Statistic) => other,
        }
    }
}

/// How each node depends on the image.
pub(crate) fn dependences(dag: &Dag, image: NodeId) -> Vec<Dependence> {
    let mut found = vec![Dependence::None; dag.len()];
    found[image.index()] = Dependence::Pixels(ReceptiveField::PIXEL);
    for id in dag.ids().filter(|id| *id != image) {
        let Some(op) = dag.op(id) else { continue };
        let types = dag.operand_types(id);
        let axes = op.axes(&types);
        let read = |(position, operand): (usize, NodeId)| match found[operand.index()] {
            Dependence::Pixels(field) => {
                match axes.get(position).and_then(|map| map.plane(types[position].shape.len())) {
                    Some(plane) => Dependence::Pixels(field.through(plane)),
                    None if sums_planes(dag, id) => Dependence::Statistic,
                    None => Dependence::Unknown,
                }
            }
            other => other,
        };
        let operands = dag.operands(id).into_iter().enumerate();
        found[id.index()] = operands.map(read).fold(Dependence::None, Dependence::join);
    }
    found
}

/// Whether no more than one number is left of each plane of a node's first operand.
fn sums_planes(dag: &Dag, id: NodeId) -> bool {
    let (types, count) = (dag.operand_types(id), dag.node(id).ty.shape.count());
    let operand = types.first().map(|ty| &ty.shape[..]);
    matches!(operand, Some(&[samples, channels, _, _]) if count <= samples * channels)
}
