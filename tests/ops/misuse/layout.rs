//! What moves numbers about.

use dagrad::{CrossEntropy, Init};

use super::{HUGE, digits, digits_again, image, misuses, rows};

#[test]
fn axes_and_shapes_refuse_what_does_not_fit() {
    misuses! { g,
        "a sum over an axis too many": rows(g).sum(&[2])
            => "sum at", "axis 2 does not exist in an array of 2 axes", "count from 0";
        "an axis before the first": rows(g).sum(&[-3]) => "axis -3 does not exist";
        "the smallest axis": rows(g).sum_keep(&[isize::MIN]) => "does not exist";
        "the largest axis": rows(g).mean(&[isize::MAX]) => "does not exist";
        "an axis twice": rows(g).sum(&[1, -1]) => "sum at", "axis -1 is named twice";
        "a mean over an axis twice": rows(g).mean(&[0, 0]) => "axis 0 is named twice";
        "classes summed": digits(g).sum_all() => "not indices";
        "a mean of nothing": g.input("x", [0, 3]).mean(&[0]) => "mean at", "[0] of [0, 3] has no elements";
        "a mean of no elements": g.input("x", [0, 3]).mean_all() => "has no elements";
        "another number of elements": rows(g).reshape([4])
            => "reshape at", "6 elements do not fill the shape [4]", "hint: ";
        "a shape that wraps around": g.input("x", [4]).reshape([HUGE / 4 + 2, 4])
            => "reshape at", "4 elements do not fill", "more than any memory";
        "a shape beyond memory": rows(g).reshape([HUGE, HUGE]) => "more than any memory holds";
        "nothing as a huge shape": g.input("x", [0]).reshape([HUGE, 0, HUGE])
            => "reshape at", "more than any memory";
        "a vector transposed": g.input("x", [3]).transpose()
            => "transpose at", "an array of 1 axes has no two to swap";
        "a number transposed": g.input("x", []).transpose() => "an array of 0 axes";
        "axes left out": rows(g).permute(&[1]) => "permute at", "1 axes are named, but the array has 2";
        "an axis twice in an order": rows(g).permute(&[0, 0]) => "axis 0 is named twice";
        "an order of other axes": rows(g).permute(&[0, 2]) => "axis 2 does not exist";
        "classes in another order": digits(g).permute(&[0]) => "permute at", "not indices";
        "softmax over no axis": rows(g).softmax(2) => "softmax at", "axis 2 does not exist", "logits [2, 3]";
        "softmax of a number": g.input("x", []).log_softmax(-1)
            => "axis -1 does not exist in an array of 0 axes";
        "softmax of classes": digits(g).softmax(0) => "not indices";
        "an input beyond memory": g.input("x", [HUGE]).relu() => "\"x\" is beyond any memory";
        "an input whose size wraps": g.input("x", [1 << 32, 1 << 32]) => "beyond any memory";
        "labels beyond memory": g.labels("l", [HUGE, 0, HUGE]) => "\"l\" is beyond any memory";
        "a parameter beyond memory": g.param("w", [1 << 60], Init::ZEROS) => "\"w\" is beyond any memory";
        "numbers beyond memory": g.fill([HUGE, 2], 0.0) => "fill at", "beyond any memory";
    }
}

