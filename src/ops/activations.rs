//! The rectifier's relatives, each composed of other operations.
//!
//! They are fused into one step like any chain of elementwise functions.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};

use super::example::{Example, away_from_zero, normal, smooth};
use crate::graph::setting::NUMBER;
use crate::graph::{Attributes, Var};

impl<'g> Var<'g> {
    /// Each element between two bounds: min(max(x, `least`), `most`). The derivative is 0 beyond the bounds and on them, as
    /// in PyTorch; NaN stays NaN.
    ///
    /// # Errors
    /// Recorded on the graph: a bound of NaN.
    #[track_caller]
    pub fn clamp(self, least: f64, most: f64) -> Var<'g> {
        let _composite =
            self.graph().composed("clamp", Attributes::new().with("least", least).with("most", most));
        self.at_least(least).at_most(most)
    }

    /// x where x > 0, else `slope` · x. The derivative at 0 is the slope, as in PyTorch.
    ///
    /// # Errors
    /// Recorded on the graph: a slope that is infinite or NaN.
    #[track_caller]
    pub fn leaky_relu(self, slope: f64) -> Var<'g> {
        let _composite = self.graph().composed("leaky_relu", Attributes::new().with("slope", slope));
        self.graph().require("leaky_relu", "slope", slope, NUMBER);
        self.relu() + self.min_zero() * slope
    }

    /// [`leaky_relu`](Self::leaky_relu) with learned slopes, which are broadcast: one for all, or shaped `[C, 1, 1]` one
    /// for each channel of `[N, C, H, W]` (He and others, *Delving Deep into Rectifiers*, 2015).
    ///
    /// # Errors
    /// Recorded on the graph: shapes that cannot be broadcast.
    #[track_caller]
    pub fn prelu(self, slope: Var<'g>) -> Var<'g> {
        let _composite = self.graph().composed("prelu", Attributes::new());
        self.relu() + self.min_zero() * slope
    }

    /// x where x > 0, else `alpha` · (eˣ − 1) (Clevert and others, *Exponential Linear Units*, 2015).
    ///
    /// # Errors
    /// Recorded on the graph: an `alpha` that is infinite or NaN.
    #[track_caller]
    pub fn elu(self, alpha: f64) -> Var<'g> {
        let _composite = self.graph().composed("elu", Attributes::new().with("alpha", alpha));
        self.graph().require("elu", "alpha", alpha, NUMBER);
        self.relu() + self.min_zero().exp_m1() * alpha
    }

    /// The self-normalising 1.0507 · elu(x), α = 1.6733 (Klambauer and others, *Self-Normalizing Neural Networks*, 2017).
    #[track_caller]
    pub fn selu(self) -> Var<'g> {
        let _composite = self.graph().composed("selu", Attributes::new());
        self.elu(1.673_263_242_354_377_2) * 1.050_700_987_355_480_5
    }

    /// x · Φ(x) = x/2 · (1 + erf(x/√2)), where Φ is the normal distribution (Hendrycks and Gimpel, *Gaussian Error Linear
    /// Units*, 2016).
    #[track_caller]
    pub fn gelu(self) -> Var<'g> {
        let _composite = self.graph().composed("gelu", Attributes::new());
        self * 0.5 * ((self * FRAC_1_SQRT_2).erf() + 1.0)
    }

    /// The approximation of [`gelu`](Self::gelu) by x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))).
    #[track_caller]
    pub fn gelu_tanh(self) -> Var<'g> {
        let _composite = self.graph().composed("gelu_tanh", Attributes::new());
        // √(2/π) is 2/√π divided by √2.
        let inner = (self + self.powi(3) * 0.044715) * (FRAC_2_SQRT_PI / SQRT_2);
        self * 0.5 * (inner.tanh() + 1.0)
    }

    /// x · sigmoid(x), also called swish (Elfwing and others, *Sigmoid-Weighted Linear Units*, 2017).
    #[track_caller]
    pub fn silu(self) -> Var<'g> {
        let _composite = self.graph().composed("silu", Attributes::new());
        self * self.sigmoid()
    }

    /// x · tanh(softplus(x)) (Misra, *Mish*, 2019).
    #[track_caller]
    pub fn mish(self) -> Var<'g> {
        let _composite = self.graph().composed("mish", Attributes::new());
        self * self.softplus().tanh()
    }

    /// x · min(max(x + 3, 0), 6) / 6, a [`silu`](Self::silu) without exponentials (Howard and others, *Searching for
    /// MobileNetV3*, 2019).
    #[track_caller]
    pub fn hardswish(self) -> Var<'g> {
        let _composite = self.graph().composed("hardswish", Attributes::new());
        self * (self + 3.0).clamp(0.0, 6.0) * (1.0 / 6.0)
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    let kinked = || [away_from_zero([2, 3, 2])];
    let sample = || [normal([2, 3, 2])];
    vec![
        Example::new("clamp", [away_from_zero([13])], |v| (v[0] * v[0]).clamp(0.005, 1.0)),
        Example::new("leaky_relu", kinked(), |v| v[0].leaky_relu(0.3)),
        Example::new("leaky_relu that turns back", kinked(), |v| v[0].leaky_relu(-2.0)),
        Example::new("prelu", [away_from_zero([2, 3, 2, 1]), normal([3, 1, 1])], |v| v[0].prelu(v[1])),
        Example::new("elu", kinked(), |v| v[0].elu(0.7)),
        Example::new("selu", kinked(), |v| v[0].selu()),
        smooth("gelu", sample(), |v| v[0].gelu()),
        smooth("gelu_tanh", sample(), |v| v[0].gelu_tanh()),
        smooth("silu", sample(), |v| v[0].silu()),
        smooth("mish", sample(), |v| v[0].mish()),
        Example::new("hardswish", sample(), |v| v[0].hardswish()),
    ]
}
