//! What several tests use.

use dagrad_kernels::conv::Convolution;
use dagrad_kernels::real::Real;
use dagrad_kernels::simd::Isa;
use dagrad_kernels::window::Window;
use dagrad_kernels::workers::Workers;

/// Numbers that look random, between −½ and ½.
pub fn numbers<T: Real>(count: usize, seed: u64) -> Vec<T> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f64 / (1u64 << 24) as f64 - 0.5
    };
    (0..count).map(|_| T::of(next())).collect()
}

/// So many threads for every instruction set.
pub fn pools(threads: usize) -> Vec<Workers> {
    Isa::available().map(|isa| Workers::on(threads, isa).unwrap()).collect()
}

/// One to three threads on the best instruction set, and two on every other: the first is what the rest is compared with.
pub fn different_pools() -> Vec<Workers> {
    (1..=3).map(|threads| Workers::new(threads).unwrap()).chain(pools(2)).collect()
}

/// Checks that a kernel writes all of its output, nothing beside it, and what it should, but for `scale` epsilons.
pub fn check<T: Real>(what: &str, expected: &[f64], scale: f64, kernel: impl FnOnce(&mut [T])) {
    const CANARY: f64 = 1234.5;
    let len = expected.len();
    let mut memory = vec![T::of(CANARY); len + 32];
    memory[16..16 + len].fill(T::nan());
    kernel(&mut memory[16..16 + len]);
    for (index, (&expected, found)) in expected.iter().zip(&memory[16..]).enumerate() {
        let error = (found.into_f64() - expected).abs();
        assert!(error <= scale * T::epsilon().into_f64(), "{what}: {found} at {index} instead of {expected}");
    }
    let mut edges = memory[..16].iter().chain(&memory[16 + len..]);
    assert!(edges.all(|edge| edge.into_f64() == CANARY), "{what}: wrote outside");
}

