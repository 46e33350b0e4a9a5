//! What the compiler writes anew means the same: every plan against the plain one, which runs no pass.

use crate::common::{numbers, run_plan};
use dagrad::nn::{self, BatchNorm, Filters};
use dagrad::{Conv2dOptions, Graph, Init, Mode, Options, Pool2dOptions, Store, Var, vjp};

/// Every choice of some of `count` things, as the bits of a number.
fn subsets(count: usize) -> impl Iterator<Item = Vec<isize>> {
    (0..1 << count).map(move |bits| (0..count as isize).filter(|axis| bits >> axis & 1 == 1).collect())
}

/// Runs what is recorded of an array with and without passes, and compares.
fn check(what: &str, shape: [usize; 4], record: impl for<'g> Fn(&'g Graph, Var<'g>) -> Var<'g>) {
    let graph = Graph::new();
    let input = graph.input("x", shape);
    let output = record(&graph, input);
    graph.check().unwrap();
    let values = numbers(&shape, 3);
    let [plain, found] = [Options::plain(), Options::new()].map(|options| {
        let plan = options.compile::<f64>(&graph, &[output]).unwrap();
        run_plan(&plan, &mut Store::new(0), &[input.feed(&values)]).unwrap().remove(0)
    });
    assert_eq!(found.shape(), plain.shape(), "{what}");
    let error = found.iter().zip(&plain).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(error <= 1e-12, "{what}: {error:.1e}\n{found}\ninstead of\n{plain}");
}

/// A pool's gradient is summed before it is put back, if whole planes are summed. (As a convolution's
/// output, the image may have its channels last.)
#[test]
fn the_gradient_of_a_pool_is_summed_over_any_axes() {
    for axes in subsets(4) {
        for after_convolution in [false, true] {
            check(&format!("a sum over {axes:?}"), [3, 2, 7, 6], |graph, x| {
                let weight = graph.constant(numbers(&[4, 2, 3, 3], 5));
                let options = Conv2dOptions::new().padding(1);
                let image = if after_convolution { x.conv2d(weight, options) } else { x };
                let pooled = image.max_pool2d(Pool2dOptions::new([3, 2]).stride([2, 1]));
                let upstream = graph.constant(numbers(&pooled.shape(), 7));
                vjp(&[(pooled, upstream)], &[image]).unwrap()[0].unwrap().sum(&axes)
            });
        }
    }
}

/// The names of a plan's steps, not fused, with the shapes of what they make.
fn steps(output: Var<'_>) -> Vec<String> {
    let options = Options::new().without("fuse");
    let plan = options.compile::<f64>(output.graph(), &[output]).unwrap();
    plan.steps().iter().map(|step| format!("{} {}", step.name(), step.output().ty)).collect()
}

#[test]
fn whole_powers_are_multiplied() {
    for power in [-3.0, 0.0, 1.0, 2.0, 32.0, 33.0, 0.5] {
        check(&format!("power {power}"), [2, 3, 1, 2], |graph, x| {
            (x * x * 0.1 + 1.0).pow(graph.fill([2, 3, 1, 2], power))
        });
    }
    let graph = Graph::new();
    let x = graph.input("x", [2]);
    assert_eq!(steps(x.pow(graph.fill([2], 3.0))), ["powi [2]"]);
    assert_eq!(steps(x.pow(graph.fill([2], 0.5))), ["fill [2]", "pow [2]"]);
}

#[test]
fn a_repeated_constant_is_a_constant() {
    let graph = Graph::new();
    let ones = graph.fill([3, 1], 2.5).broadcast_to([2, 3, 4]);
    assert_eq!(steps(ones), ["fill [2, 3, 4]"]);
    check("a repeated constant", [2, 3, 1, 4], |graph, x| {
        x + graph.fill([3, 1, 1], 2.5).broadcast_to([2, 3, 1, 4])
    });
}

