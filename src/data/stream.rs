//! A file read with bounded memory, plain or through gzip, by a reader that knows where it is.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Result};

/// The first two bytes of a gzip file. An IDX file begins with two zeros.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The content of a file, uncompressed where need be, read from front to back.
pub(super) struct Stream {
    pub(super) path: PathBuf,
    reader: Box<dyn Read>,
    /// How many uncompressed bytes have been read.
    pub(super) position: u64,
    compressed: bool,
}

impl Stream {
    /// Opens a file. Whether it is gzip is read from its content: a download may have been unpacked on the
    /// way and kept its name.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
        // Opening a pipe or a device could wait forever, or never end.
        if !metadata.is_file() {
            let message = if metadata.is_dir() { "is a folder, not a file" } else { "is not a regular file" };
            return Err(Error::Data { path: path.to_owned(), message: message.to_owned() });
        }
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        Self::new(path, BufReader::new(file))
    }

    /// Reads a source; `path` stands for it in errors.
    pub(super) fn new(path: &Path, mut source: impl BufRead + 'static) -> Result<Self> {
        let start = source.fill_buf().map_err(|error| unreadable(path, &error))?;
        let compressed = start.starts_with(&GZIP_MAGIC);
        let reader: Box<dyn Read> =
            if compressed { Box::new(MultiGzDecoder::new(source)) } else { Box::new(source) };
        Ok(Self { path: path.to_owned(), reader, position: 0, compressed })
    }

    /// The next `limit` bytes, or fewer where the file ends.
    ///
    /// Memory grows with what arrives, not with `limit`, which may be a lie.
    pub(super) fn read_up_to(&mut self, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let outcome = (&mut self.reader).take(limit).read_to_end(&mut bytes);
        self.position = self.position.saturating_add(bytes.len() as u64);
        outcome.map_err(|error| self.interrupted(&error))?;
        bytes.shrink_to_fit();
        Ok(bytes)
    }

    /// An error in this file.
    pub(super) fn error(&self, message: impl Into<String>) -> Error {
        Error::Data { path: self.path.clone(), message: message.into() }
    }

    /// Words for a location in the file, in uncompressed bytes from its start.
    pub(super) fn location(&self, offset: u64) -> String {
        let suffix = if self.compressed { " of the uncompressed stream" } else { "" };
        format!("byte {offset}{suffix}")
    }

    /// The error for a read that failed half-way.
    fn interrupted(&self, error: &io::Error) -> Error {
        // These are the kinds with which the decoder reports bad data; others come from the disk below it.
        let damaged = matches!(
            error.kind(),
            ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof
        );
        let location = self.location(self.position);
        if self.compressed && damaged {
            self.error(format!("damaged or truncated gzip data near {location}: {error}"))
        } else {
            self.error(format!("cannot be read at {location}: {error}"))
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::Data { path: path.to_owned(), message: format!("cannot be opened: {error}") }
}
