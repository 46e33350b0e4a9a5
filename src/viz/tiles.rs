//! Arrays as images.

use std::path::Path;

use ndarray::{Array3, ArrayView3, ArrayView4, Axis, s};

use super::image::Image;
use crate::error::{Error, Result};
use crate::graph::setting::{self, COUNT, NUMBER};

/// Pixels between tiles, through which the background shows.
const GAP: usize = 4;
/// Grey of what has no shade: numbers that are not finite, tiles of one number only.
const MIDDLE: u8 = 128;
/// Pixels that are left to a tile, at least, when many are fitted into an image.
const LEAST: usize = 16;
/// The most pixels of an image that is made.
const MOST_PIXELS: u64 = 1 << 27;

/// Images side by side: filters, feature maps, photographs. Each is `[1, height, width]`, grey, or `[3, height, width]`, red,
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
/// let image = tiles.to_image()?;
/// assert_eq!((image.width(), image.height()), (2 * 16 + 4, 16));
/// # Ok::<(), dagrad::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Tiles {
    tiles: Vec<Array3<f32>>,
    columns: usize,
    zoom: usize,
    scale: Scale,
}

/// Which numbers are black and white.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Scale {
    /// The least and the greatest of each tile.
    Each,
    /// The least and the greatest of all tiles.
    Shared,
    Between(f32, f32),
}

impl Tiles {
    /// Tiles in rows of eight.
    pub fn new(tiles: impl IntoIterator<Item = Array3<f32>>) -> Self {
        Self { tiles: tiles.into_iter().collect(), columns: 8, zoom: 1, scale: Scale::Each }
    }

    /// An image: as it is if it is grey or of three colours, and otherwise the mean of its channels.
    pub(super) fn of_image(image: ArrayView3<'_, f32>) -> Self {
        let mean = if matches!(image.dim().0, 1 | 3) { None } else { image.mean_axis(Axis(0)) };
        Self::new([mean.map_or_else(|| image.to_owned(), |mean| mean.insert_axis(Axis(0)))])
    }

    /// The planes of images `[N, C, H, W]`, so many channels in each.
    pub(super) fn of_planes(images: ArrayView4<'_, f32>, channels: usize) -> Self {
        let planes = images.outer_iter().flat_map(|image| {
            let planes = image.axis_chunks_iter(Axis(0), channels);
            planes.map(|plane| plane.to_owned()).collect::<Vec<_>>()
        });
        Self::new(planes)
    }

    /// How many tiles stand in a row: 1 or more.
    pub fn columns(self, columns: usize) -> Self {
        Self { columns, ..self }
    }

    /// How many pixels wide and high a number becomes: 1 or more.
    pub fn zoom(self, zoom: usize) -> Self {
        Self { zoom, ..self }
    }

    /// The same black and white for all tiles, so that they can be compared.
    pub fn shared(self) -> Self {
        Self { scale: Scale::Shared, ..self }
    }

    /// Black and white at given numbers; what lies beyond is cut off.
    pub fn between(self, black: f32, white: f32) -> Self {
        Self { scale: Scale::Between(black, white), ..self }
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

    /// All tiles as one image, with transparency: grey, or in colours if a tile has some.
    ///
    /// # Errors
    /// A tile of another number of channels than 1 or 3; no columns, no zoom, black or white that are infinite or NaN; more
    /// than 2²⁷ pixels.
    #[track_caller]
    pub fn to_image(&self) -> Result<Image> {
        setting::require("columns", self.columns, COUNT)?;
        setting::require("zoom", self.zoom, COUNT)?;
        if let Scale::Between(black, white) = self.scale {
            setting::require("black", f64::from(black), NUMBER)?;
            setting::require("white", f64::from(white), NUMBER)?;
        }
        if let Some(tile) = self.tiles.iter().find(|tile| !matches!(tile.dim().0, 1 | 3)) {
            let message = format!("a tile {:?} is neither grey [1, ..] nor of colours [3, ..]", tile.shape());
            return Err(Error::setting("tiles", message));
        }
        let [width, height] = self.size()?;
        let has_colours = self.tiles.iter().any(|tile| tile.dim().0 == 3);
        let pixel_bytes = if has_colours { 4 } else { 2 };
        let mut bytes = vec![0; width as usize * height as usize * pixel_bytes];
        let [widest, highest] = self.largest();
        let all = extremes(self.tiles.iter().flatten());
        for (number, tile) in self.tiles.iter().enumerate() {
            let (column, row) = (number % self.columns, number / self.columns);
            // Positions are below the image's size, which is bounded.
            let corner = [column * (widest * self.zoom + GAP), row * (highest * self.zoom + GAP)];
            let (low, high) = match self.scale {
                Scale::Each => extremes(tile),
                Scale::Shared => all,
                Scale::Between(black, white) => (black, white),
            };
            let (channels, rows, columns) = tile.dim();
            for y in 0..rows {
                for x in 0..columns {
                    let [red, green, blue] =
                        [0, 1, 2].map(|channel| shade(tile[[channel.min(channels - 1), y, x]], low, high));
                    let pixel: &[u8] = if has_colours { &[red, green, blue, 255] } else { &[red, 255] };
                    let (left, top) = (corner[0] + x * self.zoom, corner[1] + y * self.zoom);
                    for line in top..top + self.zoom {
                        let start = (line * width as usize + left) * pixel_bytes;
                        let dots = bytes[start..][..self.zoom * pixel_bytes].chunks_exact_mut(pixel_bytes);
                        dots.for_each(|dot| dot.copy_from_slice(pixel));
                    }
                }
            }
        }
        Ok(Image { size: [width, height], channels: pixel_bytes, bytes })
    }

    /// Width and height of the image in pixels; never 0.
    #[track_caller]
    pub(super) fn size(&self) -> Result<[u32; 2]> {
        let columns = self.columns.min(self.tiles.len());
        let [widest, highest] = self.largest();
        let length = |count: usize, each: usize| {
            let length = each.checked_mul(self.zoom)?.checked_add(GAP)?.checked_mul(count)?;
            u32::try_from(length.saturating_sub(GAP).max(1)).ok()
        };
        let size = length(columns, widest).zip(length(self.tiles.len().div_ceil(self.columns), highest));
        let size = size.filter(|(width, height)| u64::from(*width) * u64::from(*height) <= MOST_PIXELS);
        let Some((width, height)) = size else {
            let message = format!("the image would have more than {MOST_PIXELS} pixels");
            return Err(Error::setting("zoom", message));
        };
        Ok([width, height])
    }

    /// The greatest width and the greatest height of a tile.
    fn largest(&self) -> [usize; 2] {
        let sizes = self.tiles.iter().map(|tile| [tile.dim().2, tile.dim().1]);
        sizes.fold([0; 2], |[width, height], size| [width.max(size[0]), height.max(size[1])])
    }

    /// The image as a PNG file.
    ///
    /// # Errors
    /// As [`to_image`](Self::to_image).
    #[track_caller]
    pub fn to_png(&self) -> Result<Vec<u8>> {
        self.to_image()?.to_png()
    }

    /// Writes the image to a PNG file. Folders on the way are made.
    ///
    /// # Errors
    /// As [`to_image`](Self::to_image); a file that cannot be written.
    #[track_caller]
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        write_file(path.as_ref(), &self.to_png()?)
    }