#[test]
fn indices_refuse_what_does_not_fit() {
    use ndarray::array;
    misuses! { g,
        "constant indices beyond an axis": rows(g).index_select(1, g.indices(array![0, 3]))
            => "index_select at", "the indices of indices may reach 3, but there are 3 elements", "hint: ";
        "the largest index": rows(g).index_select(0, g.indices(array![u32::MAX])) => "may reach 4294967295";
        "indices beyond an axis under another shape": rows(g).gather(1, g.indices(array![0, 3]).reshape([2, 1]))
            => "gather at", "may reach 3";
        "indices into nothing": g.input("x", [2, 0]).index_select(1, g.indices(array![0])) => "there are 0 elements";
        "a constant class beyond all": rows(g).softmax_cross_entropy(g.indices(array![0, 7]))
            => "may reach 7, but there are 3";
        "a constant class beyond those not ignored":
            rows(g).cross_entropy(g.indices(array![255, 3]), CrossEntropy::new().ignore(255)) => "may reach 3";
        "an ignored label without any class":
            g.input("x", [2, 0]).cross_entropy(digits(g), CrossEntropy::new().ignore(255)) => "there are 0 elements";
        "the index of a maximum in a smaller array": rows(g).gather(1, g.input("y", [2, 4]).argmax(1).reshape([2, 1]))
            => "gather at", "the indices of argmax may reach 3";
        "the index of a minimum in a smaller array":
            g.input("x", [1, 2]).index_select(0, rows(g).argmin(0)) => "the indices of argmax may reach 1";
        "a one-hot row too short": g.indices(array![4]).one_hot(4) => "may reach 4";
        "one-hot rows of real numbers": rows(g).one_hot(4) => "the indices are real numbers";
        "one-hot rows beyond memory": digits(g).one_hot(HUGE) => "beyond any memory";
        "values without an index each": rows(g).scatter_add(1, g.labels("l", [2, 2]), 3)
            => "does not have an index for each value";
        "indices scattered": digits(g).scatter_add(0, digits_again(g), 3) => "scatter_add at", "not indices";
        "scattered along no axis": rows(g).scatter_add(2, digits(g), 3) => "scatter_add at", "axis 2 does not exist";
        "scattered beyond memory": rows(g).scatter_add(0, g.labels("l", [2, 3]), HUGE) => "beyond any memory";
        "indices of another rank": rows(g).gather(1, digits(g)) => "indices [2] and array [2, 3]";
        "a table of indices": rows(g).index_select(0, g.labels("l", [2, 1])) => "are not a list";
        "real numbers as indices": rows(g).index_select(0, g.input("l", [2])) => "`graph.labels` or `graph.indices`";
        "the largest of nothing": g.input("x", [0]).max_all() => "no largest of 0 numbers";
        "the smallest index of nothing": g.input("x", [2, 0]).argmin(1) => "no largest of 0 numbers";
        "a global pool of a matrix": rows(g).global_max_pool2d() => "global_max_pool2d at", "[2, 3] is not [batch";
        "a global pool of no pixels": g.input("x", [1, 2, 0, 3]).global_max_pool2d() => "no largest of 0";
        "a mirror of too few": rows(g).pad_reflect(&[[0, 0], [3, 0]])
            => "pad_reflect at", "a padding of 3 mirrors more than the 2 elements of axis 1";
        "a mirror of everything": rows(g).pad_reflect(&[[0, HUGE], [0, 0]]) => "mirrors more than the 1";
        "borders of other axes": rows(g).pad_replicate(&[[1, 1]]) => "pad_replicate at", "1 pairs", "2 axes";
        "borders of nothing": g.input("x", [0, 2]).pad_replicate(&[[1, 0], [0, 0]]) => "axis 0 has no elements";
        "borders beyond memory": rows(g).pad_replicate(&[[0, 0], [HUGE, HUGE]]) => "beyond any memory";
        "borders of indices": digits(g).pad_reflect(&[[1, 0]]) => "not indices";
    }
}

