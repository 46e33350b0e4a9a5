//! stub
use super::real::Real;
use super::workers::Workers;
pub fn to_channels_last<T: Real>(
    batch: usize,
    channels: usize,
    pixels: usize,
    from: &[T],
    to: &mut [T],
    _: &Workers,
) {
    for n in 0..batch {
        for c in 0..channels {
            for p in 0..pixels {
                to[(n * pixels + p) * channels + c] = from[(n * channels + c) * pixels + p];
            }
        }
    }
}
pub fn to_channels_first<T: Real>(
    batch: usize,
    channels: usize,
    pixels: usize,
    from: &[T],
    to: &mut [T],
    w: &Workers,
) {
    to_channels_last(batch, pixels, channels, from, to, w)
}
