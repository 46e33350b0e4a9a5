//! What fits is loaded, and what does not is named, all at once.

use dagrad::nn::{self, Model, Network};
use dagrad::weights::{Misshapen, Unmatched, Weights};
use dagrad::{Error, Graph, Init, Plan, Store};
use ndarray::Array4;
use safetensors::tensor::{Dtype, TensorView};

use super::{Folder, read};
use crate::common::{assert_mentions, message, numbers};

fn model(inputs: usize) -> Model<impl Network> {
    let network =
        nn::network(|images| nn::linear(nn::linear(images.flatten(), "body.fc", 5).relu(), "head", 5));
    Model::new(network, [1, 1, inputs], 7).unwrap()
}

/// Weights of these names and shapes, all numbers alike.
fn weights(arrays: &[(&str, &[usize])], value: f32) -> Weights {
    let bytes = value.to_le_bytes().repeat(100);
    let view = |&(name, shape): &(&str, &[usize])| {
        let length = 4 * shape.iter().product::<usize>();
        (name.to_owned(), TensorView::new(Dtype::F32, shape.to_vec(), &bytes[..length]).unwrap())
    };
    Weights::from_bytes(safetensors::serialize(arrays.iter().map(view), None).unwrap()).unwrap()
}

#[test]
fn one_error_lists_all_that_does_not_fit_and_nothing_is_changed() {
    let mut model = model(7);
    let before = format!("{:?}", model.store());
    let wrong = weights(
        &[("body.fc.wieght", &[5, 7]), ("body.fc.bias", &[5]), ("head.weight", &[4, 5]), ("other", &[])],
        1.0,
    );
    let error = message(wrong.load(model.store_mut()));
    assert_mentions(
        &error,
        &[
            "loading.rs",
            "5 names",
            "missing: \"body.fc.weight\" [5, 7]; the nearest is \"body.fc.wieght\"",
            "missing: \"head.bias\" [5]",
            "not in the store: \"body.fc.wieght\" [5, 7]",
            "not in the store: \"other\" []",
            "\"head.weight\" is [4, 5], but the store needs [5, 5]",
            "load_lenient",
        ],
    );
    assert_eq!(format!("{:?}", model.store()), before);
    let report = wrong.load_lenient(model.store_mut()).unwrap();
    assert_eq!(report.loaded, ["body.fc.bias"]);
    let unmatched = |name: &str, shape: &[usize]| Unmatched { name: name.into(), shape: shape.to_vec() };
    assert_eq!(report.missing, [unmatched("body.fc.weight", &[5, 7]), unmatched("head.bias", &[5])]);
    assert_eq!(report.extra, [unmatched("body.fc.wieght", &[5, 7]), unmatched("other", &[])]);
    let misshapen = Misshapen { name: "head.weight".into(), found: vec![4, 5], expected: vec![5, 5] };
    assert_eq!(report.misshapen, [misshapen]);
    assert!(!report.fits() && report.not_finite.is_empty());
    assert_eq!(model.store().get("body.fc.bias").unwrap().sum(), 5.0);
    assert_eq!(model.store().get("head.bias").unwrap().sum(), 0.0);
}

#[test]
fn shapes_the_wrong_way_round_are_suspected_but_never_guessed() {
    let names: [(&str, &[usize]); 4] =
        [("body.fc.weight", &[7, 5]), ("body.fc.bias", &[5]), ("head.weight", &[5, 5]), ("head.bias", &[5])];
    let mut model = model(7);
    assert_mentions(&message(weights(&names, 1.0).load(model.store_mut())), &["1 names", "transposed?"]);
    // A square matrix is transposed all the same.
    let mut original = read("layers.safetensors").get::<f32>("fc4.weight").unwrap();
    let mut square = super::layers::model();
    read("layers.safetensors").load(square.store_mut()).unwrap();
    let loaded = square.store().get("fc4.weight").unwrap();
    assert_ne!(loaded, original);
    original.swap_axes(0, 1);
    assert_eq!(loaded, original);
}