#[test]
fn parts_and_wholes_refuse_what_does_not_fit() {
    misuses! { g,
        "a part of no axis": rows(g).slice(2, 0..1) => "axis 2 does not exist";
        "a step of 0": rows(g).slice_step(0, .., 0) => "a step of 0", "hint: ";
        "a part of classes": digits(g).slice(0, 1..) => "not indices";
        "no axis turned round": rows(g).flip(&[0, 5]) => "axis 5 does not exist";
        "an axis turned round twice": rows(g).flip(&[0, -2]) => "axis -2 is named twice";
        "parts that are too few": rows(g).split(1, &[1, 1])
            => "split at", "parts of [1, 1] do not make up the 3 elements of axis 1", "add up";
        "parts that wrap around": rows(g).split(1, &[HUGE, 4]) => "split at", "do not make up";
        "parts of no axis": rows(g).split(-3, &[1]) => "split at", "axis -3 does not exist";
        "borders of other axes": rows(g).pad(&[[1, 1]], 0.0) => "pad at", "1 pairs", "2 axes";
        "borders beyond memory": rows(g).pad(&[[0, HUGE], [1, 0]], 0.0) => "pad at", "beyond";
        "borders on both sides beyond addresses": rows(g).pad(&[[HUGE, HUGE], [0, 0]], 0.0) => "pad at", "beyond";
        "nothing joined": g.concat(&[], 0) => "concat at", "there is nothing to join";
        "arrays joined along no axis": g.concat(&[rows(g)], 2) => "concat at", "axis 2 does not exist";
        "arrays of other sizes joined": g.concat(&[rows(g), g.input("x", [2, 4])], 0)
            => "concat at", "operand 1 [2, 4]", "agree";
        "numbers joined": g.concat(&[g.input("x", [])], 0) => "axis 0 does not exist in an array of 0 axes";
        "classes joined": g.concat(&[digits(g), digits_again(g)], 0) => "concat at", "not indices";
        "nothing stacked": g.stack(&[], 0) => "there is nothing to join";
        "a stack along no axis": g.stack(&[rows(g)], 3) => "stack at", "axis 3 does not exist";
        "a stack of two shapes": g.stack(&[rows(g), g.input("x", [3, 2])], 0) => "stack at", "[2, 3] and [3, 2] differ";
        "axes joined in the wrong order": image(g).flatten_axes(2, 1) => "flatten_axes at", "does not come after";
        "axes joined that are none": image(g).flatten_axes(1, 4) => "axis 4 does not exist";
        "an axis taken away with its numbers": rows(g).squeeze(&[1]) => "squeeze at", "size 3, not 1", "hint: ";
        "no axis taken away": rows(g).squeeze(&[2]) => "squeeze at", "axis 2 does not exist";
        "an axis added too far": rows(g).unsqueeze(3) => "unsqueeze at", "axis 3 does not exist";
        "two sizes left open": rows(g).reshape_inferred(&[-1, -1]) => "reshape_inferred at", "2 sizes are left open";
        "a size below -1": rows(g).reshape_inferred(&[-2, 3]) => "-2 is no size", "-1 stands for";
        "a size that does not follow": rows(g).reshape_inferred(&[4, -1]) => "6 elements do not make whole [4]";
        "a size of nothing": g.input("x", [0]).reshape_inferred(&[0, -1]) => "0 elements do not make whole [0]";
        "sizes that wrap around": rows(g).reshape_inferred(&[isize::MAX, isize::MAX, -1]) => "do not make whole";
        "tiles beyond memory": rows(g).tile(&[HUGE / 8, 1]) => "beyond any memory";
        "tiles beyond addresses": rows(g).tile(&[HUGE, HUGE]) => "beyond any memory", "x [2, 3]";
        "classes tiled": digits(g).tile(&[2]) => "not indices";
        "each of no axis": rows(g).repeat_interleave(2, 3) => "repeat_interleave at", "axis 2 does not exist";
        "each beyond memory": rows(g).repeat_interleave(0, HUGE) => "beyond any memory";
        "a roll of no axis": rows(g).roll(-3, 1) => "roll at", "axis -3 does not exist";
        "a roll of classes": digits(g).roll(0, 1) => "not indices";
    }
}

#[test]
fn einstein_sums_explain_their_equations() {
    misuses! { g,
        "another number of arrays": g.einsum("ij,jk->ik", &[rows(g)])
            => "einsum at", "`ij,jk->ik` is of 2 arrays, but 1 are given", "commas";
        "no array": g.einsum("", &[]) => "einsum at", "is of 1 arrays, but 0 are given";
        "too few letters": g.einsum("i->i", &[rows(g)]) => "`i` of `i->i` names 1 axes of [2, 3]", "`...`";
        "too many letters": g.einsum("...ijk", &[rows(g)]) => "`...ijk` of `...ijk` names 3 axes of [2, 3]";
        "signs that are no letters": g.einsum("i1->i", &[rows(g)]) => "`1` in `i1` does not name an axis", "hint: ";
        "an arrow too many": g.einsum("ij->i->j", &[rows(g)]) => "`-` in `i->j` does not name an axis";
        "half an ellipsis": g.einsum("..i", &[rows(g)]) => "`.` in `..i` does not name an axis";
        "two ellipses": g.einsum("...i...", &[rows(g)]) => "`.` in";
        "a result of something else": g.einsum("ij->ik", &[rows(g)])
            => "axis `k` of the result of `ij->ik` is in no operand";
        "a result with unnamed axes of nothing": g.einsum("ij->i...k", &[rows(g)]) => "axis `k`";
        "a result with an axis twice": g.einsum("ij->ii", &[rows(g)]) => "axis `i` is twice in the result";
        "sizes that differ": g.einsum("ij,jk", &[rows(g), g.input("b", [4, 5])])
            => "axis `j` has sizes 3 and 4", "operand 0 [2, 3]", "operand 1 [4, 5]";
        "a diagonal of sizes that differ": g.einsum("ii", &[rows(g)]) => "axis `i` has sizes 2 and 3";
        "unnamed sizes that differ": g.einsum("i...,j...", &[rows(g), g.input("b", [2, 4])])
            => "an axis of `...` has sizes 3 and 4";
        "classes": g.einsum("i,i", &[digits(g), digits_again(g)]) => "`i` of `i,i` is an array of indices", "one_hot";
        "a product beyond memory": g.einsum("i,j->ij", &[g.input("a", [1 << 40]), g.input("b", [1 << 40])])
            => "beyond any memory";
        "and more after it": g.einsum("i,j,jk->ijk", &[g.input("a", [1 << 40]), g.input("b", [1 << 40]), g.input("c", [1 << 40, 2])])
            => "beyond any memory";
    }
}
