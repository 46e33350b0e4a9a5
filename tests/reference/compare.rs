//! Results against expected values, within tolerances.

use ndarray::ArrayD;

use super::manifest::{Case, Dtype, Expected};
use super::tensors::Tensors;
use super::{Result, Values};

/// How the results of one run of a case compare.
#[derive(Default)]
pub struct Comparison {
    /// How many expected keys were compared.
    pub keys: usize,
    /// What is wrong, by key.
    pub wrong: Vec<String>,
    /// Of each array in single precision: the error over the one that PyTorch's makes, and the key.
    pub ratios: Vec<(f64, String)>,
}

/// Compares every key that the case expects.
pub fn compare(case: &Case, tensors: &Tensors, found: &Values, dtype: Dtype) -> Result<Comparison> {
    let mut comparison = Comparison::default();
    for (key, expected) in &case.expect {
        let Some(found) = found.get(key) else {
            comparison.wrong.push(format!("{key} was not computed"));
            continue;
        };
        let stored = tensors.get(&case.id, key)?.real()?;
        let stored = if dtype == Dtype::F32 { &stored.mapv(single) } else { stored };
        let (shape, error, tolerance) = match expected {
            Expected::Whole(tolerance) => {
                (stored.shape(), farthest(found, stored, &[tolerance.of(dtype)?]), tolerance)
            }
            Expected::Probe { shape, samples, head64, head32 } => {
                let head = if dtype == Dtype::F32 { head32 } else { head64 };
                let tolerances = [&head[..], &[samples.of(dtype)?]].concat();
                (&shape[..], farthest(&probe(found), stored, &tolerances), samples)
            }
        };
        comparison.keys += 1;
        if found.shape() != shape {
            comparison.wrong.push(format!("{key} has the shape {:?} instead of {shape:?}", found.shape()));
            continue;
        }
        match error {
            Err(text) => comparison.wrong.push(format!("{key}{text}")),
            Ok(error) => {
                let peer = tolerance.peer().filter(|&peer| dtype == Dtype::F32 && peer > 0.0);
                comparison.ratios.extend(peer.map(|peer| (error / peer, format!("{}:{key}", case.id))));
            }
        }
    }
    for key in &case.zero {
        let off = found.get(key).and_then(|found| found.iter().find(|value| **value != 0.0));
        comparison.wrong.extend(off.map(|value| format!("{key} has a {value} instead of zeros")));
    }
    Ok(comparison)
}

/// A number as single precision knows it: an infinity, if it is too large.
fn single(number: f64) -> f64 {
    if number.abs() > f64::from(f32::MAX) { f64::from(number as f32) } else { number }
}

/// The largest error of the elements that the last tolerance is for (the ones before are for one element each), or
/// the first element that is off.
fn farthest<'a>(
    found: impl IntoIterator<Item = &'a f64>,
    expected: &ArrayD<f64>,
    tolerances: &[f64],
) -> Result<f64, String> {
    let (mut largest, last) = (0.0f64, tolerances.len() - 1);
    for (at, (&found, &expected)) in found.into_iter().zip(expected).enumerate() {
        let same = found == expected || found.is_nan() && expected.is_nan();
        let error = if same { 0.0 } else { (found - expected).abs() };
        let tolerance = tolerances[at.min(last)];
        // An infinity against a number is infinitely far, and NaN is nowhere.
        if error.is_nan() || error > tolerance {
            return Err(format!(
                "[{at}] is {found:e} instead of {expected:e}, off by {error:.1e}, not {tolerance:.1e}"
            ));
        }
        if at >= last {
            largest = largest.max(error);
        }
    }
    Ok(largest)
}

/// What is stored of a large array: its sum, its norm, two weighted sums, and 64 of its elements.
fn probe(array: &ArrayD<f64>) -> Vec<f64> {
    let values: Vec<f64> = array.iter().copied().collect();
    let weighted = |multiplier: u64| {
        let weight = |i: usize| ((i as u64).wrapping_mul(multiplier) >> 40) as f64 / (1 << 23) as f64 - 1.0;
        sum(&values.iter().enumerate().map(|(i, value)| value * weight(i)).collect::<Vec<_>>())
    };
    let norm = sum(&values.iter().map(|value| value * value).collect::<Vec<_>>()).sqrt();
    let head = [sum(&values), norm, weighted(0x9E37_79B9_7F4A_7C15), weighted(0xD134_2543_DE82_EF95)];
    let samples = (0..64).filter_map(|k| values.get(k * 1_000_003 % values.len().max(1)).copied());
    head.into_iter().chain(samples).collect()
}

/// A sum by halves, which loses fewer digits than one from left to right.
fn sum(values: &[f64]) -> f64 {
    if values.len() <= 8 {
        return values.iter().sum();
    }
    let (left, right) = values.split_at(values.len() / 2);
    sum(left) + sum(right)
}
