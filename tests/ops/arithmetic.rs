//! Functions of two numbers, statistics and stopped gradients beside the values and gradients of PyTorch 2.15: at ties, kinks
//! and 0, with infinities and NaN.

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

use crate::common::{
    Pair, array, assert_mentions, assert_pair, assert_same, gradients_of_sum, message, run, try_run, value,
};
use dagrad::{Graph, Plan, Var};

const LEFT: [f64; 10] = [1.0, 2.0, NAN, 0.0, 3.0, -0.0, INF, INF, -INF, NAN];
const RIGHT: [f64; 10] = [1.0, 3.0, 0.0, NAN, -1.0, 0.0, INF, -INF, 2.0, NAN];

/// The values of a function of two arrays of numbers.
fn values(function: Pair, a: &[f64], b: &[f64]) -> Vec<f64> {
    let graph = Graph::new();
    let [x, y] = [graph.input("x", [a.len()]), graph.input("y", [b.len()])];
    value(function(x, y), &[x.feed(&array(&[a.len()], a)), y.feed(&array(&[b.len()], b))])
        .into_iter()
        .collect()
}

#[test]
fn the_larger_and_the_smaller_share_a_tie_and_pass_nan_on() {
    let bigger = [
        [1.0, 3.0, NAN, NAN, 3.0, 0.0, INF, INF, 2.0, NAN],
        [0.5, 0.0, 1.0, 1.0, 1.0, 0.5, 0.5, 1.0, 0.0, 1.0],
        [0.5, 1.0, 1.0, 1.0, 0.0, 0.5, 0.5, 0.0, 1.0, 1.0],
    ];
    let smaller = [1.0, 2.0, NAN, NAN, -1.0, 0.0, INF, -INF, -INF, NAN];
    assert_pair("maximum", |a, b| a.maximum(b), &[10], [&LEFT, &RIGHT], [&bigger[0], &bigger[1], &bigger[2]]);
    let derivatives = [
        [0.5, 1.0, 1.0, 1.0, 0.0, 0.5, 0.5, 0.0, 1.0, 1.0],
        [0.5, 0.0, 1.0, 1.0, 1.0, 0.5, 0.5, 1.0, 0.0, 1.0],
    ];
    assert_pair(
        "minimum",
        |a, b| a.minimum(b),
        &[10],
        [&LEFT, &RIGHT],
        [&smaller, &derivatives[0], &derivatives[1]],
    );
}

#[test]
fn an_infinite_gradient_makes_no_nan_of_the_number_that_is_beaten() {
    let graph = Graph::new();
    let [a, b] = ["a", "b"].map(|name| graph.input(name, [3]));
    let (upstream, larger) = (graph.fill([3], INF), a.maximum(b));
    let derivatives: Vec<Var<'_>> =
        dagrad::vjp(&[(larger, upstream)], &[a, b]).unwrap().into_iter().flatten().collect();
    let found =
        run(&derivatives, &[a.feed(&array(&[3], &[1.0, 2.0, 3.0])), b.feed(&array(&[3], &[2.0, 2.0, 2.0]))]);
    assert_same("left", &found[0], &[0.0, INF, INF], 0.0);
    assert_same("right", &found[1], &[INF, INF, 0.0], 0.0);
}

