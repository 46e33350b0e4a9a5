//! Values for a plan's inputs.

use std::sync::Arc;

use ndarray::{ArrayBase, ArrayViewD, Data, Dimension};

use super::workspace::Workspace;
use crate::compile::{Input, Plan};
use crate::error::{Error, Result, nearest};
use crate::graph::dag::Kind;
use crate::graph::{Dtype, TensorType, Var};
use dagrad_kernels::real::Real;
use dagrad_kernels::workers::Workers;

/// A value for one input. Make it by [`Var::feed`], or by name with [`Feed::new`].
#[derive(Debug, Clone)]
pub struct Feed<'a> {
    name: Name<'a>,
    value: Value<'a>,
}

#[derive(Debug, Clone)]
enum Name<'a> {
    Borrowed(&'a str),
    Shared(Arc<str>),
    /// Of a value that is no input, and what it is.
    NoInput(String, String),
}

/// An array that is given to an input. Real numbers of either precision fit a plan of either precision.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// Single precision.
    F32(ArrayViewD<'a, f32>),
    /// Double precision.
    F64(ArrayViewD<'a, f64>),
    /// Indices, such as classes.
    Index(ArrayViewD<'a, u32>),
}

impl<'a> Feed<'a> {
    /// A value for the input of this name.
    pub fn new(name: &'a str, value: impl Into<Value<'a>>) -> Self {
        Self { name: Name::Borrowed(name), value: value.into() }
    }

    /// The input's name.
    pub fn name(&self) -> &str {
        match &self.name {
            Name::Borrowed(name) => name,
            Name::Shared(name) => name,
            Name::NoInput(name, _) => name,
        }
    }
}

impl<'a> Feed<'a> {
    /// The value.
    #[cfg(feature = "viz")]
    pub(crate) fn value(&self) -> &Value<'a> {
        &self.value
    }

    /// The value's sizes.
    pub(crate) fn shape(&self) -> &[usize] {
        self.value.shape()
    }
}

impl<'g> Var<'g> {
    /// A value for this input at a run.
    pub fn feed<'a>(self, value: impl Into<Value<'a>>) -> Feed<'a> {
        let dag = self.graph().dag();
        let node = dag.node(self.id());
        let name = match (&node.kind, &node.label) {
            (Kind::Input, Some(label)) => Name::Shared(label.clone()),
            _ => Name::NoInput(self.name(), node.what()),
        };
        Feed { name, value: value.into() }
    }
}

/// A type of elements that can be given to an input: `f32`, `f64`, or `u32` for indices.
pub trait Element: Sized {
    /// The array as a value.
    fn value(array: ArrayViewD<'_, Self>) -> Value<'_>;
}

macro_rules! element {
    ($($element:ty => $variant:ident),*) => {$(
        impl Element for $element {
            fn value(array: ArrayViewD<'_, Self>) -> Value<'_> {
                Value::$variant(array)
            }
        }
    )*};
}
element!(f32 => F32, f64 => F64, u32 => Index);

impl<'a, E: Element, S: Data<Elem = E>, D: Dimension> From<&'a ArrayBase<S, D>> for Value<'a> {
    fn from(array: &'a ArrayBase<S, D>) -> Self {
        E::value(array.view().into_dyn())
    }
}

impl Value<'_> {
    fn shape(&self) -> &[usize] {
        match self {
            Self::F32(array) => array.shape(),
            Self::F64(array) => array.shape(),
            Self::Index(array) => array.shape(),
        }
    }

    fn dtype(&self) -> Dtype {
        if matches!(self, Self::Index(_)) { Dtype::Index } else { Dtype::Real }
    }
}

