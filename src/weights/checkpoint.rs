//! Files of a training: all that a store holds, and notes about the run, with a checksum.
//!
//! A file is a body in the format [safetensors](super::safetensors) and a trailer of fixed size: the checksum of the body
//! (CRC-32), its length, and a mark. The name of an array in the body says its position in the store, what it is for, and
//! its own name: `3 optimizer W1.adam.m`. Everything else is in the metadata, from word to word.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use flate2::Crc;

use super::number::NumberType;
use super::tensor::Tensor;
use super::{durable, file, safetensors, whole};
use crate::error::{Error, Result};
use crate::graph::ParameterKind;
use crate::run::{EpochPosition, Store};
use crate::shape::Shape;
use dagrad_kernels::real::Real;

/// Words by their names.
pub(crate) type Notes = BTreeMap<String, String>;

/// How a file ends.
pub(super) const MAGIC: &[u8] = b"dagradCP";
/// The checksum, the length of the body, and the mark.
const TRAILER: usize = 4 + 8 + MAGIC.len();
/// What the files are called that this release writes and reads.
const FORMAT: &str = "dagrad checkpoint 1";
/// What the names of the caller's notes begin with.
const NOTE: &str = "run.";

/// Each with its word; none where no plan has said what an entry is for.
const KINDS: [(Option<ParameterKind>, &str); 4] = [
    (Some(ParameterKind::Learned), "learned"),
    (Some(ParameterKind::State), "state"),
    (Some(ParameterKind::Optimizer), "optimizer"),
    (None, "unknown"),
];
/// What follows the word of an entry that files of weights hold transposed.
const TRANSPOSED: &str = "-transposed";

/// Writes a store and notes; see [`durable::write`].
#[track_caller]
pub(crate) fn write<T: Real>(path: &Path, store: &Store<T>, notes: &Notes) -> Result<()> {
    let mut tensors = BTreeMap::new();
    for (position, entry) in store.entries().iter().enumerate() {
        let bytes = NumberType::write(entry.data.iter().copied())?;
        let kind = KINDS.iter().find(|(kind, _)| *kind == entry.kind).map_or("", |(_, word)| word);
        let transposed = if entry.transposed { TRANSPOSED } else { "" };
        let key = format!("{position} {kind}{transposed} {}", entry.name);
        tensors.insert(key, whole(NumberType::of::<T>(), entry.shape.to_vec(), bytes));
    }
    let EpochPosition { epochs, samples, order: (order_seed, order_samples), sums } = &store.epoch_position;
    let sums: Vec<String> = sums.iter().map(|sum| format!("{sum:?}")).collect(); // all digits that tell it from others
    let own = [
        ("format", FORMAT.to_owned()),
        ("precision", T::NAME.to_owned()),
        ("seed", store.seed().to_string()),
        ("step", store.step().to_string()),
        ("epochs", epochs.to_string()),
        ("samples", samples.to_string()),
        ("order_seed", order_seed.to_string()),
        ("order_samples", order_samples.to_string()),
        ("sums", sums.join(" ")),
    ];
    let mut metadata: Notes = own.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    metadata.extend(notes.iter().map(|(key, value)| (format!("{NOTE}{key}"), value.clone())));
    durable::write(path, |out| {
        let mut body = Summed { out, sum: Crc::new(), length: 0 };
        safetensors::write_parts(&tensors, &metadata, &mut body)?;
        let (sum, length) = (body.sum.sum(), body.length);
        out.write_all(&sum.to_le_bytes())?;
        out.write_all(&length.to_le_bytes())?;
        out.write_all(MAGIC)
    })
}

/// Counts and sums up what is written.
struct Summed<'a> {
    out: &'a mut dyn Write,
    sum: Crc,
    length: u64,
}

