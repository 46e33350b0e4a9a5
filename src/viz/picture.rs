//! Arrays as small grey pictures.

use std::io::Cursor;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::{GrayImage, ImageFormat, Luma};
use ndarray::{ArrayView2, Axis, Ix2};

use crate::error::{Error, Result};

/// Between tiles.
const GAP: usize = 1;
/// Grey of what has no shade: gaps, numbers that are not finite, tiles of one number only.
const MIDDLE: u8 = 128;

/// Tiles side by side in rows of `columns`, each from black, its least number, to white, its most.
pub fn grid(tiles: &[ArrayView2<'_, f32>], columns: usize) -> GrayImage {
    let columns = columns.clamp(1, tiles.len().max(1));
    let height = tiles.iter().map(|tile| tile.len_of(Axis(0))).max().unwrap_or(0);
    let width = tiles.iter().map(|tile| tile.len_of(Axis(1))).max().unwrap_or(0);
    let rows = tiles.len().div_ceil(columns);
    let size = |count: usize, each: usize| (count * (each + GAP)).saturating_sub(GAP).max(1) as u32;
    let mut picture = GrayImage::from_pixel(size(columns, width), size(rows, height), Luma([MIDDLE]));
    for (number, tile) in tiles.iter().enumerate() {
        let (left, top) = (number % columns * (width + GAP), number / columns * (height + GAP));
        let shade = shades(tile);
        for ((y, x), &value) in tile.indexed_iter() {
            picture.put_pixel((left + x) as u32, (top + y) as u32, Luma([shade(value)]));
        }
    }
    picture
}

/// How the numbers of a tile become grey.
fn shades(tile: &ArrayView2<'_, f32>) -> impl Fn(f32) -> u8 + use<> {
    let finite = || tile.iter().copied().filter(|value| value.is_finite());
    let (low, high) = (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
    move |value| {
        if !value.is_finite() || low >= high {
            return MIDDLE;
        }
        ((f64::from(value) - f64::from(low)) / (f64::from(high) - f64::from(low)) * 255.0).round() as u8
    }
}

/// The picture as an address that holds all of it.
///
/// # Errors
/// A picture that cannot be encoded.
pub fn address(picture: &GrayImage) -> Result<String> {
    let mut bytes = Cursor::new(Vec::new());
    let written = picture.write_to(&mut bytes, ImageFormat::Png);
    written.map_err(|error| Error::setting("picture", error.to_string()))?;
    Ok(format!("data:image/png;base64,{}", BASE64_STANDARD.encode(bytes.into_inner())))
}

/// The planes of an array of more than two axes, one after the other.
pub fn planes(array: &ndarray::ArrayD<f32>) -> Vec<ArrayView2<'_, f32>> {
    let mut open = vec![array.view()];
    let mut found = Vec::new();
    while let Some(part) = open.pop() {
        if part.ndim() > 2 {
            // Taken from the end, so that the first comes out first.
            open.extend(
                (0..part.len_of(Axis(0))).rev().map(|index| part.clone().index_axis_move(Axis(0), index)),
            );
        } else if let Ok(plane) = part.into_dimensionality::<Ix2>() {
            found.push(plane);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use ndarray::{Array, array};

    use super::*;

    #[test]
    fn each_tile_goes_from_black_to_white() {
        let (a, b) = (array![[0.0, 1.0], [3.0, 2.0]], array![[5.0, -5.0]]);
        let picture = grid(&[a.view(), b.view()], 2);
        assert_eq!(picture.dimensions(), (5, 2));
        assert_eq!(picture.into_raw(), [0, 85, 128, 255, 0, 255, 170, 128, 128, 128]);
    }

    #[test]
    fn what_has_no_shade_is_grey() {
        let picture = grid(&[array![[f32::NAN, 1.0, 2.0]].view(), array![[4.0, 4.0, 4.0]].view()], 1);
        assert_eq!(picture.into_raw(), [128, 0, 255, 128, 128, 128, 128, 128, 128]);
        assert_eq!(grid(&[], 3).dimensions(), (1, 1));
    }

    #[test]
    fn planes_come_in_order() {
        let array = Array::from_iter((0..12).map(|i| i as f32)).into_shape_with_order([2, 3, 1, 2]).unwrap();
        let firsts: Vec<f32> = planes(&array.into_dyn()).iter().map(|plane| plane[[0, 0]]).collect();
        assert_eq!(firsts, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
    }
}
