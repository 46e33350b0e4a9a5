//! Parts of a network that are recorded for another mode than the rest.

use crate::common::{assert_close, numbers, run_plan};
use dagrad::nn::{self, BatchNorm, Filters, Model};
use dagrad::optim::Sgd;
use dagrad::train::Trainer;
use dagrad::viz;
use dagrad::{Graph, Mode, Plan, Store, Var, Workspace, gradients};
use ndarray::{Array1, Array4, ArrayD};

/// A convolution, then a batch normalisation that is frozen, then one that is not.
fn partly_frozen<'g>(x: Var<'g>) -> Var<'g> {
    let h = nn::conv2d(x, "conv", Filters::new(3, 3).padding(1));
    let frozen = {
        let _frozen = x.graph().in_mode(Mode::Evaluate);
        nn::batch_norm(h, "frozen", BatchNorm::default())
    };
    nn::batch_norm(frozen.relu(), "moving", BatchNorm::default())
}

fn values(store: &Store<f64>, name: &str) -> ArrayD<f64> {
    store.get(name).unwrap().to_owned()
}

#[test]
fn a_frozen_batch_normalisation_keeps_its_statistics_while_the_rest_trains() {
    let graph = Graph::new();
    let x = graph.input("x", [4, 2, 5, 6]);
    let loss = partly_frozen(x).powi(2).sum_all();
    let mut store = Store::<f64>::new(3);
    let statistics = ["frozen.running_mean", "frozen.running_var"];
    for (k, name) in statistics.into_iter().enumerate() {
        store.set(name, &numbers(&[3], k as u64).mapv(|value| 1.0 + 0.1 * value)).unwrap();
    }
    store.prepare(&Plan::compile(&graph, &[loss]).unwrap()).unwrap();
    let before = store.copy().unwrap();
    let mut trainer = Trainer::with(loss, &Sgd::new(0.01), store, Workspace::new(2).unwrap()).unwrap();
    let given = numbers(&[4, 2, 5, 6], 7);
    trainer.step(&[x.feed(&given)]).unwrap();
    let after = trainer.store();
    for name in statistics {
        assert_eq!(values(after, name), values(&before, name));
    }
    for name in ["moving.running_mean", "moving.running_var", "frozen.weight", "frozen.bias", "conv.weight"] {
        assert_ne!(values(after, name), values(&before, name), "{name}");
    }
}

#[test]
fn a_frozen_batch_normalisation_is_a_line_with_the_slope_of_its_statistics() {
    let graph = Graph::new();
    let x = graph.input("x", [3, 2, 2, 2]);
    let y = {
        let _frozen = graph.in_mode(Mode::Evaluate);
        nn::batch_norm(x, "bn", BatchNorm { affine: false, ..BatchNorm::default() })
    };
    let plan = Plan::<f64>::compile(&graph, &[y, gradients(y.sum_all(), &[x]).unwrap()[0]]).unwrap();
    let mut store = Store::new(0);
    let (mean, variance) = ([0.5, -1.0], [2.0, 3.0]);
    store.set("bn.running_mean", &ndarray::arr1(&mean).into_dyn()).unwrap();
    store.set("bn.running_var", &ndarray::arr1(&variance).into_dyn()).unwrap();
    let given = numbers(&[3, 2, 2, 2], 1);
    let found = run_plan(&plan, &mut store, &[x.feed(&given)]).unwrap();
    let slope = |at: &ndarray::IxDyn| 1.0 / (variance[at[1]] + 1e-5f64).sqrt();
    let (mut expected, mut slopes) = (given.clone(), given);
    for (at, value) in expected.indexed_iter_mut() {
        *value = (*value - mean[at[1]]) * slope(&at);
        slopes[&at] = slope(&at);
    }
    assert_close(&found[0], &expected, 1e-14);
    assert_close(&found[1], &slopes, 1e-14);
}

#[test]
fn dropout_stays_on_in_predictions_where_it_is_told_to() {
    let network = nn::network(|images| {
        let h = images.flatten().dropout(0.5); // off
        let dropped = {
            let _dropping = images.graph().in_mode(Mode::Train);
            h.dropout(0.5)
        };
        nn::linear(dropped.dropout(0.5), "fc", 7)
    });
    let mut model = Model::new(network, [1, 6, 6], 0).unwrap();
    let images = Array4::from_shape_fn((2, 1, 6, 6), |(n, _, y, x)| (n + y + x) as f32);
    let mut predict = |step| {
        model.store_mut().set_step(step);
        let found = model.predict(&images).unwrap();
        assert_eq!(model.store().step(), step, "asking changes nothing");
        found
    };
    let samples = [predict(0), predict(1), predict(0)];
    assert_ne!(samples[0], samples[1]);
    assert_eq!(samples[0], samples[2]);
    // Half of the pixels count double: the mean over many masks is the answer without dropout.
    let mean = (0..2000).map(&mut predict).fold(0.0 * &samples[0], |sum, found| sum + found) / 2000.0;
    let store = model.store();
    let (weight, bias) = (store.get("fc.weight").unwrap(), store.get("fc.bias").unwrap());
    let flat = images.clone().into_shape_with_order((2, 36)).unwrap();
    let weight = weight.into_dimensionality::<ndarray::Ix2>().unwrap();
    let whole = flat.dot(&weight) + bias;
    let spread = whole.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    assert!((&mean - &whole).iter().all(|error| error.abs() < 0.1 * spread), "{mean} and {whole}");
}

