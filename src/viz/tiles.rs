//! Arrays as pictures, and pictures as arrays.

use std::io::Cursor;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, Rgba, RgbaImage};
use ndarray::{Array3, ArrayView3, ArrayViewD, Axis, Ix3};

use crate::error::{Error, Result};

/// Pixels between tiles, through which the background shows.
const GAP: usize = 4;
/// Grey of what has no shade: numbers that are not finite, tiles of one number only.
const MIDDLE: u8 = 128;
/// The most pixels of a picture that is made.
const MOST_PIXELS: u64 = 1 << 27;
/// The most pixels of an image that is read,
const MOST_READ: u64 = 1 << 26;
/// and the most bytes that its decoder may take.
const MOST_BYTES: u64 = 1 << 30;

/// Pictures side by side: filters, feature maps, images. Each is `[1, height, width]`, grey, or `[3, height, width]`, red,
/// green and blue.
///
/// Each tile goes from black, its least number, to white, its greatest, unless [`shared`](Self::shared) or
/// [`between`](Self::between) say otherwise. What is no finite number is grey. Gaps of four pixels between tiles are
/// transparent.
///
/// ```
/// use dagrad::viz::Tiles;
/// use ndarray::{Array3, array};
///
/// let left_bright = array![[[1.0, -1.0], [1.0, -1.0]]];
/// let tiles = Tiles::new([left_bright.clone(), -left_bright]).zoom(8);
/// let picture = tiles.to_image()?;
/// assert_eq!((picture.width(), picture.height()), (2 * 16 + 4, 16));
/// # Ok::<(), dagrad::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Tiles {
    tiles: Vec<Array3<f32>>,
    columns: usize,
    zoom: usize,
    range: Range,
}

/// Which numbers are black and white.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Range {
    /// The least and the greatest of each tile.
    Each,
    /// The least and the greatest of all tiles.
    Shared,
    Between(f32, f32),
}

impl Tiles {
    /// Tiles in rows of eight.
    pub fn new(tiles: impl IntoIterator<Item = Array3<f32>>) -> Self {
        Self { tiles: tiles.into_iter().collect(), columns: 8, zoom: 1, range: Range::Each }
    }

    /// An image: as it is if it is grey or of three colours, and otherwise the mean of its channels.
    pub(super) fn of_image(image: ArrayView3<'_, f32>) -> Self {
        let mean = if matches!(image.dim().0, 1 | 3) { None } else { image.mean_axis(Axis(0)) };
        Self::new([mean.map_or_else(|| image.to_owned(), |mean| mean.insert_axis(Axis(0)))])
    }

    /// The planes of an array of more than two axes: along the last but two as colours if there are three, each on its own
    /// otherwise.
    pub(super) fn of_planes(array: ArrayViewD<'_, f32>) -> Self {
        let has_colours = array.ndim() > 3 && array.len_of(Axis(array.ndim() - 3)) == 3;
        let mut open = vec![array.clone()];
        let mut found = Vec::new();
        while let Some(part) = open.pop() {
            if part.ndim() > 3 || (part.ndim() == 3 && !has_colours) {
                // Taken from the end, so that the first comes out first.
                let parts = 0..part.len_of(Axis(0));
                open.extend(parts.rev().map(|index| part.clone().index_axis_move(Axis(0), index)));
            } else {
                let plane = if part.ndim() == 2 { part.insert_axis(Axis(0)) } else { part };
                found.extend(plane.into_dimensionality::<Ix3>().ok().map(|plane| plane.to_owned()));
            }
        }
        Self::new(found)
    }

    /// How many tiles stand in a row.
    pub fn columns(self, columns: usize) -> Self {
        Self { columns: columns.max(1), ..self }
    }

    /// How many pixels wide and high a number becomes.
    pub fn zoom(self, zoom: usize) -> Self {
        Self { zoom: zoom.max(1), ..self }
    }

