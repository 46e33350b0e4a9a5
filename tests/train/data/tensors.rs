//! Samples from arrays in memory.

use super::{index, real};
use crate::common::assert_setting_error;
use dagrad::data::{Field, Samples, Slot, TensorDataset};
use ndarray::{Array1, Array2, Array3, arr0, array, s};

fn counted(name: &str) -> TensorDataset {
    TensorDataset::new()
        .with(name, &Array3::from_shape_fn((3, 2, 2), |(n, y, x)| (4 * n + 2 * y + x) as f32))
        .unwrap()
}

#[test]
fn arrays_of_every_layout_have_the_same_samples() {
    let plain = Array3::from_shape_fn((3, 2, 2), |(n, y, x)| (4 * n + 2 * y + x) as f64);
    let mut fortran = Array3::zeros(ndarray::ShapeBuilder::f((3, 2, 2)));
    fortran.assign(&plain);
    let wide = Array3::from_shape_fn((6, 2, 4), |(n, y, x)| {
        if n % 2 == 0 && x % 2 == 0 { plain[[n / 2, y, x / 2]] } else { -1.0 }
    });
    let last = plain.view().permuted_axes([2, 0, 1]).as_standard_layout().into_owned();
    let backwards = plain.slice(s![..;-1, .., ..]).to_owned();
    let shared = plain.clone().into_shared();
    let all = [
        TensorDataset::new().with("x", &plain),
        TensorDataset::new().with("x", &fortran),
        TensorDataset::new().with("x", &wide.slice(s![..;2, .., ..;2])),
        TensorDataset::new().with("x", &last.view().permuted_axes([1, 2, 0])),
        TensorDataset::new().with("x", &backwards.slice(s![..;-1, .., ..])),
        TensorDataset::new().with("x", &plain.view().into_dyn()),
        TensorDataset::new().with("x", &shared),
    ];
    for (number, found) in all.into_iter().enumerate() {
        assert_eq!(found.unwrap(), counted("x"), "{number}");
    }
    assert_eq!(real(&counted("x"), 1, 0, None), [4.0, 5.0, 6.0, 7.0]);
    assert_eq!(counted("x").fields(), [Field::real("x", [2, 2])]);
}

#[test]
fn every_type_of_elements_is_read() {
    macro_rules! indices {
        ($($integer:ty),*) => {$(
            let samples = TensorDataset::new().with("y", &array![[1 as $integer, 2], [0, <$integer>::try_from(127).unwrap()]]).unwrap();
            assert_eq!(samples.fields(), [Field::index("y", [2])]);
            assert_eq!(index(&samples, 1, 0, None), [0, 127]);
        )*};
    }
    indices!(i8, i16, i32, i64, isize, u16, u32, u64, usize);
    let bytes = TensorDataset::new().with("x", &array![[0u8, 51], [255, 102]]).unwrap();
    assert_eq!(bytes.fields(), [Field::real("x", [2])]);
    assert_eq!(real(&bytes, 1, 0, None), [1.0, 0.4]);
    let classes = TensorDataset::new().with("y", &array![7u8, 255]).unwrap();
    assert_eq!(classes.fields(), [Field::index("y", [])]);
    assert_eq!(index(&classes, 1, 0, None), [255]);
    let masks = bytes.with_indices("x").unwrap();
    assert_eq!((masks.fields(), index(&masks, 1, 0, None)), (vec![Field::index("x", [2])], vec![255, 102]));
    let flags = TensorDataset::new().with("x", &array![true, false]).unwrap();
    assert_eq!((real(&flags, 0, 0, None), real(&flags, 1, 0, None)), (vec![1.0], vec![0.0]));
    let wild = TensorDataset::new().with("x", &array![f64::NAN, f64::INFINITY, -0.0, 1e-300]).unwrap();
    assert!(real(&wild, 0, 0, None)[0].is_nan());
    assert_eq!(real(&wild, 1, 0, None), [f32::INFINITY]);
    assert_eq!(real(&wild, 3, 0, None), [0.0]);
}

#[test]
fn fields_have_one_length_and_shapes_that_fit() {
    let two = counted("x").with("labels", &array![0i64, 1, 1]).unwrap();
    assert_eq!((two.len(), two.is_empty()), (3, false));
    let flat = two.clone().with_shape("x", [4]).unwrap();
    assert_eq!(flat.fields()[0], Field::real("x", [4]));
    assert_eq!(real(&flat, 2, 0, None), real(&two, 2, 0, None));
    let named = two.clone().with_class_names(["a", "b"]).unwrap();
    assert_eq!(named.class_names().unwrap(), ["a", "b"]);
    assert!(two.class_names().is_none());
    assert_eq!(format!("{named:?}"), "TensorDataset { len: 3, x: [2, 2], labels: index [] }");
    let none = TensorDataset::new().with("x", &Array2::<f32>::zeros((0, 3))).unwrap();
    assert!(none.is_empty() && TensorDataset::new().is_empty());

    assert_setting_error(two.clone().with("y", &array![1.0f32]), "y", &["1 samples", "x has 3"]);
    assert_setting_error(two.clone().with("x", &array![1.0f32, 2.0, 3.0]), "x", &["already"]);
    assert_setting_error(two.clone().with("y", &arr0(1.0f32)), "y", &["no axes"]);
    assert_setting_error(two.clone().with_shape("x", [3]), "x", &["[3]", "[2, 2]"]);
    assert_setting_error(two.clone().with_shape("x", [usize::MAX, 4]), "x", &["[2, 2]"]);
    assert_setting_error(two.clone().with_shape("labls", [3]), "field", &["labls", "nearest", "labels"]);
    assert_setting_error(two.clone().with_indices("x"), "x", &["bytes"]);
    assert_setting_error(two.clone().with_class_names(["a"]), "class_names", &["sample 1 has class 1"]);
    assert_setting_error(two.clone().with_class_names(["a", "a"]), "class_names", &["\"a\""]);
    let signed = array![[0i32, 1], [5, -100]];
    assert_setting_error(TensorDataset::new().with("y", &signed), "y", &["sample 1 has -100"]);
    let large = array![0u64, 1, 1 << 32];
    assert_setting_error(TensorDataset::new().with("y", &large), "y", &["sample 2 has 4294967296"]);
    let large = array![[0.0, -1e39], [f64::INFINITY, 0.0]];
    assert_setting_error(TensorDataset::new().with("x", &large), "x", &["sample 0 has -1e39"]);
    assert_setting_error(two.write(3, 0, None, Slot::Real(&mut [0.0; 4])), "sample", &["3", "there are 3"]);
    assert_setting_error(two.write(0, 0, None, Slot::Index(&mut [0; 4])), "x", &["another type"]);
    assert!(TensorDataset::new().with("x", &Array1::<u8>::zeros(0)).is_ok());
}
