//! Shapes of arrays: any, those that broadcast, those that multiply.

use ndarray::{ArrayD, Axis};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::subsequence;

/// Any shape of up to five axes. Some arrays are empty.
pub fn shapes() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![1 => Just(0usize), 9 => 1..5usize], 0..6)
}

/// A shape and an order of its axes, some of them counted from the end.
pub fn orders() -> impl Strategy<Value = (Vec<usize>, Vec<isize>)> {
    shapes().prop_flat_map(|shape| {
        let axes: Vec<isize> = (0..shape.len() as isize).collect();
        (Just(shape), Just(axes).prop_shuffle()).prop_flat_map(|(shape, axes)| {
            let negative = vec(any::<bool>(), axes.len());
            (Just(shape), Just(axes), negative).prop_map(|(shape, axes, negative)| {
                let rank = shape.len() as isize;
                let count = |(axis, negative): (isize, bool)| if negative { axis - rank } else { axis };
                (shape, axes.into_iter().zip(negative).map(count).collect())
            })
        })
    })
}

/// A shape of one axis or more, and one of its axes, perhaps counted from the end.
pub fn with_an_axis() -> impl Strategy<Value = (Vec<usize>, isize)> {
    orders().prop_filter_map("no axes", |(shape, order)| Some((shape, *order.first()?)))
}

/// A shape without empty axes, and some of its axes.
pub fn reductions() -> impl Strategy<Value = (Vec<usize>, Vec<isize>)> {
    vec(1..5usize, 0..6).prop_flat_map(|shape| {
        let axes: Vec<isize> = (0..shape.len() as isize).collect();
        let some = subsequence(axes, 0..=shape.len());
        (Just(shape), some)
    })
}

/// Two shapes that broadcast to a third: each lacks leading axes or has some axes of size 1.
pub fn broadcast_pairs() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    shapes().prop_flat_map(|full| {
        let part = || (vec(any::<bool>(), full.len()), 0..=full.len());
        let parts = (Just(full.clone()), part(), part());
        parts.prop_map(|(full, left, right)| (thinned(&full, left), thinned(&full, right)))
    })
}

fn thinned(full: &[usize], (ones, missing): (Vec<bool>, usize)) -> Vec<usize> {
    let sizes = full.iter().zip(ones).map(|(&size, one)| if one { 1 } else { size });
    sizes.skip(missing).collect()
}

/// The shapes of two operands of a matrix product: matrices, with batches that broadcast, or vectors.
pub fn products() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    let size = || prop_oneof![1 => Just(0usize), 9 => 1..20usize];
    let matrices = (size(), size(), size()).prop_map(|(rows, inner, columns)| [rows, inner, columns]);
    let batches = broadcast_pairs().prop_filter("small", |(left, right)| left.len().max(right.len()) < 4);
    (matrices, batches, any::<[bool; 2]>(), any::<bool>()).prop_map(|(matrices, batches, vectors, plain)| {
        let [rows, inner, columns] = matrices;
        let (left, right) = if plain { Default::default() } else { batches };
        let left = if vectors[0] { vec![inner] } else { [left, vec![rows, inner]].concat() };
        let right = if vectors[1] { vec![inner] } else { [right, vec![inner, columns]].concat() };
        (left, right)
    })
}

/// The definition of a matrix product, by NumPy's rules: a vector is a row on the left and a column on the right, and
/// axes before the last two broadcast.
pub fn product(a: &ArrayD<f64>, b: &ArrayD<f64>) -> ArrayD<f64> {
    let (row, column) = (a.ndim() == 1, b.ndim() == 1);
    let a = if row { a.clone().insert_axis(Axis(0)) } else { a.clone() };
    let b = if column { b.clone().insert_axis(Axis(1)) } else { b.clone() };
    // [.., rows, inner, 1] times [.., 1, inner, columns], summed over the inner axis.
    let (last, middle) = (Axis(a.ndim()), Axis(b.ndim() - 2));
    let all = a.insert_axis(last) * b.insert_axis(middle);
    let mut result = all.sum_axis(Axis(all.ndim() - 2));
    let [row_axis, column_axis] = [Axis(result.ndim() - 2), Axis(result.ndim() - 1)];
    if column {
        result = result.index_axis_move(column_axis, 0);
    }
    if row {
        result = result.index_axis_move(row_axis, 0);
    }
    result.as_standard_layout().to_owned()
}
