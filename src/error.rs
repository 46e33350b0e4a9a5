//! Errors that say what went wrong, with which shapes, on which line of the user's code, and what to do.

use std::fmt;
use std::panic::Location;
use std::path::PathBuf;

use crate::shape::Shape;
pub use dagrad_kernels::problem::Problem;

/// What every fallible function of the crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong. No misuse of the crate panics; it ends here.
///
/// It prints the same with `{:?}` as with `{}`, so that `fn main() -> dagrad::Result<()>` and `unwrap` show the message.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// An operation was recorded or differentiated in a way that its rules do not allow.
    Op(Box<OpError>),

    /// Something asked for a gradient that does not exist because no path leads there.
    Unreached {
        /// What was differentiated: its name, or what made it and where.
        target: String,
        /// The parameters or other values that no path reaches, likewise.
        names: Vec<String>,
        /// The line that asked.
        site: SourceLine,
    },

    /// A value given to a plan does not fit the input it is meant for.
    Feed {
        /// The input's name.
        input: String,
        /// What does not fit.
        message: String,
        /// The line that gave it.
        site: SourceLine,
    },

    /// A parameter in a store does not fit the network, or is missing.
    Parameter {
        /// The parameter's name.
        name: String,
        /// What does not fit.
        message: String,
        /// The line that asked for it.
        site: SourceLine,
    },

    /// Weights do not fit a store; see [`weights`](crate::weights).
    Weights {
        /// All names that do not fit, with their shapes.
        message: String,
        /// The line that asked.
        site: SourceLine,
    },

    /// A data file is damaged or does not hold what was asked for.
    Data {
        /// The file (or folder).
        path: PathBuf,
        /// What is wrong, with the byte offset or the sample.
        message: String,
    },

    /// A setting outside its range, such as a batch size of zero.
    Setting {
        /// Which setting.
        setting: String,
        /// What is wrong with it.
        message: String,
        /// The line that gave it.
        site: SourceLine,
    },

    /// The machine refused the memory that a plan needs.
    Memory {
        /// How much was asked for.
        bytes: usize,
        /// What for.
        what: &'static str,
        /// The line that needs it.
        site: SourceLine,
    },

    /// A checked run met a NaN or an infinity; see [`Workspace::check_values`](crate::Workspace::check_values).
    NotFinite(Box<NotFinite>),

    /// A training run met a loss that is NaN or infinite; see [`FitOptions`](crate::train::FitOptions).
    Diverged {
        /// Which loss: `loss`, of a batch, or `test loss`.
        what: &'static str,
        /// The loss.
        loss: f64,
        /// The step that was the last.
        step: u64,
        /// The epoch, from 1.
        epoch: usize,
        /// The line that trains.
        site: SourceLine,
    },

    /// A kernel failed during a run.
    Kernel(Box<OpError>),

    /// A gradient check found a rule that disagrees with finite differences.
    Check(Box<Mismatch>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Op(error) | Self::Kernel(error) => error.fmt(f),
            Self::Unreached { target, names, site } => write!(
                f,
                "gradient at {site}: {target} does not depend on {}; its gradient would be a silent zero\n  \
                 hint: use it in the network, or ask for the gradient only of what the loss reaches",
                names.join(", ")
            ),
            Self::Feed { input, message, site } => write!(f, "input {input} at {site}: {message}"),
            Self::Parameter { name, message, site } => write!(f, "parameter {name} at {site}: {message}"),
            Self::Weights { message, site } => write!(f, "weights at {site}: {message}"),
            Self::Data { path, message } => write!(f, "{}: {message}", path.display()),
            Self::Setting { setting, message, site } => write!(f, "{setting} at {site}: {message}"),
            Self::Memory { bytes, what, site } => {
                write!(f, "out of memory at {site}: {bytes} bytes for {what}")
            }
            Self::NotFinite(error) => error.fmt(f),
            Self::Diverged { what, loss, step, epoch, site } => write!(
                f,
                "training at {site}: the {what} is {loss} at step {step}, in epoch {epoch}\n  \
                 hint: use a smaller learning rate or `clip_norm`; `check_values` of the model's workspace names the \
                 operation that makes the first such number"
            ),
            Self::Check(error) => error.fmt(f),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

macro_rules! errors {
    ($($error:ident => $variant:ident),*) => {$(
        impl std::error::Error for $error {}

        impl From<Box<$error>> for Error {
            fn from(error: Box<$error>) -> Self {
                Self::$variant(error)
            }
        }
    )*};
}
errors!(OpError => Op, NotFinite => NotFinite, Mismatch => Check);

/// A check that failed: where, and the two values that disagree; see [`check`](crate::check).
#[derive(Debug, Clone, PartialEq)]
pub struct Mismatch {
    /// The example or network.
    pub example: String,
    /// What was checked, such as `derivative of order 1` or `2 threads against 1`.
    pub check: String,
    /// Which operand or parameter, or which result.
    pub of: String,
    /// The element that is farthest off.
    pub element: Vec<usize>,
    /// What the engine computed.
    pub found: f64,
    /// What it was compared with.
    pub expected: f64,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { example, check, of, element, found, expected } = self;
        write!(f, "{example}: {check} of {of} at {element:?} is {found:e}, expected {expected:e}")
    }
}

