//! Normalisations, dropped channels and blocks.

use dagrad::nn::{self, BatchNorm};

use super::{HUGE, digits, image, misuses, rows};

#[test]
fn normalisations_refuse_what_does_not_fit() {
    misuses! { g,
        "a batch of one number for each channel": nn::batch_norm(g.input("x", [1, 3]), "bn", BatchNorm::default())
            => "batch_norm at", "a single value for each channel of [1, 3] has no variance", "larger batches", "evaluation";
        "an empty batch": nn::batch_norm(g.input("x", [0, 3, 2, 2]), "bn", BatchNorm::default()) => "no value for each";
        "no axis of channels": nn::batch_norm(g.input("x", [3]), "bn", BatchNorm::default())
            => "batch_norm at", "[3] has no axis of channels";
        "one name for two sizes": {
            nn::batch_norm(image(g), "bn", BatchNorm::default());
            nn::batch_norm(rows(g).transpose(), "bn", BatchNorm::default())
        } => "bn.running_mean";
        "more axes than there are": nn::layer_norm(rows(g), "ln", 3, 1e-5) => "axis -3 does not exist";
        "endless axes": rows(g).rms_norm(HUGE, 1e-5) => "does not exist";
        "no groups": nn::group_norm(image(g), "gn", 0, 1e-5) => "group_norm at", "0 groups do not divide";
        "groups that do not divide": image(g).group_norm(2, 1e-5) => "2 groups do not divide the channels of [2, 3, 5, 4]";
        "groups of no channels": g.input("x", [4]).group_norm(2, 1e-5) => "group_norm at", "channels are axis 1";
        "neighbours of a matrix": rows(g).local_response_norm(5, 1e-4, 0.75, 2.0)
            => "local_response_norm at", "[2, 3] is not [batch";
        "no neighbours": image(g).local_response_norm(0, 1e-4, 0.75, 2.0) => "the number of channels is 0";
        "dropped channels of a matrix": rows(g).dropout2d(0.5) => "dropout2d at", "[2, 3] is not [batch", "`dropout`";
        "dropped channels of no probability": image(g).dropout2d(1.5) => "dropout2d at", "drop is 1.5";
        "a block of a matrix": nn::residual_block(rows(g), "b", 8, 1)
            => "residual_block at", "[2, 3] is not [batch, channels, height, width]", "images [2, 3]", "`reshape`";
        "a block that does not move": nn::residual_block(image(g), "b", 8, 0) => "residual_block at", "stride";
        "a block of fewer filters": nn::residual_block(image(g), "b", 2, 1) => "residual_block at", "filters is 2";
        "code of one image": nn::autoencoder(g.input("x", [1, 28, 28]), 8)
            => "autoencoder at", "[1, 28, 28] is not [batch, channels, height, width]", "`unsqueeze(0)`";
        "code of classes": nn::autoencoder(g.labels("x", [1, 1, 8, 8]), 8) => "autoencoder at", "real numbers";
        "code of no filters": nn::autoencoder(g.input("x", [1, 1, 8, 8]), 0) => "autoencoder at", "filters is 0";
        "a layer under a name that is taken": { g.input("c.weight", [2]); nn::conv2d(image(g), "c", nn::Filters::new(2, 3)) }
            => "conv2d at", "\"c.weight\" is taken";
        "a norm under a name that is taken": { g.input("n.weight", [2]); nn::layer_norm(image(g), "n", 1, 1e-5) }
            => "layer_norm at", "\"n.weight\" is taken";
        "a root mean square under a name that is taken": { g.input("n.weight", [2]); nn::rms_norm(image(g), "n", 1, 1e-5) }
            => "rms_norm at", "\"n.weight\" is taken";
        "groups under a name that is taken": { g.input("n.weight", [2]); nn::group_norm(image(g), "n", 1, 1e-5) }
            => "group_norm at", "\"n.weight\" is taken";
        "classes in a block": digits(g).recompute(|x| x.exp()) => "exp at", "not indices";
        "misuse in a block": image(g).recompute(|x| x.reshape([7]).relu()) => "reshape at", "do not fill";
    }
}
