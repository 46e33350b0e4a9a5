//! The documents say what the code does: links lead somewhere, the map of the sources is whole, and every
//! listing is what the code prints today. (Their Rust snippets are tests of their own: see the end of
//! `src/lib.rs`.)
//!
//! A listing is a block of text after a line `<!-- listing: name -->`. To write all of them anew:
//! `DAGRAD_WRITE_LISTINGS=1 cargo test --test documents listings`

use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs;
use std::path::PathBuf;

use crate::common::root;
use dagrad::compile::Options;
use dagrad::inspect::Summary;
use dagrad::nn::{Network, SimpleConvNet};
use dagrad::{Graph, Plan, Result, Var};

// The networks of the documents. Listings count lines from the first one between the marks.

mod regression {
    // begin: regression.rs
    use dagrad::optim::{Sgd, minimize};
    use dagrad::{Graph, Init, Result, Var};

    pub fn loss(graph: &Graph) -> Var<'_> {
        let x = graph.input("x", [4, 3]);
        let y = graph.input("y", [4, 2]);
        let w = graph.param("w", [3, 2], Init::he(3));
        let b = graph.param("b", [2], Init::ZEROS);
        let error = (x.matmul(w) + b).relu() - y;
        (error * error).mean_all()
    }

    pub fn step(loss: Var<'_>) -> Result<()> {
        minimize(loss, &Sgd::new(0.1))
    }
    // end
}

mod tiny {
    // begin: tiny.rs
    use dagrad::nn::{self, Filters};
    use dagrad::{Graph, Result, Var, gradients};

    pub fn loss(graph: &Graph) -> Var<'_> {
        let image = graph.input("image", [2, 1, 6, 6]);
        let label = graph.labels("label", [2]);
        let h = nn::conv2d(image, "conv", Filters::new(4, 3)).relu();
        let h = nn::linear(h.max_pool2d(2).flatten(), "fc", 3);
        h.softmax_cross_entropy(label)
    }

    pub fn parameter_gradients(loss: Var<'_>) -> Result<Vec<Var<'_>>> {
        gradients(loss, &loss.graph().parameters())
    }
    // end
}

mod wrong {
    // begin: wrong.rs
    use dagrad::{Conv2dOptions, Graph, Init, Var};

    pub fn features(graph: &Graph) -> Var<'_> {
        let image = graph.input("image", [100, 3, 28, 28]);
        let weight = graph.param("weight", [30, 1, 5, 5], Init::he(25));
        image.conv2d(weight, Conv2dOptions::new()).relu().max_pool2d(2)
    }
    // end
}

mod passes {
    // begin: passes.rs
    use dagrad::{Conv2dOptions, Graph, Init, Var};

    pub fn prune(graph: &Graph) -> Var<'_> {
        let x = graph.input("x", [4]);
        let _forgotten = x.exp();
        x.tanh()
    }

    pub fn dedup(graph: &Graph) -> Var<'_> {
        let x = graph.input("x", [4]);
        x.exp() + x.exp().sqrt()
    }

    pub fn simplify(graph: &Graph) -> Var<'_> {
        let (x, w) = (graph.input("x", [3, 4]), graph.input("w", [3, 2]));
        x.transpose().matmul(w) * 1.0
    }

    pub fn fold(graph: &Graph) -> Var<'_> {
        let (image, w) = (graph.input("image", [2, 3, 8, 8]), graph.param("w", [4, 3, 3, 3], Init::he(27)));
        let (b, s) = (graph.param("b", [4, 1, 1], Init::ZEROS), graph.param("s", [4, 1, 1], Init::ONES));
        (image.conv2d(w, Conv2dOptions::new()) + b) * s
    }

    pub fn absorb(graph: &Graph) -> Var<'_> {
        let x = graph.input("x", [4, 3]);
        let (w, b) = (graph.param("w", [3, 2], Init::he(3)), graph.param("b", [2], Init::ZEROS));
        (x.matmul(w) + b).relu()
    }

    pub fn hoist(graph: &Graph) -> Var<'_> {
        let (image, w) = (graph.input("image", [2, 3, 8, 8]), graph.param("w", [4, 3, 3, 3], Init::he(27)));
        image.conv2d(w, Conv2dOptions::new())
    }

    pub fn fuse(graph: &Graph) -> Var<'_> {
        let (x, row) = (graph.input("x", [4, 3]), graph.input("row", [3]));
        (x * 2.0 + row).tanh()
    }

    pub fn join(graph: &Graph) -> Var<'_> {
        let error = graph.input("x", [4, 3]) - graph.input("y", [4, 3]);
        error.tanh().matmul(error.transpose())
    }

    pub fn lower(graph: &Graph) -> Var<'_> {
        let (image, w) = (graph.input("image", [2, 3, 8, 8]), graph.param("w", [4, 3, 3, 3], Init::he(27)));
        image.conv2d(w, Conv2dOptions::new()).max_pool2d(2)
    }

    pub fn depth_first(graph: &Graph) -> Var<'_> {
        let image = graph.input("image", [64, 3, 32, 32]);
        let w = graph.param("w", [8, 3, 3, 3], Init::he(27));
        image.conv2d(w, Conv2dOptions::new()).relu().avg_pool2d(2)
    }
    // end
}

