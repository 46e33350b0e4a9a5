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

/// The value of an operand.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Drawn {
    Real(ArrayD<f64>),
    Index(ArrayD<u32>),
}

/// What numbers are drawn for. Each has a stream of its own: an upstream gradient that equals an operand would
/// let a rule pass that takes one for the other.
#[derive(Debug, Clone, Copy)]
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
pub(super) fn draw(sample: &Sample, generator: &mut ChaCha8Rng) -> Drawn {
    let shape = IxDyn(&sample.shape);
    let mut unit = |low: f64, high: f64| low + (high - low) * random::uniform(generator);
    match sample.values {
        Values::Normal => Drawn::Real(normal(&sample.shape, generator)),
        Values::Positive => Drawn::Real(ArrayD::from_shape_simple_fn(shape, || unit(0.5, 2.0))),
        Values::AwayFromZero => Drawn::Real(ArrayD::from_shape_simple_fn(shape, || {
            let size = unit(0.1, 1.5);
            if unit(0.0, 1.0) < 0.5 { -size } else { size }
        })),
        Values::Distinct => {
            let count = sample.shape.count();
            let mut values: Vec<f64> =
                (0..count).map(|i| 0.1 * (i as f64 - count as f64 / 2.0) + 0.03).collect();
            values.shuffle(generator);
            let mut values = values.into_iter();
            Drawn::Real(ArrayD::from_shape_simple_fn(shape, || values.next().unwrap_or(0.0)))
        }
        Values::Below(limit) => {
            Drawn::Index(ArrayD::from_shape_simple_fn(shape, || generator.next_u32() % limit.max(1)))
        }
    }
}

/// Standard normal numbers.
pub(super) fn normal(shape: &[usize], generator: &mut ChaCha8Rng) -> ArrayD<f64> {
    ArrayD::from_shape_simple_fn(IxDyn(shape), || random::normal(generator))
}

/// The name of operand `position` of an example.
pub(super) fn name(position: usize) -> String {
    format!("operand {position}")
}

/// Records an example's operands as inputs and draws their values.
pub(super) fn inputs<'g>(graph: &'g Graph, samples: &[Sample]) -> Result<(Vec<Var<'g>>, Vec<Drawn>)> {
    let mut generator = generator(Purpose::Operands);
    let drawn: Vec<Drawn> = samples.iter().map(|sample| draw(sample, &mut generator)).collect();
    let record = |(position, value): (usize, &Drawn)| match value {
        Drawn::Real(array) => graph.input(&name(position), array.shape()),
        Drawn::Index(array) => graph.labels(&name(position), array.shape()),
    };
    let vars = drawn.iter().enumerate().map(record).collect();
    graph.check()?;
    Ok((vars, drawn))
}

/// A value for an input.
pub(super) fn feed<'a>(var: Var<'_>, value: &'a Drawn) -> Feed<'a> {
    match value {
        Drawn::Real(array) => var.feed(array),
        Drawn::Index(array) => var.feed(array),
    }
}