#[test]
fn a_batch_normalisation_by_the_batch_in_predictions_moves_nothing() {
    let network = nn::network(|images| {
        let _moving = images.graph().in_mode(Mode::Train);
        nn::linear(nn::batch_norm(images, "bn", BatchNorm::default()).flatten(), "fc", 3)
    });
    let mut model = Model::new(network, [1, 4, 4], 0).unwrap();
    let images = Array4::from_shape_fn((2, 1, 4, 4), |(n, _, y, x)| (n + 2 * y + x) as f32);
    let first = model.predict(&images).unwrap();
    assert_eq!(model.predict(&(3.0 * &images)).unwrap().mapv(f32::round), first.mapv(f32::round));
    let statistics = ["bn.running_mean", "bn.running_var"].map(|name| model.store().get(name).unwrap()[[0]]);
    assert_eq!(statistics, [0.0, 1.0], "they are neither read nor written");
    assert!(model.loss(&images, &Array1::from_vec(vec![0, 1])).unwrap().is_finite());
}

#[test]
fn modes_nest_and_end_with_their_scopes() {
    let graph = Graph::new();
    {
        let _outer = graph.in_mode(Mode::Evaluate);
        assert_eq!(graph.mode(), Mode::Evaluate);
        let _layer = graph.layer("head");
        {
            let _inner = graph.in_mode(Mode::Train);
            assert_eq!(graph.mode(), Mode::Train);
            assert_eq!(graph.fill([], 1.0).exp().layer().as_deref(), Some("head"), "a mode is no layer");
        }
        assert_eq!(graph.mode(), Mode::Evaluate);
    }
    assert_eq!(graph.mode(), Mode::Train);
}

#[test]
fn pictures_of_parts_that_train_move_nothing() {
    let network = nn::network(|images| {
        let _moving = images.graph().in_mode(Mode::Train);
        let h = nn::conv2d(images, "conv", Filters::new(3, 3));
        let h = nn::batch_norm(h, "bn", BatchNorm::default()).relu();
        nn::linear(h.flatten(), "fc", 3)
    });
    let mut model = Model::new(network, [1, 6, 6], 0).unwrap();
    let images = Array4::from_shape_fn((2, 1, 6, 6), |(n, _, y, x)| (n + 2 * y + x) as f32);
    let classes = Array1::from_vec(vec![0, 1]);
    let before = format!("{:?}", model.store());
    viz::grad_cam(&mut model, &images, &classes, None).unwrap();
    viz::input_gradient(&mut model, &images, &classes).unwrap();
    viz::feature_maps(&mut model, &images).unwrap();
    assert_eq!(format!("{:?}", model.store()), before);
}

#[test]
fn an_auxiliary_head_of_training_alone_is_trained_and_looked_at() {
    let network = nn::network(|images| {
        let y = nn::linear(images.flatten(), "fc", 3);
        match images.graph().mode() {
            Mode::Train => y + nn::linear(images.flatten(), "aux", 3) * 0.3,
            Mode::Evaluate => y,
        }
    });
    let mut model = Model::new(network, [1, 4, 4], 0).unwrap();
    let images = Array4::from_shape_fn((2, 1, 4, 4), |(n, _, y, x)| (n + 2 * y + x) as f32);
    let labels = Array1::from_vec(vec![0, 2]);
    assert!(model.loss(&images, &labels).unwrap().is_finite());
    assert!(model.gradient(&images, &labels).unwrap().contains_key("aux.weight"));
}

#[test]
fn a_parameter_without_a_path_is_diagnosed_in_a_model() {
    let network = nn::network(|images| {
        let _ = images.graph().param("unused", [2], dagrad::Init::ZEROS);
        nn::linear(images.flatten(), "fc", 3)
    });
    let mut model = Model::new(network, [1, 4, 4], 0).unwrap();
    let images = Array4::from_shape_fn((2, 1, 4, 4), |(n, _, y, x)| (n + 2 * y + x) as f32);
    let found = model.diagnose(&images, &Array1::from_vec(vec![0, 2])).unwrap().to_string();
    assert!(found.contains("unused"), "{found}");
}

#[test]
fn a_mode_and_a_layer_may_end_in_any_order() {
    let graph = Graph::new();
    let (mode, layer) = (graph.in_mode(Mode::Evaluate), graph.layer("head"));
    drop(mode);
    assert_eq!(graph.mode(), Mode::Train);
    assert_eq!(graph.fill([], 1.0).exp().layer().as_deref(), Some("head"));
    drop(layer);
    assert_eq!(graph.mode(), Mode::Train);
    assert!(graph.fill([], 2.0).exp().layer().is_none());
}
