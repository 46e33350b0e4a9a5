//! The architecture, enforced: which file may name which, and where `unsafe` may live.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::root;

/// The floors, lowest first. Below all of them are the kernels, a crate that knows nothing of this one. A file names its own
/// module and modules of lower floors. Only the two modules at the bottom name each other.
const FLOORS: [&[&str]; 11] = [
    &["error", "shape"],
    &["graph"],
    &["ops"],
    &["autodiff"],
    &["compile"],
    &["run"],
    &["optim", "inspect", "check", "weights"],
    &["data"],
    &["nn"],
    &["train"],
    &["viz"],
];

/// Where `unsafe` code may be.
const UNSAFE: [&str; 2] = ["kernels/src/", "src/run/workspace.rs"];

/// A source file: its path in the repository, and its text without comments, strings and test modules.
struct Source {
    path: String,
    text: String,
    code: String,
}

impl Source {
    /// The module that the file belongs to: `ops` for `ops/relu.rs`.
    fn module(&self) -> &str {
        self.path.trim_start_matches("src/").split(['/', '.']).next().unwrap_or_default()
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs") || self.path.contains("/tests/")
    }
}

/// All files of the crate but its root, which re-exports from every floor, and those of the kernels.
fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    collect(&root().join("src"), &mut paths);
    collect(&root().join("kernels/src"), &mut paths);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a readable file");
        let code = without_tests(&blanked(&text));
        let path =
            path.strip_prefix(root()).expect("a path below the root").to_string_lossy().replace('\\', "/");
        Source { path, text, code }
    };
    let all: Vec<Source> = paths.into_iter().map(read).filter(|source| source.path != "src/lib.rs").collect();
    assert!(all.len() > 30, "only {} files are found", all.len());
    all
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
}

/// The text with comments and string literals blanked out, every other byte unchanged.
fn blanked(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let length = match rest {
            [b'/', b'/', ..] => rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len()),
            [b'"', ..] => string_length(rest),
            [b'\'', b'"', b'\'', ..] => 3,
            [b'\'', b'\\', _, b'\'', ..] => 4,
            _ => 0,
        };
        out[at..at + length].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at += length.max(1);
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The length of a string literal with its quotes.
fn string_length(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// The code without items marked `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut kept = code.to_string();
    while let Some(start) = kept.find("#[cfg(test)]") {
        let brace = kept[start..].find(['{', ';']).map_or(kept.len(), |offset| start + offset);
        let mut depth = 0;
        let end = kept[brace..].char_indices().find_map(|(offset, character)| {
            depth += i32::from(character == '{') - i32::from(character == '}');
            (depth == 0).then_some(brace + offset + 1)
        });
        kept.replace_range(start..end.unwrap_or(kept.len()), "");
    }
    kept
}

/// Every module of the crate that the code names by `crate::` or by `super::` from the top of its module,
/// with what follows the name.
fn imports(source: &Source) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let path = source.path.trim_start_matches("src/");
    let depth = path.matches('/').count() - usize::from(path.ends_with("/mod.rs"));
    let to_root = "super::".repeat(depth + 1);
    for start in ["crate::", &to_root] {
        for (at, _) in source.code.match_indices(start) {
            let before = source.code[..at].chars().next_back().unwrap_or(' ');
            let rest = &source.code[at + start.len()..];
            if before.is_alphanumeric() || before == ':' || rest.starts_with("super::") {
                continue;
            }
            let end =
                rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
            let group =
                rest[end..].strip_prefix('{').map(|group| &group[..group.find('}').unwrap_or(group.len())]);
            for name in group.unwrap_or("").split(',') {
                let path = format!("{}{}", &rest[..end], name.trim());
                let (module, tail) = path.split_once("::").unwrap_or((&path, ""));
                found.push((module.to_string(), tail.to_string()));
            }
        }
    }
    found
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|modules| modules.contains(&module))
}

#[test]
fn every_file_names_only_its_own_module_and_lower_floors() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for source in sources().iter().filter(|source| source.path.starts_with("src/")) {
        let Some(own) = floor(source.module()) else {
            wrong.push(format!("{} belongs to no floor", source.path));
            continue;
        };
        for (module, tail) in imports(source) {
            count += 1;
            match floor(&module) {
                Some(0) => {}
                Some(other) if other < own || module == source.module() => {}
                Some(_) => {
                    wrong.push(format!("{} names {module}::{tail}, which is not below it", source.path))
                }
                None => wrong.push(format!("{} names crate::{module} by no floor", source.path)),
            }
        }
    }
    assert!(count > 100, "only {count} imports are found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_engine_names_no_operation() {
    let engine = ["autodiff", "compile", "run", "graph"];
    let sources = sources();
    let sources = sources.iter().filter(|source| engine.contains(&source.module()));
    let named = |source: &Source| {
        let imports = imports(source).into_iter().filter(|(module, _)| module == "ops");
        imports.map(|(_, tail)| format!("{} names ops::{tail}", source.path)).collect::<Vec<_>>()
    };
    let wrong: Vec<String> = sources.flat_map(named).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_lives_in_the_kernels_and_the_workspace_and_says_why_it_is_sound() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        let code = blanked(&source.text);
        for (number, line) in code.lines().enumerate().filter(|(_, line)| has_word(line, "unsafe")) {
            count += 1;
            let location = format!("{}:{}", source.path, number + 1);
            if !UNSAFE.iter().any(|allowed| source.path.starts_with(allowed)) {
                wrong.push(format!("{location}: unsafe code outside of {UNSAFE:?}"));
            }
            let reason = if line.contains("unsafe {") || line.contains("unsafe impl") {
                lines[number.saturating_sub(3)..=number].iter().any(|line| line.contains("SAFETY:"))
            } else {
                true
            };
            if !reason {
                wrong.push(format!("{location}: no `SAFETY:` within the three lines above"));
            }
        }
    }
    assert!(count > 10, "only {count} uses are found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|found| found == word)
}

#[test]
fn files_stay_within_sight() {
    let long = |source: &Source| source.text.lines().count() > 420;
    let sources = sources();
    let found: Vec<String> = sources
        .iter()
        .filter(|source| long(source) && !source.is_test())
        .map(|source| format!("{}: {} lines", source.path, source.text.lines().count()))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_reader_of_sources_sees_what_it_should() {
    let text = "use crate::run::Store; // crate::ops\nlet s = \"crate::data \\\" x\";\n\
                #[cfg(test)]\nmod tests { use crate::train::X; fn f() {} }\nfn g() { crate::ops::h() }\n\
                use crate::{graph::Var, shape};";
    let source = |path: &str, text: &str| Source {
        path: path.to_string(),
        text: text.to_string(),
        code: without_tests(&blanked(text)),
    };
    let modules = |source: &Source| imports(source).into_iter().map(|(module, _)| module).collect::<Vec<_>>();
    assert_eq!(modules(&source("a/b.rs", text)), ["run", "ops", "graph", "shape"]);
    assert_eq!(modules(&source("a/b.rs", "use super::super::ops::Relu; use super::c::D;")), ["ops"]);
    assert_eq!(modules(&source("a.rs", "use super::ops::Relu;")), ["ops"]);
    assert!(has_word("    unsafe {", "unsafe") && !has_word("unsafe_code", "unsafe"));
}