    /// The same black and white for all tiles, so that they can be compared.
    pub fn shared(self) -> Self {
        Self { range: Range::Shared, ..self }
    }

    /// Black and white at given numbers; what lies beyond is cut off.
    pub fn between(self, black: f32, white: f32) -> Self {
        Self { range: Range::Between(black, white), ..self }
    }

    /// Only the first so many.
    pub fn first(mut self, count: usize) -> Self {
        self.tiles.truncate(count);
        self
    }

    /// How many tiles there are.
    pub fn len(&self) -> usize {
        self.tiles.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tiles.is_empty()
    }

    /// The picture, with transparency: grey, or of colours if a tile has some.
    ///
    /// # Errors
    /// A tile of another number of channels than 1 or 3; more than 2²⁷ pixels.
    pub fn to_image(&self) -> Result<DynamicImage> {
        if let Some(tile) = self.tiles.iter().find(|tile| !matches!(tile.dim().0, 1 | 3)) {
            let message = format!("a tile {:?} is neither grey [1, ..] nor of colours [3, ..]", tile.shape());
            return Err(Error::setting("tiles", message));
        }
        let [width, height] = self.size()?;
        let mut picture = RgbaImage::new(width, height);
        let [widest, highest] = self.largest();
        let all = extremes(self.tiles.iter().flatten());
        for (number, tile) in self.tiles.iter().enumerate() {
            let (column, row) = (number % self.columns, number / self.columns);
            // Places and pixels are below the picture's size, which is bounded.
            let corner = [column * (widest * self.zoom + GAP), row * (highest * self.zoom + GAP)];
            let (low, high) = match self.range {
                Range::Each => extremes(tile),
                Range::Shared => all,
                Range::Between(black, white) => (black, white),
            };
            let (channels, rows, columns) = tile.dim();
            for (y, x) in places(rows, columns) {
                let [red, green, blue] =
                    [0, 1, 2].map(|channel| shade(tile[[channel.min(channels - 1), y, x]], low, high));
                let colour = Rgba([red, green, blue, 255]);
                let (left, top) = (corner[0] + x * self.zoom, corner[1] + y * self.zoom);
                for (line, dot) in places(self.zoom, self.zoom) {
                    picture.put_pixel((left + dot) as u32, (top + line) as u32, colour);
                }
            }
        }
        let picture = DynamicImage::from(picture);
        let has_colours = self.tiles.iter().any(|tile| tile.dim().0 == 3);
        Ok(if has_colours { picture } else { picture.into_luma_alpha8().into() })
    }

    /// Width and height of the picture in pixels; never 0.
    fn size(&self) -> Result<[u32; 2]> {
        let columns = self.columns.min(self.tiles.len());
        let [widest, highest] = self.largest();
        let length = |count: usize, each: usize| {
            let length = each.checked_mul(self.zoom)?.checked_add(GAP)?.checked_mul(count)?;
            u32::try_from(length.saturating_sub(GAP).max(1)).ok()
        };
        let size = length(columns, widest).zip(length(self.tiles.len().div_ceil(self.columns), highest));
        let size = size.filter(|(width, height)| u64::from(*width) * u64::from(*height) <= MOST_PIXELS);
        size.map(|(width, height)| [width, height]).ok_or_else(|| {
            Error::setting("zoom", format!("the picture would have more than {MOST_PIXELS} pixels"))
        })
    }

    /// The greatest width and the greatest height of a tile.
    fn largest(&self) -> [usize; 2] {
        let sizes = self.tiles.iter().map(|tile| [tile.dim().2, tile.dim().1]);
        sizes.fold([0; 2], |[width, height], size| [width.max(size[0]), height.max(size[1])])
    }

    /// The picture as a PNG file.
    ///
    /// # Errors
    /// As [`to_image`](Self::to_image).
    pub fn to_png(&self) -> Result<Vec<u8>> {
        let mut bytes = Cursor::new(Vec::new());
        let written = self.to_image()?.write_to(&mut bytes, ImageFormat::Png);
        written.map_err(|error| Error::setting("tiles", error.to_string()))?;
        Ok(bytes.into_inner())
    }

