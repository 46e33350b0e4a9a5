//! The flags of examples and benchmarks: errors say what is wrong and what is allowed, and `--help` lists what is read.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;

use crate::common::{alone, assert_mentions, root};

#[path = "../../examples/arguments/mod.rs"]
mod arguments;

use arguments::{Flags, say};

/// Reads flags of every kind.
fn read(line: &str) -> Result<(u32, Vec<i32>, Vec<usize>, String), String> {
    let mut flags = Flags::of(line.split(' ').filter(|word| !word.is_empty()));
    let mut read = (8, Vec::new(), Vec::new(), String::new());
    while let Some(flag) = flags.next()? {
        match flag.as_str() {
            "--epochs" => read.0 = flags.number("a whole number from 1 on", |&number| number > 0)?,
            "--rule" => read.1.push(flags.one_of(&[("sgd", 1), ("adam", 2)])?),
            "--rules" => read.1.extend(flags.some_of(&[("sgd", 1), ("adam", 2)])?),
            "--threads" => read.2.extend(flags.counts()?),
            "--report" => read.3 = flags.path()?.display().to_string(),
            "--quiet" => {}
            _ => return flags.unknown(),
        }
    }
    Ok(read)
}

#[test]
fn flags_are_read_in_any_order_and_either_spelling() {
    assert_eq!(read(""), Ok((8, vec![], vec![], String::new())));
    let expected = Ok((3, vec![2, 1, 2], vec![1, 4], "a.html".to_string()));
    assert_eq!(
        read("--rule adam --threads 1,4 --quiet --epochs 3 --rules sgd,adam --report a.html"),
        expected
    );
    assert_eq!(
        read("--report=a.html --rule=adam --rules=sgd,adam --epochs=3 --threads=1 --threads=4"),
        expected
    );
}

#[test]
fn an_error_names_the_flag_its_value_and_what_is_allowed() {
    let cases: [(&str, &[&str]); 11] = [
        ("--epoch 3", &["there is no flag --epoch"]),
        ("-e 3", &["there is no flag -e"]),
        ("--epochs", &["--epochs needs a value"]),
        ("--epochs 0", &["--epochs 0", "not a whole number from 1 on"]),
        ("--epochs -1", &["--epochs -1", "not a whole number from 1 on"]),
        ("--epochs 1.5", &["--epochs 1.5", "not a whole number from 1 on"]),
        ("--rule adagrad", &["--rule adagrad", "none of sgd, adam"]),
        ("--rules sgd,x", &["--rules x", "none of sgd, adam"]),
        ("--threads 1,0", &["--threads 1,0", "whole numbers from 1 on"]),
        ("--quiet=yes", &["--quiet", "yes"]),
        ("3", &["\"3\" belongs to no flag"]),
    ];
    for (line, parts) in cases {
        let error = read(line).expect_err(line);
        assert_mentions(&error, parts);
    }
}

/// The flags in a text: two dashes, letters and single dashes.
fn flags(text: &str) -> BTreeSet<String> {
    let starts = text.match_indices("--").map(|(at, _)| &text[at + 2..]);
    let names = starts.map(|rest| {
        let end = rest.find(|c: char| !(c.is_ascii_lowercase() || c == '-')).unwrap_or(rest.len());
        rest[..end].to_string()
    });
    names.filter(|name| !name.is_empty()).collect()
}

#[test]
fn help_lists_the_flags_that_are_read() {
    /// Flags that are no choice of a user's, and those of other programs.
    const OTHERS: [&str; 6] = ["bench", "example", "logdir", "no-header", "release", "help"];
    for path in [
        "examples/alexnet_profile.rs",
        "examples/deep_vs_shallow.rs",
        "examples/filters.rs",
        "examples/simple_conv_net.rs",
        "benches/train/main.rs",
    ] {
        let text = fs::read_to_string(root().join(path)).unwrap();
        let (_, rest) = text.split_once("const HELP: &str = \"\\\n").expect("a help text");
        let (help, rest) = rest.split_once("\";").expect("its end");
        let read: String = rest.lines().filter(|line| line.contains("\" =>")).collect();
        let without_others = |text: &str| {
            let mut found = flags(text);
            found.retain(|flag| !OTHERS.contains(&flag.as_str()));
            found
        };
        let (listed, read) = (without_others(help), without_others(&read));
        assert!(read.len() > 1, "{path}: only {read:?} are found");
        assert_eq!(listed, read, "{path}: what `--help` lists, and what is read");
    }
}

#[test]
#[ignore = "it is a part of the next test"]
fn a_program_that_goes_on_printing() {
    let mut nobody_reads_on = String::new();
    std::io::stdin().read_line(&mut nobody_reads_on).unwrap(); // waits until that is so
    (0..100).for_each(|line| say!("line {line}"));
    eprintln!("the end is reached");
}

#[test]
fn lines_that_nobody_reads_end_no_program() {
    let mut command = alone("commands::a_program_that_goes_on_printing");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("running") {
        assert!(output.read_line(&mut line).unwrap() > 0, "the program says nothing");
    }
    drop(output); // as `head -1` does
    drop(child.stdin.take());
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    assert_mentions(&text, &["the end is reached"]);
}

/// All sources below a folder, with what they hold.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push((entry.display().to_string(), fs::read_to_string(&entry).unwrap()));
        }
    }
}

#[test]
fn nothing_is_printed_by_what_panics_when_nobody_reads() {
    let mut found = Vec::new();
    for folder in ["src", "kernels/src", "examples", "benches"] {
        sources(&root().join(folder), &mut found);
    }
    assert!(found.len() > 100);
    for (path, text) in found {
        let code = text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
        let printing =
            code.filter(|line| ["print!(", "println!(", "dbg!("].iter().any(|name| line.contains(name)));
        assert_eq!(printing.collect::<Vec<_>>(), [""; 0], "{path}: `println!` panics; use `writeln!`");
    }
}
