//! Operands for examples: the same numbers every time.

use ndarray::{ArrayD, IxDyn};
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::error::Result;
use crate::graph::{Graph, Var};
use crate::ops::example::{Sample, Values};
use crate::run::Feed;
use dagrad_kernels::random;

/// A value: real numbers, or indices.
#[derive(Clone)]
pub(super) enum Value {
    Real(ArrayD<f64>),
    Index(ArrayD<u32>),
}

impl Value {
    /// Its elements as real numbers.
    pub(super) fn to_real(&self) -> ArrayD<f64> {
        match self {
            Self::Real(array) => array.clone(),
            Self::Index(array) => array.mapv(f64::from),
        }
    }
}

/// What numbers are drawn for. Each has a stream of its own: an upstream gradient that equals an operand would
/// let a rule pass that takes one for the other.
pub(super) enum Purpose {
    Operands,
    Directions,
}

/// A generator, the same every time.
pub(super) fn generator(purpose: Purpose) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(0x00da_64ad);
    generator.set_stream(purpose as u64);
    generator
}

/// Draws an operand.
fn draw(sample: &Sample, generator: &mut ChaCha8Rng) -> Value {
    let shape = IxDyn(&sample.shape);
    let mut unit = |low: f64, high: f64| low + (high - low) * random::uniform(generator);
    match sample.values {
        Values::Normal => Value::Real(normal(&sample.shape, generator)),
        Values::Positive => Value::Real(ArrayD::from_shape_simple_fn(shape, || unit(0.5, 2.0))),
        Values::AwayFromZero => Value::Real(ArrayD::from_shape_simple_fn(shape, || {
            let size = unit(0.1, 1.5);
            if unit(0.0, 1.0) < 0.5 { -size } else { size }
        })),
        Values::Distinct => {
            let count = sample.shape.count();
            let mut values: Vec<f64> =
                (0..count).map(|i| 0.1 * (i as f64 - count as f64 / 2.0) + 0.03).collect();
            values.shuffle(generator);
            let mut values = values.into_iter();
            Value::Real(ArrayD::from_shape_simple_fn(shape, || values.next().unwrap_or(0.0)))
        }
        Values::Below(limit) => {
            Value::Index(ArrayD::from_shape_simple_fn(shape, || generator.next_u32() % limit.max(1)))
        }
    }
}

/// Standard normal numbers.
pub(super) fn normal(shape: &[usize], generator: &mut ChaCha8Rng) -> ArrayD<f64> {
    ArrayD::from_shape_simple_fn(IxDyn(shape), || random::normal(generator))
}

/// Random numbers for each value, in its shape, as constants.
pub(super) fn directions<'g>(
    graph: &'g Graph,
    values: &[Var<'g>],
    generator: &mut ChaCha8Rng,
) -> Vec<Var<'g>> {
    values.iter().map(|value| graph.constant(normal(&value.shape(), generator))).collect()
}

/// Σ ⟨a, b⟩ over pairs.
pub(super) fn inner_products<'g>(
    graph: &'g Graph,
    pairs: impl IntoIterator<Item = (Var<'g>, Var<'g>)>,
) -> Var<'g> {
    pairs.into_iter().fold(graph.fill([], 0.0), |sum, (a, b)| sum + (a * b).sum_all())
}

/// Records an example's operands as inputs and draws their values.
pub(super) fn inputs<'g>(graph: &'g Graph, samples: &[Sample]) -> Result<Vec<(Var<'g>, Value)>> {
    let mut generator = generator(Purpose::Operands);
    let record = |(position, sample): (usize, &Sample)| {
        let (name, value) = (format!("operand {position}"), draw(sample, &mut generator));
        let var = match &value {
            Value::Real(array) => graph.input(&name, array.shape()),
            Value::Index(array) => graph.labels(&name, array.shape()),
        };
        (var, value)
    };
    let inputs = samples.iter().enumerate().map(record).collect();
    graph.check()?;
    Ok(inputs)
}

/// The values, for their inputs.
pub(super) fn feeds<'a>(values: &'a [(Var<'_>, Value)]) -> Vec<Feed<'a>> {
    let feed = |(input, value): &'a (Var<'_>, Value)| match value {
        Value::Real(array) => input.feed(array),
        Value::Index(array) => input.feed(array),
    };
    values.iter().map(feed).collect()
}
