//! What beginners write first: the hint names what is right instead.

use dagrad::nn::{self, Filters};
use dagrad::{Conv2dOptions, CrossEntropy, Graph, Reduction, Var};

use super::{digits, image, misuses, rows};

#[test]
fn hints_name_what_is_right_instead() {
    fn labels<const N: usize>(graph: &Graph, shape: [usize; N]) -> Var<'_> {
        graph.labels("labels", shape)
    }
    misuses! { g,
        "a label for each pixel": image(g).softmax_cross_entropy(labels(g, [2, 5, 4])) => "`cross_entropy` takes a label for each pixel";
        "one-hot rows of whole numbers": rows(g).softmax_cross_entropy(labels(g, [2, 3])) => "one-hot rows", "`graph.input`";
        "labels of real numbers": rows(g).cross_entropy(g.input("l", [2]), CrossEntropy::new()) => "`graph.labels`";
        "classes as targets": g.input("x", [2]).mse_loss(digits(g), Reduction::Mean) => "`graph.input`", "classes go into `cross_entropy`";
        "images in a layer of rows": nn::linear(image(g), "fc", 3) => "linear at", "`flatten` makes a row of each sample";
        "a row in a layer of rows": nn::linear(g.input("x", [3]), "fc", 3) => "linear at", "batch of a single row";
        "labels in a layer": nn::linear(labels(g, [2, 3]), "fc", 3) => "linear at", "not indices", "`one_hot`";
        "one image without a batch": nn::conv2d(g.input("x", [3, 8, 8]), "conv", Filters::new(2, 3)) => "conv2d at", "`unsqueeze(0)`";
        "rows in a convolution": nn::conv2d(rows(g), "conv", Filters::new(2, 3)) => "conv2d at", "by `reshape`";
        "signals in a convolution of images": g.input("x", [2, 3, 8]).conv2d(g.input("w", [4, 3, 3]), Conv2dOptions::new())
            => "conv2d at", "`conv1d` takes signals";
        "images in a convolution of signals": image(g).conv1d(g.input("w", [4, 3, 3]), Conv2dOptions::new())
            => "conv1d at", "`conv2d` takes images";
        "channels last": g.input("x", [2, 8, 8, 3]).conv2d(g.input("w", [4, 3, 3, 3]), Conv2dOptions::new())
            => "image has 8 channels but weight expects 3", "`permute(&[0, 3, 1, 2])`";
        "channels last, and a window wider than they are": g.input("x", [2, 9, 8, 1]).conv2d(g.input("w", [4, 1, 5, 5]), Conv2dOptions::new())
            => "image has 9 channels but weight expects 1", "`permute(&[0, 3, 1, 2])`";
        "signals in a pool": g.input("x", [2, 3, 8]).max_pool2d(2) => "max_pool2d at", "`unsqueeze(2)`";
        "an image as a matrix": image(g).matmul(g.input("w", [60, 7])) => "matmul at", "`flatten`";
        "a bias for each channel": image(g) + g.input("b", [3]) => "`reshape` to [3, 1, 1] fits";
        "a number for each row": rows(g) * g.input("b", [2]) => "`reshape` to [2, 1] fits";
        "slopes for each channel": image(g).prelu(g.input("s", [3])) => "prelu at", "[3, 1, 1]";
        "one index for each row": rows(g).gather(1, labels(g, [2])) => "gather at", "`pick` one of each row";
        "predictions against labels": rows(g).argmax(1).equal(digits(g)) => "equal at", "`one_hot`";
        "images that cannot be halved": nn::autoencoder(image(g), 4) => "autoencoder at", "5×4", "`pad`";
        "fewer filters than channels": nn::residual_block(image(g), "block", 2, 1) => "residual_block at", "2", "3 or more";
    }
}
