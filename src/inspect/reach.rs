//! Which rows of an image, or which columns, the positions of a value depend on.

use std::ops::Range;
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use crate::graph::AxisRead;
use crate::graph::axes::Taps;

/// The most positions that are told apart, and the most reads that are followed for one operation. What needs more has no
/// known field.
const MOST: usize = 1 << 22;

/// From and up to which pixel of an axis of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: isize,
    end: isize,
}

impl Span {
    const NOTHING: Self = Self { start: isize::MAX, end: isize::MIN };

    fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// The least one that holds both.
    fn hull(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    fn moved(self, by: isize) -> Self {
        if self.is_empty() {
            return self;
        }
        Self { start: self.start.saturating_add(by), end: self.end.saturating_add(by) }
    }
}

/// What a position depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// Of the image itself.
    inside: Span,
    /// If every value that is padded went on beyond its borders.
    reach: Span,
}

impl Seen {
    const NOTHING: Self = Self { inside: Span::NOTHING, reach: Span::NOTHING };

    fn hull(self, other: Self) -> Self {
        Self { inside: self.inside.hull(other.inside), reach: self.reach.hull(other.reach) }
    }
}

/// How far apart in the image lies what neighbours see: so many pixels for each `per` positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub pixels: isize,
    pub per: usize,
}

impl Step {
    /// This many times `by`, divided by `over`.
    fn times(self, by: isize, over: usize) -> Self {
        let (pixels, per) = (self.pixels.saturating_mul(by), self.per.saturating_mul(over.max(1)));
        let (mut a, mut b) = (pixels.unsigned_abs(), per);
        while b > 0 {
            (a, b) = (b, a % b);
        }
        let divisor = a.max(1);
        Self { pixels: pixels / isize::try_from(divisor).unwrap_or(1), per: per / divisor }
    }

    /// How far a number of positions leads, rounded away from none.
    fn after(self, positions: isize) -> isize {
        let (exact, per) = (self.pixels as i128 * positions as i128, self.per as i128);
        let rounded = if positions < 0 { exact.div_euclid(per) } else { -(-exact).div_euclid(per) };
        isize::try_from(rounded).unwrap_or(if rounded < 0 { isize::MIN } else { isize::MAX })
    }

    /// The larger of two; of equal ones that which does not go backwards.
    fn or_larger(self, other: Self) -> Self {
        let size = |step: Self, per: usize| (step.pixels.unsigned_abs() as u128 * per as u128, step.pixels);
        if size(self, other.per) >= size(other, self.per) { self } else { other }
    }
}

/// An axis of a value along which it matters where one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Along {
    axis: usize,
    size: usize,
    step: Step,
}

type Axes = SmallVec<[Along; 2]>;

/// What each position of a value depends on along one axis of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reach {
    /// In order.
    axes: Axes,
    /// For each position along these axes, in row-major order.
    seen: Arc<[Seen]>,
}

/// What an operation reads along an axis of its operand.
#[derive(Clone, Copy)]
pub(super) enum Read<'a> {
    Axis(AxisRead),
    List(&'a [u32]),
}

impl Reach {
    /// That of the image itself, along one of its axes.
    pub fn of_image(axis: usize, size: usize) -> Option<Self> {
        let pixel = |i: usize| Span { start: i as isize, end: i as isize + 1 };
        let axes = smallvec![Along { axis, size, step: Step { pixels: 1, per: 1 } }];
        Self::table(axes, 1, |at| Seen { inside: pixel(at[0]), reach: pixel(at[0]) })
    }

