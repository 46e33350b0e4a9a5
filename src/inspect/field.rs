//! Receptive fields.

use std::fmt;
use std::ops::Range;

use smallvec::SmallVec;

use super::reach::{Profile, Reach, Read};
use crate::graph::dag::{Dag, NodeId};
use crate::graph::{AnyOp, AxisMap, AxisRead, Call, Dtype, Random, TensorType, Var};
use crate::shape::Shape;
use dagrad_kernels::workers::Workers;

/// The receptive fields of the pixels of a value: the rectangles of the image on which they depend. It prints as its
/// size.
///
/// Size, stride and start are those of A. Araujo and others, *Computing Receptive Fields of Convolutional Neural
/// Networks*, 2019. Layers have the kernels k, strides s and paddings p, from the image on. Then
/// size = 1 + Σₗ (kₗ − 1) Πᵢ﹤ₗ sᵢ, stride = Πₗ sₗ and start = −Σₗ pₗ Πᵢ﹤ₗ sᵢ. A transposed convolution or an upsampling
/// by s has the stride 1/s. [`of_pixel`](Self::of_pixel) is found for each position by itself. So it also holds where
/// positions differ from each other: at mirrored borders, or where two images are joined.
#[derive(Clone, PartialEq, Eq)]
pub struct ReceptiveField {
    /// Height and width, padding included, of the pixel that sees most.
    pub size: [usize; 2],
    /// The distance in the image, along each of its axes, between the fields of two pixels that are [`every`](Self::every)
    /// apart. It is 0 along an axis that every pixel sees as a whole.
    pub stride: [usize; 2],
    /// 1, or more where the fields of neighbours are less than a pixel apart: 2 after an upsampling to twice the size.
    pub every: [usize; 2],
    /// Row and column of the image at which the first pixel's field begins; below 0 it begins in the padding.
    pub start: [isize; 2],
    /// The axes of the value along which the rows and the columns of the image lie: 2 and 3 of `[N, C, H, W]`. None where
    /// every pixel sees the same of them.
    pub axes: [Option<usize>; 2],
    profiles: [Profile; 2],
    image: [usize; 2],
}

impl ReceptiveField {
    fn new(profiles: [Profile; 2], image: [usize; 2], axes: [Option<usize>; 2]) -> Self {
        Self {
            size: profiles.each_ref().map(Profile::size),
            stride: profiles.each_ref().map(|profile| profile.step.pixels.unsigned_abs()),
            every: profiles.each_ref().map(|profile| profile.step.per),
            start: profiles.each_ref().map(Profile::start),
            axes,
            profiles,
            image,
        }
    }

    /// The rows and the columns of the image in the field of a pixel: the least rectangle that holds what the pixel
    /// depends on, in any channel. Where that touches the border, it reaches as far beyond, into the padding, as the
    /// windows do. (Where values with fields of different sizes are joined side by side, it holds those of a whole row, and
    /// of a whole column.)
    ///
    /// A pixel is named by its positions along the two axes of the value on which the image lies: the last two of
    /// `[N, C, H, W]`, the middle ones of `[N, H, W, C]`. None for a position beyond its axis. Along an axis of
    /// [`axes`](Self::axes) that is None, any position will do.
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
    /// assert_eq!(field.of_pixel([0, 5]), Some([-1..3, 9..13]));
    /// assert_eq!(field.of_pixel([0, 14]), None); // beyond the 14 columns
    /// ```
    pub fn of_pixel(&self, mut pixel: [usize; 2]) -> Option<[Range<isize>; 2]> {
        if matches!(self.axes, [Some(rows), Some(columns)] if rows > columns) {
            pixel.reverse();
        }
        self.at([0, 1].map(|axis| self.axes[axis].map_or(0, |_| pixel[axis])))
    }

    /// The field of the pixel in the middle.
    #[cfg(feature = "viz")]
    pub(crate) fn of_middle(&self) -> Option<[Range<isize>; 2]> {
        self.at(self.profiles.each_ref().map(|profile| profile.count() / 2))
    }

    fn at(&self, [row, column]: [usize; 2]) -> Option<[Range<isize>; 2]> {
        Some([self.profiles[0].at(row, self.image[0])?, self.profiles[1].at(column, self.image[1])?])
    }
}

impl fmt::Debug for ReceptiveField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size, stride, every, start, axes, .. } = self;
        let mut fields = f.debug_struct("ReceptiveField");
        fields.field("size", size).field("stride", stride).field("every", every).field("start", start);
        fields.field("axes", axes).finish_non_exhaustive()
    }
}

impl fmt::Display for ReceptiveField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}", self.size[0], self.size[1])
    }
}

