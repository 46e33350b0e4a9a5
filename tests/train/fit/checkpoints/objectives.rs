//! What an objective of one's own trains on augmented samples goes on as exactly as a classifier does.

use super::{Folder, StopAfter, by, data};
use crate::common::{assert_mentions, message};
use dagrad::data::{Augmented, Dataset};
use dagrad::nn;
use dagrad::optim::{Adam, Optimizer};
use dagrad::train::{Epoch, Goal, Inputs, Learner, Metric, fit, fit_observed};
use dagrad::{Store, Workspace};

/// Each digit from a few numbers, and which one it is.
fn objective<'g>(inputs: &Inputs<'g>) -> Goal<'g> {
    let (images, labels) = (inputs.get("images"), inputs.get("labels"));
    let code = nn::linear(images.flatten(), "code", 12).relu();
    let again = nn::linear(code.dropout(0.2), "again", 28 * 28).sigmoid();
    let logits = nn::linear(code, "classes", 10);
    let loss = (again - images.flatten()).powi(2).mean_all() + 0.1 * logits.softmax_cross_entropy(labels);
    Goal::new(loss).judge(Metric::f1(logits, labels)).judge(Metric::accuracy(logits, labels))
}

fn learner(data: &Augmented<&Dataset>) -> Learner<for<'a, 'g> fn(&'a Inputs<'g>) -> Goal<'g>> {
    let objective: for<'a, 'g> fn(&'a Inputs<'g>) -> Goal<'g> = objective;
    Learner::with_workspace(objective, data, 4, Workspace::new(2).unwrap()).unwrap()
}

fn figures(epoch: &Epoch) -> String {
    format!("{} {:x} {:?} {:?}", epoch.number, epoch.loss.to_bits(), epoch.train, epoch.test)
}

fn bits(store: &Store<f32>) -> Vec<u32> {
    store
        .names()
        .flat_map(|name| store.get(name).unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>())
        .collect()
}

#[test]
fn an_objective_on_augmented_samples_goes_on_from_any_step() {
    let digits = data();
    let augment = |degrees| {
        let images = Augmented::new(&digits.train, &["images"]).unwrap();
        images.crop(2).unwrap().rotate(degrees).unwrap().erase(0.5).unwrap()
    };
    let (train, test) = (augment(10.0), &digits.test);
    let rule = || Adam::new(0.01).accumulate(2).averaged(0.9);
    let mut whole = learner(&train);
    let expected = fit(&mut whole, &rule(), &train, test, by(3)).unwrap();
    for steps in [1, 4, 5, 6, 9, 14] {
        let folder = Folder::new("objectives");
        let mut first = learner(&train);
        let mut observers = (StopAfter(steps), folder.checkpoints().every_steps(1));
        let mut found = fit_observed(&mut first, &rule(), &train, test, by(3), &mut observers).unwrap();
        drop((first, observers));

        let (mut second, mut checkpoints) = (learner(&train), folder.checkpoints());
        let resumed = checkpoints.resume(&mut second).unwrap().unwrap();
        assert_eq!(resumed.step, steps);
        let left = 3 - second.store().epochs() as usize;
        found.extend(fit_observed(&mut second, &rule(), &train, test, by(left), &mut checkpoints).unwrap());
        let [found, expected] =
            [&found, &expected].map(|epochs| epochs.iter().map(figures).collect::<Vec<_>>());
        assert_eq!(found, expected, "after {steps} steps");
        assert_eq!(bits(second.store()), bits(whole.store()), "after {steps} steps");
    }

    // Other transforms are other data, and another number of batches a step is another rule.
    let folder = Folder::new("objectives-others");
    let mut first = learner(&train);
    let mut observers = (StopAfter(2), folder.checkpoints());
    fit_observed(&mut first, &rule(), &train, test, by(1), &mut observers).unwrap();
    drop(observers);
    let (mut second, mut checkpoints) = (learner(&train), folder.checkpoints());
    checkpoints.resume(&mut second).unwrap();
    let other = augment(20.0);
    let refused = fit(&mut second, &Adam::new(0.01).accumulate(3).averaged(0.9), &other, test, by(1));
    assert_mentions(
        &message(refused),
        &["training data", "Rotate(10.0)", "Rotate(20.0)", "optimizer", "2 batches", "3 batches"],
    );
}