/// The first NaN or infinity of a checked run.
#[derive(Debug, Clone, PartialEq)]
pub struct NotFinite {
    /// The operation; where several became one step, all of them in order.
    pub op: String,
    /// The layer that it belongs to, if any.
    pub layer: Option<String>,
    /// The user's line behind it.
    pub site: SourceLine,
    /// Whether it is part of a gradient.
    pub is_gradient: bool,
    /// The value.
    pub value: f64,
    /// Where in the result it is, in row-major order.
    pub position: usize,
    /// The result's shape.
    pub shape: Shape,
}

impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { op, layer, site, is_gradient, value, position, shape } = self;
        let layer = layer.as_ref().map_or(String::new(), |layer| format!(" of layer {layer}"));
        let gradient = if *is_gradient { " (its gradient)" } else { "" };
        write!(f, "{op}{layer} at {site}{gradient} made {value} at position {position} of {shape}")
    }
}

/// A line of the user's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceLine {
    /// File as the compiler names it.
    pub file: &'static str,
    /// Line, from 1.
    pub line: u32,
}

impl SourceLine {
    /// The line that called the function marked `#[track_caller]` from which this is called.
    #[track_caller]
    pub fn caller() -> Self {
        let here = Location::caller();
        Self { file: here.file(), line: here.line() }
    }

    /// Whether it is a line of this crate.
    pub(crate) fn is_of_crate(&self) -> bool {
        let sources = file!().strip_suffix("error.rs");
        sources.is_some_and(|sources| self.file.starts_with(sources))
    }
}

impl fmt::Display for SourceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A misused operation, or one whose kernel failed: which, where, why, with which operands, and what to do about it.
#[derive(Debug, Clone, PartialEq)]
pub struct OpError {
    /// The operation's name.
    pub op: String,
    /// Where the user called it.
    pub site: SourceLine,
    /// What is wrong.
    pub problem: Problem,
    /// The operands, in order.
    pub operands: Vec<OperandNote>,
}

/// One operand in an [`OpError`].
#[derive(Debug, Clone, PartialEq)]
pub struct OperandNote {
    /// What the operation calls it, such as `weight`.
    pub role: String,
    /// Its shape.
    pub shape: Shape,
    /// What made it, such as `param "conv1.weight"`.
    pub source: String,
    /// Where it was made.
    pub site: SourceLine,
}

