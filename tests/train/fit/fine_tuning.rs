//! A trained network gets another last layer: its weights are loaded, the layer is new, and the rest is frozen or follows slowly.

use super::{digits, model, options};
use dagrad::nn::{self, Filters, Model, Network};
use dagrad::optim::{Adam, Groups};
use dagrad::train::{evaluate, fit};
use dagrad::weights::Weights;

/// Features of images, and one number for each of some classes.
fn classifier(classes: usize) -> impl Network {
    nn::network(move |images| {
        let h = nn::conv2d(images, "backbone.conv", Filters::new(8, 5)).relu().max_pool2d(2);
        let h = nn::linear(h.flatten(), "backbone.fc", 32).relu();
        nn::linear(h, "head", classes)
    })
}

fn numbers<N: Network>(model: &Model<N>, name: &str) -> Vec<f32> {
    model.store().get(name).unwrap().iter().copied().collect()
}

#[test]
fn weights_are_loaded_the_last_layer_replaced_and_the_rest_frozen_or_slow() {
    let split = digits(800, 200);
    let mut trained = model(classifier(10), 1, 2);
    fit(&mut trained, &Adam::new(3e-3), &split.train, &split.test, options(3, 40, 0)).unwrap();

    // The same digits under other labels, and two classes more.
    let relabelled = |data: &dagrad::data::Dataset| {
        let pixels = (0..data.len()).flat_map(|sample| data.pixels(sample).unwrap().to_vec()).collect();
        let labels = data.labels().iter().map(|label| 11 - label).collect();
        dagrad::data::Dataset::new(pixels, data.image_shape(), labels, 12).unwrap()
    };
    let (train, test) = (relabelled(&split.train.take(100)), relabelled(&split.test));
    let weights = Weights::of(trained.store()).unwrap();
    let slow = || Groups::new(Adam::new(0.02)).group("backbone.*", Adam::new(1e-5));
    let frozen = || Groups::new(Adam::new(0.02)).frozen("backbone.*");
    for (rule, is_frozen) in [(slow(), false), (frozen(), true)] {
        let mut tuned = model(classifier(12), 7, 2);
        let left_out = weights.load_lenient(tuned.store_mut()).unwrap();
        assert!(left_out.to_string().contains("head.weight"), "{left_out}");
        assert_eq!(numbers(&tuned, "backbone.conv.weight"), numbers(&trained, "backbone.conv.weight"));
        let before = numbers(&tuned, "head.weight");
        fit(&mut tuned, &rule, &train, &test, options(6, 20, 0)).unwrap();
        assert_ne!(numbers(&tuned, "head.weight"), before);
        for name in ["backbone.conv.weight", "backbone.fc.bias"] {
            assert_eq!(numbers(&tuned, name) == numbers(&trained, name), is_frozen, "{name}");
        }
        // A hundred samples do not teach that much to a network that has seen nothing.
        let mut fresh = model(classifier(12), 7, 2);
        fit(&mut fresh, &Adam::new(3e-3), &train, &test, options(6, 20, 0)).unwrap();
        let [tuned, fresh] = [evaluate(&mut tuned, &test), evaluate(&mut fresh, &test)].map(Result::unwrap);
        assert!(tuned.accuracy() > 0.8 && tuned.accuracy() > fresh.accuracy(), "{tuned}, {fresh}");
    }
}
