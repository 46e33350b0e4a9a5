//! Images in memory, written as PNG files; and those of photographs.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ndarray::Array3;
use png::{BitDepth, ColorType, Compression, Filter};

use crate::data::image;
use crate::error::{Error, Result};

/// An image in memory, row by row from the top: grey with transparency (two bytes for a pixel), or red, green, blue and
/// transparency (four).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub(super) size: [u32; 2],
    pub(super) channels: usize,
    pub(super) bytes: Vec<u8>,
}

impl Image {
    /// How many pixels it is wide.
    pub fn width(&self) -> u32 {
        self.size[0]
    }

    /// How many pixels it is high.
    pub fn height(&self) -> u32 {
        self.size[1]
    }

    /// How many bytes a pixel has: 2 or 4.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// All pixels.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The image as a PNG file.
    pub(super) fn to_png(&self) -> Result<Vec<u8>> {
        self.encode().map_err(|error| Error::setting("image", error.to_string()))
    }

    /// The image as a `data:` URL.
    pub(super) fn data_url(&self) -> Result<String> {
        Ok(format!("data:image/png;base64,{}", BASE64_STANDARD.encode(self.to_png()?)))
    }

    fn encode(&self) -> Result<Vec<u8>, png::EncodingError> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width(), self.height());
        encoder.set_color(if self.channels == 2 { ColorType::GrayscaleAlpha } else { ColorType::Rgba });
        encoder.set_depth(BitDepth::Eight);
        encoder.set_compression(Compression::Fast);
        encoder.set_filter(Filter::Adaptive);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.bytes)?;
        writer.finish()?;
        Ok(file)
    }
}

/// The image in a PNG or JPEG file, from 0, black, to 1, white: `[1, height, width]` in grey (`channels` 1) or
/// `[3, height, width]` in red, green and blue (`channels` 3), whatever the file holds; upright, if the
/// camera wrote down how it was held.
///
/// # Errors
/// A file that cannot be read, is damaged, of another kind, or of more than 2²⁶ pixels; another number of channels.
#[track_caller]
pub fn read_image(path: impl AsRef<Path>, channels: usize) -> Result<Array3<f32>> {
    image::check_channels(channels)?;
    Ok(image::read(path.as_ref(), channels)?.mapv(|byte| f32::from(byte) / 255.0))
}
