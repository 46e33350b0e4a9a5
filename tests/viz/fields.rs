//! Receptive fields against the truth: which pixels a gradient reaches.

use std::collections::BTreeSet;
use std::ops::Range;

use dagrad::inspect::{NoField, ReceptiveField, receptive_field};
use dagrad::ops::example::Values;
use dagrad::{Conv2dOptions, Dtype, Graph, Pool2dOptions, Var, gradients};
use ndarray::{ArrayD, Axis, IxDyn};
use proptest::prelude::*;

/// The least rectangle that holds the pixels of `image` on which a number depends.
fn truth(number: Var<'_>, image: Var<'_>) -> Option<[Range<isize>; 2]> {
    let gradient = gradients(number, &[image]).unwrap()[0].eval::<f64>(&[]).unwrap();
    let rank = gradient.ndim();
    let hull = |axis: usize| {
        let mut seen =
            gradient.axis_iter(Axis(axis)).enumerate().filter(|(_, part)| part.iter().any(|x| *x != 0.0));
        let first = seen.next()?.0 as isize;
        Some(first..seen.last().map_or(first, |(last, _)| last as isize) + 1)
    };
    Some([hull(rank - 2)?, hull(rank - 1)?])
}

/// A field's part of the image; none if nothing of it is left.
fn in_image([rows, columns]: [Range<isize>; 2], image: Var<'_>) -> Option<[Range<isize>; 2]> {
    let shape = image.shape();
    let sizes = [shape[shape.len() - 2] as isize, shape[shape.len() - 1] as isize];
    let cut = |range: Range<isize>, size: isize| range.start.max(0)..range.end.min(size);
    let cut = [cut(rows, sizes[0]), cut(columns, sizes[1])];
    cut.iter().all(|range| !range.is_empty()).then_some(cut)
}

/// Compares the fields of all pixels, or of some of many, with the truth: equal if `exact`, or else around it.
fn compare(value: Var<'_>, image: Var<'_>, field: &ReceptiveField, exact: bool) -> Result<(), TestCaseError> {
    let [first, second] = match field.axes {
        [Some(rows), Some(columns)] => [Some(rows.min(columns)), Some(rows.max(columns))],
        axes => axes,
    };
    let shape = value.shape();
    let some = |axis: Option<usize>| {
        let size = axis.map_or(1, |axis| shape[axis]);
        let picked = if size > 7 {
            vec![0, 1, 2, size / 2, size - 3, size - 2, size - 1]
        } else {
            (0..size).collect()
        };
        picked.into_iter().map(move |position| (axis, position))
    };
    for row in some(first) {
        for column in some(second) {
            let mut pixel = value;
            for (axis, at) in [row, column] {
                if let Some(axis) = axis {
                    pixel = pixel.slice(axis as isize, at as isize..at as isize + 1);
                }
            }
            let found = field.of_pixel([row.1, column.1]).expect("a pixel of the value");
            let expected = truth(pixel.sum_all(), image);
            let cut = in_image(found.clone(), image);
            // What sees all of the image counts as a number for the whole plane.
            let whole = in_image([0..isize::MAX, 0..isize::MAX], image);
            let holds = match (&cut, &expected) {
                (_, expected) if *expected == whole => true,
                (cut, expected) if exact => cut == expected,
                (_, None) => true,
                (None, Some(_)) => false,
                (Some(cut), Some(seen)) => {
                    cut.iter().zip(seen).all(|(cut, seen)| cut.start <= seen.start && seen.end <= cut.end)
                }
            };
            prop_assert!(
                holds,
                "{:?} of {value:?}: {found:?} for {expected:?}, exact: {exact}, {field:?}",
                [row.1, column.1]
            );
        }
    }
    Ok(())
}

/// Images in which no number is 0 and any two differ.
fn pixels(shape: &[usize]) -> ArrayD<f64> {
    let count = shape.iter().product::<usize>();
    let numbers = (0..count).map(|i| 0.5 + ((i * 37 + 11) % (count.max(1) + 41)) as f64 / 50.0).collect();
    ArrayD::from_shape_vec(IxDyn(shape), numbers).unwrap()
}

/// A network in the making: whether all weights along each path are positive, and whether some pixels see nothing.
struct Made<'g> {
    value: Var<'g>,
    exact: bool,
    gaps: bool,
}

