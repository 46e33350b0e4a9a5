//! Training logs in the format of TensorBoard's event files.
//!
//! A file is a row of records, each with its length, and a checksum of the length and of the content
//! (<https://github.com/tensorflow/tensorboard>, `compat/tensorflow_stub/pywrap_tensorflow.py` reads them). The content is an
//! `Event` message in Protocol Buffers' encoding; the messages below have the fields that are used here.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use super::fit::Epoch;
use super::observer::{Observer, Step};
use crate::error::{Error, Result};
use crate::run::Store;
use crate::viz::{Tiles, filter_names, filters};

/// How large a number of a filter is shown.
const ZOOM: usize = 8;

/// Writes scalars and images to a file in a folder, for `tensorboard --logdir`.
///
/// As an [`Observer`] it writes the loss, accuracy and speed of each step (`step/…`), loss and accuracy of each epoch
/// (`train/…`, `test/…`, by number of the epoch), and after each epoch the first layer's filters as an image.
///
/// ```
/// use dagrad::nn::{Model, SimpleConvNet};
/// use dagrad::optim::Adam;
/// use dagrad::train::{FitOptions, Progress, TensorBoard, fit_observed};
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
    file: BufWriter<File>,
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
        let fail = |error: std::io::Error| Error::Data { path: path.clone(), message: error.to_string() };
        fs::create_dir_all(folder.as_ref()).map_err(fail)?;
        let file = BufWriter::new(File::create_new(&path).map_err(fail)?);
        let mut log = Self { path, file };
        log.write(Event { file_version: Some("brain.Event:2".to_string()), ..Event::default() })?;
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
        self.value(step, Value { tag: tag.to_string(), simple_value: Some(value as f32), image: None })
    }

    /// Writes a picture under a name at a step.
    ///
    /// # Errors
    /// A file that cannot be written; a picture that cannot be made.
    pub fn image(&mut self, tag: &str, step: u64, tiles: &Tiles) -> Result<()> {
        let picture = tiles.to_image()?;
        let image = Image {
            height: picture.height() as i32, // pictures are bounded
            width: picture.width() as i32,
            colorspace: i32::from(picture.color().channel_count()),
            encoded_image_string: tiles.to_png()?,
        };
        self.value(step, Value { tag: tag.to_string(), simple_value: None, image: Some(image) })
    }

    fn value(&mut self, step: u64, value: Value) -> Result<()> {
        let summary = Some(Summary { value: vec![value] });
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        self.write(Event { step, summary, ..Event::default() })
    }

    /// Appends a record.
    fn write(&mut self, event: Event) -> Result<()> {
        let wall_time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
        let content = Event { wall_time, ..event }.encode_to_vec();
        let length = (content.len() as u64).to_le_bytes();
        let record = [&length[..], &checksum(&length), &content, &checksum(&content)].concat();
        self.file.write_all(&record).map_err(|error| self.failed(&error))
    }

    fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &std::io::Error) -> Error {
        Error::Data { path: self.path.clone(), message: error.to_string() }
    }
}

impl Observer for TensorBoard {
    fn step(&mut self, step: &Step) -> Result<()> {
        self.scalar("step/loss", step.number, step.loss)?;
        self.scalar("step/accuracy", step.number, step.accuracy)?;
        self.scalar("step/images_per_second", step.number, step.images_per_second)
    }

    fn epoch(&mut self, epoch: &Epoch, store: &Store<f32>) -> Result<()> {
        let number = epoch.number as u64;
        for (tag, value) in [
            ("train/loss", epoch.loss),
            ("train/accuracy", epoch.train_accuracy),
            ("test/loss", epoch.test_loss),
            ("test/accuracy", epoch.test_accuracy),
        ] {
            self.scalar(tag, number, value)?;
        }
        if let Some(name) = filter_names(store).first() {
            self.image(&format!("filters/{name}"), number, &filters(store, name)?.zoom(ZOOM))?;
        }
        self.flush()
    }
}

/// CRC-32C, rotated and shifted as the format has it, so that a checksum over checksums tells something.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
    #[prost(message, optional, tag = "4")]
    image: Option<Image>,
}

#[derive(Clone, PartialEq, Message)]
struct Image {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    #[prost(int32, tag = "3")]
    colorspace: i32,
    #[prost(bytes = "vec", tag = "4")]
    encoded_image_string: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_format() {
        // CRC-32C of "123456789" is e3069283.
        let expected = 0xe306_9283u32.rotate_right(15).wrapping_add(0xa282_ead8);
        assert_eq!(checksum(b"123456789"), expected.to_le_bytes());
    }

    #[test]
    fn a_file_holds_what_was_written() {
        let folder = std::env::temp_dir().join(format!("dagrad-events-{}", std::process::id()));
        let mut log = TensorBoard::create(&folder).unwrap();
        log.scalar("a/b", 7, 0.5).unwrap();
        log.image("c", 8, &Tiles::new([ndarray::Array3::zeros((3, 2, 5))])).unwrap();
        log.flush().unwrap();
        let bytes = fs::read(log.path()).unwrap();
        fs::remove_dir_all(folder).unwrap();
        let mut events = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(rest[8..12], checksum(&rest[..8]));
            let content = &rest[12..12 + length];
            assert_eq!(rest[12 + length..16 + length], checksum(content));
            events.push(Event::decode(content).unwrap());
            rest = &rest[16 + length..];
        }
        assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
        let values: Vec<&Value> =
            events[1..].iter().map(|event| &event.summary.as_ref().unwrap().value[0]).collect();
        assert_eq!((events[1].step, &*values[0].tag, values[0].simple_value), (7, "a/b", Some(0.5)));
        let image = values[1].image.as_ref().unwrap();
        assert_eq!((events[2].step, image.height, image.width, image.colorspace), (8, 2, 5, 4));
        assert!(image.encoded_image_string.starts_with(b"\x89PNG"));
    }
}