/// Why the pixels of a value have no receptive field, or why there are no pixels. It prints as a sentence, with the
/// operation and the line that recorded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoField {
    /// The value does not depend on the image, which may be on another graph.
    Independent,
    /// The image has fewer than two axes.
    NoPlane,
    /// No more than a number is left of each plane: a mean over all pixels, for instance.
    WholePlane(String),
    /// Rows and columns lie along one axis, as `flatten` has them. The fields come back with the two axes.
    OneAxis(String),
    /// Each number may depend on any pixel: a dense layer on all of them, or positions that are data themselves.
    AnyPixel(String),
    /// There are more positions than are told apart.
    TooMany(String),
    /// The value stands for a misuse: the first of its graph, as [`Graph::check`](crate::Graph::check) has it.
    Misuse(String),
}

impl fmt::Display for NoField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Independent => write!(f, "it does not depend on the image"),
            Self::NoPlane => write!(f, "the image has no height and width"),
            Self::WholePlane(site) => {
                write!(f, "through {site}: no more than a number is left of each plane")
            }
            Self::OneAxis(site) => write!(f, "through {site}: rows and columns lie along one axis"),
            Self::AnyPixel(site) => write!(f, "through {site}: each number may depend on any pixel"),
            Self::TooMany(site) => write!(f, "through {site}: there are too many positions to tell apart"),
            Self::Misuse(misuse) => misuse.fmt(f),
        }
    }
}

impl std::error::Error for NoField {}

/// The receptive fields in `image` of the pixels of `value`. Height and width are the image's last two axes. They are followed
/// through whatever keeps them apart, wherever the axes go.
///
/// A number for a whole plane is not counted, such as the mean that batch normalisation subtracts while training.
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
///
/// let reason = receptive_field(twice.flatten(), image).unwrap_err();
/// assert!(reason.to_string().contains("rows and columns lie along one axis"));
/// ```
///
/// # Errors
/// The reason why there is none.
pub fn receptive_field(value: Var<'_>, image: Var<'_>) -> Result<ReceptiveField, NoField> {
    if !std::ptr::eq(value.graph(), image.graph()) {
        return Err(NoField::Independent);
    }
    if let (true, Err(misuse)) = (value.is_poisoned() || image.is_poisoned(), value.graph().check()) {
        return Err(NoField::Misuse(misuse.to_string()));
    }
    receptive_fields(&value.graph().dag(), image.id()).swap_remove(value.id().index())
}

/// The receptive fields of all nodes.
pub(crate) fn receptive_fields(dag: &Dag, image: NodeId) -> Vec<Result<ReceptiveField, NoField>> {
    let &[.., height, width] = &dag.node(image).ty.shape[..] else {
        return vec![Err(NoField::NoPlane); dag.len()];
    };
    let dependences = dependences(dag, image);
    dependences.iter().map(|dependence| dependence.field(dag, [height, width])).collect()
}

/// How a value depends on an image.
#[derive(Debug, Clone)]
enum Dependence {
    /// It does not.
    None,
    /// Each position depends on some rows and some columns. They lie along one axis since a node, if they do.
    Pixels(Box<[Reach; 2]>, Option<NodeId>),
    /// There are no pixels any more since a node: a number for a plane, or less.
    Statistic(NodeId),
    /// Each number may depend on any pixel since a node.
    Any(NodeId),
    /// Positions are not told apart since a node.
    TooMany(NodeId),
}

impl Dependence {
    /// The field of each pixel.
    fn field(&self, dag: &Dag, image: [usize; 2]) -> Result<ReceptiveField, NoField> {
        let site_of = |id: NodeId| format!("{} at {}", dag.node(id).made_by(), dag.node(id).site);
        match self {
            Self::None => Err(NoField::Independent),
            Self::Statistic(id) => Err(NoField::WholePlane(site_of(*id))),
            Self::Any(id) => Err(NoField::AnyPixel(site_of(*id))),
            Self::TooMany(id) | Self::Pixels(_, Some(id)) => Err(match self {
                Self::TooMany(_) => NoField::TooMany(site_of(*id)),
                _ => NoField::OneAxis(site_of(*id)),
            }),
            Self::Pixels(reach, None) => {
                let axes = main_axes(reach);
                let profiles = reach[0].along(axes[0]).zip(reach[1].along(axes[1]));
                let (rows, columns) = profiles.unwrap_or_else(|| unreachable!("fewer positions than before"));
                Ok(ReceptiveField::new([rows, columns], image, axes))
            }
        }
    }

