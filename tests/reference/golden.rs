//! The golden files: outputs, gradients, higher derivatives and training steps that two other systems agree on.
//!
//! `DAGRAD_GOLDEN=FOLDER` runs the cases of another folder. The numbers are printed with
//! `cargo test --test reference -- --nocapture`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use super::compare::compare;
use super::manifest::{self, Case, Dtype};
use super::report::{Line, Outcome, Report, judge, quantile};
use super::tensors::Tensors;
use super::{Result, Trouble, Values, case};
use crate::common::root;
use ndarray::{ArrayD, Axis};

#[test]
fn the_golden_files_pass() {
    let own = || root().join("tests/golden");
    let folder = std::env::var_os("DAGRAD_GOLDEN").map_or_else(own, PathBuf::from);
    let report = Report::new(run(&folder).unwrap_or_else(|trouble| panic!("{trouble}")));
    println!("{report}");
    let [passed, failed, skipped] = report.counts();
    assert!(passed > 0 && failed == 0 && skipped == 0, "{failed} cases failed and {skipped} were not run");
    let ratios = report.ratios();
    if ratios.len() >= 100 {
        let (middle, most) = (quantile(&ratios, 0.5), quantile(&ratios, 0.99));
        assert!(middle <= 1.0 && most <= 4.0, "single precision is less exact than PyTorch's");
    }
}

#[test]
fn the_comparison_notices_what_is_off() {
    let folder = root().join("tests/golden");
    let cases = manifest::read(&folder).unwrap();
    let [optimised, _] = case::modes();
    for id in ["conv2d/same_3x3_p1", "net/relu_small"] {
        let case = cases.iter().flatten().find(|case| case.id == id).unwrap();
        let tensors = Tensors::read(&folder.join(&case.file)).unwrap();
        let values = case::run(case, &tensors, &optimised, Dtype::F64).unwrap();
        let wrong = |values: &Values| compare(case, &tensors, values, Dtype::F64).unwrap().wrong;
        assert!(wrong(&values).is_empty());
        for (key, value) in values.iter().filter(|(key, _)| case.expect.contains_key(*key)) {
            let mut spoiled: Vec<Option<ArrayD<f64>>> = vec![None, Some(value.clone().insert_axis(Axis(0)))];
            for last in [f64::NAN, f64::INFINITY, value.sum() + 1e-6] {
                let mut other = value.clone();
                *other.iter_mut().last().unwrap() = last;
                spoiled.push(Some(other));
            }
            for other in spoiled {
                let mut values = values.clone();
                values.remove(key);
                values.extend(other.map(|other| (key.clone(), other)));
                assert_eq!(wrong(&values).len(), 1, "{id}: {key}");
            }
        }
    }
}

/// Runs all cases of a folder on two threads.
fn run(folder: &Path) -> Result<Vec<Line>> {
    let cases = manifest::read(folder)?;
    let mut files: HashMap<&str, Result<Tensors>> = HashMap::new();
    for case in cases.iter().flatten() {
        files.entry(&case.file).or_insert_with(|| Tensors::read(&folder.join(&case.file)));
    }
    let (next, lines) = (Mutex::new(cases.iter().enumerate()), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let Some((number, case)) = next.lock().expect("no panic").next() else { return };
            let line = line(case, &files);
            lines.lock().expect("no panic").push((number, line));
        }
    };
    thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    let mut lines = lines.into_inner().expect("no panic");
    lines.sort_by_key(|(number, _)| *number);
    Ok(lines.into_iter().map(|(_, line)| line).collect())
}

fn line(case: &Result<Case, (String, Trouble)>, files: &HashMap<&str, Result<Tensors>>) -> Line {
    let fail = |id: &str, text: String| {
        let (id, group, outcome) = (id.to_string(), "not read".to_string(), Outcome::Failed(vec![text]));
        Line { id, group, outcome, keys: 0, ratios: Vec::new() }
    };
    match case {
        Err((id, trouble)) => fail(id, trouble.to_string()),
        Ok(case) => match &files[case.file.as_str()] {
            Ok(tensors) => judge(case, tensors, &case::modes()),
            Err(trouble) => fail(&case.id, trouble.to_string()),
        },
    }
}
