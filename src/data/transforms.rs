//! What augmentation does to the planes of an image, and to a mask in the same way.

use std::cell::Cell;

use dagrad_kernels::simd::vectorize;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;

thread_local! {
    /// A plane as it was before it was turned, as bits. Each thread keeps its own, so nothing is allocated after the first.
    static TURNED: Cell<Vec<u32>> = const { Cell::new(Vec::new()) };
}

/// How often a rectangle to be erased is drawn before the image is left as it is, as in torchvision.
const ATTEMPTS: usize = 10;
/// The share of the image that a rectangle takes, and its height by its width.
const AREA: [f64; 2] = [0.02, 0.33];
const ASPECT: [f64; 2] = [0.3, 3.3];

/// A step of an augmentation. What it draws, all planes of the sample share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Transform {
    /// Left for right, with this probability.
    FlipHorizontal(f64),
    /// Top for bottom.
    FlipVertical(f64),
    /// Up to so many pixels down or up, and right or left.
    Shift([usize; 2]),
    /// Up to so many degrees either way.
    Rotate(f64),
    /// A rectangle becomes 0 in all channels of an image, with this probability.
    Erase(f64),
}

/// An element of a plane: a pixel of an image, or a class in a mask.
pub(super) trait Pixel: Copy {
    /// Whether it is a class.
    const IS_CLASS: bool;
    fn bits(self) -> u32;
    fn of(bits: u32) -> Self;
    /// The value between pixels, of which `pixel` has that of a row and a column.
    fn between(pixel: impl Fn(isize, isize) -> Self, y: f64, x: f64) -> Self;
}

impl Pixel for f32 {
    const IS_CLASS: bool = false;

    fn bits(self) -> u32 {
        self.to_bits()
    }

    fn of(bits: u32) -> Self {
        Self::from_bits(bits)
    }

    /// Bilinear.
    #[inline(always)]
    fn between(pixel: impl Fn(isize, isize) -> f32, y: f64, x: f64) -> f32 {
        let [top, left] = [y.floor(), x.floor()];
        let [down, right] = [(y - top) as f32, (x - left) as f32];
        let [top, left] = [top as isize, left as isize];
        let row = |y| pixel(y, left) * (1.0 - right) + pixel(y, left + 1) * right;
        row(top) * (1.0 - down) + row(top + 1) * down
    }
}

impl Pixel for u32 {
    const IS_CLASS: bool = true;

    fn bits(self) -> u32 {
        self
    }

    fn of(bits: u32) -> Self {
        bits
    }

    /// That of the nearest pixel.
    #[inline(always)]
    fn between(pixel: impl Fn(isize, isize) -> u32, y: f64, x: f64) -> u32 {
        pixel((y + 0.5).floor() as isize, (x + 0.5).floor() as isize)
    }
}

impl Transform {
    /// Draws, and transforms all planes of a height and a width. `outside` is what comes in from beyond the border.
    pub(super) fn apply<P: Pixel>(
        self,
        mut random: ChaCha8Rng,
        planes: &mut [P],
        [height, width]: [usize; 2],
        outside: P,
    ) {
        let mut each = |change: &mut dyn FnMut(&mut [P])| planes.chunks_mut(height * width).for_each(change);
        match self {
            Self::FlipHorizontal(p) if random.random_bool(p) => {
                each(&mut |plane| plane.chunks_mut(width).for_each(<[P]>::reverse));
            }
            Self::FlipVertical(p) if random.random_bool(p) => {
                // All pixels the other way round, and then each row again.
                each(&mut |plane| {
                    plane.reverse();
                    plane.chunks_mut(width).for_each(<[P]>::reverse);
                });
            }
            Self::Shift(most) => {
                let [down, right] =
                    most.map(|most| random.random_range(-(most as i64)..=most as i64) as isize);
                each(&mut |plane| shift(plane, width, down, right, outside));
            }
            Self::Rotate(degrees) => {
                let angle = degrees.to_radians() * (2.0 * random.random::<f64>() - 1.0);
                let mut before = TURNED.take();
                each(&mut |plane| rotate(plane, [height, width], angle, outside, &mut before));
                TURNED.set(before);
            }
            Self::Erase(p) if !P::IS_CLASS && random.random_bool(p) => {
                if let Some([top, left, rows, columns]) = rectangle(&mut random, [height, width]) {
                    each(&mut |plane| {
                        for row in plane.chunks_mut(width).skip(top).take(rows) {
                            row[left..left + columns].fill(P::of(0));
                        }
                    });
                }
            }
            Self::FlipHorizontal(_) | Self::FlipVertical(_) | Self::Erase(_) => {}
        }
    }
}

/// Moves a plane in place.
fn shift<P: Pixel>(plane: &mut [P], width: usize, down: isize, right: isize, outside: P) {
    let height = plane.len() / width;
    if down.unsigned_abs() >= height || right.unsigned_abs() >= width {
        return plane.fill(outside);
    }
    // One move of all pixels; what came around the border is overwritten then.
    let by = down * width as isize + right;
    let (length, distance) = (plane.len(), by.unsigned_abs());
    if by >= 0 {
        plane.copy_within(..length - distance, distance);
    } else {
        plane.copy_within(distance.., 0);
    }
    let empty = |by: isize, size: usize| match by {
        0.. => 0..by.unsigned_abs(),
        _ => size - by.unsigned_abs()..size,
    };
    let (rows, columns) = (empty(down, height), empty(right, width));
    plane[rows.start * width..rows.end * width].fill(outside);
    plane.chunks_mut(width).for_each(|row| row[columns.clone()].fill(outside));
}

/// Turns a plane about its centre, counterclockwise as it is seen.
fn rotate<P: Pixel>(
    plane: &mut [P],
    [height, width]: [usize; 2],
    angle: f64,
    outside: P,
    before: &mut Vec<u32>,
) {
    before.clear();
    before.extend(plane.iter().map(|pixel| pixel.bits()));
    let [bottom, right] = [height, width].map(|size| (size - 1) as f64);
    let (sin, cos) = angle.sin_cos();
    let before = &before[..];
    vectorize(
        #[inline(always)]
        || {
            let pixel = |y: isize, x: isize| match (y.cast_unsigned(), x.cast_unsigned()) {
                (y, x) if y < height && x < width => P::of(before[y * width + x]),
                _ => outside,
            };
            for (y, row) in plane.chunks_mut(width).enumerate() {
                let y = y as f64 - bottom / 2.0;
                for (x, target) in row.iter_mut().enumerate() {
                    let x = x as f64 - right / 2.0;
                    // Where this pixel was.
                    let (y, x) = (bottom / 2.0 + x * sin + y * cos, right / 2.0 + x * cos - y * sin);
                    *target = P::between(pixel, y, x);
                }
            }
        },
    );
}

/// A rectangle within the image: top, left, rows, columns.
fn rectangle(random: &mut ChaCha8Rng, [height, width]: [usize; 2]) -> Option<[usize; 4]> {
    (0..ATTEMPTS).find_map(|_| {
        let area = (height * width) as f64 * random.random_range(AREA[0]..AREA[1]);
        let aspect = random.random_range(ASPECT[0].ln()..ASPECT[1].ln()).exp();
        let [rows, columns] =
            [(area * aspect).sqrt(), (area / aspect).sqrt()].map(|side| side.round() as usize);
        if rows >= height || columns >= width {
            return None;
        }
        Some([
            random.random_range(0..=height - rows),
            random.random_range(0..=width - columns),
            rows,
            columns,
        ])
    })
}