    /// The dependence of whatever reads both.
    fn join(self, other: Self, reader: NodeId) -> Self {
        match (self, other) {
            (Self::None, other) | (other, Self::None) => other,
            (Self::Pixels(a, since), Self::Pixels(b, _)) => {
                let joined = a[0].join(&b[0]).zip(a[1].join(&b[1]));
                joined.map_or(Self::TooMany(reader), |(rows, columns)| {
                    Self::pixels([rows, columns], since, reader)
                })
            }
            (first @ (Self::Any(_) | Self::TooMany(_)), _)
            | (_, first @ (Self::Any(_) | Self::TooMany(_))) => first,
            (Self::Statistic(_), other) | (other, Self::Statistic(_)) => other,
        }
    }

    /// Positions that depend on these rows and columns, which lay along one axis before since a node, if they did.
    fn pixels(reach: [Reach; 2], since: Option<NodeId>, id: NodeId) -> Self {
        let is_lost =
            |(reach, axis): (&Reach, Option<usize>)| axis.is_none() && reach.axes().next().is_some();
        let is_lost = reach.iter().zip(main_axes(&reach)).any(is_lost);
        Self::Pixels(Box::new(reach), is_lost.then(|| since.unwrap_or(id)))
    }
}

/// The axes of a value along which the image's rows and columns lie.
fn main_axes([rows, columns]: &[Reach; 2]) -> [Option<usize>; 2] {
    [rows.main_axis(columns), columns.main_axis(rows)]
}

/// How each node depends on the image.
fn dependences(dag: &Dag, image: NodeId) -> Vec<Dependence> {
    let mut found = vec![Dependence::None; dag.len()];
    let shape = &dag.node(image).ty.shape;
    let plane = [shape.len() - 2, shape.len() - 1];
    found[image.index()] = match plane.map(|axis| Reach::of_image(axis, shape[axis])) {
        [Some(rows), Some(columns)] => Dependence::Pixels(Box::new([rows, columns]), None),
        _ => Dependence::TooMany(image),
    };
    let (given, image) = (image, plane.map(|axis| shape[axis]));
    for id in dag.ids().filter(|id| *id != given) {
        let Some(node) = Reader::new(dag, id, image) else { continue };
        let read = |(position, operand): (usize, NodeId)| match &found[operand.index()] {
            Dependence::Pixels(reach, since) => node.read(position, reach, *since),
            other => other.clone(),
        };
        let operands = dag.operands(id).into_iter().enumerate();
        found[id.index()] = operands.map(read).fold(Dependence::None, |all, one| all.join(one, id));
    }
    found
}

/// An operation that reads values of which the reaches are known.
struct Reader<'a> {
    dag: &'a Dag,
    id: NodeId,
    op: &'a dyn AnyOp,
    types: SmallVec<[&'a TensorType; 4]>,
    /// What it reads along the axes of its operands, where it says so.
    maps: Vec<AxisMap>,
    image: [usize; 2],
}

impl<'a> Reader<'a> {
    fn new(dag: &'a Dag, id: NodeId, image: [usize; 2]) -> Option<Self> {
        let (op, types) = (dag.op(id)?, dag.operand_types(id));
        let maps = op.axes(&types);
        Some(Self { dag, id, op, types, maps, image })
    }

    /// How the result depends on the image through one of its operands.
    fn read(&self, position: usize, reach: &[Reach; 2], since: Option<NodeId>) -> Dependence {
        let from = &self.types[position].shape;
        let found = match reach.each_ref().map(|reach| self.follow(position, reach)) {
            [Ok(rows), Ok(columns)] => [rows, columns],
            [Err(lost), _] | [_, Err(lost)] => return lost,
        };
        if !self.is_repeated(reach, &found) && found.iter().any(|reach| reach.axes().next().is_some()) {
            return Dependence::pixels(found, since, self.id);
        }
        // One pixel stands for all, or no more than a number is left for each plane.
        let is_single = reach.iter().all(|reach| reach.count() == 1);
        let is_plane = |axis: &usize| reach.iter().any(|reach| reach.axes().any(|own| own == *axis));
        let planes: usize = (0..from.len()).filter(|axis| !is_plane(axis)).map(|axis| from[axis]).product();
        if is_single || self.shape().count() <= planes {
            Dependence::Statistic(self.id)
        } else {
            Dependence::Any(self.id)
        }
    }