/// Σ a · b.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A convolution of a single group.
pub fn convolution(
    [batch, channels, filters]: [usize; 3],
    image: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> Convolution {
    let window = Window::new(kernel, stride, padding);
    Convolution {
        batch,
        groups: 1,
        channels,
        filters,
        image,
        output: window.output_size(image).unwrap(),
        window,
    }
}

/// The same with groups, dilation, and so much padding after the last pixel. Channels and filters are those of a group.
pub fn attributed(
    groups: usize,
    dilation: [usize; 2],
    padding_after: [usize; 2],
    sizes: Convolution,
) -> Convolution {
    let window = Window { dilation, padding_after, ..sizes.window };
    Convolution { groups, output: window.output_size(sizes.image).unwrap(), window, ..sizes }
}

/// All sorts of dense convolutions: sizes that differ along all axes, windows as large as the image or larger, strides
/// that leave pixels over or leave pixels out, more padding than the window covers, blocks of channels that are full
/// and that are not, and none of something.
pub fn dense() -> Vec<Convolution> {
    vec![
        convolution([2, 3, 5], [7, 9], [3, 2], [1, 1], [0, 0]),
        convolution([1, 1, 1], [1, 1], [1, 1], [1, 1], [0, 0]),
        convolution([3, 2, 17], [6, 5], [6, 5], [1, 1], [0, 0]),
        convolution([2, 4, 3], [5, 8], [1, 1], [1, 1], [0, 0]),
        convolution([2, 2, 4], [9, 11], [3, 3], [2, 3], [1, 0]),
        convolution([2, 3, 2], [10, 13], [2, 3], [3, 5], [0, 2]),
        convolution([2, 2, 3], [4, 3], [2, 3], [1, 2], [3, 4]),
        convolution([1, 2, 3], [3, 2], [5, 4], [1, 1], [1, 1]),
        convolution([1, 2, 2], [2, 3], [1, 2], [4, 3], [5, 6]),
        convolution([5, 16, 33], [12, 11], [5, 5], [1, 1], [2, 2]),
        convolution([19, 1, 30], [8, 28], [5, 5], [1, 1], [0, 0]),
        convolution([3, 1, 16], [9, 31], [7, 3], [1, 1], [3, 1]),
        convolution([1, 40, 20], [32, 34], [3, 3], [1, 1], [1, 1]),
        convolution([2, 33, 49], [6, 9], [3, 3], [2, 2], [1, 1]),
        convolution([2, 32, 64], [5, 7], [1, 1], [2, 1], [0, 0]),
        convolution([3, 70, 300], [3, 4], [3, 3], [1, 1], [1, 1]),
        convolution([25, 2, 3], [24, 25], [2, 3], [1, 1], [0, 0]),
        convolution([0, 2, 3], [5, 6], [3, 3], [1, 1], [1, 1]),
        convolution([2, 0, 3], [5, 6], [3, 3], [2, 1], [1, 1]),
        convolution([2, 2, 0], [5, 6], [3, 3], [1, 2], [1, 1]),
    ]
}

/// Convolutions with other attributes: groups, dilation, and padding after the last pixel; and such groups of
/// few filters as share registers, depthwise ones among them.
pub fn others() -> Vec<Convolution> {
    let mut all = vec![
        attributed(1, [2, 3], [0, 0], convolution([2, 3, 5], [7, 9], [3, 2], [1, 1], [0, 0])),
        attributed(1, [3, 2], [2, 1], convolution([2, 2, 3], [11, 9], [3, 4], [2, 3], [1, 0])),
        attributed(1, [2, 4], [1, 3], convolution([1, 2, 3], [12, 13], [3, 3], [4, 2], [2, 2])),
        attributed(1, [6, 4], [0, 5], convolution([2, 1, 2], [17, 16], [3, 2], [4, 6], [5, 0])),
        attributed(1, [1, 1], [2, 0], convolution([2, 3, 4], [6, 5], [2, 4], [2, 1], [0, 3])),
        attributed(1, [2, 2], [2, 2], convolution([2, 17, 18], [9, 8], [3, 3], [1, 1], [2, 2])),
        attributed(1, [1, 3], [0, 0], convolution([3, 1, 9], [5, 40], [2, 5], [1, 1], [0, 0])),
        attributed(1, [5, 1], [9, 1], convolution([1, 20, 3], [14, 6], [4, 3], [3, 2], [9, 1])),
        attributed(3, [1, 1], [0, 0], convolution([2, 2, 4], [6, 5], [3, 2], [1, 1], [0, 0])),
        attributed(2, [2, 1], [2, 0], convolution([3, 3, 1], [9, 6], [3, 2], [1, 2], [2, 1])),
        attributed(33, [1, 2], [1, 2], convolution([1, 1, 2], [6, 8], [3, 3], [1, 1], [1, 2])),
        attributed(3, [1, 1], [1, 1], convolution([2, 16, 32], [7, 6], [3, 3], [1, 1], [1, 1])),
        attributed(2, [2, 3], [1, 1], convolution([2, 35, 19], [8, 9], [3, 2], [2, 1], [2, 1])),
        attributed(16, [1, 1], [1, 1], convolution([2, 4, 4], [9, 13], [3, 3], [1, 1], [1, 1])),
        attributed(11, [2, 1], [0, 2], convolution([3, 3, 2], [8, 7], [2, 3], [1, 2], [1, 0])),
        attributed(13, [1, 1], [0, 1], convolution([1, 2, 3], [10, 11], [5, 3], [2, 3], [2, 2])),
        attributed(17, [1, 3], [1, 1], convolution([2, 1, 2], [6, 12], [3, 3], [1, 1], [1, 1])),
        attributed(18, [1, 1], [1, 1], convolution([2, 2, 1], [7, 8], [3, 2], [2, 1], [1, 1])),
        attributed(9, [1, 1], [0, 0], convolution([2, 20, 4], [5, 6], [1, 1], [1, 1], [0, 0])),
        attributed(8, [1, 1], [1, 1], convolution([1, 0, 2], [5, 6], [3, 3], [1, 1], [1, 1])),
        attributed(8, [1, 1], [1, 1], convolution([1, 4, 0], [5, 6], [3, 3], [1, 1], [1, 1])),
        attributed(1, [1, 1], [0, 0], convolution([2, 17, 1], [9, 20], [3, 3], [1, 1], [1, 1])),
        attributed(1, [1, 2], [1, 0], convolution([1, 33, 2], [10, 11], [3, 2], [1, 2], [1, 1])),
        attributed(1, [1, 1], [0, 1], convolution([2, 16, 3], [8, 37], [5, 5], [2, 1], [2, 2])),
        attributed(2, [2, 1], [1, 1], convolution([1, 24, 4], [9, 12], [3, 3], [1, 1], [1, 1])),
        attributed(1, [1, 1], [0, 1], convolution([2, 3, 20], [12, 11], [4, 4], [2, 3], [1, 1])),
        attributed(1, [1, 1], [1, 1], convolution([2, 1, 47], [7, 9], [3, 3], [1, 1], [1, 1])),
        attributed(2, [1, 1], [1, 1], convolution([1, 2, 16], [6, 18], [3, 3], [2, 2], [1, 1])),
        attributed(5, [1, 1], [1, 1], convolution([0, 2, 3], [5, 6], [3, 3], [1, 1], [1, 1])),
        attributed(2, [1, 1], [1, 1], convolution([2, 0, 3], [5, 6], [3, 3], [2, 1], [1, 1])),
        attributed(2, [1, 1], [1, 1], convolution([2, 2, 0], [5, 6], [3, 3], [2, 1], [1, 1])),
    ];
    let depthwise = |groups: usize, [batch, height, width]: [usize; 3], kernel, stride, dilation, padding| {
        let sizes = convolution([batch, 1, 1], [height, width], kernel, [1; 2], padding);
        let window = Window { stride, ..sizes.window };
        attributed(groups, dilation, [padding[0], padding[1] + 1], Convolution { window, ..sizes })
    };
    all.extend([
        depthwise(4, [2, 8, 7], [3, 3], [2, 1], [1, 1], [1, 1]),
        depthwise(16, [3, 6, 9], [3, 3], [1, 1], [1, 1], [1, 1]),
        depthwise(33, [2, 9, 6], [3, 2], [1, 2], [2, 1], [2, 1]),
        depthwise(2, [1, 5, 5], [1, 1], [1, 1], [1, 1], [0, 0]),
        depthwise(24, [2, 7, 12], [5, 5], [2, 2], [1, 1], [2, 2]),
        depthwise(41, [5, 9, 11], [7, 7], [3, 2], [1, 1], [3, 0]),
        depthwise(7, [1, 11, 10], [2, 3], [4, 6], [6, 3], [4, 2]),
        depthwise(40, [1, 60, 70], [3, 3], [1, 1], [1, 2], [1, 1]),
        depthwise(5, [0, 6, 5], [3, 3], [1, 1], [1, 1], [1, 1]),
    ]);
    all
}

/// One image that comes in several bands.
pub fn banded() -> Convolution {
    convolution([2, 24, 3], [120, 130], [3, 5], [1, 2], [1, 2])
}

/// The indices of a product in the definition of a convolution.
pub struct Product {
    /// In the output.
    pub output: usize,
    /// In the image.
    pub image: usize,
    /// In the weights [groups · filters, channels, kh, kw].
    pub weight: usize,
    /// The image, and its position in a row of sums [kh, kw, channels, groups · filters].
    pub sum: [usize; 2],
}

/// The definition: every product, with images and outputs N C H W, or N H W C.
pub fn products(sizes: &Convolution, is_nhwc: bool, mut visit: impl FnMut(Product)) {
    let Convolution { batch, groups, channels, filters, image, output, window } = *sizes;
    let [kernel_h, kernel_w] = window.kernel;
    let index = |n: usize,
                 channel: usize,
                 channels: usize,
                 [row, column]: [usize; 2],
                 [height, width]: [usize; 2]| {
        if is_nhwc {
            ((n * height + row) * width + column) * channels + channel
        } else {
            ((n * channels + channel) * height + row) * width + column
        }
    };
    let pairs = |[rows, columns]: [usize; 2]| (0..rows).flat_map(move |a| (0..columns).map(move |b| [a, b]));
    for n in 0..batch {
        for [y, x] in pairs(output) {
            for [i, j] in pairs(window.kernel) {
                let row = (y * window.stride[0] + i * window.dilation[0]).wrapping_sub(window.padding[0]);
                let column = (x * window.stride[1] + j * window.dilation[1]).wrapping_sub(window.padding[1]);
                if row >= image[0] || column >= image[1] {
                    continue;
                }
                for [o, c] in pairs([groups * filters, channels]) {
                    let channel = o / filters * channels + c;
                    visit(Product {
                        output: index(n, o, groups * filters, [y, x], output),
                        image: index(n, channel, groups * channels, [row, column], image),
                        weight: ((o * channels + c) * kernel_h + i) * kernel_w + j,
                        sum: [n, ((i * kernel_w + j) * channels + c) * groups * filters + o],
                    });
                }
            }
        }
    }
}

/// How many numbers images, weights and outputs have.
pub fn lengths(sizes: &Convolution) -> [usize; 3] {
    let Convolution { batch, groups, channels, filters, image, output, window } = *sizes;
    let area = |[height, width]: [usize; 2]| height * width;
    [
        batch * groups * channels * area(image),
        groups * filters * channels * area(window.kernel),
        batch * groups * filters * area(output),
    ]
}

/// A bound of the rounding errors of a sum of so many products, in epsilons. It grows at most with the number of terms, of
/// a quarter each; the root of it is typical.
pub fn rounding(terms: usize) -> f64 {
    4.0 + terms as f64 / 8.0
}
