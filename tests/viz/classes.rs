//! The confusion matrix and the worst samples of a report: a network whose probabilities are known, for three images of one pixel each.

use dagrad::Var;
use dagrad::data::Dataset;
use dagrad::nn::{self, Model};
use dagrad::optim::Sgd;
use dagrad::viz::{Report, Start};
use ndarray::ArrayD;

/// The report of a network with these logits for an image of class 0, of class 1 and of class 2.
fn page(logits: [[f32; 3]; 3]) -> String {
    page_of(logits, |logits| logits)
}

/// The same, of which something is made.
fn page_of(logits: [[f32; 3]; 3], make: fn(Var<'_>) -> Var<'_>) -> String {
    let pixels = vec![255, 0, 0, 0, 255, 0, 0, 0, 255];
    let data = Dataset::new(pixels, [1, 1, 3], vec![0, 1, 2], 3).unwrap();
    report_of(logits, make, &data)
}

fn report_of(logits: [[f32; 3]; 3], make: fn(Var<'_>) -> Var<'_>, data: &Dataset) -> String {
    let network = nn::network(move |images| make(nn::linear(images.flatten(), "fc", 3)));
    let mut model = Model::new(network, [1, 1, 3], 0).unwrap();
    let weight = ArrayD::from_shape_vec(vec![3, 3], logits.concat()).unwrap();
    model.store_mut().set("fc.weight", &weight).unwrap();
    let (start, mut report) = (Start::of(&model), Report::new("classes"));
    report.network("known", &start, &mut model, &Sgd::new(0.1), data).unwrap();
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
fn classes_are_called_by_their_names() {
    let data = Dataset::new(vec![255, 0, 0, 0, 255, 0, 0, 0, 255], [1, 1, 3], vec![0, 1, 2], 3).unwrap();
    let data = data.with_class_names(["cat", "<dog>", &"x".repeat(1000)]).unwrap();
    let page = report_of(known(), |logits| logits, &data);
    let long = "x".repeat(24);
    for part in [
        "title=\"0 cat predicted as 0 cat: 1\"".to_owned(),
        format!("title=\"1 &lt;dog&gt; predicted as 2 {long}: 1\""),
        format!("predicted 2 {long} (60.0 %)"),
        "label <b>1 &lt;dog&gt;</b>".to_owned(),
        "predicted 0 cat: image, gradient".to_owned(),
    ] {
        assert!(page.contains(&part), "{part} in {page}");
    }
    assert!(!page.contains(&"x".repeat(25)));
}

#[test]
fn the_worst_come_first() {
    let page = page(known());
    let worst: Vec<&str> = page.split("alt=\"test image ").skip(1).map(|rest| &rest[..1]).collect();
    assert_eq!(worst[..3], ["1", "2", "0"]);
    assert!(page.contains("(30.0 %)") && page.contains("predicted 2 (60.0 %)"), "{page}");
}

#[test]
fn a_prediction_that_is_no_number_is_wrong_and_of_no_class() {
    let page = page_of([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, -1.0, 0.0]], |logits| logits.sqrt());
    assert!(page.contains("1 of 3 are correct. 2 have a NaN among their logits"), "{page}");
    for (label, count) in [(0, 0), (1, 1), (2, 0)] {
        for predicted in 0..3 {
            let count = if label == predicted { count } else { 0 };
            let note = format!("title=\"{label} predicted as {predicted}: {count}\"");
            assert!(page.contains(&note), "{note} in {page}");
        }
    }
    let worst: Vec<&str> = page.split("alt=\"test image ").skip(1).map(|rest| &rest[..1]).collect();
    assert_eq!(worst[..3], ["0", "2", "1"]);
    assert!(page.contains("predicted none (NaN %)"), "{page}");
}

#[test]
fn large_logits_do_not_overflow() {
    let page = page([[1000.0, 1000.0 - 3f32.ln(), 0.0]; 3]);
    assert!(page.contains("<b>0</b> (75.0 %)") && page.contains("<b>1</b> (25.0 %)"), "{page}");
}

/// Images of one pixel for each class, of which each is predicted as `predicted` says.
fn many(classes: usize, labels: Vec<u32>, predicted: impl Fn(usize) -> usize) -> String {
    let pixels =
        labels.iter().flat_map(|&label| (0..classes).map(move |at| 255 * u8::from(at == label as usize)));
    let data = Dataset::new(pixels.collect(), [1, 1, classes], labels.clone(), classes).unwrap();
    let network = nn::network(move |images| nn::linear(images.flatten(), "fc", classes));
    let mut model = Model::new(network, [1, 1, classes], 0).unwrap();
    let mut weight = ArrayD::zeros(vec![classes, classes]);
    (0..classes).for_each(|class| weight[[class, predicted(class)]] = 9.0);
    model.store_mut().set("fc.weight", &weight).unwrap();
    let (start, mut report) = (Start::of(&model), Report::new("many"));
    report.network("many", &start, &mut model, &Sgd::new(0.1), &data).unwrap();
    let page = report.to_html().unwrap();
    page.split_once("<h3>Confusion").unwrap().1.split_once("</section>").unwrap().0.to_string()
}

#[test]
fn of_many_classes_some_share_a_row_and_the_worst_are_listed() {
    // 7 is taken for 93 three times, and 50 for 51 twice.
    let labels = (0..100).chain([7, 7, 50]).collect();
    let part = many(100, labels, |class| match class {
        7 => 93,
        50 => 51,
        class => class,
    });
    let expected = [
        "98 of 103 are correct. Each row and column is of 4 classes and named by the first.",
        "title=\"4 predicted as 92: 3\"",
        "title=\"4 predicted as 4: 3\"",
        "title=\"48 predicted as 48: 5\"",
        "<tbody><tr><td>7</td><td>93</td><td>3</td></tr><tr><td>50</td><td>51</td><td>2</td></tr></tbody>",
        "<tbody><tr><td>7</td><td>3</td><td>0.0 %</td></tr><tr><td>50</td><td>2</td><td>0.0 %</td></tr><tr>",
    ];
    expected.iter().for_each(|text| assert!(part.contains(text), "{text} in {part}"));
    let rows = many(32, (0..32).collect(), |class| class);
    assert!(rows.contains("title=\"31 predicted as 31: 1\"") && !rows.contains("Most often"), "{rows}");
}

#[test]
fn the_confusion_of_any_number_of_classes_is_short() {
    let [few, many] =
        [200, 2000].map(|classes| many(classes, (0..classes as u32).collect(), |class| class / 3));
    assert!(few.len() < 200_000 && many.len() < 200_000, "{} {}", few.len(), many.len());
}
