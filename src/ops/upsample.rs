//! Images of another size, each pixel taken from its nearest neighbour or from the four around it.
//!
//! Which pixels those are, and how much of each, follows from the sizes alone; reading them is `index_select`.

use super::example::{Example, linear, normal, smooth};
use super::operands::image_sizes;
use crate::error::Problem;
use crate::graph::{Attributes, Call, Dtype, Gradient, Op, TensorType, Var, VjpInputs};
use crate::shape::Pair;
use dagrad_kernels::real::Real;

/// For each of `to` pixels in a row, where it lies in a row of `from` pixels. There is at least one of both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Positions {
    from: usize,
    to: usize,
    rule: Rule,
    /// Whether the corner pixels' centres lie on one another, or else their outer edges.
    align_corners: bool,
}

/// What is asked about a pixel's position.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rule {
    /// The pixel that covers it.
    Nearest,
    /// The pixel before it.
    Before,
    /// The pixel after it.
    After,
    /// How far it is from the pixel before to the one after, between 0 and 1.
    Share,
}

impl Op for Positions {
    fn name(&self) -> &'static str {
        "positions"
    }

    fn infer(&self, _: &[&TensorType]) -> Result<TensorType, Problem> {
        let dtype = if self.rule == Rule::Share { Dtype::Real } else { Dtype::Index };
        Ok(TensorType { shape: [self.to].into(), dtype })
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let last = self.from - 1;
        let before = |i| (self.source_position(i) as usize).min(last);
        // One of the two is empty.
        for (i, index) in call.indices.iter_mut().enumerate() {
            *index = match self.rule {
                Rule::Nearest => self.covering(i),
                Rule::Before => before(i) as u32,
                Rule::After | Rule::Share => (before(i) + 1).min(last) as u32,
            };
        }
        for (i, share) in call.output.iter_mut().enumerate() {
            let distance = self.source_position(i) - before(i) as f64;
            *share = T::of(distance.clamp(0.0, 1.0));
        }
    }

    fn vjp<'g>(&self, _: usize, _: VjpInputs<'g>) -> Gradient<'g> {
        Gradient::Constant
    }

    fn attributes(&self) -> Attributes {
        let rule = match self.rule {
            Rule::Nearest => "nearest",
            Rule::Before => "before",
            Rule::After => "after",
            Rule::Share => "share",
        };
        let attributes = Attributes::new().with("rule", rule).with("from", self.from).quiet("to", self.to);
        match self.rule {
            Rule::Nearest => attributes,
            _ => attributes.unless("align_corners", self.align_corners, false),
        }
    }

    fn index_bound(&self, _: &[&TensorType], _: Option<u32>) -> Option<usize> {
        Some(self.from)
    }
}

impl Positions {
    /// ⌊i · from / to⌋, without rounding.
    fn covering(&self, i: usize) -> u32 {
        (i as u128 * self.from as u128 / self.to as u128) as u32
    }

    /// Where pixel i lies, in pixels from the first one's centre.
    fn source_position(&self, i: usize) -> f64 {
        let (from, to, i) = (self.from as f64, self.to as f64, i as f64);
        match self.align_corners {
            true if self.to == 1 => 0.0,
            true => i * ((from - 1.0) / (to - 1.0)),
            false => ((i + 0.5) * (from / to) - 0.5).max(0.0),
        }
    }
}

