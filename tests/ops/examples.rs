//! Every family of operations is checked because it exists: the one list of families makes the tests.

macro_rules! checks {
    ($($family:ident),*) => {$(
        #[test]
        fn $family() {
            let (_, examples) = find(stringify!($family));
            assert!(!examples.is_empty());
            for example in &examples {
                if let Err(error) = dagrad::check::example(example) {
                    panic!("{}: {error}", stringify!($family));
                }
            }
        }
    )*};
}
dagrad::op_families!(checks);

fn find(family: &str) -> (&'static str, Vec<dagrad::ops::Example>) {
    dagrad::ops::families().into_iter().find(|(name, _)| *name == family).expect("a family of the list")
}

#[test]
fn every_family_is_in_the_list() {
    let listed: Vec<&str> = dagrad::ops::families().into_iter().map(|(name, _)| name).collect();
    let mut found = 0;
    for entry in std::fs::read_dir(crate::common::root().join("src/ops")).expect("the folder of operations") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if text.contains("\npub fn examples()") {
            let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
            assert!(listed.contains(&name), "{name} has examples that nobody checks");
            found += 1;
        }
    }
    assert_eq!(found, listed.len());
}

#[test]
fn what_an_operation_records_is_at_the_line_that_calls_it() {
    use dagrad::ops::example::Values;
    use dagrad::{Graph, Options, vjp};
    let mut failures = Vec::new();
    for (family, examples) in dagrad::ops::families() {
        for example in examples {
            let graph = Graph::new();
            let operand = |(position, sample): (usize, &dagrad::ops::example::Sample)| match sample.values {
                Values::Below(_) => graph.labels(&position.to_string(), &sample.shape),
                _ => graph.input(&position.to_string(), &sample.shape),
            };
            let operands: Vec<_> = example.operands.iter().enumerate().map(operand).collect();
            let y = (example.build)(&graph, &operands);
            let gradients = vjp(&[(y, graph.fill(y.shape(), 1.0))], &operands).unwrap();
            let outputs: Vec<_> = gradients.into_iter().flatten().chain([y]).collect();
            for step in Options::plain().compile::<f64>(&graph, &outputs).unwrap().steps() {
                let site = step.site;
                let text = std::fs::read_to_string(crate::common::root().join(site.file)).unwrap_or_default();
                // Examples stand last in the files of the operations.
                let first = text.lines().position(|line| line.contains("fn examples("));
                if site.file != file!() && first.is_none_or(|first| site.line <= first as u32) {
                    failures.push(format!("{family}, {}: {step} at {site}", example.name));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} steps:\n{}", failures.len(), failures.join("\n"));
}
