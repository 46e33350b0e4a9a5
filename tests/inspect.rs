//! What the crate says of a network: its layers, the time of its steps, what is wrong with it.

mod common;

use common::{assert_mentions, message};
use dagrad::inspect::{Phase, Summary, diagnose};
use dagrad::nn::{self, BatchNorm, Filters, Network, SimpleConvNet};
use dagrad::optim::{Adam, minimize};
use dagrad::{Error, Graph, Init, Mode, Options, Plan, Store, Workspace, gradients};
use ndarray::{Array, Array1, Array2, Array4, array};

/// Layer by layer: name, operations, shape, parameters, MACs, kept numbers, field.
fn rows(summary: &Summary) -> Vec<String> {
    let row = |layer: &dagrad::inspect::Layer| {
        let (parameters, macs, kept) = (layer.parameters, layer.macs, layer.kept / 4);
        let sees = layer.sees.map_or("-".to_string(), |[height, width]| format!("{height}x{width}"));
        format!("{}|{}|{}|{parameters}|{macs}|{kept}|{sees}", layer.name, layer.operations, layer.output)
    };
    summary.layers.iter().map(row).collect()
}

#[test]
fn a_summary_lists_layers_with_numbers_counted_by_hand() {
    let graph = Graph::new();
    let image = graph.input("image", [2, 1, 8, 8]);
    let h = nn::conv2d(image, "conv", Filters::new(3, 3).stride(2).padding(1)).relu().max_pool2d(2);
    let logits = nn::linear(h.flatten(), "fc", 5);
    logits.softmax_cross_entropy(graph.labels("label", [2]));
    let summary = graph.summary();
    println!("{summary}");
    let expected = [
        // 4×4 places of 9 weights for 2 samples and 3 filters; its result is rectified, nobody else reads it
        "conv|conv2d add|[2, 3, 4, 4]|30|864|0|3x3",
        // relu's gradient asks where its result is positive
        "|relu|[2, 3, 4, 4]|0|0|96|3x3",
        // the places of the maxima are indices; they and the flat result, which the product reads, are kept
        "|max_pool2d_take|[2, 3, 2, 2]|0|0|24|5x5",
        "|reshape|[2, 12]|0|0|0|-",
        "fc|matmul add|[2, 5]|65|120|0|-",
    ];
    assert_eq!(rows(&summary)[..5], expected);
    assert_eq!((summary.parameters, summary.macs), (95, 984));
}
