//! Arrays continued beyond their borders, by their own mirror image or by their last elements.

use super::example::{Example, linear, normal, smooth};
use super::slice::one_pair_each;
use crate::error::Problem;
use crate::graph::Var;

/// How an array goes on beyond its borders.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Border {
    /// Mirrored at the centre of the last element, which is not repeated.
    Reflect,
    /// By the last element, repeated.
    Replicate,
}

impl<'g> Var<'g> {
    /// The array with `[before, after]` elements added along each axis, mirrored at its border elements, which are not
    /// repeated: 1 2 3 becomes 3 2 1 2 3 2 1 by `[2, 2]`.
    ///
    /// # Errors
    /// Recorded on the graph: another number of pairs than axes, more elements on a side than the axis has beside its
    /// border.
    #[track_caller]
    pub fn pad_reflect(self, sides: &[[usize; 2]]) -> Var<'g> {
        let _called = self.graph().called("pad_reflect");
        self.pad_beyond("pad_reflect", sides, Border::Reflect)
    }

    /// The array with `[before, after]` elements added along each axis, equal to the nearest element of the border:
    /// 1 2 3 becomes 1 1 1 2 3 3 by `[2, 1]`.
    ///
    /// # Errors
    /// Recorded on the graph: another number of pairs than axes, an axis without elements, a result beyond any memory.
    #[track_caller]
    pub fn pad_replicate(self, sides: &[[usize; 2]]) -> Var<'g> {
        let _called = self.graph().called("pad_replicate");
        self.pad_beyond("pad_replicate", sides, Border::Replicate)
    }

    /// One axis after the other, so that corners come from corners.
    #[track_caller]
    fn pad_beyond(self, name: &str, sides: &[[usize; 2]], border: Border) -> Var<'g> {
        if let Err(problem) = border.fits(&self.shape(), sides) {
            return self.graph().refuse(name, &["x"], &[self], problem);
        }
        let mut padded = self;
        for (axis, &[before, after]) in sides.iter().enumerate() {
            let mut parts = vec![padded];
            if before > 0 {
                parts.insert(0, padded.beyond(border, axis, before, true));
            }
            if after > 0 {
                parts.push(padded.beyond(border, axis, after, false));
            }
            if parts.len() > 1 {
                padded = self.graph().concat(&parts, axis as isize);
            }
        }
        padded
    }

    /// What follows the last element of an axis, or comes before its first.
    #[track_caller]
    fn beyond(self, border: Border, axis: usize, count: usize, is_before: bool) -> Var<'g> {
        let (mut shape, along) = (self.shape().to_vec(), axis as isize);
        let (size, width) = (shape[axis] as isize, count as isize);
        match border {
            Border::Reflect if is_before => self.slice_step(along, 1..=width, -1),
            Border::Reflect => self.slice_step(along, size - 1 - width..size - 1, -1),
            Border::Replicate => {
                let edge = if is_before { self.slice(along, ..1) } else { self.slice(along, size - 1..) };
                shape[axis] = count;
                edge.broadcast_to(shape)
            }
        }
    }
}

impl Border {
    /// Whether an array of such a shape can be continued so far.
    fn fits(self, shape: &[usize], sides: &[[usize; 2]]) -> Result<(), Problem> {
        one_pair_each(shape, sides)?;
        for (axis, (&size, &[before, after])) in shape.iter().zip(sides).enumerate() {
            let most = before.max(after);
            if most > 0 && size == 0 {
                return Err(Problem::new(format!("axis {axis} has no elements to continue")));
            }
            if self == Self::Reflect && most >= size.max(1) {
                let text =
                    format!("a padding of {most} mirrors more than the {} elements of axis {axis}", size - 1);
                return Err(Problem::new(text).hint("beside the border element, which is the mirror"));
            }
        }
        Ok(())
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    vec![
        linear("reflected", [normal([2, 3, 4])], |v| v[0].pad_reflect(&[[0, 1], [2, 0], [3, 2]])),
        linear("reflected images", [normal([1, 2, 3, 2])], |v| {
            v[0].pad_reflect(&[[0, 0], [0, 0], [2, 1], [1, 1]])
        }),
        linear("replicated", [normal([1, 3, 2])], |v| v[0].pad_replicate(&[[2, 1], [0, 3], [1, 0]])),
        smooth("replicated squares", [normal([2, 3])], |v| (v[0] * v[0]).pad_replicate(&[[1, 0], [1, 2]])),
        linear("not at all", [normal([0, 2])], |v| v[0].pad_reflect(&[[0, 0], [1, 1]])),
    ]
}
