//! The confusion matrix and the worst samples of a report: a network whose probabilities are known, for three images of one pixel each.

use dagrad::data::Dataset;
use dagrad::nn::{self, Model};
use dagrad::optim::Sgd;
use dagrad::viz::{Report, Start};
use ndarray::ArrayD;

/// The report of a network with these logits for an image of class 0, of class 1 and of class 2.
fn page(logits: [[f32; 3]; 3]) -> String {
    let pixels = vec![255, 0, 0, 0, 255, 0, 0, 0, 255];
    let data = Dataset::new(pixels, [1, 1, 3], vec![0, 1, 2], 3).unwrap();
    let network = nn::network(|images| nn::linear(images.flatten(), "fc", 3));
    let mut model = Model::new(network, [1, 1, 3], 0).unwrap();
    let weight = ArrayD::from_shape_vec(vec![3, 3], logits.concat()).unwrap();
    model.store_mut().set("fc.weight", &weight).unwrap();
    let (start, mut report) = (Start::of(&model), Report::new("classes"));
    report.network("known", &start, &mut model, &Sgd::new(0.1), &data).unwrap();
    report.to_html().unwrap()
}

fn known() -> [[f32; 3]; 3] {
    [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.5, 0.1, 0.4_f32]].map(|row| row.map(f32::ln))
}

#[test]
fn rows_are_labels_and_columns_predictions() {
    let page = page(known());
    for (class, row) in [(0, [1, 0, 0]), (1, [0, 0, 1]), (2, [1, 0, 0])] {
        for (predicted, count) in row.into_iter().enumerate() {
            let note = format!("title=\"{class} predicted as {predicted}: {count}\"");
            assert!(page.contains(&note), "{note} in {page}");
        }
    }
    assert!(page.contains("1 of 3 are correct"), "{page}");
}

#[test]
fn the_worst_come_first() {
    let page = page(known());
    let worst: Vec<&str> = page.split("alt=\"test image ").skip(1).map(|rest| &rest[..1]).collect();
    assert_eq!(worst[..3], ["1", "2", "0"]);
    assert!(page.contains("(30.0 %)") && page.contains("predicted 2 (60.0 %)"), "{page}");
}

#[test]
fn large_logits_do_not_overflow() {
    let page = page([[1000.0, 1000.0 - 3f32.ln(), 0.0]; 3]);
    assert!(page.contains("<b>0</b> (75.0 %)") && page.contains("<b>1</b> (25.0 %)"), "{page}");
}