impl Write for Summed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.sum.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Reads a store and the notes beside it. It takes no more memory than twice the file's size.
///
/// # Errors
/// [`Error::Data`] if it is not whole or something else; [`Error::Setting`] if it is in another precision.
#[track_caller]
pub(crate) fn read<T: Real>(path: &Path) -> Result<(Store<T>, Notes)> {
    let damaged = |message: String| Error::Data { path: path.to_owned(), message };
    let (tensors, metadata) = file::bytes(path).and_then(|file| checked(file).map_err(damaged))?;
    let text = |key: &str| {
        let value = metadata.get(key).map(String::as_str);
        value.ok_or_else(|| damaged(format!("is no checkpoint: it does not say its {key}")))
    };
    if text("format")? != FORMAT {
        let message = format!("is a {:?}, which this release does not read", text("format")?);
        return Err(damaged(message));
    }
    if text("precision")? != T::NAME {
        let message =
            format!("{} is in {}, and {} is asked for", path.display(), text("precision")?, T::NAME);
        return Err(Error::setting("precision", message));
    }
    let number = |key: &str| parsed::<u64>(text(key)?).map_err(damaged);
    let count = |key: &str| parsed::<usize>(text(key)?).map_err(damaged);
    let sums = text("sums")?.split_whitespace().map(parsed).collect::<Result<_, _>>().map_err(damaged)?;
    let order = (number("order_seed")?, count("order_samples")?);
    let mut store = Store::new(number("seed")?);
    store.set_step(number("step")?);
    store.epoch_position =
        EpochPosition { epochs: number("epochs")?, samples: count("samples")?, order, sums };
    let mut entries: Vec<_> = tensors.iter().map(|(key, tensor)| (key.split_once(' '), tensor)).collect();
    entries.sort_by_key(|(key, _)| key.and_then(|(position, _)| position.parse::<usize>().ok()));
    for (key, tensor) in entries {
        fill(&mut store, key.map_or("", |(_, entry)| entry), tensor, &damaged)?;
    }
    let notes =
        metadata.iter().filter_map(|(key, value)| Some((key.strip_prefix(NOTE)?.into(), value.clone())));
    Ok((store, notes.collect()))
}

/// The arrays and metadata of a file that is whole.
fn checked(mut file: Vec<u8>) -> Result<safetensors::Contents, String> {
    let body = file.len().checked_sub(TRAILER).filter(|_| file.ends_with(MAGIC));
    let Some(body) = body else { return Err("is cut off, or no checkpoint".to_owned()) };
    let trailer = file.split_off(body);
    let (sum, rest) = trailer.split_at(4);
    let mut found = Crc::new();
    found.update(&file);
    if rest[..8] != (body as u64).to_le_bytes() || sum != found.sum().to_le_bytes() {
        return Err("is damaged: its checksum differs".to_owned());
    }
    safetensors::parts(&Arc::new(file))
}

fn parsed<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("is damaged: {text:?} is no number that belongs there"))
}

/// Adds an array to a store, by what its name says: `optimizer W1.adam.m`.
#[track_caller]
fn fill<T: Real>(
    store: &mut Store<T>,
    key: &str,
    tensor: &Tensor,
    damaged: &impl Fn(String) -> Error,
) -> Result<()> {
    let unfit = || damaged(format!("is damaged: {key:?} is no {} of a store", T::NAME));
    let (word, name) = key.split_once(' ').ok_or_else(unfit)?;
    let plain = word.strip_suffix(TRANSPOSED).unwrap_or(word);
    let (kind, _) = KINDS.iter().find(|(_, known)| *known == plain).ok_or_else(unfit)?;
    let is_matrix = word == plain || tensor.shape.len() == 2;
    if tensor.number_type != NumberType::of::<T>() || !is_matrix {
        return Err(unfit());
    }
    let shape = Shape::from(&tensor.shape[..]);
    let numbers = store.restore(name, &shape, *kind, word != plain)?.ok_or_else(unfit)?;
    let bytes = tensor.bytes().map_err(damaged)?;
    tensor.number_type.read(&bytes, numbers, |position| position);
    Ok(())
}
