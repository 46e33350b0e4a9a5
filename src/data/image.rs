//! Photographs in files, PNG and JPEG.

use std::error::Error as StdError;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Cursor, Read, Seek};
use std::path::Path;

use ndarray::{Array3, Axis};
use png::{BitDepth, Limits, Transformations};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::error::{Error, Result};

/// The most pixels of an image that is read,
const MOST_READ: usize = 1 << 26;
/// and the most bytes that its decoder may take.
const MOST_BYTES: usize = 1 << 30;
/// The most bytes that one byte of a file stands for: PNG's deflate has 258 for two bits. A JPEG file needs a bit for each block of
/// 8×8 pixels at least, so it stays below that.
const DENSEST: u64 = 1032;

/// Refuses what is neither grey nor in colours.
#[track_caller]
pub(crate) fn check_channels(channels: usize) -> Result<()> {
    if matches!(channels, 1 | 3) {
        return Ok(());
    }
    Err(Error::setting("channels", format!("{channels} is neither 1 (grey) nor 3 (colours)")))
}

/// The image in a file, `[channels, height, width]`: in grey (`channels` 1) or in red, green and blue (3), whatever the file
/// holds; upright, if the camera wrote down how it was held.
pub(crate) fn read(path: &Path, channels: usize) -> Result<Array3<u8>> {
    match decode(path) {
        Ok(image) => Ok(image.upright(channels)),
        Err(error) => Err(Error::Data { path: path.to_owned(), message: error.to_string() }),
    }
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
fn decode(path: &Path) -> Result<Decoded, Box<dyn StdError>> {
    // Opening a pipe or a device could wait forever, or never end.
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(
            if metadata.is_dir() { "is a folder, not a file" } else { "is not a regular file" }.into()
        );
    }
    let mut file = BufReader::new(File::open(path)?);
    let start = file.fill_buf()?;
    if start.starts_with(b"\x89PNG\r\n\x1a\n") {
        decode_png(file, metadata.len())
    } else if start.starts_with(&[0xff, 0xd8, 0xff]) {
        let mut bytes = Vec::new();
        file.take(MOST_BYTES as u64).read_to_end(&mut bytes)?;
        decode_jpeg(&bytes)
    } else {
        Err("is neither a PNG nor a JPEG file".into())
    }
}

/// Refuses an image that is too large before its pixels are read, or larger than `file` bytes can hold.
fn check_size(width: usize, height: usize, bits_per_pixel: usize, file: u64) -> Result<(), String> {
    match width.checked_mul(height) {
        Some(0) => Err("has no pixels".to_owned()),
        Some(pixels @ ..=MOST_READ)
            if (pixels * bits_per_pixel / 8) as u64 <= file.saturating_mul(DENSEST) =>
        {
            Ok(())
        }
        Some(..=MOST_READ) => Err(format!("{width}×{height} pixels are more than {file} bytes can hold")),
        _ => Err(format!("{width}×{height} pixels are more than {MOST_READ}; make the image smaller")),
    }
}

fn decode_png(file: impl BufRead + Seek, length: u64) -> Result<Decoded, Box<dyn StdError>> {
    let mut decoder = png::Decoder::new_with_limits(file, Limits { bytes: MOST_BYTES });
    // Palettes, and pixels of less than a byte, become bytes.
    decoder.set_transformations(Transformations::EXPAND);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let header = decoder.read_header_info()?;
    let (width, height) = (header.width as usize, header.height as usize);
    check_size(width, height, header.bits_per_pixel(), length)?;
    let mut reader = decoder.read_info()?;
    let length = reader.output_buffer_size().filter(|&bytes| bytes <= MOST_BYTES);
    let mut bytes = vec![0; length.ok_or("its pixels take too much memory")?];
    let frame = reader.next_frame(&mut bytes)?;
    bytes.truncate(frame.buffer_size());
    reader.finish()?;
    if frame.bit_depth == BitDepth::Sixteen {
        let to_byte = |pair: &[u8; 2]| ((u32::from(u16::from_be_bytes(*pair)) + 128) / 257) as u8; // rounded
        bytes = bytes.as_chunks().0.iter().map(to_byte).collect();
    }
    let orientation = reader.info().exif_metadata.as_deref().and_then(orientation).unwrap_or(1);
    Ok(Decoded { width, height, channels: frame.color_type.samples(), bytes, orientation })
}

fn decode_jpeg(file: &[u8]) -> Result<Decoded, Box<dyn StdError>> {
    let options = DecoderOptions::default().set_strict_mode(false);
    let options = options.set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(Cursor::new(file), options);
    decoder.decode_headers()?;
    let (width, height) = decoder.dimensions().ok_or("its size is not known")?;
    check_size(width, height, 8, file.len() as u64)?;
    let (space, channels) = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => (ColorSpace::Luma, 1),
        _ => (ColorSpace::RGB, 3),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    // The decoder makes up what is missing at the end.
    if !is_whole(file) {
        return Err("is cut off: its image has no end".into());
    }
    let bytes = decoder.decode()?;
    let orientation = decoder.exif().and_then(|exif| orientation(exif)).unwrap_or(1);
    Ok(Decoded { width, height, channels, bytes, orientation })
}

/// Whether the scans of a JPEG file come to its end marker. The segments before them may hold an image of their own.
fn is_whole(file: &[u8]) -> bool {
    const END: [u8; 2] = [0xff, 0xd9];
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) = file.get(at..at + 4) {
        match marker {
            0xda => return file[at..].windows(2).any(|pair| pair == END),
            0xff => at += 1, // padding
            _ => at += 2 + usize::from(u16::from_be_bytes([high, low])),
        }
    }
    false
}

impl Decoded {
    /// The image as an array, turned as it should be seen.
    fn upright(&self, channels: usize) -> Array3<u8> {
        let of_file = self.channels;
        let mut image = Array3::from_shape_fn((channels, self.height, self.width), |(channel, y, x)| {
            let pixel = &self.bytes[(y * self.width + x) * of_file..][..of_file];
            match (of_file, channels) {
                (1 | 2, _) => pixel[0],
                (_, 1) => luma(pixel),
                _ => pixel[channel],
            }
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

/// How bright a pixel of red, green and blue is, by the weights of ITU-R BT.601 and to the bit as Pillow has it, so that a network
/// sees the grey that it may have learned in PyTorch.
fn luma(pixel: &[u8]) -> u8 {
    let weighted = [19595, 38470, 7471].iter().zip(pixel).map(|(weight, &byte)| weight * u32::from(byte));
    ((weighted.sum::<u32>() + 0x8000) >> 16) as u8
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
