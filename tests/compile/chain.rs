//! Chains of elementwise functions as kernels run them.

use dagrad::{Graph, Plan};

#[test]
fn slow_functions_come_early_and_what_does_not_wait_for_them_follows() {
    let graph = Graph::new();
    let (a, b) = (graph.input("a", [4]), graph.input("b", [4]));
    let difference = a - b;
    let quotient = difference / (a * b).sqrt();
    let plan = Plan::<f32>::compile(&graph, &[quotient, difference]).unwrap();
    let steps: Vec<String> = plan.steps().iter().map(ToString::to_string).collect();
    assert_eq!(steps, ["elementwise (mul sqrt sub div)"], "{plan}");
}
