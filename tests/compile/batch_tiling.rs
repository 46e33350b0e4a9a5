//! Groups of steps that take a few samples at a time.

use dagrad::{Graph, Plan};

/// How many values a group makes at most.
const MOST_VALUES: usize = 256;

#[test]
fn a_long_chain_becomes_several_groups() {
    let graph = Graph::new();
    // Sixteen functions become one step.
    let functions = 0..3 * 16 * MOST_VALUES;
    let chain = functions.fold(graph.input("x", [16, 3]), |x, _| x.tanh());
    let plan = Plan::<f32>::compile(&graph, &[chain]).unwrap();
    let sizes: Vec<usize> = plan.groups().iter().map(|group| group.steps.len()).collect();
    assert_eq!(sizes, [MOST_VALUES; 3]);
}
