//! Where the largest number of a row is.

use dagrad_kernels::gather::argmax;
use dagrad_kernels::workers::Workers;

#[test]
fn the_first_of_equal_numbers_and_the_first_nan_win() {
    let workers = Workers::new(2).unwrap();
    let data = [1.0, f64::NAN, 3.0, 2.0, 3.0, f64::NAN, -1.0, f64::NEG_INFINITY];
    let mut indices = [9; 4];
    argmax(&data, [2, 2], &mut indices, &workers);
    assert_eq!(indices, [1, 0, 0, 0]);
    let mut whole = [9; 1];
    argmax(&data, [8, 1], &mut whole, &workers);
    assert_eq!(whole, [1]);
}
