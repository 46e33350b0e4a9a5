//! Training logs in the format of TensorBoard's event files.
//!
//! A file is a row of records, each with its length, and a checksum of the length and of the content
//! (<https://github.com/tensorflow/tensorboard>, `compat/tensorflow_stub/pywrap_tensorflow.py` reads them). The content is an
//! `Event` message in Protocol Buffers' encoding; the fields that are used here stand at the end of this file.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use super::tiles::failed;
use super::{Tiles, filter_names, filters};
use crate::error::Result;
use crate::train::{Epoch, Observer, TrainStep, Training};

/// Width and height in pixels within which filters are drawn.
const SIZE: usize = 512;

/// Writes scalars and images to a file in a folder, for `tensorboard --logdir`.
///
/// As an [`Observer`] it writes the loss, metrics, learning rate and speed of each step (`step/…`), loss and metrics of each epoch
/// (`train/…`, `test/…`, by number of the epoch), and after each epoch the first layer's filters as an image of at most 512×512
/// pixels ([`Tiles::fitted`]).
///
/// A value is in the file, for every reader, when the call that writes it returns: a run that is killed loses nothing of its
/// log. A value that the disk has no room for is left out, and the file stays readable.
///
/// ```
/// use dagrad::nn::{Model, SimpleConvNet};
/// use dagrad::optim::Adam;
/// use dagrad::train::{FitOptions, Progress, fit_observed};
/// use dagrad::viz::TensorBoard;
///
/// # let folder = std::env::temp_dir().join(format!("dagrad-tensorboard-example-{}", std::process::id()));
/// let digits = dagrad::data::mnist_5k()?;
/// let (train, test) = (digits.train.take(200), digits.test.take(50));
/// let mut model = Model::new(SimpleConvNet::default(), train.image_shape(), 0)?;
/// let options = FitOptions { epochs: 1, progress: Progress::Quiet, ..FitOptions::default() };
/// let mut log = TensorBoard::create(&folder)?;
/// fit_observed(&mut model, &Adam::new(1e-3), &train, &test, options, &mut log)?;
/// log.scalar("final/parameters", 1, 433_890.0)?; // anything else
/// # std::fs::remove_dir_all(folder).unwrap();
/// # Ok::<(), dagrad::Error>(())
/// ```
#[derive(Debug)]
pub struct TensorBoard {
    path: PathBuf,
    file: File,
    /// Bytes of whole records.
    length: u64,
}

impl TensorBoard {
    /// Starts a new file in `folder`, which is made if it is not there. Files of earlier runs stay.
    ///
    /// # Errors
    /// A folder or file that cannot be made or written.
    pub fn create(folder: impl AsRef<Path>) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
        let name = format!("events.out.tfevents.{}.dagrad.{}.{now}", now / 1_000_000_000, std::process::id());
        let path = folder.as_ref().join(name);
        let file = fs::create_dir_all(folder.as_ref())
            .and_then(|()| File::options().append(true).create_new(true).open(&path))
            .map_err(|error| failed(&path, &error))?;
        let mut log = Self { path, file, length: 0 };
        log.write(Message::default().bytes(EVENT_FILE_VERSION, b"brain.Event:2"))?;
        Ok(log)
    }

    /// The file that is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a number under a name, such as `train/loss`, at a step.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn scalar(&mut self, tag: &str, step: u64, value: f64) -> Result<()> {
        self.value(step, tag, |message| message.float(VALUE_SIMPLE_VALUE, value as f32))
    }

    /// Writes an image under a name at a step.
    ///
    /// # Errors
    /// A file that cannot be written; an image that cannot be made.
    #[track_caller]
    pub fn image(&mut self, tag: &str, step: u64, tiles: &Tiles) -> Result<()> {
        let image = tiles.to_image()?;
        let message = Message::default()
            .integer(IMAGE_HEIGHT, image.height().into())
            .integer(IMAGE_WIDTH, image.width().into())
            .integer(IMAGE_COLORSPACE, image.channels() as u64)
            .bytes(IMAGE_ENCODED_IMAGE_STRING, &tiles.to_png()?);
        self.value(step, tag, |fields| fields.bytes(VALUE_IMAGE, &message.0))
    }

    /// Waits until the disk holds what is written, so that it survives a power failure, too.
    ///
    /// # Errors
    /// A disk that fails.
    pub fn flush(&mut self) -> Result<()> {
        self.file.sync_data().map_err(|error| failed(&self.path, &error))
    }

    /// Writes a value, of which `fill` gives the content.
    fn value(&mut self, step: u64, tag: &str, fill: impl Fn(Message) -> Message) -> Result<()> {
        let value = fill(Message::default().bytes(VALUE_TAG, tag.as_bytes()));
        let summary = Message::default().bytes(SUMMARY_VALUE, &value.0);
        self.write(
            Message::default()
                .integer(EVENT_STEP, step.min(i64::MAX as u64))
                .bytes(EVENT_SUMMARY, &summary.0),
        )
    }

    /// Appends a record.
    fn write(&mut self, event: Message) -> Result<()> {
        let wall_time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
        let content = event.double(EVENT_WALL_TIME, wall_time).0;
        let length = (content.len() as u64).to_le_bytes();
        let record = [&length[..], &checksum(&length), &content, &checksum(&content)].concat();
        self.file.write_all(&record).map_err(|error| {
            // Behind a part of a record nobody could read on.
            _ = self.file.set_len(self.length);
            failed(&self.path, &error)
        })?;
        self.length += record.len() as u64;
        Ok(())
    }
}

