//! The attributes that convolutions and poolings share.

use crate::shape::{Pair, Window};

/// How a convolution's window moves: stride 1 and no padding unless said otherwise.
///
/// Pairs are `[vertical, horizontal]`; one number stands for both.
///
/// ```
/// use dagrad::Conv2dOptions;
/// let options = Conv2dOptions::new().stride([2, 1]).padding(1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2dOptions {
    stride: [usize; 2],
    padding: [usize; 2],
    exact: bool,
}

impl Default for Conv2dOptions {
    fn default() -> Self {
        Self { stride: [1; 2], padding: [0; 2], exact: false }
    }
}

impl Conv2dOptions {
    /// Stride 1, no padding.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many pixels the window moves at a time.
    pub fn stride(self, stride: impl Into<Pair>) -> Self {
        Self { stride: stride.into().0, ..self }
    }

    /// How many zeros are added on each side.
    pub fn padding(self, padding: impl Into<Pair>) -> Self {
        Self { padding: padding.into().0, ..self }
    }

    /// Makes it an error if the stride leaves pixels over (by default they are not visited).
    pub fn exact(self) -> Self {
        Self { exact: true, ..self }
    }

    /// The window of a given size that moves so.
    pub fn window(self, kernel: [usize; 2]) -> Window {
        Window { kernel, stride: self.stride, padding: self.padding, exact: self.exact }
    }
}

/// A pooling's window: its size, and how it moves (by its own size unless said otherwise).
///
/// Pairs are `[vertical, horizontal]`; one number stands for both. A size alone converts:
/// `x.max_pool2d(2)` is `x.max_pool2d(Pool2dOptions::new(2))`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool2dOptions {
    window: Window,
}

impl Pool2dOptions {
    /// A window of this size, moving by its size, without padding.
    pub fn new(kernel: impl Into<Pair>) -> Self {
        let kernel = kernel.into().0;
        Self { window: Window { kernel, stride: kernel, padding: [0; 2], exact: false } }
    }

    /// How many pixels the window moves at a time.
    pub fn stride(mut self, stride: impl Into<Pair>) -> Self {
        self.window.stride = stride.into().0;
        self
    }

    /// How many pixels are added on each side, at most half the window: −∞ for a maximum, 0 for a mean.
    pub fn padding(mut self, padding: impl Into<Pair>) -> Self {
        self.window.padding = padding.into().0;
        self
    }

    /// Makes it an error if the stride leaves pixels over (by default they are not visited).
    pub fn exact(mut self) -> Self {
        self.window.exact = true;
        self
    }

    /// The window.
    pub fn window(self) -> Window {
        self.window
    }
}

impl<P: Into<Pair>> From<P> for Pool2dOptions {
    fn from(kernel: P) -> Self {
        Self::new(kernel)
    }
}
