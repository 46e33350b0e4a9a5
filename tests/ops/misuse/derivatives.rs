//! Derivatives of what has none, or along what does not fit.

use dagrad::{Graph, Var, gradients, hessian, hvp, jacobian, jvp, vjp};

use super::{digits, rows, rows_again};
use crate::common::{assert_mentions, message};

/// Each must be refused with these texts and the line of the call.
#[track_caller]
fn refused<T: std::fmt::Debug>(found: dagrad::Result<T>, parts: &[&str]) {
    assert_mentions(&message(found), &[parts, &[file!()]].concat());
}

fn square(graph: &Graph) -> [Var<'_>; 2] {
    let x = rows(graph);
    [x, x.powi(2)]
}

#[test]
fn derivatives_refuse_what_does_not_fit() {
    let graph = Graph::new();
    let [x, y] = square(&graph);
    let total = y.sum_all();
    refused(gradients(y, &[x]), &["gradients at", "one number", "[2, 3]"]);
    refused(hessian(y, x), &["one number", "[2, 3]"]);
    refused(hvp(y, &[(x, x)]), &["one number", "[2, 3]"]);
    refused(vjp(&[(y, x.transpose())], &[x]), &["vjp at", "upstream does not have the shape of its y"]);
    refused(
        jvp(&[y], &[(x, x.transpose())]),
        &["jvp at", "tangent does not have the shape of its x", "hint: "],
    );
    refused(jvp(&[y], &[(x, digits(&graph))]), &["jvp at", "tangent"]);
    refused(hvp(total, &[(x, graph.fill([3], 1.0))]), &["hvp at", "v does not have the shape of its x"]);
    let many = graph.input("many", [101, 100]);
    refused(jacobian(many.exp(), many), &["jacobian at", "each of 10100 elements", "`jvp`"]);
}

#[test]
fn values_of_another_graph_are_refused() {
    let (graph, other) = (Graph::new(), Graph::new());
    let [x, y] = square(&graph);
    let [foreign, _] = square(&other);
    refused(gradients(y.sum_all(), &[foreign]), &["belongs to another graph"]);
    refused(vjp(&[(y, foreign)], &[x]), &["vjp at", "belongs to another graph"]);
    refused(jvp(&[y], &[(foreign, foreign)]), &["jvp at", "belongs to another graph"]);
    refused(hvp(y.sum_all(), &[(x, foreign)]), &["hvp at", "belongs to another graph"]);
    refused(jacobian(y, foreign), &["jacobian at", "belongs to another graph"]);
    refused(hessian(y.sum_all(), foreign), &["belongs to another graph"]);
}

#[test]
fn derivatives_of_a_misused_graph_are_the_misuse() {
    let graph = Graph::new();
    let [x, _] = square(&graph);
    let misused = (x + rows_again(&graph).transpose()).sum_all();
    refused(gradients(misused, &[x]), &["add at", "do not broadcast"]);
    refused(jvp(&[misused], &[(x, x)]), &["add at"]);
    refused(hvp(misused, &[(x, x)]), &["add at"]);
    refused(jacobian(misused, x), &["add at"]);
    refused(hessian(misused, x), &["add at"]);
}