impl Observer for TensorBoard {
    fn step(&mut self, step: &TrainStep, _: &mut Training<'_>) -> Result<()> {
        self.scalar("step/loss", step.number, step.loss)?;
        for (name, value) in step.so_far.metrics() {
            self.scalar(&format!("step/{name}"), step.number, value)?;
        }
        if let Some(rate) = step.learning_rate {
            self.scalar("step/learning_rate", step.number, rate)?;
        }
        self.scalar("step/samples_per_second", step.number, step.samples_per_second)
    }

    fn epoch(&mut self, epoch: &Epoch, training: &mut Training<'_>) -> Result<()> {
        let (number, store) = (epoch.number as u64, training.store());
        for (part, loss, figures) in
            [("train", epoch.loss, &epoch.train), ("test", epoch.test.loss, &epoch.test)]
        {
            self.scalar(&format!("{part}/loss"), number, loss)?;
            for (name, value) in figures.metrics() {
                self.scalar(&format!("{part}/{name}"), number, value)?;
            }
        }
        if let Some(name) = filter_names(store).first() {
            self.image(&format!("filters/{name}"), number, &filters(store, name)?.fitted(SIZE, SIZE))?;
        }
        Ok(())
    }
}

/// CRC-32C, rotated and shifted as the format has it, so that a checksum over checksums is still useful.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    let of_byte = &*CRC_OF_BYTE;
    let next = |crc: u32, byte: &u8| of_byte[usize::from(crc as u8 ^ byte)] ^ (crc >> 8);
    let crc = !bytes.iter().fold(u32::MAX, next);
    crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// What CRC-32C makes of each byte: division by Castagnoli's polynomial, its bits reversed.
static CRC_OF_BYTE: LazyLock<[u32; 256]> = LazyLock::new(|| {
    let next = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    std::array::from_fn(|byte| (0..8).fold(byte as u32, |crc, _| next(crc)))
});

/// A message in Protocol Buffers' encoding: fields one after the other, each behind its number and the kind of its length.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    /// A number in groups of seven bits, the lowest first. All but the last are marked.
    fn push(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn integer(mut self, field: u64, value: u64) -> Self {
        self.push(field << 3);
        self.push(value);
        self
    }

    fn double(mut self, field: u64, value: f64) -> Self {
        self.push(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Bytes, text, or another message.
    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.push(field << 3 | 2);
        self.push(value.len() as u64);
        self.0.extend(value);
        self
    }

    fn float(mut self, field: u64, value: f32) -> Self {
        self.push(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }
}

// The numbers of the fields, from TensorBoard's `event.proto` and `summary.proto`.
const EVENT_WALL_TIME: u64 = 1;
const EVENT_STEP: u64 = 2;
const EVENT_FILE_VERSION: u64 = 3;
const EVENT_SUMMARY: u64 = 5;
const SUMMARY_VALUE: u64 = 1;
const VALUE_TAG: u64 = 1;
const VALUE_SIMPLE_VALUE: u64 = 2;
const VALUE_IMAGE: u64 = 4;
const IMAGE_HEIGHT: u64 = 1;
const IMAGE_WIDTH: u64 = 2;
const IMAGE_COLORSPACE: u64 = 3;
const IMAGE_ENCODED_IMAGE_STRING: u64 = 4;
