//! Long sums. Added up one after the other in `f32`, millions of numbers stand still: what is added is below half a unit in
//! the last place of the sum. Every kernel that adds up is compared with itself in `f64`.

use dagrad::{Conv2dOptions, Graph, Plan, Pool2dOptions, Precision, Store, Var, Workspace, gradients};
use ndarray::{ArrayD, IxDyn};

/// What is computed from an array of equal numbers, the worst case: every rounding goes the same way.
type Case = (&'static str, &'static [usize], for<'g> fn(Var<'g>) -> Var<'g>);

const CASES: &[Case] = &[
    ("sum of all", &[24_000_000], |x| x.sum_all()),
    ("mean of all", &[24_000_000], |x| x.mean_all()),
    ("squares for a norm", &[24_000_000], |x| x.powi(2).sum_all()),
    ("a fused chain", &[24_000_000], |x| (x.exp() * x).sum_all()),
    ("sum of rows", &[2, 4_000_000], |x| x.sum(&[1])),
    ("sum of columns", &[3_000_000, 3], |x| x.sum(&[0])),
    ("sum of middle axes", &[2, 1_000_000, 8], |x| x.sum(&[1])),
    ("sum of channels", &[8, 3, 700, 700], |x| x.sum(&[0, 2, 3])),
    ("variance", &[4_000_000], |x| (x - 0.05).powi(2).mean_all()),
    ("a dot product", &[1, 24_000_000], |x| x.matmul(x.transpose())),
    ("three dot products", &[3, 4_000_000], |x| x.matmul(x.transpose())),
    ("a long matrix product", &[9, 1_000_000], |x| x.matmul(x.transpose())),
    ("a batch of products", &[2, 1, 3_000_000], |x| x.matmul(x.permute(&[0, 2, 1]))),
    ("einsum", &[3, 2_000_000], |x| x.graph().einsum("ij,kj->ik", &[x, x])),
    ("softmax of many classes", &[1, 4_000_000], |x| x.log_softmax(1)),
    ("global average pool", &[1, 3, 2000, 2000], |x| x.avg_pool2d(Pool2dOptions::new(2000))),
    ("large average pool", &[1, 2, 1500, 1500], |x| x.avg_pool2d(Pool2dOptions::new(1400).stride(50))),
    ("weight gradient, 3×3 of 8 channels", &[4, 8, 600, 600], |x| weight_grad(x, [8, 8, 3, 3], 1)),
    ("weight gradient, 3×3 of 3 channels", &[4, 3, 600, 600], |x| weight_grad(x, [8, 3, 3, 3], 1)),
    ("weight gradient, 1×1", &[2, 4, 900, 900], |x| weight_grad(x, [5, 4, 1, 1], 1)),
    ("weight gradient, depthwise", &[4, 8, 600, 600], |x| weight_grad(x, [8, 1, 3, 3], 8)),
    ("weight gradient, thin groups", &[4, 32, 300, 300], |x| weight_grad(x, [32, 4, 3, 3], 8)),
    ("weight gradient, many images", &[4000, 3, 20, 20], |x| weight_grad(x, [8, 3, 3, 3], 1)),
    ("one window, 64 channels", &[1, 64, 128, 128], |x| conv(x, [3, 64, 128, 128], 1)),
    ("one window, 48 channels", &[1, 48, 150, 150], |x| conv(x, [20, 48, 150, 150], 1)),
    ("one window of a plane", &[1, 1, 2000, 2000], |x| conv(x, [1, 1, 2000, 2000], 1)),
    ("windows beyond scratch memory", &[1, 8, 1000, 1001], |x| conv(x, [2, 8, 1000, 1000], 1)),
    ("depthwise windows", &[1, 16, 200, 201], |x| conv(x, [16, 1, 200, 200], 16)),
    ("input gradient of large windows", &[1, 1, 301, 300], |x| {
        let y = conv(x, [4, 1, 200, 200], 1);
        gradients((y * 0.3).sum_all(), &[x]).unwrap()[0].slice(2, 120..180).slice(3, 120..180)
    }),
    ("3×3 of 100,000 channels", &[1, 100_000, 5, 5], |x| conv(x, [9, 100_000, 3, 3], 1)),
    ("bias gradient", &[16, 2, 500, 500], |x| {
        let bias = x.graph().fill([2, 1, 1], 1.0);
        gradients(((x + bias) * x).sum_all(), &[bias]).unwrap()[0]
    }),
];

fn conv<'g>(x: Var<'g>, weight: [usize; 4], groups: usize) -> Var<'g> {
    x.conv2d(x.graph().fill(weight, 1.0), Conv2dOptions::new().groups(groups))
}

fn weight_grad<'g>(x: Var<'g>, weight: [usize; 4], groups: usize) -> Var<'g> {
    let weight = x.graph().fill(weight, 1.0);
    let options = Conv2dOptions::new().padding(weight.shape()[2] / 2).groups(groups);
    gradients(x.conv2d(weight, options).sum_all(), &[weight]).unwrap()[0]
}

/// The results on an array of a tenth everywhere.
fn results<T: Precision + dagrad::Element>(
    &(_, shape, record): &Case,
    workspace: &mut Workspace,
) -> Vec<f64> {
    let graph = Graph::new();
    let x = graph.input("x", shape);
    let plan = Plan::<T>::compile(&graph, &[record(x)]).unwrap();
    let tenths = ArrayD::from_elem(IxDyn(shape), T::of(f64::from(0.1_f32)));
    let mut store = Store::new(0);
    let outputs = plan.run(&mut store, workspace, &[x.feed(&tenths)]).unwrap();
    outputs.at(0).unwrap().iter().map(|value| value.into_f64()).collect()
}

#[test]
fn long_sums_are_as_exact_as_short_ones() {
    let mut workspace = Workspace::new(2).unwrap();
    let mut wrong = Vec::new();
    for case in CASES {
        let (single, double) = (results::<f32>(case, &mut workspace), results::<f64>(case, &mut workspace));
        let errors = single.iter().zip(&double).map(|(single, double)| ((single - double) / double).abs());
        let worst = errors.fold(0.0, f64::max);
        if worst > 5e-5 {
            wrong.push(format!("{}: off by {worst:e}", case.0));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
