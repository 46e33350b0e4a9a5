//! Every number type and layout of the files of others.

use std::collections::BTreeMap;

use dagrad::weights::{NumberType, Weights};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::{Folder, golden, read};
use crate::common::{assert_mentions, message};

/// Fails unless every array equals that beside it in double precision, bit for bit.
fn assert_exact(weights: &Weights, what: &str, count: usize) {
    let mut compared = 0;
    for name in weights.names().filter(|name| !name.ends_with(".f64")) {
        let found = weights.get::<f64>(name).unwrap_or_else(|error| panic!("{what}: {error}"));
        let expected = weights.get::<f64>(&format!("{name}.f64")).unwrap();
        assert_eq!(found.shape(), expected.shape(), "{what}: {name}");
        let same = |(a, b): (&f64, &f64)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        assert!(found.iter().zip(&expected).all(same), "{what}: {name} is {found}, not {expected}");
        compared += 1;
    }
    assert_eq!(compared, count, "{what}");
}

#[test]
fn every_number_type_of_pytorch_and_numpy_is_read_exactly() {
    assert_exact(&read("types.safetensors"), "safetensors", 17);
    assert_exact(&read("types.npz"), "npz", 53);
    assert_exact(&read("types-compressed.npz"), "compressed npz", 53);
    if cfg!(feature = "pytorch") {
        assert_exact(&read("types.pt"), "pt", 18);
    }
    // Not all of it by comparison with itself.
    let weights = read("types.npz");
    let cube = weights.get::<f64>("cube").unwrap();
    assert_eq!((cube.shape(), cube[[1, 2, 3]], cube[[0, 1, 0]]), (&[2, 3, 4][..], 23.0, 4.0));
    assert_eq!(weights.get::<f32>(">i8_fortran").unwrap()[[0, 2]], 100.0);
    assert_eq!(read("types.safetensors").get::<f64>("float16").unwrap()[[1, 1]], 65504.0);
}

#[test]
fn all_numbers_of_half_precision_are_exact() {
    let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    let views = [Dtype::F16, Dtype::BF16]
        .map(|dtype| (format!("{dtype:?}"), TensorView::new(dtype, vec![1 << 16], &bytes).unwrap()));
    let weights = Weights::from_bytes(safetensors::serialize(views, None).unwrap()).unwrap();
    for (name, fraction_bits, bias) in [("F16", 10, 15), ("BF16", 7, 127)] {
        let found = weights.get::<f64>(name).unwrap();
        for (bits, &found) in (0..=u16::MAX).zip(&found) {
            let fraction = f64::from(bits & ((1 << fraction_bits) - 1)) / f64::from(1 << fraction_bits);
            let exponent = i32::from((bits & 0x7fff) >> fraction_bits);
            let magnitude = match exponent {
                0 => fraction * 2f64.powi(1 - bias),
                _ if exponent == 2 * bias + 1 => {
                    if fraction == 0.0 {
                        f64::INFINITY
                    } else {
                        f64::NAN
                    }
                }
                _ => (1.0 + fraction) * 2f64.powi(exponent - bias),
            };
            let expected = if bits >> 15 == 1 { -magnitude } else { magnitude };
            let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
            assert!(same, "{name} {bits:#x}: {found} instead of {expected}");
        }
    }
}

