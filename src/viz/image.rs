//! Images in memory and in files: PNG is written, PNG and JPEG are read.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ndarray::{Array3, Axis};
use png::{BitDepth, ColorType, Compression, Filter, Limits, Transformations};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::tiles::failed;
use crate::error::{Error, Result};

/// The most pixels of an image that is read,
const MOST_READ: usize = 1 << 26;
/// and the most bytes that its decoder may take.
const MOST_BYTES: usize = 1 << 30;

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
    let path = path.as_ref();
    if !matches!(channels, 1 | 3) {
        return Err(Error::setting("channels", format!("{channels} is neither 1 (grey) nor 3 (colours)")));
    }
    Ok(decode(path).map_err(|error| failed(path, &error))?.upright(channels))
}

/// What a file holds.
struct Decoded {
    width: usize,
    height: usize,
    /// Bytes of a pixel: grey, grey with transparency, colours, colours with transparency.
    channels: usize,
    bytes: Vec<u8>,
    /// How the camera was held, as Exif counts it: 1 is upright.
    orientation: u16,
}

/// Reads a file of either kind. The first bytes decide which, not its name.
fn decode(path: &Path) -> Result<Decoded, Box<dyn std::error::Error>> {
    let mut file = BufReader::new(File::open(path)?);
    let start = file.fill_buf()?;
    if start.starts_with(b"\x89PNG\r\n\x1a\n") {
        decode_png(file)
    } else if start.starts_with(&[0xff, 0xd8, 0xff]) {
        decode_jpeg(file)
    } else {
        Err("is neither a PNG nor a JPEG file".into())
    }
}

/// Refuses an image that is too large before its pixels are read.
fn check_size(width: usize, height: usize) -> Result<(), String> {
    match width.checked_mul(height) {
        Some(..=MOST_READ) => Ok(()),
        _ => Err(format!("{width}×{height} pixels are more than {MOST_READ}; make the image smaller")),
    }
}

fn decode_png(file: impl BufRead + Seek) -> Result<Decoded, Box<dyn std::error::Error>> {
    let mut decoder = png::Decoder::new_with_limits(file, Limits { bytes: MOST_BYTES });
    // Palettes, and pixels of less than a byte, become bytes.
    decoder.set_transformations(Transformations::EXPAND);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let header = decoder.read_header_info()?;
    let (width, height) = (header.width as usize, header.height as usize);
    check_size(width, height)?;
    let mut reader = decoder.read_info()?;
    let length = reader.output_buffer_size().filter(|&bytes| bytes <= MOST_BYTES);
    let mut bytes = vec![0; length.ok_or("its pixels take too much memory")?];
    let frame = reader.next_frame(&mut bytes)?;
    bytes.truncate(frame.buffer_size());
    if frame.bit_depth == BitDepth::Sixteen {
        let to_byte = |pair: &[u8; 2]| ((u32::from(u16::from_be_bytes(*pair)) + 128) / 257) as u8; // rounded
        bytes = bytes.as_chunks().0.iter().map(to_byte).collect();
    }
    let orientation = reader.info().exif_metadata.as_deref().and_then(orientation).unwrap_or(1);
    Ok(Decoded { width, height, channels: frame.color_type.samples(), bytes, orientation })
}

fn decode_jpeg(file: impl BufRead + Seek) -> Result<Decoded, Box<dyn std::error::Error>> {
    let options = DecoderOptions::default().set_strict_mode(false);
    let options = options.set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(file, options);
    decoder.decode_headers()?;
    let (width, height) = decoder.dimensions().ok_or("its size is not known")?;
    check_size(width, height)?;
    let (space, channels) = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => (ColorSpace::Luma, 1),
        _ => (ColorSpace::RGB, 3),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let bytes = decoder.decode()?;
    let orientation = decoder.exif().and_then(|exif| orientation(exif)).unwrap_or(1);
    Ok(Decoded { width, height, channels, bytes, orientation })
}

impl Decoded {
    /// The image as an array, turned as it should be seen.
    fn upright(&self, channels: usize) -> Array3<f32> {
        let of_file = self.channels;
        let mut image = Array3::from_shape_fn((channels, self.height, self.width), |(channel, y, x)| {
            let pixel = &self.bytes[(y * self.width + x) * of_file..][..of_file];
            let byte = match (of_file, channels) {
                (1 | 2, _) => pixel[0],
                (_, 1) => luma(pixel),
                _ => pixel[channel],
            };
            f32::from(byte) / 255.0
        });
        // Along its diagonal first, then left for right, and top for bottom.
        if self.orientation > 4 {
            image.swap_axes(1, 2);
        }
        if matches!(self.orientation, 2 | 3 | 6 | 7) {
            image.invert_axis(Axis(2));
        }
        if matches!(self.orientation, 3 | 4 | 7 | 8) {
            image.invert_axis(Axis(1));
        }
        image.as_standard_layout().into_owned()
    }
}

/// How bright a pixel of red, green and blue is, by the weights of the standard for sRGB.
fn luma(pixel: &[u8]) -> u8 {
    let weighted = [2126, 7152, 722].iter().zip(pixel).map(|(weight, &byte)| weight * u32::from(byte));
    (weighted.sum::<u32>() / 10_000) as u8
}

/// The orientation in Exif data, 1 to 8: a TIFF header, in either order of bytes, and a table in which the entry 0x112
/// holds one short number.
fn orientation(exif: &[u8]) -> Option<u16> {
    let is_little = match exif.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = exif.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let long = |at: usize| {
        let [first, second] = [short(at)?, short(at.checked_add(2)?)?].map(u32::from);
        Some(if is_little { second << 16 | first } else { first << 16 | second })
    };
    let table = long(4)? as usize;
    let entries = (0..short(table)?).map(|entry| table + 2 + 12 * usize::from(entry));
    let found = entries.into_iter().find(|&at| short(at) == Some(0x112))?;
    let is_short = short(found + 2) == Some(3) && long(found + 4) == Some(1);
    short(found + 8).filter(|value| is_short && (1..=8).contains(value))
}
