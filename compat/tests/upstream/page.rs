//! What the page names is there: its tests, and the files that a hook would make smaller.

use std::path::Path;

const PAGE: &str = include_str!("../../../docs/upstream.md");

const TESTS: [(&str, &str); 3] = [
    ("copy", include_str!("copy.rs")),
    ("mobc_validate", include_str!("../../../tests/asynchronous_pools/mobc_validate.rs")),
    ("spin", include_str!("spin.rs")),
];

/// What stands between backticks.
fn quoted() -> impl Iterator<Item = &'static str> {
    let prose = PAGE.split("```").step_by(2);
    prose.flat_map(|prose| prose.split('`').skip(1).step_by(2))
}

/// The names of a program's tests, as the test program lists them.
fn names(module: &str, source: &str) -> Vec<String> {
    let tests = source.split("#[test]\n").chain(source.split("#[tokio::test(flavor = \"multi_thread\")]\n"));
    let names = tests.filter_map(|rest| rest.trim_start_matches("async ").strip_prefix("fn "));
    names.filter_map(|rest| rest.split_once('(')).map(|(name, _)| format!("{module}::{name}")).collect()
}

#[test]
fn the_page_names_every_test_of_a_bug() {
    let tests: Vec<_> = TESTS.iter().flat_map(|(module, source)| names(module, source)).collect();
    assert_eq!(tests.len(), 6, "{tests:?}");
    let missing: Vec<_> = tests.iter().filter(|test| !quoted().any(|quoted| quoted == test.as_str())).collect();
    assert!(missing.is_empty(), "the page lacks {missing:?}");
}

#[test]
fn the_files_that_a_hook_would_make_smaller_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let own = [
        "src/asynchronous/",
        "src/connection/notes",
        "src/connection/statements",
        "src/probe/",
        "src/transaction/",
    ];
    let own = quoted().filter(|quoted| own.iter().any(|folder| quoted.starts_with(folder)));
    let own: Vec<_> = own.collect();
    assert!(own.len() >= 10, "{own:?}");
    let gone: Vec<_> = own.iter().filter(|file| !root.join(file).is_file()).collect();
    assert!(gone.is_empty(), "{gone:?}");
}
