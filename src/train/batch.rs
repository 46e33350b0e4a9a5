//! Batches: the fields of some samples, in arrays, read while the batch before is trained on.

use std::sync::mpsc::sync_channel;
use std::thread;

use ndarray::{ArrayViewD, IxDyn};

use crate::data::{Draw, Field, Samples, Slot, reserved};
use crate::error::{Error, Result};
use crate::graph::Dtype;
use crate::run::{Element, Feed};

/// Memory for a batch, which is used again.
pub(crate) struct Batch {
    fields: Vec<(Field, Column)>,
    samples: usize,
}

/// A field of all samples, one after the other.
enum Column {
    Real(Vec<f32>),
    Index(Vec<u32>),
}

impl Batch {
    /// For so many samples at most.
    #[track_caller]
    pub(crate) fn new(fields: &[Field], samples: usize) -> Result<Self> {
        let mut columns = Vec::with_capacity(fields.len());
        for field in fields {
            let length = samples.saturating_mul(length(field));
            let column = match field.ty.dtype {
                Dtype::Real => Column::Real(zeros(length)?),
                Dtype::Index => Column::Index(zeros(length)?),
            };
            columns.push((field.clone(), column));
        }
        Ok(Self { fields: columns, samples: 0 })
    }

    /// Reads samples.
    pub(crate) fn fill(&mut self, data: &dyn Samples, samples: &[usize], draw: Option<Draw>) -> Result<()> {
        self.samples = samples.len();
        for (number, (field, column)) in self.fields.iter_mut().enumerate() {
            let length = length(field);
            for (position, &sample) in samples.iter().enumerate() {
                let range = position * length..(position + 1) * length;
                let slot = match column {
                    Column::Real(numbers) => Slot::Real(&mut numbers[range]),
                    Column::Index(indices) => Slot::Index(&mut indices[range]),
                };
                data.write(sample, number, draw, slot)?;
            }
        }
        Ok(())
    }

    /// How many samples there are.
    pub(super) fn samples(&self) -> usize {
        self.samples
    }

    /// The arrays, to run a plan on.
    #[track_caller]
    pub(crate) fn feeds(&self) -> Result<Vec<Feed<'_>>> {
        let mut feeds = Vec::with_capacity(self.fields.len());
        for (field, column) in &self.fields {
            let shape: Vec<usize> =
                [self.samples].into_iter().chain(field.ty.shape.iter().copied()).collect();
            let (shape, length) = (IxDyn(&shape), self.samples * length(field));
            let feed = match column {
                Column::Real(numbers) => ArrayViewD::from_shape(shape, &numbers[..length])
                    .map(|view| Feed::new(&field.name, f32::value(view))),
                Column::Index(indices) => ArrayViewD::from_shape(shape, &indices[..length])
                    .map(|view| Feed::new(&field.name, u32::value(view))),
            };
            match feed {
                Ok(feed) => feeds.push(feed),
                Err(error) => return Err(Error::setting(&field.name, error.to_string())),
            }
        }
        Ok(feeds)
    }
}

/// Calls `take` with each batch in order, and its number, while another thread reads the next one. Stops where it returns false.
#[track_caller]
pub(super) fn read_ahead(
    data: &dyn Samples,
    batches: &[&[usize]],
    draw: Option<Draw>,
    mut take: impl FnMut(&Batch, usize) -> Result<bool>,
) -> Result<()> {
    let largest = batches.iter().map(|samples| samples.len()).max().unwrap_or(0);
    let (give_back, free) = sync_channel(2);
    let (hand_over, filled) = sync_channel::<Result<Batch>>(1);
    let fields = data.fields();
    for _ in 0..2 {
        _ = give_back.send(Batch::new(&fields, largest)?);
    }
    thread::scope(|scope| {
        let (give_back, filled) = (give_back, filled); // dropped at the end, which ends the thread
        let reader = thread::Builder::new().name("dagrad samples".into());
        let read = move || {
            for samples in batches {
                let Ok(mut batch) = free.recv() else { return };
                let outcome = batch.fill(data, samples, draw);
                if hand_over.send(outcome.map(|()| batch)).is_err() {
                    return;
                }
            }
        };
        let refused = |refusal: std::io::Error| Error::setting("threads", refusal.to_string());
        reader.spawn_scoped(scope, read).map_err(refused)?;
        for number in 0.. {
            let Ok(batch) = filled.recv() else { break };
            let batch = batch?;
            if !take(&batch, number)? {
                break;
            }
            _ = give_back.send(batch);
        }
        Ok(())
    })
}

/// How many elements a field has in a sample.
pub(super) fn length(field: &Field) -> usize {
    field.ty.shape.iter().product()
}

#[track_caller]
fn zeros<T: Clone + Default>(length: usize) -> Result<Vec<T>> {
    let mut elements = reserved(length, "a batch")?;
    elements.resize(length, T::default());
    Ok(elements)
}