#[test]
fn both_formats_are_read_by_others_and_hold_the_same() {
    let (folder, weights) = (Folder::new("formats"), read("types.safetensors"));
    for name in ["own.safetensors", "own.npz"] {
        weights.save(folder.file(name)).unwrap();
        let own = Weights::read(folder.file(name)).unwrap();
        assert_exact(&own, name, 17);
        assert_eq!(own.names().collect::<Vec<_>>(), weights.names().collect::<Vec<_>>());
    }
    let bytes = std::fs::read(folder.file("own.safetensors")).unwrap();
    let (start, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(start % 8, 0);
    assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt"); // without it, others warn or refuse
    let theirs = std::fs::read(golden("types.safetensors")).unwrap();
    let (own, theirs) =
        (SafeTensors::deserialize(&bytes).unwrap(), SafeTensors::deserialize(&theirs).unwrap());
    let sorted = |file: SafeTensors<'_>| {
        let tensor = |(name, view): (String, TensorView<'_>)| (name, format!("{view:?}"));
        file.tensors().into_iter().map(tensor).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(sorted(own), sorted(theirs));
}

#[test]
fn names_of_any_letters_come_back() {
    let names = ["\"quoted\\\"", "größe.重み", "line\nbreak\u{1}\u{7f}", "", "a/b", "../up", "😀"];
    let view = |name: &str| (name.to_owned(), TensorView::new(Dtype::U8, vec![1], &[7]).unwrap());
    let theirs = Weights::from_bytes(safetensors::serialize(names.map(view), None).unwrap()).unwrap();
    let folder = Folder::new("names");
    for file in ["names.safetensors", "names.npz"] {
        theirs.save(folder.file(file)).unwrap();
        let own = Weights::read(folder.file(file)).unwrap();
        assert!(names.iter().all(|name| own.get::<f32>(name).unwrap()[[0]] == 7.0), "{file}");
        assert_eq!(own.names().count(), names.len());
    }
    let bytes = std::fs::read(folder.file("names.safetensors")).unwrap();
    let read = SafeTensors::deserialize(&bytes).unwrap();
    assert!(names.iter().all(|name| read.tensor(name).is_ok()));
    // Escapes that serde_json does not write.
    let header = r#"{"\u0041\ud83d\ude00\/" : {"shape" :[ 1 , 1],"data_offsets":[0,1],"dtype":"U8"} } "#;
    let file = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[7]].concat();
    assert_eq!(Weights::from_bytes(file).unwrap().get::<f32>("A😀/").unwrap()[[0, 0]], 7.0);
}

#[test]
fn an_array_under_two_names_is_found_under_either() {
    let weights = read("tied.safetensors");
    assert_eq!(weights.names().count(), 3);
    let network = dagrad::nn::network(|images| {
        dagrad::nn::linear(dagrad::nn::linear(images.flatten(), "0", 3), "1", 3)
    });
    let mut model = dagrad::nn::Model::new(network, [1, 1, 3], 0).unwrap();
    weights.load(model.store_mut()).unwrap();
    assert_eq!(model.store().get("0.weight"), model.store().get("1.weight"));
}

#[test]
fn a_file_says_what_it_is_if_it_is_something_else() {
    let cases: [(&[u8], &str); 13] = [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n rest", "PNG"),
        (b"\xff\xd8\xff\xe0 rest", "JPEG"),
        (b"\x89HDF\r\n\x1a\n rest", "Keras"),
        (b"GGUF rest of it", "GGUF"),
        (b"\x1f\x8b\x08 rest", "gzip"),
        (b"\x93NUMPY\x01\x00 rest", ".npy"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "download"),
        (b"\x08\x08\x12\x07pytorch", "ONNX"),
        (b"epoch,loss\n1,0.5\n", "is text"),
        (b"\x00\x01\x02\x03\x04\x05", "not known"),
        (b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "without arrays"),
    ];
    for (bytes, what) in cases {
        assert_mentions(&message(Weights::from_bytes(bytes.to_vec())), &[what, "safetensors"]);
    }
    let folder = Folder::new("looks");
    assert_mentions(&message(Weights::read(&folder.0)), &["is a folder"]);
    assert_mentions(&message(Weights::read(folder.file("none.npz"))), &["none.npz", "cannot be read"]);
    std::fs::write(folder.file("cut.safetensors"), [1, 2, 3]).unwrap();
    assert_mentions(&message(Weights::read(folder.file("cut.safetensors"))), &["cut off"]);
    let not_saved = message(read("types.safetensors").save(folder.file("net.bin")));
    assert_mentions(&not_saved, &["net.bin", ".safetensors", ".npz", "formats.rs"]);
    if !cfg!(feature = "pytorch") {
        assert_mentions(&message(Weights::read(golden("types.pt"))), &["torch.save", "feature `pytorch`"]);
        assert_mentions(&message(Weights::read(golden("layers-legacy.pth"))), &["weights_only=True"]);
    }
}

#[test]
fn number_types_have_the_names_and_sizes_of_safetensors() {
    use NumberType::*;
    let all = [F64, F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8, Bool];
    let dtypes = [
        Dtype::F64,
        Dtype::F32,
        Dtype::F16,
        Dtype::BF16,
        Dtype::I64,
        Dtype::I32,
        Dtype::I16,
        Dtype::I8,
        Dtype::U64,
        Dtype::U32,
        Dtype::U16,
        Dtype::U8,
        Dtype::BOOL,
    ];
    for (own, theirs) in all.into_iter().zip(dtypes) {
        assert_eq!((own.to_string(), own.size() * 8), (theirs.to_string(), theirs.bitsize()));
    }
}
