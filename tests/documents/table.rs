//! What to run after a change: the table in `docs/testing.md` has one answer for every file, and what it says to run is there.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::root;

/// A line of the table: files and folders, and a command.
struct Row {
    paths: Vec<String>,
    command: String,
}

fn table() -> Vec<Row> {
    let document = fs::read_to_string(root().join("docs/testing.md")).unwrap();
    let part = document.split_once("## What to run after a change").expect("the part with the table").1;
    let part = part.split("\n## ").next().unwrap_or(part);
    let rows = part.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix("` |"));
    let row = |line: &str| {
        let (paths, command) = line.split_once("` | `").unwrap_or_else(|| panic!("no command in {line}"));
        Row { paths: paths.split("`, `").map(str::to_string).collect(), command: command.to_string() }
    };
    rows.map(row).collect()
}

/// All source files below a folder, by their paths in the repository.
fn sources(folder: &str) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = open.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}

/// The names of the tests in a folder, with their modules.
fn tests(folder: &str) -> Vec<String> {
    let mut names = Vec::new();
    for path in sources(folder) {
        let module =
            path[folder.len() + 1..].trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
        let text = fs::read_to_string(root().join(&path)).unwrap();
        let mut lines = text.lines().map(str::trim);
        while let Some(line) = lines.next() {
            if line == "#[test]" {
                let function = lines.by_ref().find_map(|line| line.strip_prefix("fn ")).unwrap_or_default();
                names.push(format!("{module}::{}", function.split('(').next().unwrap_or_default()));
            }
        }
    }
    names
}

/// The folders of test programs.
fn programs() -> Vec<String> {
    let folders = fs::read_dir(root().join("tests")).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    folders.filter(|path| path.join("main.rs").exists()).map(name).collect()
}

#[test]
fn every_file_has_one_answer() {
    let table = table();
    assert!(table.len() > 10, "only {} rows are found", table.len());
    let all = [sources("src"), sources("kernels/src")].concat();
    for file in &all {
        let fits = |path: &&String| *path == file || path.ends_with('/') && file.starts_with(path.as_str());
        let found = table.iter().flat_map(|row| &row.paths).filter(fits).count();
        assert_eq!(found, 1, "docs/testing.md has {found} rows for {file}");
    }
    for path in table.iter().flat_map(|row| &row.paths) {
        assert!(root().join(path).exists(), "docs/testing.md names {path}, which does not exist");
    }
}

#[test]
fn every_answer_runs_a_test() {
    for Row { paths, command } in table() {
        let arguments: Vec<&str> = command.split(' ').collect();
        let (found, filter) = match arguments[..] {
            ["cargo", "test", "--test", program] => (tests(&format!("tests/{program}")), ""),
            ["cargo", "test", "--test", program, filter] => (tests(&format!("tests/{program}")), filter),
            ["cargo", "test", "-p", "dagrad-kernels"] if root().join("kernels/tests").exists() => {
                ([tests("kernels/src"), tests("kernels/tests")].concat(), "")
            }
            ["cargo", "test", "-p", "dagrad-kernels"] => (tests("kernels/src"), ""),
            _ => panic!("{command} is no command that this test knows"),
        };
        assert!(found.iter().any(|name| name.contains(filter)), "`{command}`, for {paths:?}, runs no test");
    }
}

#[test]
fn the_name_of_an_operations_file_is_enough() {
    for (family, _) in dagrad::ops::families() {
        let file = format!("src/ops/{family}.rs");
        assert!(root().join(&file).exists(), "the examples of {family} are not tests of {file}");
    }
}

#[test]
fn no_test_is_forgotten() {
    let manifest = fs::read_to_string(root().join("tests/Cargo.toml")).unwrap();
    assert!(programs().len() > 5, "only {} programs are found", programs().len());
    for program in programs() {
        let entry = format!("name = \"{program}\"\npath = \"{program}/main.rs\"");
        assert!(manifest.contains(&entry), "tests/Cargo.toml does not name {program}");
        for file in sources(&format!("tests/{program}")) {
            let path = Path::new(&file);
            let name = path.file_stem().unwrap().to_string_lossy();
            let folder = root().join(path.parent().unwrap());
            // A file is a module of the one above it: `main.rs` or `mod.rs` beside it, or `mod.rs`'s folder's.
            let (name, folder) = match &*name {
                "main" => continue,
                "mod" => {
                    (folder.file_name().unwrap().to_string_lossy(), folder.parent().unwrap().to_path_buf())
                }
                _ => (name, folder.clone()),
            };
            let above = ["main.rs", "mod.rs"].map(|name| fs::read_to_string(folder.join(name)));
            let is_named = above.iter().flatten().any(|text| text.contains(&format!("mod {name};")));
            assert!(is_named, "{file} is no part of the program {program}");
        }
    }
}

#[test]
fn commands_in_documents_name_programs_that_exist() {
    let programs = programs();
    let mut documents: Vec<PathBuf> =
        fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    documents.extend(
        ["README.md", "tests/golden/README.md", ".ci/run", "tests/mutation/mutants.py"]
            .map(|name| root().join(name)),
    );
    let mut count = 0;
    for path in documents {
        let text = fs::read_to_string(&path).unwrap();
        for rest in text.split("--test ").skip(1) {
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            count += 1;
            assert!(programs.contains(&name), "{}: there is no test program {name:?}", path.display());
        }
    }
    assert!(count > 50, "only {count} commands are found");
}
