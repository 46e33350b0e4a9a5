//! Dropout: a random mask that is drawn anew at each step.

use std::sync::Arc;

use super::example::{Example, linear, normal, smooth};
use super::operands::no_image;
use crate::error::Problem;
use crate::graph::NodeRef;
use crate::graph::kernel::Definition;
use crate::graph::lowering::{Lowered, Target};
use crate::graph::setting::check;
use crate::graph::{Attributes, Call, Gradient, Mode, Op, TensorType, Var, VjpInputs};
use crate::shape::{Layout, Shape};
use dagrad_kernels::random;
use dagrad_kernels::real::Real;

/// An array of independent elements, 0 with probability `drop` and 1 / (1 − drop) otherwise.
///
/// The mask is a value of its own. So forward, backward and derivatives of every order read the same one.
#[derive(Debug, Clone, PartialEq)]
pub struct Mask {
    shape: Shape,
    drop: f64,
    /// Tells the masks of one graph apart.
    stream: u64,
    /// In which layout an array of four axes is written: the same numbers either way.
    layout: Layout,
}

impl Op for Mask {
    fn name(&self) -> &'static str {
        "dropout_mask"
    }

    fn infer(&self, _: &[&TensorType]) -> Result<TensorType, Problem> {
        Ok(TensorType::real(match self.layout {
            Layout::Nchw => self.shape.clone(),
            Layout::Nhwc => Layout::Nhwc.shape(Layout::Nchw.sizes(&self.shape)),
        }))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let keep = 1.0 - self.drop;
        let scale = if keep > 0.0 { 1.0 / keep } else { 0.0 };
        let source = [call.random.seed, self.stream, call.random.step];
        match self.layout {
            Layout::Nchw => random::mask(source, keep, scale, call.output, call.workers),
            Layout::Nhwc => {
                let [_, channels, height, width] = Layout::Nchw.sizes(&self.shape);
                let image = [channels, height * width];
                random::mask_nhwc(source, keep, scale, image, call.output, call.workers);
            }
        }
    }

    fn vjp<'g>(&self, _: usize, _: VjpInputs<'g>) -> Gradient<'g> {
        Gradient::Constant
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().with("drop", self.drop).quiet("stream", self.stream).quiet("shape", &self.shape)
    }

    fn lower(&self, _: NodeRef<'_>, _: Target) -> Option<Lowered> {
        let mask = || Arc::new(Definition(Arc::new(Self { layout: Layout::Nhwc, ..self.clone() })));
        (self.shape.len() == 4).then(|| Lowered::new(mask(), []))
    }
}

impl<'g> Var<'g> {
    /// Drops each element with probability `drop` while training, and multiplies the others by 1 / (1 − drop), which keeps
    /// the mean (Srivastava et al. 2014). On a graph for evaluation it is the identity.
    ///
    /// The mask follows from the store's seed, its count of steps and the mask's node. Predictions can drop elements as well
    /// (Monte Carlo dropout): see [`Store::set_step`](crate::Store::set_step).
    ///
    /// ```
    /// use dagrad::{Graph, Mode};
    /// use ndarray::Array1;
    ///
    /// for (mode, kept) in [(Mode::Train, [0.0, 2.0]), (Mode::Evaluate, [1.0, 1.0])] {
    ///     let graph = Graph::with_mode(mode);
    ///     let x = graph.input("x", [100]);
    ///     let y = x.dropout(0.5).eval::<f64>(&[x.feed(&Array1::<f64>::ones(100))])?;
    ///     assert!(y.iter().all(|number| kept.contains(number)));
    /// }
    /// # Ok::<(), dagrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// Recorded on the graph: a probability that is NaN or outside of \[0, 1\].
    #[track_caller]
    pub fn dropout(self, drop: f64) -> Var<'g> {
        self.drop_parts("dropout", self.shape(), drop)
    }

    /// [`dropout`](Self::dropout) of whole channels of images `[N, C, H, W]` (Tompson et al. 2015). Neighbouring pixels say much
    /// the same, so dropping single ones hides little.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout); no images.
    #[track_caller]
    pub fn dropout2d(self, drop: f64) -> Var<'g> {
        let shape = self.shape();
        let &[batch, channels, _, _] = &shape[..] else {
            let problem = no_image(&self.ty()).hint("`dropout` takes any shape");
            return self.graph().refuse("dropout2d", &["image"], &[self], problem).or_rank(4);
        };
        self.drop_parts("dropout2d", [batch, channels, 1, 1].into(), drop)
    }

    /// With one mask for all elements that share an element of `shape`.
    #[track_caller]
    fn drop_parts(self, name: &'static str, shape: Shape, drop: f64) -> Var<'g> {
        let graph = self.graph();
        if let Err(problem) = check("the probability to drop", drop, 0.0..=1.0) {
            return graph.refuse(name, &["x"], &[self], problem);
        }
        if graph.mode() == Mode::Evaluate || drop == 0.0 {
            return self;
        }
        let _composite = graph.composed(name, Attributes::new().with("drop", drop));
        let stream = graph.dag().len() as u64;
        self * graph.record(Mask { shape, drop, stream, layout: Layout::Nchw }, &[])
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    vec![
        linear("half", [normal([3, 4])], |v| v[0].dropout(0.5)),
        smooth("two masks", [normal([40])], |v| v[0].dropout(0.3) * v[0].dropout(0.3)),
        linear("channels", [normal([2, 5, 3, 2])], |v| v[0].dropout2d(0.4)),
        linear("everything", [normal([3])], |v| v[0].dropout(1.0)),
        linear("nothing", [normal([3])], |v| v[0].dropout(0.0)),
    ]
}