#[test]
fn comparisons_are_0_or_1_and_false_for_nan() {
    let expected: [(&str, Pair, [f64; 10]); 6] = [
        ("greater", |a, b| a.greater(b), [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]),
        ("greater_equal", |a, b| a.greater_equal(b), [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]),
        ("less", |a, b| a.less(b), [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
        ("less_equal", |a, b| a.less_equal(b), [1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0]),
        ("equal", |a, b| a.equal(b), [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0]),
        ("not_equal", |a, b| a.not_equal(b), [0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0]),
    ];
    for (name, function, expected) in expected {
        assert_eq!(values(function, &LEFT, &RIGHT), expected, "{name}");
        let graph = Graph::new();
        let x = graph.input("x", [2]);
        let error = message(dagrad::gradients(function(x, x).sum_all(), &[x]));
        assert_mentions(&error, &["does not depend"]);
    }
}

#[test]
fn comparisons_take_numbers_and_broadcast() {
    type Comparison = fn(Var<'_>) -> Var<'_>;
    let numbers: [(Comparison, [f64; 4]); 6] = [
        (|x| x.greater(1.0), [0.0, 0.0, 1.0, 0.0]),
        (|x| x.greater_equal(1.0), [0.0, 1.0, 1.0, 0.0]),
        (|x| x.less(1.0), [1.0, 0.0, 0.0, 0.0]),
        (|x| x.less_equal(1.0), [1.0, 1.0, 0.0, 0.0]),
        (|x| x.equal(1.0), [0.0, 1.0, 0.0, 0.0]),
        (|x| x.not_equal(1.0), [1.0, 0.0, 1.0, 1.0]),
    ];
    for (function, expected) in numbers {
        let graph = Graph::new();
        let x = graph.input("x", [4]);
        let found = value(function(x), &[x.feed(&array(&[4], &[0.0, 1.0, 2.0, NAN]))]);
        assert_same("comparison", &found, &expected, 0.0);
    }
    let graph = Graph::new();
    let (row, column) = (graph.input("row", [3]), graph.input("column", [2, 1]));
    let (three, two) = (array(&[3], &[0.0, 1.0, 2.0]), array(&[2, 1], &[1.0, 2.0]));
    let found = value(row.less(column), &[row.feed(&three), column.feed(&two)]);
    assert_eq!(found, array(&[2, 3], &[1.0, 0.0, 0.0, 1.0, 1.0, 0.0]));
}

#[test]
fn what_is_not_chosen_does_not_reach_the_value() {
    let graph = Graph::new();
    let [mask, a, b] = ["mask", "a", "b"].map(|name| graph.input(name, [5]));
    let chosen = mask.choose(a * a, b * b);
    let derivatives = dagrad::gradients(chosen.sum_all(), &[a, b]).unwrap();
    let choice = array(&[5], &[1.0, 0.0, 0.5, -1.0, NAN]);
    let (left, right) = (array(&[5], &[3.0, NAN, 4.0, INF, NAN]), array(&[5], &[INF, 5.0, -INF, 6.0, 7.0]));
    let feeds = [mask.feed(&choice), a.feed(&left), b.feed(&right)];
    let found = run(&[chosen, derivatives[0], derivatives[1]], &feeds);
    assert_same("value", &found[0], &[9.0, 25.0, 16.0, 36.0, 49.0], 0.0);
    // PyTorch's own gradients: 0 · NaN = NaN where the square's rule multiplies by what was not chosen.
    assert_same("left gradient", &found[1], &[6.0, NAN, 8.0, NAN, NAN], 0.0);
    assert_same("right gradient", &found[2], &[NAN, 10.0, NAN, 12.0, 14.0], 0.0);
    let error = message(dagrad::gradients(mask.choose(1.0, 2.0).sum_all(), &[mask]));
    assert_mentions(&error, &["does not depend"]);
}

#[test]
fn of_a_plain_branch_that_is_not_chosen_the_gradient_is_0() {
    let graph = Graph::new();
    let [a, b] = ["a", "b"].map(|name| graph.input(name, [2]));
    let derivatives = dagrad::gradients(a.greater(0.0).choose(a, b).sum_all(), &[a, b]).unwrap();
    let found = run(&derivatives, &[a.feed(&array(&[2], &[NAN, 1.0])), b.feed(&array(&[2], &[2.0, INF]))]);
    assert_eq!(found, [array(&[2], &[0.0, 1.0]), array(&[2], &[1.0, 0.0])]);
}

#[test]
fn a_root_whose_operand_is_chosen_too_has_no_nan() {
    let graph = Graph::new();
    let x = graph.input("x", [3]);
    let is_positive = x.greater(0.0);
    let root = is_positive.choose(is_positive.choose(x, 1.0).sqrt(), 0.0);
    let at = array(&[3], &[-1.0, 0.0, 4.0]);
    assert_same("value", &value(root, &[x.feed(&at)]), &[0.0, 0.0, 2.0], 0.0);
    assert_same("gradient", &gradients_of_sum(root, &[x], &[x.feed(&at)])[0], &[0.0, 0.0, 0.25], 0.0);
}

#[test]
fn powers_of_arrays() {
    let base = [0., 0., 0., 0., -0., -2., -2., -2., INF, -INF, -INF, NAN, 0., 1., 4., -8., 2.];
    let power = [0., 0.5, 1., 2., -1., 2., -3., 0.5, 0., 0.5, 3., 0., NAN, NAN, 0.5, 1. / 3., 40.];
    let value = [1., 0., 0., 0., -INF, 4., -0.125, NAN, 1., INF, -INF, 1., NAN, 1., 2., NAN, 1099511627776.];
    let in_base =
        [0., INF, 1., 0., -INF, -4., -0.1875, NAN, 0., 0., INF, 0., NAN, NAN, 0.25, NAN, 21990232555520.];
    let in_power = [
        0.,
        0.,
        0.,
        0.,
        INF,
        NAN,
        NAN,
        NAN,
        INF,
        NAN,
        NAN,
        NAN,
        NAN,
        0.,
        2.772588722239781,
        NAN,
        762123384785.8104,
    ];
    assert_pair("pow", |a, b| a.pow(b), &[17], [&base, &power], [&value, &in_base, &in_power]);
}

const BASE: [f64; 8] = [-2.0, -0.0, 0.0, 0.5, 3.0, INF, -INF, NAN];

/// An exponent, the powers of the bases, and their gradients.
#[rustfmt::skip]
const POWERS: [(f64, [f64; 8], [f64; 8]); 9] = [
    (0.0, [1.0; 8], [0.0; 8]),
    (1.0, [-2.0, -0.0, 0.0, 0.5, 3.0, INF, -INF, NAN], [1.0; 8]),
    (2.0, [4.0, 0.0, 0.0, 0.25, 9.0, INF, INF, NAN], [-4.0, -0.0, 0.0, 1.0, 6.0, INF, -INF, NAN]),
    (3.0, [-8.0, -0.0, 0.0, 0.125, 27.0, INF, -INF, NAN], [12.0, 0.0, 0.0, 0.75, 27.0, INF, INF, NAN]),
    (-1.0, [-0.5, -INF, INF, 2.0, 0.3333333333333333, 0.0, -0.0, NAN], [-0.25, -INF, -INF, -4.0, -0.1111111111111111, -0.0, -0.0, NAN]),
    (-2.0, [0.25, INF, INF, 4.0, 0.1111111111111111, 0.0, 0.0, NAN], [0.25, INF, -INF, -16.0, -0.07407407407407407, -0.0, 0.0, NAN]),
    (0.5, [NAN, 0.0, 0.0, std::f64::consts::FRAC_1_SQRT_2, 1.7320508075688772, INF, INF, NAN], [NAN, INF, INF, std::f64::consts::FRAC_1_SQRT_2, 0.28867513459481287, 0.0, 0.0, NAN]),
    (-2.5, [NAN, INF, INF, 5.656854249492381, 0.06415002990995841, 0.0, 0.0, NAN], [NAN, -INF, -INF, -28.284271247461902, -0.053458358258298685, -0.0, -0.0, NAN]),
    (33.0, [-8589934592.0, -0.0, 0.0, 1.1641532182693481e-10, 5559060566555523.0, INF, -INF, NAN], [141733920768.0, 0.0, 0.0, 7.683411240577698e-09, 6.114966623211075e+16, INF, INF, NAN]),
];

#[test]
fn powers_by_a_number() {
    for (power, expected, derivatives) in POWERS {
        let graph = Graph::new();
        let x = graph.input("x", [8]);
        let (y, bases) = (x.pow(power), array(&[8], &BASE));
        let feeds = [x.feed(&bases)];
        assert_same(&format!("to the {power}"), &value(y, &feeds), &expected, 1e-15);
        assert_same(
            &format!("gradient to the {power}"),
            &gradients_of_sum(y, &[x], &feeds)[0],
            &derivatives,
            1e-15,
        );
    }
}

#[test]
fn a_small_whole_power_is_a_product_and_a_large_one_keeps_its_digits() {
    let plan = |power: f64| {
        let graph = Graph::new();
        let x = graph.input("x", [3]);
        Plan::<f32>::compile(&graph, &[x.pow(power)]).unwrap().to_string()
    };
    assert_mentions(&plan(3.0), &["powi 3"]);
    assert!(!plan(0.5).contains("powi") && !plan(0.5).contains("sqrt"), "{}", plan(0.5));
    let graph = Graph::new();
    let x = graph.input("x", [1]);
    let found = try_run::<f32>(&[x.pow(1e5)], &[x.feed(&array(&[1], &[1.0001]))]).unwrap();
    let expected = f64::from(1.0001_f32).powf(1e5) as f32;
    assert!((found[0][0] - expected).abs() <= 2e-7 * expected, "{} instead of {expected}", found[0][0]);
}

type Statistic = for<'g> fn(Var<'g>) -> Var<'g>;

#[rustfmt::skip]
const ROWS: [f64; 18] = [2.0, 2.0, 2.0,  1.0, 2.0, 4.0,  0.0, 0.0, 0.0,  3.0, 0.0, -4.0,  INF, 1.0, 2.0,  NAN, 1.0, 2.0];

/// Statistics of the rows, and their gradients. They are PyTorch's but for one case: it has gradients of −∞ for the variance beside
/// the infinity, where these are NaN as the variance is.
#[rustfmt::skip]
const STATISTICS: [(&str, Statistic, [f64; 6], [f64; 18]); 5] = [
    ("variance", |x| x.variance(&[1], 1), [0.0, 2.333333333333333, 0.0, 12.333333333333334, NAN, NAN],
     [0.0, 0.0, 0.0, -1.3333333333333335, -0.3333333333333335, 1.6666666666666665, 0.0, 0.0, 0.0, 3.3333333333333335, 0.3333333333333333, -3.6666666666666665, NAN, NAN, NAN, NAN, NAN, NAN]),
    ("std_dev", |x| x.std_dev(&[1], 1), [0.0, 1.5275252316519465, 0.0, 3.5118845842842465, NAN, NAN],
     [0.0, 0.0, 0.0, -0.43643578047198484, -0.10910894511799625, 0.5455447255899809, 0.0, 0.0, 0.0, 0.47457899787624946, 0.04745789978762494, -0.5220368976638744, NAN, NAN, NAN, NAN, NAN, NAN]),
    ("std_dev of all", |x| x.std_dev(&[-1], 0), [0.0, 1.247219128924647, 0.0, 2.8674417556808756, NAN, NAN],
     [0.0, 0.0, 0.0, -0.35634832254989923, -0.08908708063747484, 0.44543540318737396, 0.0, 0.0, 0.0, 0.3874921291460643, 0.038749212914606423, -0.4262413420606707, NAN, NAN, NAN, NAN, NAN, NAN]),
    ("norm", |x| x.norm(&[1]), [3.4641016151377544, 4.58257569495584, 0.0, 5.0, INF, NAN],
     [0.5773502691896258, 0.5773502691896258, 0.5773502691896258, 0.2182178902359924, 0.4364357804719848, 0.8728715609439696, 0.0, 0.0, 0.0, 0.6, 0.0, -0.8, NAN, 0.0, 0.0, NAN, NAN, NAN]),
    ("log_sum_exp", |x| x.log_sum_exp(&[1]), [3.09861228866811, 4.169846019556286, 1.0986122886681098, 3.0494556096956456, INF, NAN],
     [0.3333333333333332, 0.3333333333333332, 0.3333333333333332, 0.042010066134066035, 0.11419519938459442, 0.8437947344813391, 0.3333333333333333, 0.3333333333333333, 0.3333333333333333, 0.9517474055557685, 0.04738471314934218, 0.0008678812948896058, NAN, 0.0, 0.0, NAN, NAN, NAN]),
];

#[test]
fn statistics_of_equal_infinite_and_missing_numbers() {
    for (name, function, expected, derivatives) in STATISTICS {
        let graph = Graph::new();
        let x = graph.input("x", [6, 3]);
        let rows = array(&[6, 3], &ROWS);
        assert_same(name, &value(function(x), &[x.feed(&rows)]), &expected, 1e-14);
        let found = &gradients_of_sum(function(x), &[x], &[x.feed(&rows)])[0];
        assert_same(&format!("gradient of {name}"), found, &derivatives, 1e-14);
    }
}

#[test]
fn kept_axes_have_size_1_and_the_same_values() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 3, 4]);
    let numbers = crate::common::numbers(&[2, 3, 4], 1);
    let both: [(Statistic, Statistic); 5] = [
        (|x| x.variance(&[-1, 0], 1), |x| x.variance_keep(&[-1, 0], 1)),
        (|x| x.std_dev(&[-1, 0], 0), |x| x.std_dev_keep(&[-1, 0], 0)),
        (|x| x.norm(&[-1, 0]), |x| x.norm_keep(&[-1, 0])),
        (|x| x.log_sum_exp(&[-1, 0]), |x| x.log_sum_exp_keep(&[-1, 0])),
        (|x| x.mean(&[-1, 0]), |x| x.mean_keep(&[-1, 0])),
    ];
    for (without, with) in both {
        let found = run(&[without(x), with(x)], &[x.feed(&numbers)]);
        assert_eq!(found[1].shape(), [1, 3, 1]);
        assert_eq!(found[0], found[1].to_shape([3]).unwrap().into_dyn());
    }
}