impl<'g> Var<'g> {
    /// Images `[N, C, H, W]` in the size \[H', W'\] (one number stands for both), larger or smaller: each pixel is
    /// the one that covers its upper left corner, ⌊i · H / H'⌋. That is PyTorch's `nearest`, which rounds H / H' first
    /// and so reads the neighbour before at a few sizes.
    ///
    /// ```
    /// use dagrad::Graph;
    /// use ndarray::array;
    ///
    /// let graph = Graph::new();
    /// let x = graph.constant(array![[[[1.0, 2.0]]]]);
    /// let y = x.upsample_nearest([1, 5]).eval::<f64>(&[])?;
    /// assert_eq!(y, array![[[[1.0, 1.0, 1.0, 2.0, 2.0]]]].into_dyn());
    /// # Ok::<(), dagrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// Recorded on the graph: no image, one without pixels, a size of 0.
    #[track_caller]
    pub fn upsample_nearest(self, size: impl Into<Pair>) -> Var<'g> {
        let size = size.into().0;
        let _composite = self.graph().composed("upsample_nearest", Attributes::new().with("size", size));
        match image_size(self, size) {
            Ok(sizes) => self.at_nearest(2, sizes[0], size[0]).at_nearest(3, sizes[1], size[1]),
            Err(problem) => self.graph().refuse("upsample_nearest", &["image"], &[self], problem).or_rank(4),
        }
    }

    /// [`upsample_nearest`](Self::upsample_nearest) to so many times the size: each pixel becomes a block.
    #[track_caller]
    pub fn upsample_nearest_by(self, factor: impl Into<Pair>) -> Var<'g> {
        let _called = self.graph().called("upsample_nearest_by");
        let factor = factor.into().0;
        match image_size(self, factor) {
            Ok(sizes) => self.upsample_nearest([0, 1].map(|axis| sizes[axis].saturating_mul(factor[axis]))),
            Err(problem) => self.graph().refuse("upsample_nearest", &["image"], &[self], problem).or_rank(4),
        }
    }

    /// Images `[N, C, H, W]` in the size \[H', W'\] (one number stands for both), larger or smaller: each pixel is
    /// mixed of the four around its position, by its distance from them. With `align_corners` the centres of the corner
    /// pixels stay where they are, i (H − 1) / (H' − 1); without, their outer edges, max(0, (i + ½) H / H' − ½). As in
    /// PyTorch, a smaller image is not smoothed before.
    ///
    /// # Errors
    /// Recorded on the graph: no image, one without pixels, a size of 0.
    #[track_caller]
    pub fn upsample_bilinear(self, size: impl Into<Pair>, align_corners: bool) -> Var<'g> {
        let size = size.into().0;
        let attributes = Attributes::new().with("size", size).with("align_corners", align_corners);
        let _composite = self.graph().composed("upsample_bilinear", attributes);
        match image_size(self, size) {
            Ok(sizes) => {
                let wider = self.between(3, sizes[1], size[1], align_corners);
                wider.between(2, sizes[0], size[0], align_corners)
            }
            Err(problem) => self.graph().refuse("upsample_bilinear", &["image"], &[self], problem).or_rank(4),
        }
    }

    /// The nearest of `from` pixels along an axis, for each of `to`.
    #[track_caller]
    fn at_nearest(self, axis: isize, from: usize, to: usize) -> Var<'g> {
        let nearest = Positions { from, to, rule: Rule::Nearest, align_corners: false };
        self.index_select(axis, self.graph().record(nearest, &[]))
    }

    /// Mixed of the two neighbours among `from` pixels along axis 2 or 3, for each of `to`.
    #[track_caller]
    fn between(self, axis: isize, from: usize, to: usize, align_corners: bool) -> Var<'g> {
        let (graph, asked) = (self.graph(), |rule| Positions { from, to, rule, align_corners });
        let before = self.index_select(axis, graph.record(asked(Rule::Before), &[]));
        let after = self.index_select(axis, graph.record(asked(Rule::After), &[]));
        let share = graph.record(asked(Rule::Share), &[]);
        let share = if axis == 2 { share.reshape([to, 1]) } else { share };
        before * (1.0 - share) + after * share
    }
}

/// Height and width of an image that can become one of `size`.
fn image_size(image: Var<'_>, size: [usize; 2]) -> Result<[usize; 2], Problem> {
    let [_, _, height, width] = image_sizes(&image.ty())?;
    if height.min(width).min(size[0]).min(size[1]) == 0 {
        let text = format!("{height}×{width} pixels cannot become {}×{}", size[0], size[1]);
        return Err(Problem::new(text).hint("there is at least one pixel before, and one after"));
    }
    if height.max(width) > u32::MAX as usize {
        return Err(Problem::new(format!("{height}×{width} pixels are more in a row than an index counts")));
    }
    Ok([height, width])
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    let bilinear = |name: &str, image: [usize; 4], size: [usize; 2], align_corners: bool| {
        linear(name, [normal(image)], move |v| v[0].upsample_bilinear(size, align_corners))
    };
    vec![
        linear("nearest", [normal([2, 3, 2, 4])], |v| v[0].upsample_nearest([3, 7])),
        linear("nearest of fewer", [normal([1, 2, 5, 4])], |v| v[0].upsample_nearest([2, 3])),
        linear("blocks", [normal([1, 2, 2, 3])], |v| v[0].upsample_nearest_by([3, 2])),
        linear("nearest of an empty batch", [normal([0, 2, 2, 3])], |v| v[0].upsample_nearest(4)),
        bilinear("bilinear", [2, 1, 2, 3], [5, 4], false),
        bilinear("bilinear with aligned corners", [1, 2, 3, 2], [4, 5], true),
        bilinear("bilinear of fewer", [1, 2, 5, 4], [2, 3], false),
        bilinear("bilinear of one pixel", [1, 2, 1, 1], [2, 3], true),
        bilinear("bilinear to one pixel", [1, 2, 3, 4], [1, 1], true),
        smooth("of a square", [normal([1, 1, 2, 3])], |v| (v[0] * v[0]).upsample_bilinear(4, false)),
    ]
}