    fn shape(&self) -> &'a Shape {
        &self.dag.node(self.id).ty.shape
    }

    /// What is seen of an operand under another shape, by strides, or axis by axis.
    fn follow(&self, position: usize, reach: &Reach) -> Result<Reach, Dependence> {
        let (from, to) = (&self.types[position].shape, self.shape());
        let found = if self.op.is_alias() {
            reach.reshaped(from, to)
        } else if let Some(strides) = self.op.strides(self.types[position]) {
            self.along(reach, &targets_by_stride(from, to, &strides), |axis, size| match size {
                Some(parts) if parts != from[axis] => AxisRead::Share { of: from[axis], parts },
                _ => AxisRead::Same,
            })
        } else {
            let known = self.maps.get(position).and_then(|map| Some((map, targets(map, from, to)?)));
            let (map, targets) = known.ok_or(Dependence::Any(self.id))?;
            self.along(reach, &targets, |axis, _| map.along(axis))
        };
        found.ok_or(Dependence::TooMany(self.id))
    }

    /// What is seen of an operand whose axes become these of the result. `read` says what is read along an axis that
    /// becomes one of this size, if any.
    fn along(
        &self,
        reach: &Reach,
        targets: &[Option<usize>],
        read: impl Fn(usize, Option<usize>) -> AxisRead,
    ) -> Option<Reach> {
        let axes: SmallVec<[usize; 2]> = reach.axes().collect();
        let through = |reach: Reach, axis: usize| {
            let size = targets[axis].map(|target| self.shape()[target]);
            let (read, size) = (read(axis, size), size.unwrap_or(1));
            match read {
                AxisRead::Listed { by } => match self.list(by) {
                    Some(list) => reach.through(axis, Read::List(&list), size),
                    None => reach.through(axis, Read::Axis(AxisRead::All), size),
                },
                read => reach.through(axis, Read::Axis(read), size),
            }
        };
        axes.into_iter().try_fold(reach.clone(), through)?.moved(|axis| targets[axis])
    }

    /// Whether copies of a number that stands for the whole image lie beside each other now.
    fn is_repeated(&self, before: &[Reach; 2], after: &[Reach; 2]) -> bool {
        let is_listed = |(map, ty): (&AxisMap, &&TensorType)| {
            (0..ty.shape.len()).any(|axis| matches!(map.along(axis), AxisRead::Listed { .. }))
        };
        let is_copy = || {
            self.types.iter().any(|ty| self.op.strides(ty).is_some())
                || self.maps.iter().zip(&self.types).any(is_listed)
        };
        before.iter().zip(self.image).all(|(reach, size)| reach.is_of_all(size))
            && after.iter().any(|reach| reach.count() > 1)
            && is_copy()
    }

    /// The indices in an operand, if they are known before a run.
    fn list(&self, operand: usize) -> Option<Vec<u32>> {
        let id = self.dag.operand(self.id, operand);
        let TensorType { shape, dtype: Dtype::Index } = &self.dag.node(id).ty else { return None };
        let op = self.dag.op(id).filter(|_| self.dag.operands(id).is_empty())?;
        let mut indices = vec![0; shape.count()];
        op.forward_f64(Call {
            operands: SmallVec::new(),
            output: &mut [],
            indices: &mut indices,
            further_outputs: SmallVec::new(),
            shape,
            scratch: &mut vec![0.0; op.scratch(&[])],
            workers: &Workers::alone(),
            random: Random { seed: 0, step: 0 },
        });
        Some(indices)
    }
}

/// Which axis of the result each axis of an operand becomes: the same number, or less by the axes before it that are read
/// as a whole and disappear.
fn targets(map: &AxisMap, from: &Shape, to: &Shape) -> Option<Vec<Option<usize>>> {
    let is_whole = |axis: &usize| map.along(*axis) == AxisRead::All;
    let gone = (0..from.len()).filter(is_whole).count();
    if from.len() == to.len() {
        return Some((0..from.len()).map(Some).collect());
    }
    let mut next = 0..to.len();
    let target = |axis: usize| if is_whole(&axis) { None } else { next.next() };
    (from.len() == to.len() + gone).then(|| (0..from.len()).map(target).collect())
}

/// The same for an operation that re-reads its operand with these strides. An axis of one position may be repeated.
fn targets_by_stride(from: &Shape, to: &Shape, strides: &[usize]) -> Vec<Option<usize>> {
    let mut targets = vec![None; from.len()];
    for (target, (&size, &stride)) in to.iter().zip(strides).enumerate() {
        let is_it = |&axis: &usize| {
            let own: usize = from[axis + 1..].iter().product();
            let repeats = from[axis] == 1 && stride == 0 && axis + to.len() == target + from.len();
            targets[axis].is_none() && (repeats || from[axis] == size && own == stride)
        };
        if let Some(axis) = (0..from.len()).find(is_it) {
            targets[axis] = Some(target);
        }
    }
    targets
}
