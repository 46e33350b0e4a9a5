//! Convolutions of many sizes, by each algorithm, against the plain plan in double precision.
//!
//! The plain plan runs no pass. So it computes on images whose channels lie first, by other kernels than those
//! that are checked here. An error is a fraction of the largest number of the result: the output, or the gradient
//! in the image or in the weight. The largest seen in 2000 cases, in single precision: direct 2.3e-6, Winograd's
//! algorithm 8e-6 for windows of 3 and 5, and 1.2e-4 for 7; in double precision 3e-13.

use crate::common::{numbers, run_plan};
use dagrad::{Algorithm, Conv2dOptions, Graph, Options, Plan, Precision, Store, Var, vjp};
use ndarray::ArrayD;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// How many combinations of sizes are drawn.
const CASES: usize = 500;
/// What a plan computes in each case.
const RESULTS: [&str; 3] = ["the output", "the gradient in the image", "the gradient in the weight"];

/// One convolution of square images.
#[derive(Debug, Clone, Copy)]
struct Case {
    batch: usize,
    channels: usize,
    filters: usize,
    side: usize,
    window: usize,
    stride: usize,
    padding: usize,
}

/// The same cases every time.
fn cases() -> impl Iterator<Item = Case> {
    let mut generator = ChaCha8Rng::seed_from_u64(7);
    let mut one_of = move |choices: &[usize]| choices[generator.random_range(0..choices.len())];
    let channels = [1, 3, 8, 16, 17, 33];
    (0..CASES).map(move |_| Case {
        batch: one_of(&[1, 2, 9, 16]),
        channels: one_of(&channels),
        filters: one_of(&channels),
        side: one_of(&[7, 8, 9, 12, 14]),
        window: one_of(&[3, 5, 7]),
        stride: one_of(&[1, 2]),
        padding: one_of(&[0, 1, 2, 3]),
    })
}

impl Case {
    /// Whether Winograd's algorithm applies.
    fn suits_winograd(&self) -> bool {
        self.stride == 1 && self.padding < self.window && self.channels.min(self.filters) >= 8
    }

    /// The plan, and the [`RESULTS`] that it computes.
    fn run<T: Precision>(&self, options: &Options) -> (Plan<T>, [ArrayD<f64>; 3]) {
        let graph = Graph::new();
        let (side, window) = (self.side, self.window);
        let image = graph.input("image", [self.batch, self.channels, side, side]);
        let weight = graph.input("weight", [self.filters, self.channels, window, window]);
        let output = image.conv2d(weight, Conv2dOptions::new().stride(self.stride).padding(self.padding));
        let upstream = graph.input("upstream", output.shape());
        let gradients = vjp(&[(output, upstream)], &[image, weight]).unwrap();
        let outputs = [output, gradients[0].unwrap(), gradients[1].unwrap()];
        let plan = options.compile::<T>(&graph, &outputs).unwrap();
        // Single precision for every plan, so that rounding the inputs is no part of the error.
        let value = |var: Var<'_>, seed| numbers(&var.shape(), seed).mapv(|number| number as f32);
        let values = [value(image, 1), value(weight, 2), value(upstream, 3)];
        let feeds = [image.feed(&values[0]), weight.feed(&values[1]), upstream.feed(&values[2])];
        let found = run_plan(&plan, &mut Store::new(0), &feeds).unwrap();
        (plan, [0, 1, 2].map(|at| found[at].mapv(|number| number.into_f64())))
    }
}

/// The largest error, as a fraction of the largest number.
fn error(found: &ArrayD<f64>, expected: &ArrayD<f64>) -> f64 {
    let largest = expected.iter().fold(0.0_f64, |largest, number| largest.max(number.abs()));
    let gap = |(a, b): (&f64, &f64)| if (a - b).is_nan() { f64::INFINITY } else { (a - b).abs() };
    found.iter().zip(expected).map(gap).fold(0.0, f64::max) / largest
}

/// The error that is allowed in single precision. The larger Winograd's window, the more its transforms magnify.
fn tolerance(case: &Case, algorithm: Algorithm) -> f64 {
    match (algorithm, case.window) {
        (Algorithm::Winograd, 3 | 5) if case.suits_winograd() => 1e-5,
        (Algorithm::Winograd, _) if case.suits_winograd() => 2e-4,
        _ => 3e-6,
    }
}

/// Compares one plan's results with the plain plan's; returns whether it has groups of steps (batch tiling).
fn check<T: Precision>(
    case: &Case,
    algorithm: Algorithm,
    expected: &[ArrayD<f64>; 3],
    tolerance: f64,
) -> bool {
    let (plan, found) = case.run::<T>(&Options::new().convolution(algorithm));
    let is_single = size_of::<T>() == size_of::<f32>();
    let is_winograd = algorithm == Algorithm::Winograd && case.suits_winograd() && is_single;
    assert_eq!(plan.to_string().contains("winograd"), is_winograd, "{case:?}\n{plan}");
    for (name, (found, expected)) in RESULTS.iter().zip(found.iter().zip(expected)) {
        let error = error(found, expected);
        let precision = T::NAME;
        assert!(
            error <= tolerance,
            "{name} of {case:?}, {algorithm:?} in {precision}: {error:.1e}, {tolerance:.0e} is allowed"
        );
    }
    !plan.groups().is_empty()
}

#[test]
fn all_algorithms_agree_with_the_plain_plan() {
    let (mut winograd, mut grouped) = (0, 0);
    for case in cases() {
        let (plain, expected) = case.run::<f64>(&Options::plain());
        assert!(plain.groups().is_empty() && !plain.to_string().contains("winograd"), "{plain}");
        for algorithm in [Algorithm::Direct, Algorithm::Winograd] {
            let is_grouped = check::<f32>(&case, algorithm, &expected, tolerance(&case, algorithm));
            assert!(!is_grouped || case.batch >= 8, "{case:?}");
            grouped += usize::from(is_grouped);
            check::<f64>(&case, algorithm, &expected, 1e-10);
        }
        winograd += usize::from(case.suits_winograd());
    }
    assert!(winograd > CASES / 10, "Winograd's algorithm applies to {winograd} cases");
    assert!(grouped > CASES / 10, "{grouped} plans have groups");
}
