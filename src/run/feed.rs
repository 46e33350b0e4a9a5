//! Values for a plan's inputs.

use std::sync::Arc;

use ndarray::{ArrayBase, ArrayViewD, Data, Dimension};

use super::workspace::Workspace;
use crate::compile::{Input, Plan};
use crate::error::{Error, Result, nearest};
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
        }
    }
}

impl<'g> Var<'g> {
    /// A value for this input at a run.
    pub fn feed<'a>(self, value: impl Into<Value<'a>>) -> Feed<'a> {
        let label = self.graph().dag().node(self.id()).label.clone();
        Feed { name: Name::Shared(label.unwrap_or_else(|| self.name().into())), value: value.into() }
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
    for feed in feeds {
        let Some((_, ty)) = inputs.iter().find(|(name, _)| **name == *feed.name()) else {
            let is_parameter = plan.parameters().iter().any(|parameter| *parameter.name == *feed.name());
            return feed.refused(if is_parameter {
                "it is a parameter, not an input; `Store::set` gives it values".into()
            } else {
                let names = inputs.iter().map(|(name, _)| &**name);
                format!("the graph has no input of this name{}", nearest(feed.name(), names))
            });
        };
        feed.fits(ty)?;
    }
    Ok(())
}

impl Feed<'_> {
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
    let mut given = feeds.iter().filter(|feed| feed.name() == &*input.name);
    match [given.next(), given.next()] {
        [None, _] => Err(Error::feed(&input.name, "no value is given")),
        [Some(feed), None] => Ok(&feed.value),
        _ => Err(Error::feed(&input.name, "two values are given")),
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
    if let Some((limit, op)) = input.limit
        && let Some(sample) =
            target.iter().position(|&index| index as usize >= limit && Some(index) != input.exempt)
    {
        let message = format!(
            "index {} at position {sample} is out of range: {op} takes 0 to {} ({limit} classes)",
            target[sample],
            limit.saturating_sub(1)
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
