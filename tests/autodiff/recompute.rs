//! Blocks that are computed again for the gradient: the same bits, less memory.

use dagrad::nn::{self, Filters};
use dagrad::ops::Example;
use dagrad::ops::example::{labels, normal};
use dagrad::{Graph, Init, Options, Plan, Store, Var, Workspace, check, gradients};
use ndarray::Array4;

/// A block of a convolutional network, with dropout.
fn block<'g>(x: Var<'g>, name: &str) -> Var<'g> {
    let h = nn::conv2d(x, &format!("{name}.1"), Filters::new(8, 3).padding(1)).relu().dropout(0.3);
    nn::conv2d(h, &format!("{name}.2"), Filters::new(8, 3).padding(1)).softmax(1).dropout(0.2)
}

/// The gradients of a network of such blocks after two steps, and the memory of its plan where all samples go through each
/// step together.
fn run(again: bool, inner: bool) -> dagrad::Result<(Vec<f32>, usize)> {
    let graph = Graph::new();
    let images = graph.input("images", [16, 8, 12, 10]);
    let mut h = images;
    for name in ["a", "b", "c", "d", "e", "f"] {
        h = match (again, inner) {
            (false, _) => block(h, name),
            (true, false) => h.recompute(|x| block(x, name)),
            (true, true) => h.recompute(|x| x.recompute(|x| block(x, name))),
        };
    }
    let loss = (h * h).sum_all();
    let mut wanted = gradients(loss, &graph.parameters())?;
    wanted.push(loss);
    let plan = Plan::<f32>::compile(&graph, &wanted)?;
    let (mut store, mut workspace) = (Store::new(7), Workspace::new(2)?);
    let values =
        Array4::from_shape_fn((16, 8, 12, 10), |(n, c, y, x)| ((n * 7 + c * 5 + y * 3 + x) as f64).sin());
    let outputs = plan.run(&mut store, &mut workspace, &[images.feed(&values)])?;
    let numbers = (0..outputs.len()).flat_map(|i| outputs.at(i).unwrap().iter().copied().collect::<Vec<_>>());
    let whole = Options::new().without("depth_first").compile::<f32>(&graph, &wanted)?;
    Ok((numbers.collect(), whole.arena_bytes()))
}

#[test]
fn a_network_of_blocks_computed_again_has_the_same_bits_in_less_memory() -> dagrad::Result<()> {
    let ((kept, kept_bytes), (again, again_bytes)) = (run(false, false)?, run(true, false)?);
    assert!(kept.iter().any(|&x| x != 0.0));
    let worst = kept.iter().zip(&again).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(kept == again, "{worst} apart");
    println!("peak of the arena: {kept_bytes} bytes kept, {again_bytes} computed again");
    assert!(again_bytes * 2 < kept_bytes, "{again_bytes} of {kept_bytes}");
    assert!(run(true, true)?.0 == kept);
    Ok(())
}

#[test]
fn second_derivatives_go_through_blocks_computed_again() -> dagrad::Result<()> {
    check::example(
        &Example::new("through two blocks", [normal([3, 4]), normal([4, 4]), labels([3], 4)], |v| {
            let h = v[0].recompute(|x| x.matmul(v[1]).tanh() * x);
            h.recompute(|h| h.matmul(v[1]).sigmoid()).softmax_cross_entropy(v[2])
        })
        .smooth(),
    )
}

#[test]
fn the_gradient_of_a_gradient_penalty_reads_copies() -> dagrad::Result<()> {
    let gradient = |again: bool| -> dagrad::Result<f64> {
        let graph = Graph::new();
        let x = graph.param("x", [3], Init::Constant(0.4));
        let y = if again { (x * 2.0).recompute(|x| x.powi(3).exp()) } else { (x * 2.0).powi(3).exp() };
        let penalty = gradients(y.sum_all(), &[x])?[0].powi(2).sum_all();
        let second = gradients(penalty, &[x])?[0].sum_all();
        let plan = Plan::<f64>::compile(&graph, &[second])?;
        Ok(plan.run(&mut Store::new(0), &mut Workspace::new(1)?, &[])?.scalar(0).unwrap_or(f64::NAN))
    };
    assert_eq!(gradient(true)?, gradient(false)?);
    Ok(())
}