impl fmt::Display for OpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.op, self.site, self.problem.message)?;
        for operand in &self.operands {
            write!(f, "\n  {} {} {} at {}", operand.role, operand.shape, operand.source, operand.site)?;
        }
        self.problem.hint.iter().try_for_each(|hint| write!(f, "\n  hint: {hint}"))
    }
}

impl Error {
    /// A setting outside its range, given by the caller.
    #[track_caller]
    pub(crate) fn setting(setting: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Setting { setting: setting.into(), message: message.into(), site: SourceLine::caller() }
    }

    /// The same error, at the user's line wherever it is at one of the crate's own.
    pub(crate) fn at(mut self, site: SourceLine) -> Self {
        let sites: Vec<&mut SourceLine> = match &mut self {
            Self::Op(error) | Self::Kernel(error) => {
                let operands = error.operands.iter_mut().map(|operand| &mut operand.site);
                operands.chain([&mut error.site]).collect()
            }
            Self::NotFinite(error) => vec![&mut error.site],
            Self::Unreached { site, .. }
            | Self::Feed { site, .. }
            | Self::Parameter { site, .. }
            | Self::Memory { site, .. }
            | Self::Diverged { site, .. }
            | Self::Weights { site, .. }
            | Self::Setting { site, .. } => vec![site],
            Self::Data { .. } | Self::Check(_) => Vec::new(),
        };
        sites.into_iter().filter(|own| own.is_of_crate()).for_each(|own| *own = site);
        self
    }

    /// Memory that the machine refuses to the caller.
    #[track_caller]
    pub(crate) fn memory(bytes: usize, what: &'static str) -> Self {
        Self::Memory { bytes, what, site: SourceLine::caller() }
    }

    /// A value that does not fit its input, given by the caller.
    #[track_caller]
    pub(crate) fn feed(input: &str, message: impl Into<String>) -> Self {
        Self::Feed { input: input.to_owned(), message: message.into(), site: SourceLine::caller() }
    }

    /// A parameter that does not fit or is missing, asked for by the caller.
    #[track_caller]
    pub(crate) fn parameter(name: &str, message: impl Into<String>) -> Self {
        Self::Parameter { name: name.to_owned(), message: message.into(), site: SourceLine::caller() }
    }
}

/// Which of the names that exist was meant by one that does not, as the end of a sentence that says so: a name that differs in
/// a third of its letters at most, or in what stands before its last dot. If there is none, which names there are.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    const MOST: usize = 8;
    let known: Vec<&str> = known.collect();
    let last = |name: &str| name.rsplit(['.', '/']).next().map(str::to_owned);
    let near = known.iter().map(|known| (edits(name, known), known)).filter(|(distance, known)| {
        3 * distance <= name.chars().count().max(known.chars().count()) || last(name) == last(known)
    });
    if let Some((_, nearest)) = near.min_by_key(|(distance, _)| *distance) {
        return format!("; the nearest is {nearest:?}");
    }
    let names: Vec<String> = known.iter().take(MOST).map(|name| format!("{name:?}")).collect();
    match known.len() {
        0 => String::new(),
        1..=MOST => format!("; there are {}", names.join(", ")),
        _ => format!("; there are {}, ..", names.join(", ")),
    }
}

/// How many letters must be added, taken away or changed to get from one name to the other (Levenshtein's distance), where
/// a `*` of the first stands for any letters. Only the first hundred letters count.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().take(100).collect();
    // For each beginning of `to`, the distance from what has been read of `from`.
    let mut distances: Vec<usize> = (0..=to.len()).collect();
    for letter in from.chars().take(100) {
        if letter == '*' {
            (0..to.len()).for_each(|i| distances[i + 1] = distances[i + 1].min(distances[i]));
            continue;
        }
        let mut diagonal = distances[0];
        distances[0] += 1;
        for (i, other) in to.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = distances[i + 1];
            distances[i + 1] = changed.min(diagonal + 1).min(distances[i] + 1);
        }
    }
    distances[to.len()]
}