    /// Writes the picture to a PNG file. Folders on the way are made.
    ///
    /// # Errors
    /// As [`to_image`](Self::to_image); a file that cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        write_file(path.as_ref(), &self.to_png()?)
    }

    /// The picture as an address that holds all of it.
    pub(super) fn address(&self) -> Result<String> {
        Ok(format!("data:image/png;base64,{}", BASE64_STANDARD.encode(self.to_png()?)))
    }

    /// Enlarged as far as the picture is no wider than `most` pixels, and the width that it has then.
    pub(super) fn fitted(self, most: usize) -> Result<(Self, u32)> {
        let columns = self.columns.min(self.tiles.len());
        let numbers = (columns * self.largest()[0]).max(1);
        let zoom = most.saturating_sub(columns * GAP) / numbers;
        let tiles = self.zoom(zoom);
        let [width, _] = tiles.size()?;
        Ok((tiles, width))
    }
}

/// All rows and columns of a grid, row by row.
fn places(rows: usize, columns: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).flat_map(move |row| (0..columns).map(move |column| (row, column)))
}

/// The least and the greatest finite number.
fn extremes<'a>(values: impl IntoIterator<Item = &'a f32>) -> (f32, f32) {
    let finite = values.into_iter().filter(|value| value.is_finite());
    finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)))
}

fn shade(value: f32, low: f32, high: f32) -> u8 {
    let (value, low, high) = (f64::from(value), f64::from(low), f64::from(high));
    let place = (value - low) / (high - low);
    if value.is_finite() && low != high && place.is_finite() { (255.0 * place).round() as u8 } else { MIDDLE }
}

/// Writes a file. Folders on the way are made.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(path, bytes))
        .map_err(|error| Error::Data { path: path.to_path_buf(), message: error.to_string() })
}

/// The image in a PNG or JPEG file, from 0, black, to 1, white: `[1, height, width]` in grey (`channels` 1) or
/// `[3, height, width]` in red, green and blue (`channels` 3), whatever the file holds; upright, if the
/// camera wrote down how it was held.
///
/// # Errors
/// A file that cannot be read, is damaged, of another kind, or of more than 2²⁶ pixels; another number of channels.
pub fn read_image(path: impl AsRef<Path>, channels: usize) -> Result<Array3<f32>> {
    let path = path.as_ref();
    let fail = |message: String| Error::Data { path: path.to_path_buf(), message };
    if !matches!(channels, 1 | 3) {
        return Err(Error::setting("channels", format!("{channels} is neither 1 (grey) nor 3 (colours)")));
    }
    let file = ImageReader::open(path).and_then(ImageReader::with_guessed_format);
    let mut reader = file.map_err(|error| fail(error.to_string()))?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| fail(error.to_string()))?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MOST_READ {
        return Err(fail(format!(
            "{width}×{height} pixels are more than {MOST_READ}; make the image smaller"
        )));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| fail(error.to_string()))?;
    image.apply_orientation(orientation);
    let (height, width) = (image.height() as usize, image.width() as usize);
    let bytes = if channels == 1 { image.into_luma8().into_raw() } else { image.into_rgb8().into_raw() };
    let pixels = ArrayView3::from_shape((height, width, channels), &bytes);
    let pixels = pixels.map_err(|error| fail(error.to_string()))?;
    Ok(pixels.permuted_axes([2, 0, 1]).mapv(|byte| f32::from(byte) / 255.0))
}

#[cfg(test)]
mod tests {
    use ndarray::{Array, array};

    use super::*;

    /// What stands for a transparent pixel below; no test has this shade.
    const GONE: u8 = 77;

    /// The width of a grey picture, and its shades.
    fn pixels(tiles: &Tiles) -> (u32, Vec<u8>) {
        let image = tiles.to_image().unwrap();
        let shades = image.as_luma_alpha8().unwrap().pixels();
        (image.width(), shades.map(|pixel| if pixel[1] == 0 { GONE } else { pixel[0] }).collect())
    }