#[test]
fn names_are_changed_by_rules() {
    let mut model = model(7);
    let names = ["body.fc.weight", "body.fc.bias", "head.weight", "head.bias"];
    let shapes: [&[usize]; 4] = [&[5, 7], &[5], &[5, 5], &[5]];
    for prefix in ["module.", "_orig_mod.", "model.", "module._orig_mod.backbone."] {
        let long = names.map(|name| format!("{prefix}{name}"));
        let arrays: Vec<_> = long.iter().map(String::as_str).zip(shapes).collect();
        let long = weights(&arrays, 2.0);
        let hint = format!("strip_prefix({prefix:?})");
        assert_mentions(&message(long.load(model.store_mut())), &["8 names", &hint]);
        long.clone().strip_prefix(prefix).unwrap().load(model.store_mut()).unwrap();
        long.clone().under(prefix).unwrap().load(model.store_mut()).unwrap();
        long.rename(prefix, "").unwrap().load(model.store_mut()).unwrap();
    }
    let arrays: Vec<_> = ["fc.weight", "fc.bias"].into_iter().zip(shapes).collect();
    let short = weights(&arrays, 3.0);
    assert_mentions(&message(short.load(model.store_mut())), &["rename(\"\", \"body.\")"]);
    let report = short.clone().rename("", "body.").unwrap().load_lenient(model.store_mut()).unwrap();
    assert_eq!(report.loaded.len(), 2);
    assert_mentions(&message(short.clone().rename("cf", "x")), &["cf", "begins so", "\"fc."]);
    assert_mentions(&message(short.clone().rename("fc.weight", "fc.bias")), &["fc.weight", "two arrays"]);
    assert_mentions(&message(short.clone().under("head.")), &["head.", "begins so"]);
    assert_eq!(short.clone().strip_prefix("nobody.").unwrap().names().count(), 2);
    assert_mentions(&message(short.get::<f32>("fc.wieght")), &["fc.wieght", "\"fc.weight\""]);
}

#[test]
#[cfg(feature = "pytorch")]
fn the_weights_are_taken_from_a_whole_training_s_file() {
    let weights = read("training.pt");
    assert!(weights.names().any(|name| name.starts_with("optimizer.")));
    let mut model =
        Model::new(nn::network(|images| nn::linear(images.flatten(), "0", 3)), [1, 1, 4], 0).unwrap();
    assert_mentions(&message(weights.load(model.store_mut())), &["strip_prefix(\"state_dict.module.\")"]);
    weights.under("state_dict.").unwrap().strip_prefix("module.").unwrap().load(model.store_mut()).unwrap();
}

#[test]
fn what_is_not_finite_is_loaded_and_told() {
    let mut model = model(7);
    let names: [(&str, &[usize]); 4] =
        [("body.fc.weight", &[5, 7]), ("body.fc.bias", &[5]), ("head.weight", &[5, 5]), ("head.bias", &[5])];
    for value in [f32::NAN, f32::INFINITY] {
        let report = weights(&names, value).load(model.store_mut()).unwrap();
        assert_eq!(report.not_finite.len(), 4);
        assert_mentions(&report.to_string(), &["not finite: \"head.bias\""]);
    }
    assert!(model.store().get("head.bias").unwrap().iter().all(|value| value.is_infinite()));
    assert_eq!(weights(&names, 1.0).load(model.store_mut()).unwrap().to_string(), "");
    // A number beyond single precision becomes infinite, and that is told.
    let file = safetensors::serialize(
        [("w", TensorView::new(Dtype::F64, vec![1], &1e300f64.to_le_bytes()).unwrap())],
        None,
    );
    let mut store = Store::<f32>::new(0);
    store.set("w", &numbers(&[1], 0).mapv(|value| value as f32)).unwrap();
    let report = Weights::from_bytes(file.unwrap()).unwrap().load(&mut store).unwrap();
    assert_eq!(report.not_finite, ["w"]);
}

#[test]
fn an_empty_store_says_what_it_lacks() {
    let mut store = Store::<f32>::new(0);
    let error = message(weights(&[("w", &[2])], 1.0).load(&mut store));
    assert_mentions(&error, &["not in the store: \"w\" [2]", "Store::prepare"]);
    let graph = Graph::new();
    let plan = Plan::compile(&graph, &[graph.param("w", [2], Init::ZEROS)]).unwrap();
    store.prepare(&plan).unwrap();
    weights(&[("w", &[2])], 1.0).load(&mut store).unwrap();
    assert_eq!(store.get("w").unwrap().sum(), 2.0);
}

#[test]
fn a_model_is_loaded_before_its_first_run_and_what_only_trains_with_it() {
    let folder = Folder::new("auxiliary");
    let network = nn::network(|images| {
        let rows = images.flatten();
        if images.graph().mode() == dagrad::Mode::Train {
            let h = nn::batch_norm(rows, "only.bn", nn::BatchNorm::default());
            let _auxiliary = nn::linear(h, "only.fc", 2);
        }
        nn::linear(rows, "fc", 2)
    });
    let mut model = Model::new(network, [1, 2, 2], 3).unwrap();
    model.store_mut().get_mut("only.bn.running_mean").unwrap().fill(4.0);
    model.save(folder.file("net.npz")).unwrap();
    let mut other = Model::new(network, [1, 2, 2], 4).unwrap();
    assert_eq!(other.load(folder.file("net.npz")).unwrap().loaded.len(), 8);
    assert_eq!(other.store().get("only.bn.running_mean").unwrap().sum(), 16.0);
    let images = Array4::ones((1, 1, 2, 2));
    assert_eq!(other.predict(&images).unwrap(), model.predict(&images).unwrap());
    assert!(matches!(other.load(folder.file("no.npz")), Err(Error::Data { .. })));
}