impl<'g> Made<'g> {
    /// One more operation, if it fits; `draw` gives numbers below a bound.
    fn then(self, draw: &mut dyn FnMut(usize) -> usize) -> Self {
        let Self { value: x, mut exact, mut gaps } = self;
        let graph = x.graph();
        let [n, c, h, w] = x.sizes();
        // A reshape may lose an axis of one pixel; that padding beside it sees nothing is lost with it.
        exact &= h > 1 && w > 1;
        let ones = |shape: [usize; 4]| graph.fill(shape, 1.0);
        let mut pair = |least: usize, most: usize| [0, 1].map(|_| least + draw(most - least + 1));
        let (kernel, stride, dilation, side) = (pair(1, 3), pair(1, 2), pair(1, 2), pair(0, 1));
        let options = Conv2dOptions::new().stride(stride).dilation(dilation);
        let extent = [0, 1].map(|axis| dilation[axis] * (kernel[axis] - 1) + 1);
        let padding = [0, 1].map(|axis| side[axis].min(extent[axis] - 1));
        let fits = (0..2).all(|axis| extent[axis] <= [h, w][axis] + 2 * padding[axis]);
        let pool = Pool2dOptions::new([2, 2]).stride(stride).padding(side);
        let channels = 1 + draw(2);
        let y = match draw(25) {
            0..=3 if fits => {
                gaps |= dilation != [1, 1] && padding != [0, 0];
                x.conv2d(ones([channels, c, kernel[0], kernel[1]]), options.padding(padding))
            }
            4 | 5 => {
                gaps = true;
                x.conv_transpose2d(ones([c, channels, kernel[0], kernel[1]]), options, [0, 0])
            }
            6 if h > 1 && w > 1 => x.avg_pool2d(pool),
            7 if h > 1 && w > 1 => {
                exact = false;
                x.max_pool2d(pool)
            }
            8 if h > 2 && w > 2 => x.slice(2, 1..).slice(3, ..w as isize - 1),
            9 => {
                gaps = true;
                x.pad(&[[0, 0], [0, 0], side, [1, 2]], 0.0)
            }
            10 if h > 1 && w > 1 => x.pad_reflect(&[[0, 0], [0, 0], side, [1, 1]]),
            11 => x.pad_replicate(&[[0, 0], [0, 0], [2, 1], side]),
            12 => x.upsample_nearest([h + side[0], (w * 2).saturating_sub(side[1])]),
            13 => {
                exact = false;
                x.upsample_bilinear([h + 1, w * 2], side[0] == 0)
            }
            14 => x.flip(&[2 + side[0] as isize]),
            15 => x.roll(2, 1).tile(&[1, 1, 1, 2]),
            16 => x.permute(&[0, 1, 3, 2]),
            17 => x.permute(&[0, 2, 3, 1]).repeat_interleave(1, 2).permute(&[0, 3, 1, 2]),
            18 if h % 2 == 0 && w % 2 == 0 && h.min(w) > 2 => {
                x.pixel_unshuffle(2).conv2d(ones([4, 4 * c, 1, 1]), Conv2dOptions::new())
            }
            19 => x.conv2d(ones([4, c, 1, 1]), Conv2dOptions::new()).pixel_shuffle(2),
            20 => {
                exact &= !gaps;
                let wide = x.conv2d(ones([c, c, 3, 5]), Conv2dOptions::new().padding([1, 2]));
                if side[0] == 0 { graph.concat(&[x, wide], 1) } else { x + wide }
            }
            21 => {
                exact = false;
                let wide = x.conv2d(ones([c, c, 3, 3]), Conv2dOptions::new().padding(1));
                graph.concat(&[x, wide], 2 + side[0] as isize)
            }
            22 => x * x.sum_keep(&[1]).broadcast_to(x.shape()),
            23 => {
                let rows =
                    x.permute(&[0, 2, 3, 1]).reshape([n * h * w, c]).matmul(graph.fill([c, channels], 1.0));
                rows.reshape([n, h, w, channels]).permute(&[0, 3, 1, 2])
            }
            24 => x.adaptive_avg_pool2d([h.div_ceil(2) + 1, w.div_ceil(3) + 1]),
            _ => x.slice_step(2, .., 2).slice_step(3, .., -1),
        };
        Self { value: y, exact, gaps }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn fields_are_what_gradients_reach(
        size in [7_usize..15, 7_usize..15],
        draws in proptest::collection::vec(0_usize..3600, 60..61),
    ) {
        let mut draws = draws.into_iter();
        let graph = Graph::new();
        let image = graph.constant(pixels(&[1, 2, size[0], size[1]]));
        let mut made = Made { value: image, exact: true, gaps: false };
        for _ in 0..4 {
            // One pixel for a whole plane is a statistic of it.
            if made.value.shape()[2..] == [1, 1] {
                break;
            }
            made = made.then(&mut |bound| draws.next().map_or(0, |draw| draw % bound));
            let [_, _, height, width] = made.value.sizes();
            if height.max(width) > 24 {
                break;
            }
        }
        prop_assert!(graph.check().is_ok(), "{:?}", graph.check());
        let field = receptive_field(made.value, image);
        // Of a plane of one pixel no more than a number is left, whatever follows.
        prop_assume!(!matches!(field, Err(NoField::WholePlane(_))));
        let field = field.map_err(|reason| TestCaseError::fail(format!("{:?}: {reason}\n{graph}", made.value)))?;
        compare(made.value, image, &field, made.exact)
            .map_err(|error| TestCaseError::fail(format!("{error}\n{graph}")))?;
    }
}

/// Every operation of the list, and those of its gradient: its field holds what the gradient reaches, or there is a reason.
#[test]
fn every_operation_has_a_field_or_a_reason() {
    let (mut any, mut fields) = (BTreeSet::new(), BTreeSet::new());
    for (family, examples) in dagrad::ops::families() {
        for example in examples {
            let graph = Graph::new();
            let operand = |(number, sample): (usize, &dagrad::ops::example::Sample)| match sample.values {
                Values::Below(classes) => {
                    let index = |at: usize| (at as u32 * 7 + 3) % classes;
                    let indices = (0..sample.shape.count()).map(index).collect();
                    graph.indices(ArrayD::from_shape_vec(IxDyn(&sample.shape), indices).unwrap())
                }
                _ => graph.constant(pixels(&sample.shape) + number as f64 / 7.0),
            };
            let operands: Vec<Var<'_>> = example.operands.iter().enumerate().map(operand).collect();
            let value = (example.build)(&graph, &operands);
            let images = operands.iter().filter(|operand| operand.ty().dtype == Dtype::Real);
            let mut pairs: Vec<(Var<'_>, Var<'_>)> = images.map(|&image| (value, image)).collect();
            let upstream = graph.constant(pixels(&value.shape()));
            for (_, image) in pairs.clone() {
                pairs.extend(
                    gradients((value * upstream).sum_all(), &[image]).ok().map(|all| (all[0], upstream)),
                );
            }
            for (value, image) in pairs {
                if image.shape().len() < 2 || image.shape().count() == 0 || value.shape().count() == 0 {
                    continue;
                }
                let seen: Vec<_> =
                    graph.values().into_iter().map(|at| (at, receptive_field(at, image))).collect();
                for (at, found) in &seen {
                    let name = at.op().map_or("none", |op| op.name());
                    let is_lost = |of: &Var<'_>| {
                        seen.iter().any(|(at, found)| {
                            at.id() == of.id() && matches!(found, Err(NoField::AnyPixel(_)))
                        })
                    };
                    match found {
                        Ok(_) => _ = fields.insert(name),
                        Err(NoField::AnyPixel(_)) if at.operands().iter().any(is_lost) => {}
                        Err(NoField::AnyPixel(_)) => _ = any.insert(name.to_string()),
                        Err(NoField::TooMany(site)) => panic!("{family}, {example:?}: {site}"),
                        Err(_) => {}
                    }
                }
                // What reaches a pixel as a number for a whole plane is left out on purpose.
                let is_plane = |found: &Result<_, NoField>| matches!(found, Err(NoField::WholePlane(_)));
                if let (Ok(field), false) =
                    (receptive_field(value, image), seen.iter().any(|(_, found)| is_plane(found)))
                {
                    compare(value, image, &field, false)
                        .unwrap_or_else(|error| panic!("{family}, {example:?}: {error}"));
                }
            }
        }
    }
    // Weights are read by every pixel, and so are rows of a dense layer; patches and positions are put in another order.
    let expected = [
        "avg_pool2d_adjoint",
        "batch_matmul",
        "col2im",
        "conv2d",
        "conv2d_input_grad",
        "conv2d_weight_grad",
        "im2col",
        "index_add",
        "matmul",
        "max_pool2d_put",
        "reshape",
    ];
    assert_eq!(any.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    for name in
        ["concat", "slice", "pad", "permute", "reshape", "broadcast_to", "conv2d_input_grad", "index_select"]
    {
        assert!(fields.contains(name), "{name}");
    }
}

#[test]
fn a_misused_value_says_so_instead_of_having_a_field() {
    let graph = Graph::new();
    let image = graph.input("image", [1, 1, 8, 8]);
    let line = line!() + 1;
    let misused = image.reshape([7]).relu();
    let reason = receptive_field(misused, image).unwrap_err();
    assert!(matches!(reason, NoField::Misuse(_)));
    let start = format!("reshape at {}:{line}: 64 elements do not fill the shape [7]", file!());
    assert!(reason.to_string().starts_with(&start), "{reason}");
    assert_eq!(reason.to_string(), graph.check().unwrap_err().to_string());
    // What is sound on that graph has its field all the same.
    assert_eq!(receptive_field(image.max_pool2d(2), image).unwrap().size, [2, 2]);
    assert!(matches!(receptive_field(image, misused), Err(NoField::Misuse(_))));
}

#[test]
fn a_reason_names_the_method_that_was_called() {
    let graph = Graph::new();
    let image = graph.input("image", [1, 1, 8, 8]);
    for (name, value) in [
        ("flatten", image.flatten()),
        ("global_max_pool2d", image.global_max_pool2d()),
        ("matmul", image.flatten().matmul(graph.input("w", [64, 64]))),
    ] {
        let reason = receptive_field(value.relu(), image).unwrap_err().to_string();
        assert!(reason.starts_with(&format!("through {name} at {}", file!())), "{reason}");
    }
}