/// What a rectifier lets pass is decided at the pool's outputs, of which there are fewer.
#[test]
fn a_gate_passes_before_a_pool_s_gradient_is_put_back() {
    check("relu, then a pool", [3, 2, 7, 6], |graph, x| {
        let pooled = x.relu().max_pool2d(2);
        let upstream = graph.constant(numbers(&pooled.shape(), 7));
        vjp(&[(pooled, upstream)], &[x]).unwrap()[0].unwrap()
    });
    let graph = Graph::new();
    let x = graph.input("x", [3, 2, 8, 6]);
    let pooled = x.relu().max_pool2d(2);
    let gradient = vjp(&[(pooled, graph.input("u", pooled.shape()))], &[x]).unwrap()[0].unwrap();
    let steps = steps(gradient);
    assert!(steps.contains(&"gate [3, 2, 4, 3]".to_string()), "{steps:?}");
    assert_eq!(steps.last().map(String::as_str), Some("max_pool2d_put [3, 2, 8, 6]"));
}

#[test]
fn products_of_vectors_and_of_transposed_matrices_are_written_simpler() {
    let graph = Graph::new();
    let (column, row) = (graph.input("column", [4, 1]), graph.input("row", [1, 5]));
    let outer = steps(column.matmul(row));
    assert!(outer.iter().all(|step| !step.starts_with("matmul")), "{outer:?}");
    let (rows, transposed) = (graph.input("rows", [3, 5]), graph.input("transposed", [4, 3]));
    assert_eq!(steps(row.matmul(rows.transpose())), ["matmul [3, 1]"]);
    assert_eq!(steps(transposed.transpose().matmul(graph.input("b", [4, 2]))), ["matmul [3, 2]"]);
    for (rows, columns) in [(1, 60), (2, 30), (60, 1)] {
        check(&format!("products of {rows} rows"), [3, 4, 1, 5], |_, x| {
            let a = x.reshape([rows, columns]);
            let [inner, outer] = [a.matmul(a.transpose()), a.transpose().matmul(a)];
            inner.sum_all() + outer.powi(2).sum(&[0])
        });
    }
}

#[test]
fn two_permutations_are_one() {
    let orders = || {
        (0..256_isize).map(|code| [code / 64, code / 16 % 4, code / 4 % 4, code % 4]).filter(|order| {
            let mut axes = *order;
            axes.sort_unstable();
            axes == [0, 1, 2, 3]
        })
    };
    assert_eq!(orders().count(), 24);
    for (first, second) in orders().flat_map(|first| orders().map(move |second| (first, second))) {
        check(&format!("{first:?}, then {second:?}"), [2, 3, 4, 5], |_, x| {
            x.permute(&first).permute(&second)
        });
    }
}

/// The steps of a plan in evaluation, and its results beside those of the plain plan.
fn evaluate(what: &str, record: impl for<'g> Fn(Var<'g>) -> Var<'g>) -> Vec<String> {
    let graph = Graph::with_mode(Mode::Evaluate);
    let x = graph.input("x", [3, 4, 6, 5]);
    let y = record(x);
    let values = numbers(&[3, 4, 6, 5], 3);
    let [plain, found] = [Options::plain(), Options::new()].map(|options| {
        let plan = options.compile::<f64>(&graph, &[y]).unwrap();
        let mut store = Store::new(0);
        store.prepare(&plan).unwrap();
        let names: Vec<String> = store.names().map(str::to_string).collect();
        for (seed, name) in names.iter().enumerate() {
            let shape = store.get(name).unwrap().shape().to_vec();
            store.set(name, &numbers(&shape, seed as u64).mapv(|value| value + 1.5)).unwrap();
        }
        run_plan(&plan, &mut store, &[x.feed(&values)]).unwrap().remove(0)
    });
    let size = plain.iter().fold(1.0, |most: f64, value| most.max(value.abs()));
    let error = found.iter().zip(&plain).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(error <= 1e-12 * size, "{what}: {error:.1e}");
    steps(y)
}