#[test]
fn sums_of_exponentials_reach_their_limits() {
    let rows = [-INF, -INF, -INF, 1.0, INF, 0.0, INF, -INF, NAN, 0.0, 1e4, 9999.0, -1e4, -1e4];
    let graph = Graph::new();
    let x = graph.input("x", [7, 2]);
    let (y, rows) = (x.log_sum_exp(&[1]), array(&[7, 2], &rows));
    let expected = [-INF, 1.0, INF, INF, NAN, 10000.31326168752, -9999.30685281944];
    assert_same("value", &value(y, &[x.feed(&rows)]), &expected, 1e-15);
    // PyTorch's are off by as much as exponentials of rounded numbers are.
    let derivatives = [
        NAN,
        NAN,
        0.0,
        1.0,
        NAN,
        0.0,
        NAN,
        0.0,
        NAN,
        NAN,
        0.7310585786293519,
        0.2689414213697549,
        0.4999999999999138,
        0.4999999999999138,
    ];
    assert_same("gradient", &gradients_of_sum(y, &[x], &[x.feed(&rows)])[0], &derivatives, 1e-12);
}

#[test]
fn a_stopped_gradient_counts_as_a_constant_and_no_plan_has_a_step_for_it() {
    let graph = Graph::new();
    let x = graph.input("x", [3]);
    let y = (x * x.stop_gradient()).sum_all();
    let gradient = dagrad::gradients(y, &[x]).unwrap()[0];
    let at = array(&[3], &[1.0, -2.0, 3.0]);
    let found = run(&[y, gradient], &[x.feed(&at)]);
    assert_eq!((found[0].sum(), &found[1]), (14.0, &at));
    let second = dagrad::gradients((gradient * x).sum_all(), &[x]).unwrap()[0];
    assert_eq!(value(second, &[x.feed(&at)]), at, "the gradient was taken for a constant, too");
    let plan = Plan::<f64>::compile(&graph, &[y, gradient]).unwrap().to_string();
    assert!(!plan.contains("stop_gradient"), "{plan}");
}

#[test]
fn nothing_passes_a_stopped_gradient_and_what_is_stopped_may_be_an_output() {
    let graph = Graph::new();
    let (x, classes) = (graph.input("x", [3]), graph.labels("classes", [2]));
    let stopped = x.exp().stop_gradient();
    assert_mentions(&message(dagrad::gradients(stopped.sum_all(), &[x])), &["does not depend"]);
    let at = array(&[3], &[0.0, 1.0, 2.0]);
    assert_eq!(value(stopped, &[x.feed(&at)]), value(x.exp(), &[x.feed(&at)]));
    let picked = x.index_select(0, classes.stop_gradient());
    let indices = ndarray::arr1(&[2_u32, 0]);
    assert_eq!(value(picked, &[x.feed(&at), classes.feed(&indices)]), array(&[2], &[2.0, 0.0]));
}
