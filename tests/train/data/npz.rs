//! Samples from NumPy's archives, as NumPy wrote them.

use super::{Folder, index, real};
use crate::common::{assert_mentions, assert_setting_error, root};
use dagrad::data::{Field, Samples, npz};

#[test]
fn every_type_that_numpy_writes_is_read() {
    let folder = root().join("tests/golden/weights");
    for file in ["types.npz", "types-compressed.npz"] {
        let path = folder.join(file);
        for order in ["<", ">"] {
            for layout in ["", "_fortran"] {
                for number in ["f8", "f4", "f2", "b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8"] {
                    let name = format!("{order}{number}{layout}");
                    let samples = npz::read(&path, &[("x", &name)]).unwrap_or_else(|error| panic!("{error}"));
                    assert_eq!(samples.len(), 2, "{name}");
                    match number {
                        "f8" | "f4" | "f2" => {
                            assert_eq!(real(&samples, 1, 0, None), [5.0, 6.0, 127.0], "{name}")
                        }
                        "b1" => assert_eq!(real(&samples, 0, 0, None), [0.0, 1.0, 1.0], "{name}"),
                        "u1" => assert_eq!(real(&samples, 1, 0, None)[2], 127.0 / 255.0, "{name}"),
                        _ => assert_eq!(index(&samples, 1, 0, None), [5, 6, 127], "{name}"),
                    }
                }
            }
        }
        let both = npz::read(&path, &[("images", "<u1"), ("labels", ">i8")]).unwrap();
        assert_eq!(both.fields(), [Field::real("images", [3]), Field::index("labels", [3])]);
        let both = both.with_indices("images").unwrap();
        assert_eq!(index(&both, 0, 0, None), [0, 1, 100]);
    }
}

#[test]
fn what_is_not_there_or_does_not_fit_is_named() {
    let path = root().join("tests/golden/weights/types.npz");
    let message = |fields: &[(&str, &str)]| npz::read(&path, fields).unwrap_err().to_string();
    assert_mentions(&message(&[("x", "<f44")]), &["types.npz", "<f44", "nearest"]);
    assert_setting_error(
        npz::read(&path, &[("x", "<f4"), ("y", "cube"), ("z", "größe")]),
        "z",
        &["1 samples", "2"],
    );
    assert_setting_error(npz::read(&path, &[("x", "scalar")]), "x", &["no axes"]);
    assert_mentions(&npz::read("absent.npz", &[]).unwrap_err().to_string(), &["absent.npz"]);

    let folder = Folder::new();
    let bytes = std::fs::read(root().join("tests/golden/weights/small-compressed.npz")).unwrap();
    for length in 0..bytes.len() {
        let path = folder.write("cut.npz", &bytes[..length]);
        let error = npz::read(&path, &[("x", "a")]).unwrap_err().to_string();
        assert_mentions(&error, &["cut.npz"]);
    }
}