/// A normalisation in evaluation scales the weights of the layer before it: nothing of it is left but the bias.
#[test]
fn batch_normalisation_in_evaluation_is_folded_into_weights() {
    type Layer = for<'g> fn(Var<'g>) -> Var<'g>;
    fn norm<'g>(x: Var<'g>) -> Var<'g> {
        nn::batch_norm(x, "norm", BatchNorm::default()).relu()
    }
    fn convolution<'g>(x: Var<'g>) -> Var<'g> {
        nn::conv2d(x, "c", Filters::new(8, 3).padding(1).groups(4))
    }
    let layers: [(&str, Layer, Layer); 5] = [
        (
            "a convolution without a bias",
            |x| norm(nn::conv2d(x, "c", Filters::new(8, 3).padding(1).without_bias())),
            |x| nn::conv2d(x, "c", Filters::new(8, 3).padding(1)).relu(),
        ),
        ("a convolution in groups", |x| norm(convolution(x)), |x| convolution(x).relu()),
        (
            "no scale of its own",
            |x| nn::batch_norm(convolution(x), "norm", BatchNorm { affine: false, ..BatchNorm::default() }),
            |x| convolution(x),
        ),
        (
            "a transposed convolution",
            |x| norm(transposed(x)),
            |x| (transposed(x) + x.graph().param("b", [7, 1, 1], Init::ONES)).relu(),
        ),
        ("a matrix", |x| norm(nn::linear(x.flatten(), "fc", 7)), |x| nn::linear(x.flatten(), "fc", 7).relu()),
    ];
    for (what, with, without) in layers {
        assert_eq!(evaluate(what, with), evaluate(what, without), "{what}");
    }
}

fn transposed(x: Var<'_>) -> Var<'_> {
    x.conv_transpose2d(x.graph().param("t", [4, 7, 3, 3], Init::ONES), Conv2dOptions::new().stride(2), 1)
}

/// Where the value before the scale is read elsewhere, or the scale goes along other axes, it stays.
#[test]
fn what_cannot_be_folded_stays() {
    fn conv<'g>(x: Var<'g>) -> Var<'g> {
        nn::conv2d(x, "c", Filters::new(8, 3))
    }
    fn scale<'g>(x: Var<'g>, shape: &[usize]) -> Var<'g> {
        x.graph().param("s", shape, Init::ONES)
    }
    evaluate("read twice", |x| {
        let y = conv(x);
        y * scale(x, &[8, 1, 1]) + y.exp()
    });
    evaluate("along rows", |x| conv(x) * scale(x, &[4, 1]));
    evaluate("along channels and rows", |x| conv(x) * scale(x, &[8, 4, 1]));
    evaluate("one number", |x| conv(x) * scale(x, &[]));
    evaluate("of the image", |x| conv(x) * x.mean(&[0, 1, 2]).slice(0, 0..3));
    evaluate("beside a whole array", |x| {
        (conv(x) + x.graph().param("r", [8, 4, 3], Init::ONES)) * scale(x, &[8, 1, 1])
    });
    evaluate("a gradient", |x| {
        let y = conv(x) * scale(x, &[8, 1, 1]);
        dagrad::gradients((y * y).sum_all(), &[x]).unwrap()[0]
    });
}

/// A factor that is the same along all summed axes is multiplied once for each sum.
#[test]
fn factors_are_taken_out_of_sums() {
    for axes in subsets(4) {
        for shape in [&[3, 6, 1][..], &[6, 1], &[], &[2, 1, 1, 5], &[2, 3, 6, 5]] {
            check(&format!("a sum over {axes:?} of a product with {shape:?}"), [2, 3, 6, 5], |graph, x| {
                let factor = graph.constant(numbers(shape, 9));
                ((x * factor) * x + 1.0).sum(&axes) + (factor * x).sum(&axes)
            });
        }
    }
    let graph = Graph::new();
    let (x, s) = (graph.input("x", [2, 3, 6, 5]), graph.input("s", [3, 1, 1]));
    assert_eq!(steps((x * s * x).sum(&[0, 2, 3])), steps((x * x).sum(&[0, 2, 3]) * s.reshape([3])));
}

/// The gradient of a normalisation reads the array for two sums, in which the scale's and the shift's gradients come along.
#[test]
fn a_normalisation_and_its_gradient_are_four_sums_over_the_image() {
    let graph = Graph::new();
    let x = graph.input("x", [4, 3, 6, 5]);
    let y = nn::batch_norm(x, "norm", BatchNorm::default());
    let upstream = graph.input("u", [4, 3, 6, 5]);
    let parameters = graph.parameters();
    let wanted = [vec![x], parameters].concat();
    let gradients: Vec<Var<'_>> = vjp(&[(y, upstream)], &wanted).unwrap().into_iter().flatten().collect();
    assert_eq!(gradients.len(), 3);
    let plan = Options::new().without("lower").compile::<f64>(&graph, &gradients).unwrap();
    let sums =
        plan.steps().iter().filter(|step| step.name() == "sum" && step.operands()[0].ty.shape.len() == 4);
    assert_eq!(sums.count(), 4, "{plan}");
}