    /// Within a width and a height in pixels, whatever there is: enlarged as far as it fits, or else reduced, so that each
    /// pixel is the mean of a square of numbers. If no 16 pixels were left to a tile, the last columns and rows are not
    /// shown.
    ///
    /// ```
    /// use dagrad::viz::Tiles;
    /// use ndarray::Array3;
    ///
    /// let photographs = (0..10).map(|_| Array3::zeros((3, 768, 1024)));
    /// let image = Tiles::new(photographs).fitted(400, 300).to_image()?;
    /// assert_eq!((image.width(), image.height()), (8 * 45 + 7 * 4, 2 * 34 + 4)); // a 23rd as large
    /// # Ok::<(), dagrad::Error>(())
    /// ```
    pub fn fitted(mut self, width: usize, height: usize) -> Self {
        let (columns, largest) = (self.columns.min(self.tiles.len()).max(1), self.largest());
        let (mut zoom, mut reduction) = (usize::MAX, 1);
        let fit = |room: usize, count: usize, numbers: usize| {
            let room = room.saturating_add(GAP); // one gap less than tiles
            let count = count.clamp(1, (room / (LEAST + GAP)).max(1));
            (count, (room / count).saturating_sub(GAP).max(1), numbers.max(1))
        };
        let across = fit(width, columns, largest[0]);
        let down = fit(height, self.tiles.len().div_ceil(columns), largest[1]);
        for (_, room, numbers) in [across, down] {
            (zoom, reduction) = (zoom.min(room / numbers), reduction.max(numbers.div_ceil(room)));
        }
        let mut number = 0..;
        self.tiles.retain(|_| number.next().is_some_and(|n| n % columns < across.0 && n / columns < down.0));
        self.tiles.iter_mut().filter(|_| reduction > 1).for_each(|tile| *tile = reduced(tile, reduction));
        self.columns(across.0).zoom(zoom.max(1))
    }
}

/// A tile of which each number is the mean of a square.
fn reduced(tile: &Array3<f32>, side: usize) -> Array3<f32> {
    let (channels, height, width) = tile.dim();
    let part = |start: usize, size: usize| start * side..((start + 1) * side).min(size);
    Array3::from_shape_fn((channels, height.div_ceil(side), width.div_ceil(side)), |(channel, y, x)| {
        let square = tile.slice(s![channel, part(y, height), part(x, width)]);
        (square.iter().copied().map(f64::from).sum::<f64>() / square.len() as f64) as f32
    })
}

/// The least and the greatest finite number.
pub(super) fn extremes<'a>(values: impl IntoIterator<Item = &'a f32>) -> (f32, f32) {
    let finite = values.into_iter().filter(|value| value.is_finite());
    finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)))
}

fn shade(value: f32, low: f32, high: f32) -> u8 {
    let (value, low, high) = (f64::from(value), f64::from(low), f64::from(high));
    let level = (value - low) / (high - low);
    if value.is_finite() && low != high && level.is_finite() { (255.0 * level).round() as u8 } else { MIDDLE }
}

/// Writes a file. Folders on the way are made.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    path.parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(path, bytes))
        .map_err(|error| failed(path, &error))
}

/// What went wrong with a file.
pub(super) fn failed(path: &Path, error: &impl ToString) -> Error {
    Error::Data { path: path.to_path_buf(), message: error.to_string() }
}