    /// The axes of the value along which it matters where one is.
    pub fn axes(&self) -> impl Iterator<Item = usize> + '_ {
        self.axes.iter().map(|along| along.axis)
    }

    /// How many positions along these axes there are.
    pub fn count(&self) -> usize {
        self.seen.len()
    }

    /// Whether there is one position, which sees all of an image of `size` pixels.
    pub fn is_of_all(&self, size: usize) -> bool {
        matches!(self.seen[..], [Seen { inside, .. }] if inside.start == 0 && inside.end.unsigned_abs() == size)
    }

    /// Of the axes that are not among others' the one along which one gets furthest.
    pub fn main_axis(&self, others: &Self) -> Option<usize> {
        let own = self.axes.iter().filter(|along| others.axes().all(|other| other != along.axis));
        let furthest = own.copied().reduce(|a, b| if a.step.or_larger(b.step) == a.step { a } else { b });
        furthest.map(|along| along.axis)
    }

    /// That of a value of which each of `size` positions along `axis` reads so.
    pub fn through(&self, axis: usize, read: Read<'_>, size: usize) -> Option<Self> {
        let Some(index) = self.axes().position(|own| own == axis) else { return Some(self.clone()) };
        let Along { size: from, step, .. } = self.axes[index];
        // Where one is in padding, things go on as at the border.
        let (step, beyond) = match read {
            Read::Axis(AxisRead::Same) => return Some(self.clone()),
            Read::Axis(AxisRead::All) => return self.without(index),
            Read::Axis(AxisRead::Window { stride, .. }) => (step.times(stride, 1), Some(step)),
            Read::Axis(AxisRead::Spread { stride, .. }) => (step.times(1, stride), Some(step)),
            Read::Axis(AxisRead::Piece { .. }) => (step, None),
            Read::Axis(AxisRead::Share { .. } | AxisRead::Listed { .. }) | Read::List(_) => {
                (step.times(isize::try_from(from).ok()?, size), None)
            }
        };
        let taps = |position: usize| match read {
            Read::Axis(read) => read.taps(position),
            Read::List(list) => Some(Taps { first: *list.get(position)? as isize, count: 1, distance: 1 }),
        };
        let taps: Vec<Taps> = (0..size.min(MOST)).map(taps).collect::<Option<_>>()?;
        let reads = taps.iter().map(|taps| taps.count).fold(0, usize::saturating_add);
        let mut axes = self.axes.clone();
        axes[index] = Along { axis, size, step };
        Self::table(axes, reads.div_ceil(size.max(1)), |at| {
            let mut at: SmallVec<[usize; 2]> = SmallVec::from_slice(at);
            let Taps { first, count, distance } = taps[at[index]];
            let each = (0..if from > 0 { count } else { 0 }).map(|tap: usize| {
                let position = first.saturating_add_unsigned(tap.saturating_mul(distance));
                let border = usize::try_from(position).map_or(0, |position| position.min(from - 1));
                at[index] = border;
                let seen = self.at(&at);
                match (position.saturating_sub_unsigned(border), beyond) {
                    (0, _) => seen,
                    (away, Some(step)) => {
                        Seen { inside: Span::NOTHING, reach: seen.reach.moved(step.after(away)) }
                    }
                    (_, None) => Seen::NOTHING,
                }
            });
            each.fold(Seen::NOTHING, Seen::hull)
        })
    }

    /// That of a value of which each position reads the axis at this index as a whole.
    fn without(&self, index: usize) -> Option<Self> {
        let mut axes = self.axes.clone();
        let gone = axes.remove(index);
        Self::table(axes, gone.size, |at| {
            let mut at: SmallVec<[usize; 2]> = SmallVec::from_slice(at);
            at.insert(index, 0);
            let each = (0..gone.size).map(|position| {
                at[index] = position;
                self.at(&at)
            });
            each.fold(Seen::NOTHING, Seen::hull)
        })
    }

    /// The same in which other axes are told apart, too, or in another order.
    fn over(&self, axes: Axes) -> Option<Self> {
        let index = |own: &Along| axes.iter().position(|other| other.axis == own.axis);
        let indices: SmallVec<[usize; 2]> = self.axes.iter().filter_map(index).collect();
        Self::table(axes, 1, |at| {
            self.at(&indices.iter().map(|&index| at[index]).collect::<SmallVec<[usize; 2]>>())
        })
    }

    /// That of whatever reads both.
    pub fn join(&self, other: &Self) -> Option<Self> {
        if self == other {
            return Some(self.clone());
        }
        // An axis along which it matters for neither need not be told apart.
        let [mut a, mut b] = [self.clone(), other.clone()];
        for (own, other) in [(&mut a, other), (&mut b, self)] {
            for index in (0..own.axes.len()).rev() {
                if !other.axes.is_empty() && other.axes().all(|axis| axis != own.axes[index].axis) {
                    *own = own.unless_idle(index)?;
                }
            }
        }
        let mut axes = a.axes.clone();
        for along in &b.axes {
            match axes.iter_mut().find(|own| own.axis == along.axis) {
                Some(own) => own.step = own.step.or_larger(along.step),
                None => axes.push(*along),
            }
        }
        axes.sort_by_key(|along| along.axis);
        let (mut joined, other) = (a.over(axes.clone())?, b.over(axes)?);
        let pairs = joined.seen.iter().zip(other.seen.iter());
        joined.seen = pairs.map(|(own, other)| own.hull(*other)).collect();
        Some(joined)
    }

    /// The same without the axis at this index, if everywhere along it the same is seen.
    fn unless_idle(&self, index: usize) -> Option<Self> {
        let rest = self.without(index)?;
        let is_idle = rest.over(self.axes.clone())?.seen == self.seen;
        Some(if is_idle { rest } else { self.clone() })
    }

    /// That of the value with its axes elsewhere. One that is nowhere has a single position.
    pub fn moved(&self, to: impl Fn(usize) -> Option<usize>) -> Option<Self> {
        let found = |along: &Along| Some(Along { axis: to(along.axis)?, ..*along });
        let mut moved = Self { axes: self.axes.iter().filter_map(found).collect(), seen: self.seen.clone() };
        let mut sorted = moved.axes.clone();
        sorted.sort_by_key(|along| along.axis);
        if moved.axes != sorted {
            moved = moved.over(sorted)?;
        }
        Some(moved)
    }

    /// That of the value under another shape.
    pub fn reshaped(&self, from: &[usize], to: &[usize]) -> Option<Self> {
        let (mut before, mut after) = (Axes::new(), Axes::new());
        for [old, new] in blocks(from, to) {
            let Some(outermost) = self.axes.iter().find(|along| old.contains(&along.axis)) else { continue };
            let step =
                |axis: usize| self.axes.iter().find(|along| along.axis == axis).map(|along| along.step);
            let unknown = Step { pixels: 0, per: 1 };
            let single = old.len() == 1 && new.len() == 1;
            let counts = |sizes: &[usize], axis: usize| single || sizes[axis] != 1;
            let along = |axis, size, step: Option<Step>| Along { axis, size, step: step.unwrap_or(unknown) };
            before.extend(
                old.clone()
                    .filter(|&axis| counts(from, axis))
                    .map(|axis| along(axis, from[axis], step(axis))),
            );
            // How far one element leads.
            let inner: usize = from[outermost.axis + 1..old.end].iter().product();
            let element = outermost.step.times(1, inner);
            after.extend(new.clone().filter(|&axis| counts(to, axis)).map(|axis| {
                let inner: usize = to[axis + 1..new.end].iter().product();
                along(axis, to[axis], Some(element.times(isize::try_from(inner).unwrap_or(isize::MAX), 1)))
            }));
        }
        // An axis of one position may be in no block's lists.
        let here = self.moved(|axis| before.iter().any(|along| along.axis == axis).then_some(axis))?;
        let mut found = here.over(before)?;
        found.axes = after;
        // Where it does not matter after all.
        for index in
            (0..found.axes.len()).rev().filter(|index| found.axes[*index].size > 1).collect::<Vec<_>>()
        {
            found = found.unless_idle(index)?;
        }
        Some(found)
    }

    /// That along one axis of the value, or along none: whatever any of the positions along others sees.
    pub fn along(&self, axis: Option<usize>) -> Option<Profile> {
        let mut found = self.clone();
        for index in (0..self.axes.len()).rev().filter(|index| Some(self.axes[*index].axis) != axis) {
            found = found.without(index)?;
        }
        let step = found.axes.first().map_or(Step { pixels: 0, per: 1 }, |along| along.step);
        Some(Profile { seen: found.seen, step })
    }

    fn at(&self, position: &[usize]) -> Seen {
        let flat = self.axes.iter().zip(position).fold(0, |flat, (along, at)| flat * along.size + at);
        self.seen[flat]
    }

    /// The table of a function, each of whose values takes so many reads.
    fn table(axes: Axes, reads: usize, mut value: impl FnMut(&[usize]) -> Seen) -> Option<Self> {
        let count = axes.iter().map(|along| along.size).fold(1, usize::saturating_mul);
        if count.saturating_mul(reads.max(1)) > MOST {
            return None;
        }
        let mut at: SmallVec<[usize; 4]> = SmallVec::from_elem(0, axes.len());
        let next = |_| {
            let found = value(&at);
            for (position, along) in at.iter_mut().zip(&axes).rev() {
                *position += 1;
                if *position < along.size {
                    break;
                }
                *position = 0;
            }
            found
        };
        let seen = (0..count).map(next).collect();
        Some(Self { axes, seen })
    }
}

