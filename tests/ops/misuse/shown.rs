//! What a user sees of a misuse, whatever the program does with it.

use std::process::Termination;

use crate::common::alone;
use dagrad::{Conv2dOptions, Graph, Init, Result, Var};

/// A network whose convolution does not fit, and code that goes on with its result as with any other.
const LINE: u32 = line!() + 2;
fn network<'g>(graph: &'g Graph, images: Var<'g>) -> Result<Var<'g>> {
    let h = images.conv2d(graph.param("w", [4, 5, 3, 3], Init::ZEROS), Conv2dOptions::new());
    let [_, channels, height, width] = h.sizes();
    let pooled = h.max_pool2d(2).relu();
    let features = channels * (height / 2) * (width / 2) + pooled.shape()[1] - pooled.shape()[3] % 2;
    let flat = pooled.reshape([2, features]);
    let logits = flat.matmul(graph.param("fc", [flat.shape()[1], 10], Init::ZEROS));
    graph.check()?;
    Ok(logits)
}

fn misused() -> Result<()> {
    let graph = Graph::new();
    network(&graph, graph.input("images", [2, 3, 8, 8])).map(drop)
}

#[test]
#[ignore = "what `main` does with an error, in a process of its own"]
fn returned_from_main() {
    // This is how the standard library ends a program whose `main` returns a result.
    assert_ne!(format!("{:?}", misused().report()), "");
}

#[test]
#[ignore = "a panic, in a process of its own"]
fn unwrapped() {
    misused().unwrap();
}

#[test]
fn main_and_unwrap_show_the_message_and_the_line() {
    let start = format!("conv2d at {}:{LINE}: ", file!());
    for test in ["misuse::shown::returned_from_main", "misuse::shown::unwrapped"] {
        let printed = String::from_utf8(alone(test).output().unwrap().stderr).unwrap();
        let lines = [start.as_str(), "\n  weight [4, 5, 3, 3] param \"w\" at ", "\n  hint: "];
        for part in lines {
            assert!(printed.contains(part), "{test} prints no {part:?}:\n{printed}");
        }
    }
}

#[test]
fn sizes_of_another_rank_are_a_misuse_of_the_users_line() {
    let graph = Graph::new();
    let line = line!() + 1;
    let [height, width] = graph.input("images", [2, 3, 8, 8]).sizes();
    assert_eq!([height, width], [2, 3]);
    let text = graph.check().unwrap_err().to_string();
    let start = format!("sizes at {}:{line}: the array has 4 axes, not 2", file!());
    assert!(text.starts_with(&start), "{text}");
}
