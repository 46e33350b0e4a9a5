//! Broadcast and transposed reading.

use dagrad_kernels::walk::{Walk, row_major};

#[test]
fn a_transposed_and_broadcast_walk_reads_the_right_elements() {
    let data: Vec<usize> = (0..6).collect(); // 2×3
    let transposed = Walk::new(&[3, 2], &[1, 3]);
    let mut out = [9; 6];
    transposed.fetch(&data, 0, &mut out);
    assert_eq!(out, [0, 3, 1, 4, 2, 5]);

    let bias_over_pictures = Walk::new(&[2, 3, 2, 2], &[0, 1, 0, 0]);
    let mut out = [9; 7];
    bias_over_pictures.fetch(&data[..3], 6, &mut out);
    assert_eq!(out, [1, 1, 2, 2, 2, 2, 0]);
}

#[test]
fn merged_axes_tell_identity_and_single_reads() {
    let shape = [4, 1, 5];
    assert!(Walk::new(&shape, &row_major(&shape)).is_identity());
    assert!(Walk::new(&shape, &[0, 0, 0]).is_single());
    assert!(!Walk::new(&shape, &[1, 0, 4]).is_identity());
}

#[test]
fn a_period_ends_where_the_operand_is_read_from_its_start_again() {
    let period = |shape: [usize; 3], strides: [usize; 3]| Walk::new(&shape, &strides).period();
    assert_eq!(period([4, 2, 5], [0, 0, 1]), 5);
    assert_eq!(period([4, 2, 5], [0, 1, 0]), 10);
    assert_eq!(period([4, 2, 5], [1, 0, 0]), 40);
    assert_eq!(period([4, 2, 5], [0, 0, 0]), 1);
}
