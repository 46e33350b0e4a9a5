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
