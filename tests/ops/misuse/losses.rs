//! Losses of classes and of numbers.

use dagrad::{CrossEntropy, Graph, Var};

use super::{digits, digits_again, image, misuses, rows, rows_again};

#[test]
fn losses_refuse_what_does_not_fit() {
    misuses! { g,
        "real numbers as classes": rows(g).pick(g.input("l", [2]))
            => "pick at", "the labels are real numbers", "`graph.labels`";
        "too many classes to pick": rows(g).pick(g.labels("l", [3]))
            => "[3] labels do not fit [2, 3] rows", "one label for each row";
        "classes in two axes": rows(g).pick(g.labels("l", [2, 1])) => "[2, 1] labels do not fit";
        "a vector to pick from": g.input("x", [2]).pick(digits(g))
            => "[2] is not [batch, classes]", "rows [2]";
        "too few labels": rows(g).softmax_cross_entropy(g.labels("l", [1])) => "labels do not fit";
        "real labels of another shape": rows(g).softmax_cross_entropy(g.input("l", [2]))
            => "softmax_cross_entropy at", "labels [2] do not fit logits [2, 3]", "`graph.labels`";
        "logits of an image": image(g).softmax_cross_entropy(digits(g))
            => "is not [batch, classes]", "`flatten`";
        "logits of one axis": g.input("x", [2]).softmax_cross_entropy(digits(g))
            => "[2] is not [batch, classes]";
        "classes as logits": digits(g).softmax_cross_entropy(digits_again(g)) => "not indices";
        "probabilities of another shape": rows(g).cross_entropy(g.input("l", [2]), CrossEntropy::new())
            => "cross_entropy at", "labels [2] do not fit logits [2, 3]", "`graph.labels`";
        "a label ignored among probabilities": rows(g).cross_entropy(rows_again(g), CrossEntropy::new().ignore(1))
            => "a label 1 is ignored", "hint: ";
        "smoothing beyond a share": rows(g).cross_entropy(digits(g), CrossEntropy::new().label_smoothing(1.5))
            => "label_smoothing is 1.5";
        "smoothing of NaN": rows(g).nll_loss(digits(g), CrossEntropy::new().label_smoothing(f64::NAN))
            => "nll_loss at", "label_smoothing is NaN";
        "weights of other classes": rows(g).cross_entropy(digits(g), CrossEntropy::new().weights(g.input("w", [2])))
            => "weights [2] are not one for each of 3 classes";
        "logits of one axis with options": g.input("x", [2]).cross_entropy(digits(g), CrossEntropy::new())
            => "cross_entropy at", "labels [2] do not fit logits [2]";
        "a mean over no labels": g.input("x", [0, 3]).cross_entropy(g.labels("l", [0]), CrossEntropy::new())
            => "the mean over an empty batch has no value", "sum";
        "an empty batch": g.input("x", [0, 3]).softmax_cross_entropy(g.labels("l", [0]))
            => "has no elements";
    }
}

#[test]
fn losses_of_numbers_refuse_what_does_not_fit() {
    use dagrad::Reduction::{Mean, None, Sum};
    fn other(graph: &Graph) -> Var<'_> {
        graph.input("other", [2, 1])
    }
    fn weighted<'g>(logits: Var<'g>, weights: Var<'g>) -> Var<'g> {
        logits.weighted_binary_cross_entropy_with_logits(logits.sigmoid(), weights, Mean)
    }
    misuses! { g,
        "targets that would broadcast": rows(g).mse_loss(other(g), Mean)
            => "mse_loss at", "targets [2, 1] do not fit [2, 3]", "not broadcast";
        "classes as targets": g.input("x", [2]).l1_loss(digits(g), Sum) => "l1_loss at", "targets index [2]";
        "huber of another shape": rows(g).huber_loss(other(g), 1.0, None) => "huber_loss at", "do not fit";
        "huber without a bound": rows(g).huber_loss(rows_again(g), 0.0, Mean) => "delta is 0", "more than 0";
        "huber of NaN": rows(g).huber_loss(rows_again(g), f64::NAN, Mean) => "delta is NaN";
        "smooth l1 below 0": rows(g).smooth_l1_loss(rows_again(g), -1.0, Mean)
            => "smooth_l1_loss at", "beta is -1";
        "smooth l1 of NaN": rows(g).smooth_l1_loss(rows_again(g), f64::NAN, Mean) => "beta is NaN";
        "targets of another shape": rows(g).binary_cross_entropy_with_logits(other(g), Mean)
            => "binary_cross_entropy_with_logits at", "targets [2, 1]";
        "weights that enlarge": weighted(other(g), rows(g))
            => "binary_cross_entropy_with_logits at", "weights [2, 3] do not broadcast to logits [2, 1]";
        "weights of other sizes":
            rows(g).weighted_binary_cross_entropy_with_logits(rows_again(g), g.input("w", [2]), Sum)
            => "weights [2] do not broadcast", "hint: ";
        "classes as weights": {
            let x = g.input("x", [2]);
            x.weighted_binary_cross_entropy_with_logits(x, digits(g), Sum)
        } => "not indices";
        "a divergence of other shapes": rows(g).kl_divergence(other(g), Sum) => "kl_divergence at";
        "a hinge of other shapes": rows(g).hinge_loss(other(g), Sum) => "hinge_loss at", "do not fit";
        "cosines of other shapes": rows(g).cosine_similarity(g.input("x", [4]), 1, 1e-8)
            => "do not broadcast";
        "cosines along no axis": rows(g).cosine_similarity(rows_again(g), 2, 1e-8) => "axis 2 does not exist";
        "cosines of numbers": g.input("x", []).cosine_similarity(g.input("y", []), -1, 1e-8)
            => "axis -1 does not exist";
        "cosines above NaN": rows(g).cosine_similarity(rows_again(g), 1, f64::NAN) => "cosine_similarity at", "epsilon is NaN";
        "embeddings with too many targets": rows(g).cosine_embedding_loss(rows_again(g), g.input("targets", [2, 3]), 0.0, Mean)
            => "cosine_embedding_loss at", "targets [2, 3] do not fit [2]";
        "embeddings without a margin": rows(g).cosine_embedding_loss(rows_again(g), g.input("t", [2]), f64::NAN, Sum)
            => "cosine_embedding_loss at", "margin is NaN";
        "margins of an image": image(g).multi_margin_loss(digits(g), 1.0, Mean)
            => "is not [batch, classes]";
        "margins of too many labels": rows(g).multi_margin_loss(g.labels("l", [3]), 1.0, Mean)
            => "labels do not fit";
        "margins of real labels": rows(g).multi_margin_loss(g.input("l", [2]), 1.0, Mean)
            => "real numbers";
        "no margin": rows(g).multi_margin_loss(digits(g), f64::NAN, Mean)
            => "multi_margin_loss at", "margin is NaN";
        "a mean of no losses": g.input("x", [0, 3]).mse_loss(g.input("t", [0, 3]), Mean)
            => "has no elements";
        "after a misuse": rows(g).huber_loss(other(g), 1.0, None).cosine_similarity(rows_again(g), 3, 0.0)
            => "huber_loss at";
    }
}
