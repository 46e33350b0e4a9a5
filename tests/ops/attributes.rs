//! Attributes say what an operation's parameters are: enough to record it again.

use std::collections::HashMap;
use std::sync::Arc;

use dagrad::graph::{AnyOp, Attribute, Attributes};
use dagrad::ops::example::Values;
use dagrad::{Conv2dOptions, Graph, Padding, Var, gradients};
use ndarray::arr1;

/// Every operation of every example and of its gradients.
fn operations() -> Vec<Arc<dyn AnyOp>> {
    let mut found = Vec::new();
    for example in dagrad::ops::families().into_iter().flat_map(|(_, examples)| examples) {
        let graph = Graph::new();
        let operand = |(number, sample): (usize, &dagrad::ops::example::Sample)| {
            let name = format!("x{number}");
            match sample.values {
                Values::Below(_) => graph.labels(&name, &sample.shape),
                _ => graph.input(&name, &sample.shape),
            }
        };
        let operands: Vec<Var<'_>> = example.operands.iter().enumerate().map(operand).collect();
        let result = (example.build)(&graph, &operands);
        for &operand in &operands {
            gradients(result.sum_all(), &[operand]).ok();
        }
        found.extend(graph.values().into_iter().filter_map(|value| value.op()));
    }
    found
}

#[test]
fn they_tell_operations_of_one_name_apart() {
    type Known = Vec<(Arc<dyn AnyOp>, String)>;
    let mut known: HashMap<&str, Known> = HashMap::new();
    for op in operations() {
        let (attributes, fields) = (format!("{:?}", op.attributes()), format!("{op:?}"));
        // The function of an elementwise operation is its name.
        let has_fields =
            fields.trim_start_matches("Unary(").trim_start_matches("Binary(").contains(['{', '(']);
        assert_eq!(has_fields, op.attributes() != Attributes::new(), "{fields}: {attributes}");
        let others = known.entry(op.name()).or_default();
        for (other, others_attributes) in others.iter() {
            let is_same = op.same(other.as_ref());
            assert_eq!(is_same, attributes == *others_attributes, "{fields}, {other:?}: {attributes}");
        }
        if others.iter().all(|(_, known)| *known != attributes) {
            others.push((op, attributes));
        }
    }
    assert!(known.len() > 50, "{:?}", known.keys());
}

#[test]
fn a_value_says_them_by_name() {
    let graph = Graph::new();
    let (x, w) = (graph.input("x", [2, 4, 9, 9]), graph.input("w", [6, 2, 3, 3]));
    let options = Conv2dOptions::new().stride([2, 1]).padding(Padding::Same).groups(2);
    let y = x.conv2d(w, options).sum(&[0, -1]);
    assert_eq!(x.attributes(), Attributes::new());
    assert_eq!(y.attributes().to_string(), "axes [0, 3]");
    let convolution = y.operands()[0].attributes();
    let get = |name: &str| convolution.get(name).cloned();
    assert_eq!(get("stride"), Some(Attribute::Pair([2, 1])));
    assert_eq!(get("groups"), Some(Attribute::Int(2)));
    // What is as usual is left out of listings, and only there.
    assert_eq!(get("dilation"), Some(Attribute::Pair([1, 1])));
    assert_eq!(convolution.to_string(), "window 3×3, stride 2×1, padding 1×1, groups 2");
    let values = graph.constant(arr1(&[0.5, 2.0])).attributes();
    assert_eq!(values.get("values"), Some(&Attribute::Reals(Arc::new(arr1(&[0.5, 2.0]).into_dyn()))));
    assert_eq!(values.to_string(), "");
}