/// What each position along one axis of a value sees along one axis of the image.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Profile {
    seen: Arc<[Seen]>,
    pub step: Step,
}

impl Profile {
    /// How many positions there are.
    #[cfg(feature = "viz")]
    pub fn count(&self) -> usize {
        self.seen.len()
    }

    /// How many pixels a position sees that sees most.
    pub fn size(&self) -> usize {
        let sizes = self.seen.iter().filter(|seen| !seen.reach.is_empty());
        sizes.map(|seen| seen.reach.end.abs_diff(seen.reach.start)).max().unwrap_or(0)
    }

    /// Where what the first position sees begins.
    pub fn start(&self) -> isize {
        self.seen.iter().map(|seen| seen.reach).find(|reach| !reach.is_empty()).map_or(0, |reach| reach.start)
    }

    /// What a position, if there is one, sees of an image of `size` pixels, and how far into its padding.
    pub fn at(&self, position: usize, size: usize) -> Option<Range<isize>> {
        let Seen { inside, reach } = *self.seen.get(position)?;
        let size = isize::try_from(size).unwrap_or(isize::MAX);
        if inside.is_empty() {
            let is_beside = !reach.is_empty() && (reach.start >= size || reach.end <= 0);
            return Some(if is_beside { reach.start..reach.end } else { 0..0 });
        }
        let start = if inside.start > 0 { inside.start } else { reach.start };
        Some(start..if inside.end < size { inside.end } else { reach.end })
    }
}

/// Neighbouring axes of a shape that, taken together, are neighbouring axes of another shape of as many elements.
fn blocks(from: &[usize], to: &[usize]) -> Vec<[Range<usize>; 2]> {
    let (mut found, mut start) = (Vec::new(), [0, 0]);
    while start[0] < from.len() && start[1] < to.len() {
        let (mut end, mut product) = (start.map(|start| start + 1), [from[start[0]], to[start[1]]]);
        while product[0] != product[1] {
            let shorter = usize::from(product[1] < product[0]);
            let Some(&size) = [from, to][shorter].get(end[shorter]) else {
                end = [from.len(), to.len()];
                break;
            };
            product[shorter] = product[shorter].saturating_mul(size);
            end[shorter] += 1;
        }
        found.push([start[0]..end[0], start[1]..end[1]]);
        start = end;
    }
    // What remains are axes of one position.
    match found.last_mut() {
        Some([old, new]) => (old.end, new.end) = (from.len(), to.len()),
        None => found.push([0..from.len(), 0..to.len()]),
    }
    found
}
