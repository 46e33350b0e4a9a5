//! The charts of loss and accuracy, as they stand on the page.

use std::time::Duration;

use dagrad::train::{Epoch, Figures};
use dagrad::viz::Report;

/// A page about runs of one network with these losses. (The losses on test samples are twice as large.)
fn page(runs: &[&[f64]]) -> String {
    let mut report = Report::new("curves");
    for losses in runs {
        let epoch = |(before, &loss)| Epoch {
            number: before + 1,
            loss,
            train: Figures::new(loss).with("accuracy", 0.5),
            test: Figures::new(2.0 * loss).with("accuracy", 0.25),
            time: Duration::ZERO,
        };
        report.run("net", &losses.iter().enumerate().map(epoch).collect::<Vec<_>>());
    }
    report.to_html().unwrap()
}

/// The corners of the first band, or of the first line after it, as pixels. (Lines before it are axes.)
fn corners(page: &str, element: &str) -> Vec<[f64; 2]> {
    let found = &page[page.find("<polygon ").unwrap()..];
    let found = found.split_once(&format!("<{element} ")).unwrap().1;
    let points = found.split_once("points=\"").unwrap().1.split_once('"').unwrap().0;
    let point = |text: &str| {
        let (x, y) = text.split_once(',').unwrap();
        [x, y].map(|number| number.parse().unwrap())
    };
    points.split_whitespace().map(point).collect()
}

#[test]
fn runs_of_a_name_become_a_mean_between_least_and_most() {
    // Least, mean and most: 1, 2, 3 after the first epoch, 2 after the second, 5 after the third.
    let page = page(&[&[3.0, 2.0], &[1.0, f64::NAN, 5.0]]);
    let (band, line) = (corners(&page, "polygon"), corners(&page, "polyline"));
    let heights = |points: &[[f64; 2]]| points.iter().map(|point| point[1]).collect::<Vec<_>>();
    let (band, line) = (heights(&band[..6]), heights(&line));
    // Heights grow downwards, and pixels are whole: one more or less is rounding.
    let pixels = (band[5] - band[0]) / 2.0;
    assert!(pixels > 10.0, "{band:?}");
    let expected = |value: f64| band[5] - (value - 1.0) * pixels;
    for (found, value) in band.iter().zip([3.0, 2.0, 5.0, 5.0, 2.0, 1.0]) {
        assert!((found - expected(value)).abs() <= 1.5, "{value} in {band:?}");
    }
    assert_eq!(line.len(), 3);
    for (found, value) in line.iter().zip([2.0, 2.0, 5.0]) {
        assert!((found - expected(value)).abs() <= 1.5, "{value} in {line:?}");
    }
}

#[test]
fn what_is_no_number_or_always_0_can_be_drawn() {
    assert!(page(&[&[f64::NAN, f64::INFINITY]]).contains("Loss: no finite number"));
    let flat = page(&[&[0.0, 0.0]]);
    assert!(!flat.contains("no finite number") && flat.contains("0.5"), "{flat}");
}

#[test]
fn a_single_epoch_is_a_dot_and_more_are_a_line() {
    let dots = |losses: &[f64]| page(&[losses]).matches("<circle").count();
    assert_eq!((dots(&[1.0]), dots(&[1.0, 2.0])), (4, 0));
    assert!(!page(&[&[]]).contains("section class=\"curves\""));
    assert!(page(&[&[1.0]]).contains("section class=\"curves\""));
}

#[test]
fn a_run_that_went_on_is_one_line() {
    let epoch = |number: usize| Epoch {
        number,
        loss: number as f64,
        train: Figures::new(0.0).with("accuracy", 0.5),
        test: Figures::new(0.0).with("accuracy", 0.25),
        time: Duration::ZERO,
    };
    let page = |parts: &[&[Epoch]]| {
        let mut report = Report::new("curves");
        parts.iter().for_each(|part| report.run("net", part));
        report.to_html().unwrap()
    };
    let all = [1, 2, 3, 4].map(epoch);
    assert_eq!(page(&[&all[..2], &all[2..]]), page(&[&all]));
}
