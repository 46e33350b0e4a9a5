//! What building costs, in numbers that no busy machine changes.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::common::root;

/// How many crates the default features and the bare engine may take, these two included.
const CRATES: usize = 60;
const BARE_CRATES: usize = 30;
/// How many test programs there may be. Each is linked with everything.
const PROGRAMS: usize = 12;

/// The crates that are built for `dagrad`.
fn crates(flags: &[&str]) -> BTreeSet<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_string());
    let tree = ["tree", "--locked", "--package", "dagrad", "--edges", "normal", "--prefix", "none"];
    let output =
        Command::new(cargo).current_dir(root()).args(tree).args(flags).output().expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter_map(|line| Some(line.split_whitespace().next()?.to_string())).collect()
}

#[test]
fn few_crates_are_built() {
    let (all, bare) = (crates(&[]), crates(&["--no-default-features"]));
    assert!(bare.contains("dagrad-kernels") && bare.contains("petgraph"), "{bare:?}");
    assert!(bare.is_subset(&all));
    assert!(all.len() <= CRATES, "{} crates are built by default: {all:?}", all.len());
    assert!(bare.len() <= BARE_CRATES, "{} crates are built for the bare engine: {bare:?}", bare.len());
    assert!(!bare.contains("syn"), "the bare engine has no macros to build");
}

#[test]
fn the_crates_are_compiled_once_for_a_handful_of_test_programs() {
    let programs = ["Cargo.toml", "kernels/Cargo.toml", "tests/Cargo.toml"].map(|path| {
        let text = fs::read_to_string(root().join(path)).expect("a manifest");
        assert!(text.contains("autotests = false"), "{path} finds tests by itself");
        text.matches("[[test]]").count()
    });
    assert!(programs[2] > 0 && programs.iter().sum::<usize>() <= PROGRAMS, "{programs:?} test programs");
    for path in ["Cargo.toml", "kernels/Cargo.toml"] {
        let text = fs::read_to_string(root().join(path)).expect("a manifest");
        let library =
            text.split("[lib]").nth(1).and_then(|rest| rest.split("\n[").next()).unwrap_or_default();
        assert!(library.contains("test = false"), "{path}: unit tests would compile the library once more");
    }
}
