//! Channels spread over pixels, and the way back: two reshapes with a permutation between.

use super::example::{Example, linear, normal, smooth};
use crate::error::Problem;
use crate::graph::{Attributes, Var};

impl<'g> Var<'g> {
    /// Images `[N, C·r², H, W]` as `[N, C, H·r, W·r]`: each pixel becomes r×r pixels, of as many channels (Shi and
    /// others, *Real-Time Single Image and Video Super-Resolution*, 2016).
    ///
    /// ```
    /// use dagrad::Graph;
    ///
    /// let graph = Graph::new();
    /// let x = graph.input("x", [2, 12, 5, 7]);
    /// assert_eq!(x.pixel_shuffle(2).shape(), [2, 3, 10, 14].into());
    /// assert_eq!(x.pixel_shuffle(2).pixel_unshuffle(2).shape(), x.shape());
    /// ```
    ///
    /// # Errors
    /// Recorded on the graph: no image, a factor of 0, channels that are no multiple of r².
    #[track_caller]
    pub fn pixel_shuffle(self, factor: usize) -> Var<'g> {
        let _composite = self.graph().composed("pixel_shuffle", Attributes::new().with("factor", factor));
        let (shape, block) = (self.shape(), factor.checked_mul(factor).filter(|&block| block > 0));
        match (&shape[..], block) {
            (&[n, c, h, w], Some(block)) if c % block == 0 => {
                let parts = self.reshape([n, c / block, factor, factor, h, w]);
                // Beyond any number only if there are no channels; the reshape refuses it.
                let (h, w) = (h.saturating_mul(factor), w.saturating_mul(factor));
                parts.permute(&[0, 1, 4, 2, 5, 3]).reshape([n, c / block, h, w])
            }
            _ => {
                let text = format!("image {shape} has no pixels of {factor}×{factor} channels");
                let hint =
                    "images are [batch, channels, height, width], channels a multiple of the factor's square";
                let problem = Problem::new(text).hint(hint);
                self.graph().refuse("pixel_shuffle", &["image"], &[self], problem).or_rank(4)
            }
        }
    }

    /// The inverse of [`pixel_shuffle`](Self::pixel_shuffle): images `[N, C, H·r, W·r]` as `[N, C·r², H, W]`.
    ///
    /// # Errors
    /// Recorded on the graph: no image, a factor of 0, a height or width that is no multiple of it.
    #[track_caller]
    pub fn pixel_unshuffle(self, factor: usize) -> Var<'g> {
        let _composite = self.graph().composed("pixel_unshuffle", Attributes::new().with("factor", factor));
        let shape = self.shape();
        match shape[..] {
            [n, c, h, w] if factor > 0 && h % factor == 0 && w % factor == 0 => {
                let (h, w) = (h / factor, w / factor);
                let parts = self.reshape([n, c, h, factor, w, factor]);
                // Beyond any number only if there are no pixels; the reshape refuses it.
                let channels = c.saturating_mul(factor).saturating_mul(factor);
                parts.permute(&[0, 1, 3, 5, 2, 4]).reshape([n, channels, h, w])
            }
            _ => {
                let text = format!("image {shape} does not consist of blocks {factor}×{factor}");
                let hint =
                    "images are [batch, channels, height, width], height and width multiples of the factor";
                let problem = Problem::new(text).hint(hint);
                self.graph().refuse("pixel_unshuffle", &["image"], &[self], problem).or_rank(4)
            }
        }
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    vec![
        linear("channels to pixels", [normal([2, 8, 3, 1])], |v| v[0].pixel_shuffle(2)),
        linear("pixels to channels", [normal([1, 2, 3, 6])], |v| v[0].pixel_unshuffle(3)),
        linear("there and back", [normal([1, 4, 2, 3])], |v| v[0].pixel_shuffle(2).pixel_unshuffle(2)),
        smooth("beside itself", [normal([1, 4, 1, 2])], |v| {
            v[0].pixel_shuffle(2) * v[0].pixel_shuffle(2).exp()
        }),
        linear("an empty batch", [normal([0, 4, 2, 3])], |v| v[0].pixel_shuffle(2)),
    ]
}
