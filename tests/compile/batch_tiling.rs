//! Groups of steps that take a few samples at a time.

use dagrad::{Graph, Options};

/// How many values a group makes at most.
const MOST_VALUES: usize = 256;

#[test]
fn a_long_chain_becomes_several_groups() {
    let graph = Graph::new();
    // Sixteen functions become one step.
    let functions = 0..3 * 16 * MOST_VALUES;
    let chain = functions.fold(graph.input("x", [16, 3]), |x, _| x.tanh());
    let program = Options::new().program(&graph, &[chain]).unwrap();
    let sizes: Vec<usize> = program.groups.iter().map(|group| group.nodes.len()).collect();
    assert_eq!(sizes, [MOST_VALUES; 3]);
}
