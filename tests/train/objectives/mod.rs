//! Whatever has a loss can be trained: objectives, their figures, and the samples they read.

mod metrics;
mod reading;
mod tasks;

use dagrad::data::{Draw, Field, Samples, Slot};
use dagrad::train::{FitOptions, Learner, Objective, Progress};
use dagrad::{Result, Workspace};
use ndarray::ArrayD;

/// Samples in memory.
#[derive(Default, Clone)]
struct Table {
    fields: Vec<(Field, Values)>,
}

#[derive(Clone)]
enum Values {
    Real(Vec<f32>),
    Index(Vec<u32>),
}

impl Table {
    /// A field of real numbers, a function of the sample and the element.
    fn real(mut self, name: &str, samples: usize, shape: &[usize], of: impl Fn(usize, usize) -> f32) -> Self {
        let length: usize = shape.iter().product();
        let values = (0..samples).flat_map(|sample| (0..length).map(move |element| (sample, element)));
        let values = values.map(|(sample, element)| of(sample, element)).collect();
        self.fields.push((Field::real(name, shape), Values::Real(values)));
        self
    }

    /// A field of classes.
    fn index(
        mut self,
        name: &str,
        samples: usize,
        shape: &[usize],
        of: impl Fn(usize, usize) -> u32,
    ) -> Self {
        let length: usize = shape.iter().product();
        let values = (0..samples).flat_map(|sample| (0..length).map(move |element| (sample, element)));
        let values = values.map(|(sample, element)| of(sample, element)).collect();
        self.fields.push((Field::index(name, shape), Values::Index(values)));
        self
    }

    /// All values of a field of real numbers, to predict from.
    fn array(&self, name: &str) -> ArrayD<f32> {
        let (field, values) = self.fields.iter().find(|(field, _)| field.name == name).unwrap();
        let Values::Real(values) = values else { panic!("{name} holds classes") };
        let shape: Vec<usize> = [self.len()].into_iter().chain(field.ty.shape.iter().copied()).collect();
        ArrayD::from_shape_vec(shape, values.clone()).unwrap()
    }
}

impl Samples for Table {
    fn len(&self) -> usize {
        let Some((field, values)) = self.fields.first() else { return 0 };
        let length: usize = field.ty.shape.iter().product();
        match values {
            Values::Real(values) => values.len() / length,
            Values::Index(values) => values.len() / length,
        }
    }

    fn fields(&self) -> Vec<Field> {
        self.fields.iter().map(|(field, _)| field.clone()).collect()
    }

    fn write(&self, sample: usize, field: usize, _: Option<Draw>, out: Slot<'_>) -> Result<()> {
        match (&self.fields[field].1, out) {
            (Values::Real(values), Slot::Real(out)) => {
                out.copy_from_slice(&values[sample * out.len()..][..out.len()])
            }
            (Values::Index(values), Slot::Index(out)) => {
                out.copy_from_slice(&values[sample * out.len()..][..out.len()])
            }
            _ => panic!("field {field} is asked for as what it is not"),
        }
        Ok(())
    }
}

/// A number between 0 and 1 that looks random.
fn noise(seed: usize) -> f32 {
    let mixed = (seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 40) as f32 / (1u64 << 24) as f32
}

fn options(epochs: usize, batch: usize) -> FitOptions {
    FitOptions { epochs, batch, progress: Progress::Quiet, ..FitOptions::default() }
}

fn learner<O: Objective>(objective: O, data: &dyn Samples) -> Learner<O> {
    Learner::with_workspace(objective, data, 3, Workspace::new(2).unwrap()).unwrap()
}
