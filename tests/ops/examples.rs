//! Every family of operations is checked because it exists: the one list of families makes the tests.

macro_rules! checks {
    ($($family:ident),*) => {$(
        #[test]
        fn $family() {
            let examples = dagrad::ops::$family::examples();
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