/// What a listing shows.
fn listing(name: &str) -> Result<String> {
    if name.ends_with(".rs") {
        return Ok(source(name));
    }
    let graph = Graph::new();
    let (about, what) = name.split_once(' ').unwrap_or((name, ""));
    let (value, all) = (recorded(about, &graph), &Options::new());
    let only = |last: &str| {
        let later = all.names().into_iter().skip_while(|pass| *pass != last).skip(1);
        later.filter(|pass| *pass != last).fold(all.clone(), Options::without)
    };
    match what {
        "error" => Ok(graph.check().map_or_else(text, |()| panic!("{about} has no error"))),
        "graph" => Ok(text(&graph)),
        "before" => Ok(text(only(about).without(about).program(&graph, &[value])?)),
        "after" => Ok(text(only(about).program(&graph, &[value])?)),
        "gradient" => {
            let known = graph.len();
            tiny::parameter_gradients(value)?;
            Ok(text(&graph).split_inclusive('\n').skip(known).collect())
        }
        "summary" => Ok(text(Summary::of(value))),
        "steps" => Ok(text(Plan::<f32>::compile(&graph, &[value])?)),
        "step" | "table" | "program" | "plan" => {
            regression::step(value)?;
            Ok(match what {
                "step" => text(&graph),
                "table" => table(&graph, value)?,
                "program" => text(all.program(&graph, &[value])?),
                _ => text(Plan::<f32>::compile(&graph, &[value])?),
            })
        }
        "gradient program" | "gradient plan" => {
            let outputs = [vec![value], tiny::parameter_gradients(value)?].concat();
            Ok(match what {
                "gradient program" => text(all.program(&graph, &outputs)?),
                _ => text(Plan::<f32>::compile(&graph, &outputs)?),
            })
        }
        _ => panic!("no listing is called {name:?}"),
    }
}

/// The book's network on one image.
fn simple(graph: &Graph) -> Var<'_> {
    SimpleConvNet::default().logits(graph.input("image", [1, 1, 28, 28]))
}

fn recorded<'g>(name: &str, graph: &'g Graph) -> Var<'g> {
    let record = match name {
        "regression" => regression::loss,
        "simple" => simple,
        "tiny" => tiny::loss,
        "wrong" => wrong::features,
        "prune" => passes::prune,
        "dedup" => passes::dedup,
        "simplify" => passes::simplify,
        "fold" => passes::fold,
        "absorb" => passes::absorb,
        "hoist" => passes::hoist,
        "fuse" => passes::fuse,
        "join" => passes::join,
        "lower" => passes::lower,
        "depth_first" => passes::depth_first,
        _ => panic!("no network is called {name:?}"),
    };
    record(graph)
}

/// What is left of a training step after each pass.
fn table(graph: &Graph, loss: Var<'_>) -> Result<String> {
    let mut table = format!("{:<10}{:>3} nodes\n", "recorded", graph.len());
    let names = Options::new().names();
    let passes = names.iter().position(|name| *name == "memory").unwrap_or(names.len());
    for (position, name) in names.iter().enumerate().take(passes) {
        // A name that runs twice is left out as a whole; it is shown once, where it runs last.
        if names[position + 1..passes].contains(name) {
            continue;
        }
        let later = names[position + 1..passes].iter().filter(|later| !names[..=position].contains(later));
        let options = later.fold(Options::new(), |options, later| options.without(later));
        let program = options.program(graph, &[loss])?.to_string();
        let nodes = program.lines().filter(|line| line.starts_with('%')).count();
        table += &format!("{name:<10}{nodes:>3} nodes\n");
    }
    let (plain, plan) = (
        Options::new().without("memory").compile::<f32>(graph, &[loss])?,
        Plan::<f32>::compile(graph, &[loss])?,
    );
    table += &format!("plan      {:>3} steps\n", plan.steps().len());
    table += &format!("arena     {} bytes, without `memory` {}\n", plan.arena_bytes(), plain.arena_bytes());
    Ok(table)
}

/// What is printed, with the lines of this file under the names that the documents give to its parts.
fn text(printed: impl Display) -> String {
    let printed = printed.to_string().replace('\\', "/");
    let own = file!().replace('\\', "/");
    let mut parts = printed.split(&own);
    let mut shown = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let digits = part[1..].find(|c: char| !c.is_ascii_digit()).map_or(part.len(), |end| end + 1);
        let line: usize = part[1..digits].parse().unwrap_or(0);
        let (name, first) = regions().into_iter().rev().find(|(_, first)| *first <= line).unwrap_or_default();
        shown += &format!("{name}:{}{}", line + 1 - first, &part[digits..]);
    }
    shown
}

const THIS: &str = include_str!("listings.rs");