    #[test]
    fn each_tile_goes_from_black_to_white_or_all_do_together() {
        let tiles = Tiles::new([array![[[0.0, 1.0], [3.0, 2.0]]], array![[[5.0, -5.0]]]]);
        let gap = [GONE; GAP];
        assert_eq!(pixels(&tiles), (8, [&[0, 85][..], &gap, &[255, 0, 255, 170], &gap, &[GONE; 2]].concat()));
        assert_eq!(
            pixels(&tiles.clone().shared()),
            (8, [&[128, 153][..], &gap, &[255, 0, 204, 179], &gap, &[GONE; 2]].concat())
        );
        assert_eq!(pixels(&tiles.between(0.0, 2.0).first(1)), (2, vec![0, 128, 255, 255]));
    }

    #[test]
    fn what_has_no_shade_is_grey() {
        let tiles = Tiles::new([array![[[f32::NAN, 1.0, 2.0]]], array![[[4.0, 4.0, 4.0]]]]).columns(1);
        let gap = [GONE; 3 * GAP];
        assert_eq!(pixels(&tiles).1, [&[128, 0, 255][..], &gap, &[128; 3]].concat());
        assert_eq!(pixels(&Tiles::new([])), (1, vec![GONE]));
        let huge = Tiles::new([array![[[f32::MAX, f32::MIN, 0.0]]]]);
        assert_eq!(pixels(&huge).1, [255, 0, 128]);
    }

    #[test]
    fn numbers_become_squares_and_three_planes_colours() {
        let tiles = Tiles::new([array![[[0.0, 1.0]]]]).zoom(2);
        assert_eq!(pixels(&tiles), (4, vec![0, 0, 255, 255, 0, 0, 255, 255]));
        let colours = Tiles::new([array![[[0.0]], [[1.0]], [[0.5]]], array![[[7.0]]]]).between(0.0, 1.0);
        let dots = [&[0, 255, 128, 255][..], &[0; 4 * GAP], &[255; 4]].concat();
        assert_eq!(colours.to_image().unwrap().into_rgba8().into_raw(), dots);
    }

    #[test]
    fn pictures_are_enlarged_by_whole_numbers() {
        let tiles = Tiles::new([Array3::zeros((1, 5, 5)), Array3::zeros((1, 5, 5))]);
        let fitted = |most| tiles.clone().fitted(most).map(|(tiles, width)| (tiles.zoom, width)).unwrap();
        assert_eq!([fitted(38), fitted(37), fitted(3)], [(3, 34), (2, 24), (1, 14)]);
    }

    #[test]
    fn planes_come_in_order() {
        let array = Array::from_iter((0..24).map(|i| i as f32)).into_shape_with_order([2, 3, 2, 2]).unwrap();
        let tiles = Tiles::of_planes(array.view().into_dyn());
        assert_eq!(tiles.tiles.iter().map(|tile| tile[[0, 0, 0]]).collect::<Vec<_>>(), [0.0, 12.0]);
        let grey = array.into_shape_with_order([3, 2, 2, 2]).unwrap();
        let tiles = Tiles::of_planes(grey.view().into_dyn());
        assert_eq!(
            tiles.tiles.iter().map(|tile| tile[[0, 0, 0]]).collect::<Vec<_>>(),
            [0.0, 4.0, 8.0, 12.0, 16.0, 20.0]
        );
    }

    #[test]
    fn too_large_and_oddly_shaped_pictures_are_errors() {
        assert!(Tiles::new([Array3::zeros((2, 1, 1))]).to_image().is_err());
        assert!(Tiles::new([Array3::zeros((1, 2, 2))]).zoom(usize::MAX / 2).to_image().is_err());
        assert!(Tiles::new([Array3::zeros((1, 2, 2))]).zoom(10_000).to_image().is_err());
    }
}
