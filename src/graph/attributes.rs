//! The parameters of an operation: names with typed values, which listings print and exporters read.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use ndarray::ArrayD;

use crate::shape::{Remainder, Shape, Window};

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    /// Whether something is so.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Whole numbers, such as a shape or axes.
    Ints(Vec<i64>),
    /// `[vertical, horizontal]`.
    Pair([usize; 2]),
    /// A real number.
    Float(f64),
    /// A word or a line.
    Text(Cow<'static, str>),
    /// An array of real numbers.
    Reals(Arc<ArrayD<f64>>),
    /// An array of indices.
    Indices(Arc<ArrayD<u32>>),
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Ints(values) => write!(f, "{values:?}"),
            Self::Pair([vertical, horizontal]) => write!(f, "{vertical}×{horizontal}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
            Self::Reals(values) => write!(f, "{:?}", values.shape()),
            Self::Indices(values) => write!(f, "{:?}", values.shape()),
        }
    }
}

macro_rules! values {
    ($($from:ty: $value:ident => $attribute:expr;)*) => {$(
        impl From<$from> for Attribute {
            fn from($value: $from) -> Self {
                $attribute
            }
        }
    )*};
}
values! {
    bool: value => Self::Bool(value);
    i64: value => Self::Int(value);
    i32: value => Self::Int(value.into());
    u32: value => Self::Int(value.into());
    u64: value => Self::Int(value as i64);
    usize: value => Self::Int(value as i64);
    f64: value => Self::Float(value);
    &'static str: value => Self::Text(value.into());
    String: value => Self::Text(value.into());
    [usize; 2]: value => Self::Pair(value);
    Vec<i64>: values => Self::Ints(values);
    &[isize]: values => Self::Ints(values.iter().map(|&value| value as i64).collect());
    &[usize]: values => Self::Ints(values.iter().map(|&value| value as i64).collect());
    &Shape: shape => Self::from(&shape[..]);
    Arc<ArrayD<f64>>: values => Self::Reals(values);
    Arc<ArrayD<u32>>: values => Self::Indices(values);
}

/// The attributes of an operation, in the order in which listings print them. Together with its name they tell it from
/// every other operation, and suffice to record it again.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attributes(Vec<(&'static str, Attribute, bool)>);

impl Attributes {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more.
    pub fn with(mut self, name: &'static str, value: impl Into<Attribute>) -> Self {
        self.0.push((name, value.into(), true));
        self
    }

    /// With one more that listings leave out where it is `usual`.
    pub fn unless(
        self,
        name: &'static str,
        value: impl Into<Attribute>,
        usual: impl Into<Attribute>,
    ) -> Self {
        let value = value.into();
        if value == usual.into() { self.quiet(name, value) } else { self.with(name, value) }
    }

    /// With one more that listings leave out, because the result's shape shows it, or it is long.
    pub fn quiet(mut self, name: &'static str, value: impl Into<Attribute>) -> Self {
        self.0.push((name, value.into(), false));
        self
    }

    /// With those of a window.
    pub fn window(self, window: Window) -> Self {
        self.with("window", window.kernel)
            .with("stride", window.stride)
            .with("padding", window.padding)
            .unless("padding_after", window.padding_after, window.padding)
            .unless("dilation", window.dilation, [1; 2])
            .unless("ceil_mode", window.remainder == Remainder::Covered, false)
            .unless("exact", window.remainder == Remainder::Refused, false)
    }

    /// The value of an attribute.
    pub fn get(&self, name: &str) -> Option<&Attribute> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Attribute)> {
        self.0.iter().map(|(name, value, _)| (*name, value))
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.iter().filter(|(.., is_shown)| *is_shown);
        let texts: Vec<String> = shown.map(|(name, value, _)| format!("{name} {value}")).collect();
        f.write_str(&texts.join(", "))
    }
}
