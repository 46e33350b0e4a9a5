//! Shapes of arrays: any, those that broadcast, those that multiply.

use ndarray::{ArrayD, Dimension, IxDyn};
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

/// Two shapes that broadcast to a third: each lacks leading axes or has size 1 in places.
pub fn broadcast_pairs() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    shapes().prop_flat_map(|full| {
        let part = || (vec(any::<bool>(), full.len()), 0..=full.len());
        (Just(full.clone()), part(), part()).prop_map(|(full, left, right)| (thinned(&full, left), thinned(&full, right)))
    })
}

fn thinned(full: &[usize], (ones, missing): (Vec<bool>, usize)) -> Vec<usize> {
    let sizes = full.iter().zip(ones).map(|(&size, one)| if one { 1 } else { size });
    sizes.skip(missing).collect()
}

/// The shapes of two operands of a matrix product.
pub fn products() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    let size = || prop_oneof![1 => Just(0usize), 9 => 1..20usize];
    (size(), size(), size()).prop_map(|(rows, inner, columns)| (vec![rows, inner], vec![inner, columns]))
}

/// The definition of a matrix product.
pub fn product(a: &ArrayD<f64>, b: &ArrayD<f64>) -> ArrayD<f64> {
    let (rows, inner, columns) = (a.shape()[0], a.shape()[1], b.shape()[1]);
    ArrayD::from_shape_fn(IxDyn(&[rows, columns]), |at| {
        let at = at.as_array_view();
        (0..inner).map(|k| a[[at[0], k]] * b[[k, at[1]]]).sum()
    })
}
