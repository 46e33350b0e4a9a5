//! Operations that are composed of others keep their name and their attributes.

use dagrad::graph::Attributes;
use dagrad::nn::{self, BatchNorm, Filters};
use dagrad::{CrossEntropy, Graph, gradients};

#[test]
fn a_network_lists_its_composites_with_their_attributes() {
    let graph = Graph::new();
    let image = graph.input("image", [4, 3, 8, 8]);
    let h = nn::conv2d(image, "conv", Filters::new(6, 3));
    let h = nn::batch_norm(h, "norm", BatchNorm { momentum: 0.2, ..BatchNorm::default() }).gelu();
    let h = nn::group_norm(h.max_pool2d(2), "groups", 2, 1e-3).silu().dropout(0.5);
    let h = nn::layer_norm(nn::linear(h.flatten(), "classes", 5), "rows", 1, 1e-4);
    let options = CrossEntropy::new().label_smoothing(0.1).ignore(7);
    let loss = {
        let _layer = graph.layer("loss");
        h.cross_entropy(graph.labels("labels", [4]), options)
    };
    gradients(loss, &graph.parameters()).unwrap();
    let found = graph.composites();
    let lines: Vec<String> = found
        .iter()
        .map(|(composite, values)| {
            let layer = composite.layer.as_deref().unwrap_or("-");
            let outer = composite.outer.as_ref().map_or("-", |outer| outer.name);
            assert!(!values.is_empty());
            format!("{layer} {outer} {} ({})", composite.name, composite.attributes)
        })
        .collect();
    assert_eq!(
        lines,
        [
            "norm - batch_norm (epsilon 0.00001, momentum 0.2, affine true)",
            "- - gelu ()",
            "- - max_pool2d (window 2×2, stride 2×2, padding 0×0)",
            "groups - group_norm (groups 2, epsilon 0.001)",
            "groups group_norm normalise (axes [2], epsilon 0.001)",
            "- - silu ()",
            "- - dropout (drop 0.5)",
            "rows - layer_norm (axes 1, epsilon 0.0001)",
            "rows layer_norm normalise (axes [-1], epsilon 0.0001)",
            "loss - cross_entropy (label_smoothing 0.1, ignored 7, reduction mean)",
            "loss cross_entropy nll_loss (label_smoothing 0.1, ignored 7, reduction mean)",
        ]
    );
    for (composite, values) in &found {
        for value in values {
            assert!(value.op().is_some() && value.id() <= loss.id(), "{value:?}");
            assert_eq!(composite.layer.is_some(), value.layer() == composite.layer, "{value:?}");
        }
    }
    let last = loss.composite().unwrap();
    assert_eq!((last.name, last.outer.as_ref().unwrap().name), ("nll_loss", "cross_entropy"));
}

#[test]
fn a_misuse_in_an_operation_of_ones_own_names_what_was_called() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 3]);
    let _block = graph.composite("my_block", Attributes::new());
    let _ = x.one_hot(3);
    assert!(graph.check().unwrap_err().to_string().starts_with("one_hot at "));
}
