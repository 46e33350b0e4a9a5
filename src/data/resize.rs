//! Images in another size.

use ndarray::{Array3, ArrayView1};

/// What one position of the result is made of, along an axis: where it begins to read, and the weights from there on.
type Taps = (usize, Vec<f32>);

/// The part of an image `[channels, height, width]` at `offset`, of `size`, after all of it has been resized to `full`.
///
/// Bilinear with antialiasing, as Pillow and torchvision do it: the triangle is as wide as two pixels of the smaller of both
/// images. The sums are rounded once, where Pillow rounds after each axis, so a byte may differ by 1.
pub(super) fn resize(
    image: &Array3<u8>,
    full: [usize; 2],
    offset: [usize; 2],
    size: [usize; 2],
    out: &mut Vec<u8>,
) {
    let (_, height, width) = image.dim();
    let rows = taps(height, full[0], offset[0], size[0]);
    let columns = taps(width, full[1], offset[1], size[1]);
    let mut sums = vec![0.0f32; size[1]];
    for channel in image.outer_iter() {
        for (start, weights) in &rows {
            sums.fill(0.0);
            for (row, weight) in channel.outer_iter().skip(*start).zip(weights) {
                sums.iter_mut().zip(&columns).for_each(|(sum, taps)| *sum += weight * weighted(row, taps));
            }
            out.extend(sums.iter().map(|sum| sum.round() as u8));
        }
    }
}

fn weighted(row: ArrayView1<'_, u8>, (start, weights): &Taps) -> f32 {
    row.iter().skip(*start).zip(weights).map(|(&byte, weight)| f32::from(byte) * weight).sum()
}

/// The taps of `count` positions from `offset` on, where `from` pixels become `to`.
fn taps(from: usize, to: usize, offset: usize, count: usize) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let radius = scale.max(1.0);
    let tap = |position: usize| {
        let centre = (position as f64 + 0.5) * scale;
        let start = (centre - radius + 0.5).max(0.0) as usize;
        let end = ((centre + radius + 0.5) as usize).min(from);
        let weight = |pixel: usize| (1.0 - ((pixel as f64 + 0.5 - centre) / radius).abs()).max(0.0);
        let sum: f64 = (start..end).map(weight).sum();
        (start, (start..end).map(|pixel| (weight(pixel) / sum) as f32).collect())
    };
    (offset..offset + count).map(tap).collect()
}