/// Whether each feed is for an input of the plan's graph and fits it, also where no result needs the input.
#[track_caller]
pub(super) fn check<T>(plan: &Plan<T>, feeds: &[Feed<'_>]) -> Result<()> {
    let inputs = &plan.recorded.inputs;
    for (number, feed) in feeds.iter().enumerate() {
        let found = inputs.iter().find(|(name, _)| **name == *feed.name());
        let (Some((_, ty)), Name::Borrowed(_) | Name::Shared(_)) = (found, &feed.name) else {
            return feed.refused(feed.no_input(plan));
        };
        if feeds[..number].iter().any(|earlier| earlier.name() == feed.name()) {
            return feed.refused("two values are given".into());
        }
        feed.fits(ty)?;
    }
    Ok(())
}

impl Feed<'_> {
    /// Why it is for no input of the plan's graph.
    fn no_input<T>(&self, plan: &Plan<T>) -> String {
        let names = plan.recorded.inputs.iter().map(|(name, _)| &**name);
        let other =
            || plan.recorded.others.iter().find(|(name, _)| **name == *self.name()).map(|(_, what)| what);
        let what = if let Name::NoInput(_, what) = &self.name { Some(what) } else { other() };
        let Some(what) = what else {
            return format!("the graph has no input of this name{}", nearest(self.name(), names));
        };
        let advice = if what == "a parameter" { "; `Store::set` gives it values" } else { "" };
        format!(
            "it is {what}, not an input{advice}\n  hint: inputs are {}",
            names.collect::<Vec<_>>().join(", ")
        )
    }

    #[track_caller]
    fn fits(&self, ty: &TensorType) -> Result<()> {
        if self.value.dtype() != ty.dtype {
            return self.refused(match ty.dtype {
                Dtype::Real => "indices are given, but it takes real numbers".into(),
                Dtype::Index => "real numbers are given, but it takes indices (u32)".into(),
            });
        }
        if self.value.shape() != &ty.shape[..] {
            let given = self.value.shape();
            return self.refused(format!("a value {given:?} is given, but its shape is {}", ty.shape));
        }
        Ok(())
    }

    #[track_caller]
    fn refused(&self, message: String) -> Result<()> {
        Err(Error::feed(self.name(), message))
    }
}

/// The feed for an input.
#[track_caller]
fn find<'f, 'a>(input: &Input, feeds: &'f [Feed<'a>]) -> Result<&'f Value<'a>> {
    match feeds.iter().find(|feed| feed.name() == &*input.name) {
        Some(feed) => Ok(&feed.value),
        None => Err(Error::feed(&input.name, "no value is given")),
    }
}

/// Copies the value that is given to an input, and fits it, into its memory, and checks that indices are in range.
#[track_caller]
pub(super) fn give<T: Real>(input: &Input, feeds: &[Feed<'_>], workspace: &mut Workspace) -> Result<()> {
    let source = &input.source;
    match find(input, feeds)? {
        Value::F32(array) => copy(array, workspace.value_mut(source), |x| T::of(f64::from(x))),
        Value::F64(array) => copy(array, workspace.value_mut(source), T::of),
        Value::Index(array) => copy(array, workspace.value_mut(source), |index| index),
    }
    let Dtype::Index = source.ty.dtype else { return Ok(()) };
    let target: &[u32] = workspace.value(source);
    if let Some((limit, method, line)) = input.limit
        && let Some(sample) =
            target.iter().position(|&index| index as usize >= limit && Some(index) != input.exempt)
    {
        let index = target[sample];
        let takes = limit.checked_sub(1).map_or_else(|| "none".to_owned(), |last| format!("0 to {last}"));
        let message = format!(
            "index {index} at position {sample} is out of range: {method} takes {takes} ({limit} classes)\n  \
             it was called at {line}"
        );
        return Err(Error::feed(&input.name, message));
    }
    Ok(())
}

/// Copies an array of any layout, fast where it lies in row-major order.
fn copy<A: Copy + Sync, B: Send>(
    array: &ArrayViewD<'_, A>,
    (target, workers): (&mut [B], &Workers),
    convert: impl Fn(A) -> B + Sync,
) {
    const CHUNK: usize = 1 << 14;
    match array.as_slice() {
        Some(slice) => workers.chunks(target, CHUNK, &|index, target, _| {
            target.iter_mut().zip(&slice[index * CHUNK..]).for_each(|(to, &from)| *to = convert(from));
        }),
        None => target.iter_mut().zip(array.iter()).for_each(|(to, &from)| *to = convert(from)),
    }
}
