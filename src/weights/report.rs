//! What fits a store and what does not, in words.

use std::fmt;

use crate::error::{Error, SourceLine, nearest};

/// What a store took from weights, and what it did not. Printed, it lists everything that does not fit.
///
/// Shapes are those of the file: of a linear layer's weight `[outputs, inputs]`.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Loaded {
    /// The names that were loaded.
    pub loaded: Vec<String>,
    /// What the store has and the weights lack.
    pub missing: Vec<Unmatched>,
    /// What the weights have and the store lacks.
    pub extra: Vec<Unmatched>,
    /// What both have, in different shapes.
    pub misshapen: Vec<Misshapen>,
    /// The names that were loaded and hold a NaN or an infinity.
    pub not_finite: Vec<String>,
}

/// A name that only the store has, or only the weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmatched {
    /// The name.
    pub name: String,
    /// The shape under it.
    pub shape: Vec<usize>,
}

/// A name under which weights and store have different shapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misshapen {
    /// The name.
    pub name: String,
    /// The shape in the weights.
    pub found: Vec<usize>,
    /// The shape that the store needs.
    pub expected: Vec<usize>,
}

/// How many pairs of names are compared to find near ones.
const MAX_COMPARISONS: usize = 10_000;

impl Loaded {
    /// Whether every name fits.
    pub fn fits(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty() && self.misshapen.is_empty()
    }

    /// The error of a store that takes all or nothing.
    pub(super) fn error(&self, source: &str, site: SourceLine) -> Error {
        let unfit = self.missing.len() + self.extra.len() + self.misshapen.len();
        let hint = self.hint().map_or_else(String::new, |hint| format!("\n  hint: {hint}"));
        let message = format!("{source} do not fit the store: {unfit} names{self}{hint}");
        Error::Weights { message, site }
    }

    /// What would make more of it fit.
    fn hint(&self) -> Option<String> {
        if self.loaded.is_empty() && self.misshapen.is_empty() && self.missing.is_empty() {
            return Some("the store is empty; `Store::prepare` starts the parameters of a plan".to_owned());
        }
        let first = self.missing.first()?;
        let prefix = |longer: &Unmatched, shorter: &str| {
            let prefix = longer.name.strip_suffix(shorter)?;
            (!prefix.is_empty()).then(|| prefix.to_owned())
        };
        if let Some(prefix) = self.extra.iter().find_map(|extra| prefix(extra, &first.name)) {
            return Some(format!("`strip_prefix({prefix:?})` takes away what their names begin with"));
        }
        if let Some(prefix) = self.extra.iter().find_map(|extra| prefix(first, &extra.name)) {
            return Some(format!("`rename(\"\", {prefix:?})` adds what the store's names begin with"));
        }
        Some("`rename` changes names, and `load_lenient` takes what fits".to_owned())
    }
}

impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let near = |name: &str, others: &[Unmatched], others_count: usize| {
            let few = MAX_COMPARISONS / others_count.max(1);
            nearest(name, others.iter().take(few).map(|other| other.name.as_str()))
        };
        for Unmatched { name, shape } in &self.missing {
            let nearest = near(name, &self.extra, self.missing.len());
            write!(f, "\n  missing: {name:?} {shape:?}{nearest}")?;
        }
        for Unmatched { name, shape } in &self.extra {
            write!(f, "\n  not in the store: {name:?} {shape:?}")?;
        }
        for Misshapen { name, found, expected } in &self.misshapen {
            let is_reversed = found.iter().rev().eq(expected);
            let hint = if is_reversed { "; transposed?" } else { "" };
            write!(f, "\n  other shape: {name:?} is {found:?}, but the store needs {expected:?}{hint}")?;
        }
        self.not_finite
            .iter()
            .try_for_each(|name| write!(f, "\n  not finite: {name:?} holds a NaN or an infinity"))
    }
}