/// The marked parts of this file: name, and number of the first line.
fn regions() -> Vec<(String, usize)> {
    let marks = THIS.lines().enumerate();
    marks
        .filter_map(|(line, text)| Some((text.strip_prefix("    // begin: ")?.to_string(), line + 2)))
        .collect()
}

/// The lines of a marked part.
fn source(name: &str) -> String {
    let first = regions().into_iter().find(|(region, _)| region == name);
    let first = first.unwrap_or_else(|| panic!("no part of this file is called {name:?}")).1;
    let lines = THIS.lines().skip(first - 1).take_while(|line| *line != "    // end");
    lines.map(|line| line.strip_prefix("    ").unwrap_or(line).to_string() + "\n").collect()
}

/// `README.md` and everything in `docs/`.
fn documents() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<PathBuf> = docs.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    all.sort();
    all.insert(0, root().join("README.md"));
    all
}

/// The lines of a document outside its blocks of code.
fn prose(document: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    document.lines().filter(move |line| {
        let is_fence = line.starts_with("```");
        inside ^= is_fence;
        !inside && !is_fence
    })
}

#[test]
fn listings_are_what_the_code_prints() {
    let write = std::env::var_os("DAGRAD_WRITE_LISTINGS").is_some();
    let mut shown = BTreeSet::new();
    for path in documents() {
        let old = fs::read_to_string(&path).unwrap();
        let mut new = String::new();
        let mut lines = old.lines();
        while let Some(line) = lines.next() {
            new += &format!("{line}\n");
            let Some(name) = line.strip_prefix("<!-- listing: ").and_then(|rest| rest.strip_suffix(" -->"))
            else {
                continue;
            };
            shown.insert(name.to_string());
            let fence = lines.next().filter(|line| line.starts_with("```"));
            let fence = fence.unwrap_or_else(|| panic!("{}: no block follows {line}", path.display()));
            lines.by_ref().take_while(|line| *line != "```").for_each(drop);
            let listing = listing(name).unwrap_or_else(|error| panic!("{name}: {error}"));
            new += &format!("{fence}\n{}\n```\n", listing.trim_end());
        }
        if write {
            fs::write(&path, &new).unwrap();
        } else if let Some((number, (is, was))) =
            new.lines().zip(old.lines()).enumerate().find(|(_, (is, was))| is != was)
        {
            panic!(
                "{}:{}: a listing is out of date; DAGRAD_WRITE_LISTINGS=1 cargo test --test documents listings\n\
                 it shows {was:?}\nbut now is {is:?}",
                path.display(),
                number + 1
            );
        } else {
            assert_eq!(new.lines().count(), old.lines().count(), "{}: a listing is too long", path.display());
        }
    }
    assert!(shown.len() > 5, "the marks of listings are no longer found");
}

#[test]
fn links_lead_somewhere() {
    for path in documents() {
        let document = fs::read_to_string(&path).unwrap();
        for target in prose(&document).flat_map(links) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(file.exists(), "{}: {target} does not exist", path.display());
            if !anchor.is_empty() {
                let there = fs::read_to_string(&file).unwrap();
                let has = prose(&there).any(|line| line.starts_with('#') && slug(line) == anchor);
                assert!(has, "{}: {target}: no heading is called so", path.display());
            }
        }
    }
}

/// The targets of a line's links.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

/// The anchor that a heading gets.
fn slug(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn the_readme_names_its_commands() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for command in [
        "cargo run --release --example deep_vs_shallow",
        "cargo run --release --example simple_conv_net",
        "cargo test",
    ] {
        assert!(readme.contains(command), "README.md does not name `{command}`");
    }
}

#[test]
fn commands_name_examples_that_exist() {
    for path in documents() {
        let document = fs::read_to_string(&path).unwrap();
        for rest in document.split("--example ").skip(1) {
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let example = root().join("examples").join(&name).with_extension("rs");
            assert!(example.exists(), "{}: there is no example {name}", path.display());
        }
    }
}

#[test]
fn the_map_names_every_module() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let name = if entry.file_type().unwrap().is_dir() { name + "/" } else { name };
        assert!(
            readme.lines().any(|line| line.trim_start().starts_with(&name)),
            "README.md's map lacks {name}"
        );
    }
}

#[test]
fn the_tour_visits_every_file() {
    let tour = fs::read_to_string(root().join("docs/tour.md")).unwrap();
    let mut open = vec![root().join("src"), root().join("kernels/src")];
    while let Some(folder) = open.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
            if path.is_dir() {
                open.push(path);
            } else if name.ends_with(".rs") && !name.ends_with("/tests.rs") {
                assert!(tour.contains(&format!("](../{name})")), "docs/tour.md does not visit {name}");
            }
        }
    }
}

#[test]
fn every_snippet_is_tested() {
    let library = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    for path in documents() {
        let name = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
        let included = format!("include_str!(\"../{name}\")");
        assert!(library.contains(&included), "src/lib.rs does not test the snippets of {name}");
    }
}
