//! In which order Einstein sums of several arrays are multiplied.

use dagrad::{Graph, Plan, Var};

fn squares<'g>(graph: &'g Graph, names: &[&str], size: usize) -> Vec<Var<'g>> {
    names.iter().map(|name| graph.input(name, [size, size])).collect()
}

#[test]
fn the_pair_that_grows_least_comes_first() {
    let graph = Graph::new();
    let product = graph.einsum("ij,jk,kl,jk->il", &squares(&graph, &["a", "b", "c", "d"], 500));
    // From left to right, the first product would keep all of i, j and k: 500 MB.
    let plan = Plan::<f32>::compile(&graph, &[product]).unwrap();
    assert!(plan.arena_bytes() < 10 << 20, "{} bytes", plan.arena_bytes());
    assert!(
        graph.to_string().contains("in einsum (equation ij,jk,kl,jk->il, path 1·3, 0·2, 0·1)"),
        "{graph}"
    );
}

#[test]
fn many_and_vast_arrays_are_no_trouble() {
    let graph = Graph::new();
    let equation = vec!["ij"; 2000].join(",") + "->";
    let array = graph.input("a", [2, 3]);
    assert_eq!(graph.einsum(&equation, &vec![array; 2000]).shape().len(), 0);
    graph.check().unwrap();

    let long: Vec<Var<'_>> = ["a1", "a2", "a3", "a4"].map(|name| graph.input(name, [1 << 20])).to_vec();
    let _ = graph.einsum("a,b,c,d->abcd", &long);
    assert!(graph.check().unwrap_err().to_string().contains("beyond any memory"));
}
