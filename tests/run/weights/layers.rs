//! Networks with the names of a PyTorch module compute what it computes, from its own weights.

use dagrad::nn::{self, BatchNorm, Filters, Model, Network, Units};
use dagrad::weights::Weights;
use dagrad::{Conv2dOptions, Init, Var};
use ndarray::{Array4, Ix4};

use super::{Folder, golden, read};

/// The module `Layers` of `tests/golden/weights/make.py`.
pub fn layers<'g>(images: Var<'g>) -> Var<'g> {
    let norm = BatchNorm::default();
    let h = nn::conv2d(images, "conv1", Filters::new(8, 3).padding(1));
    let h = nn::batch_norm(h, "bn1", norm).relu();
    let h = nn::conv2d(h, "conv2", Filters::new(12, 3).stride(2).padding(1).groups(4).without_bias());
    let h = nn::group_norm(h, "gn", 3, 1e-5).relu();
    let weight = h.graph().param("up.weight", [12, 6, 3, 3], Init::he(108));
    let h = h.conv_transpose2d(weight, Conv2dOptions::new(), 0);
    let h = nn::linear(h.flatten(), "fc1", 7);
    let h = nn::batch_norm(h, "bn2", BatchNorm { affine: false, ..norm });
    let h = nn::linear(nn::linear(h, "fc2", 5).relu(), "fc3", 6);
    let h = nn::linear(nn::layer_norm(h, "ln", 1, 1e-5), "fc4", 6);
    nn::linear(nn::rms_norm(h, "rms", 1, 1e-6), "head", Units::new(4).without_bias())
}

pub fn model() -> Model<impl Network> {
    Model::new(layers, [3, 6, 6], 0).unwrap()
}

/// Fails unless the model computes PyTorch's logits, to 10⁻⁵ of the largest.
#[track_caller]
fn assert_logits(model: &mut Model<impl Network>, what: &str) {
    let case = read("layers-logits.safetensors");
    let images: Array4<f32> = case.get("images").unwrap().into_dimensionality::<Ix4>().unwrap();
    let (found, expected) = (model.predict(&images).unwrap(), case.get::<f32>("logits").unwrap());
    let largest = expected.iter().fold(0f32, |largest, logit| largest.max(logit.abs()));
    assert_eq!(found.shape(), expected.shape());
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() <= 1e-5 * largest, "{what}: {found} instead of {expected}");
    }
}

fn files() -> Vec<&'static str> {
    let mut files = vec!["layers.safetensors", "layers.npz"];
    if cfg!(feature = "pytorch") {
        files.extend(["layers.pt", "layers-legacy.pth"]);
    }
    files
}

#[test]
fn every_layer_computes_with_pytorch_s_weights_what_pytorch_does() {
    for name in files() {
        let mut model = model();
        let report = model.load(golden(name)).unwrap();
        assert!(report.fits() && report.loaded.len() == model.store().names().count(), "{report:?}");
        assert_logits(&mut model, name);
    }
}

#[test]
fn what_is_written_is_what_was_read() {
    let folder = Folder::new("layers");
    let mut first = model();
    first.load(golden("layers.safetensors")).unwrap();
    for name in ["own.safetensors", "own.npz"] {
        first.save(folder.file(name)).unwrap();
        let (own, theirs) = (Weights::read(folder.file(name)).unwrap(), read("layers.safetensors"));
        assert_eq!(own.names().collect::<Vec<_>>(), theirs.names().collect::<Vec<_>>());
        for name in theirs.names() {
            assert_eq!(own.shape(name), theirs.shape(name), "{name}");
            assert_eq!(own.number_type(name), theirs.number_type(name), "{name}");
            let counts = name.ends_with("num_batches_tracked"); // the store's own steps
            assert!(counts || own.get::<f64>(name).unwrap() == theirs.get::<f64>(name).unwrap(), "{name}");
        }
        let mut second = model();
        second.load(folder.file(name)).unwrap();
        assert_logits(&mut second, name);
    }
    let count = |path| Weights::read(path).unwrap().get::<f64>("bn1.num_batches_tracked").unwrap()[[]];
    first.store_mut().set_step(41);
    first.save(folder.file("later.safetensors")).unwrap();
    assert_eq!(count(folder.file("later.safetensors")), 41.0);
    assert_eq!(count(golden("layers.safetensors")), 3.0);
}

#[test]
fn a_model_in_double_precision_takes_the_same_file() {
    let workspace = dagrad::Workspace::new(1).unwrap();
    let mut model = Model::<_, f64>::with_workspace(layers, [3, 6, 6], 0, workspace).unwrap();
    model.load(golden("layers.npz")).unwrap();
    let weight = read("layers.npz").get::<f64>("fc4.weight").unwrap();
    assert_eq!(model.store().get("fc4.weight").unwrap(), weight.t());
}
