//! How a parameter starts.

use std::fmt;

/// How a parameter starts. The numbers are a pure function of the store's seed and the parameter's name, so
/// they do not depend on the order in which a network is written down. A deviation or a limit that is negative, infinite or NaN
/// is refused where the parameter is recorded, and so is a start at NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Every element is this number.
    Constant(f64),
    /// Independent normal numbers of mean 0.
    Normal {
        /// Their standard deviation.
        std: f64,
    },
    /// Independent numbers spread evenly between −`limit` and `limit`.
    Uniform {
        /// The largest magnitude.
        limit: f64,
    },
}

impl Init {
    /// All zeros.
    pub const ZEROS: Init = Init::Constant(0.0);
    /// All ones.
    pub const ONES: Init = Init::Constant(1.0);

    /// He's initialisation for layers followed by relu: normal with variance 2 / fan-in
    /// (He et al. 2015, "Delving Deep into Rectifiers").
    pub fn he(fan_in: usize) -> Self {
        Self::Normal { std: (2.0 / fan_in.max(1) as f64).sqrt() }
    }

    /// Glorot's initialisation for layers followed by sigmoid or tanh: normal with variance
    /// 2 / (fan-in + fan-out) (Glorot and Bengio 2010).
    pub fn xavier(fan_in: usize, fan_out: usize) -> Self {
        Self::Normal { std: (2.0 / fan_in.saturating_add(fan_out).max(1) as f64).sqrt() }
    }
}

impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(value) => write!(f, "{value}"),
            Self::Normal { std } => write!(f, "normal(std {std:.4})"),
            Self::Uniform { limit } => write!(f, "uniform(±{limit:.4})"),
        }
    }
}
