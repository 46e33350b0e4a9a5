//! Arrays made of an array's own elements, several times or in turn. Composed of other operations.

use super::example::{Example, linear, normal, smooth};
use crate::error::Problem;
use crate::graph::Var;
use crate::shape::Shape;

impl<'g> Var<'g> {
    /// The array side by side with itself, as many times along each axis as `times` says (NumPy's `tile`). Axes are
    /// aligned at the last one; the shorter of shape and `times` counts as beginning with ones.
    ///
    /// ```
    /// use dagrad::Graph;
    ///
    /// let graph = Graph::new();
    /// assert_eq!(graph.input("x", [2, 3]).tile(&[4, 1, 2]).shape(), [4, 2, 6].into());
    /// ```
    #[track_caller]
    pub fn tile(self, times: &[usize]) -> Var<'g> {
        let _called = self.graph().called("tile");
        let shape = self.shape();
        let rank = shape.len().max(times.len());
        let aligned =
            |sizes: &[usize], axis: usize| (axis + sizes.len()).checked_sub(rank).map_or(1, |at| sizes[at]);
        let pairs = || (0..rank).map(|axis| [aligned(times, axis), aligned(&shape, axis)]);
        self.repeat(pairs().map(|[_, size]| [1, size]), pairs())
    }

    /// Each element `times` times in a row along an axis (PyTorch's `repeat_interleave`): `[a, b]` becomes
    /// `[a, a, b, b]`.
    ///
    /// # Errors
    /// Recorded on the graph: an axis that does not exist.
    #[track_caller]
    pub fn repeat_interleave(self, axis: isize, times: usize) -> Var<'g> {
        let _called = self.graph().called("repeat_interleave");
        let shape = self.shape();
        let chosen = match shape.axes(&[axis]) {
            Ok(axes) => axes[0],
            Err(problem) => return self.graph().refuse("repeat_interleave", &["x"], &[self], problem),
        };
        let times = |axis: usize| if axis == chosen { times } else { 1 };
        let sizes = || shape.iter().enumerate();
        self.repeat(sizes().map(|(_, &size)| [size, 1]), sizes().map(|(axis, &size)| [size, times(axis)]))
    }

    /// The elements moved along an axis by `shift` positions; those moved beyond its end come in again at its beginning.
    /// A negative shift moves the other way (NumPy's `roll`).
    ///
    /// # Errors
    /// Recorded on the graph: an axis that does not exist.
    #[track_caller]
    pub fn roll(self, axis: isize, shift: isize) -> Var<'g> {
        let _called = self.graph().called("roll");
        let shape = self.shape();
        let size = match shape.axes(&[axis]) {
            Ok(axes) => shape[axes[0]] as isize,
            Err(problem) => return self.graph().refuse("roll", &["x"], &[self], problem),
        };
        match shift.checked_rem_euclid(size) {
            None | Some(0) => self,
            Some(shift) => {
                let (end, start) = (self.slice(axis, size - shift..), self.slice(axis, ..size - shift));
                self.graph().concat(&[end, start], axis)
            }
        }
    }

    /// Broadcasts within pairs of axes, and then joins the axes of each pair.
    #[track_caller]
    fn repeat(
        self,
        from: impl Iterator<Item = [usize; 2]>,
        to: impl Iterator<Item = [usize; 2]> + Clone,
    ) -> Var<'g> {
        let joined: Option<Shape> = to.clone().map(|[a, b]| a.checked_mul(b)).collect();
        match joined {
            Some(joined) => {
                let pairs = self.reshape(from.flatten().collect::<Shape>());
                pairs.broadcast_to(to.flatten().collect::<Shape>()).reshape(joined)
            }
            None => {
                let problem = Problem::new("the result is beyond any memory");
                self.graph().refuse("repeat", &["x"], &[self], problem).or_rank(to.count())
            }
        }
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    vec![
        linear("tile", [normal([2, 3])], |v| v[0].tile(&[3, 2])),
        linear("tile of more axes", [normal([2, 1])], |v| v[0].tile(&[2, 1, 3])),
        smooth("tile of fewer axes", [normal([2, 3])], |v| v[0].tile(&[2]) * v[0].tile(&[2])),
        linear("tile to nothing", [normal([2, 3])], |v| v[0].tile(&[0, 2])),
        linear("each element", [normal([2, 3, 2])], |v| v[0].repeat_interleave(-2, 3)),
        linear("roll", [normal([2, 5])], |v| v[0].roll(1, 2)),
        smooth("roll back beyond the whole", [normal([5, 2])], |v| v[0].roll(0, -7) * v[0]),
        linear("roll of nothing", [normal([0, 2])], |v| v[0].roll(0, 1)),
    ]
}
