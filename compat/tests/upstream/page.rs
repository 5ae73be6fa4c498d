//! The page names each of these tests, and no other.

const PAGE: &str = include_str!("../../../docs/upstream.md");
const SOURCES: [&str; 3] = [
    include_str!("copy.rs"),
    include_str!("spin.rs"),
    include_str!("../../../tests/asynchronous_pools/mobc_validate.rs"),
];

/// The functions that follow a line `#[test]` or `#[tokio::test…]`.
fn tests(source: &str) -> impl Iterator<Item = &str> {
    let lines = source.lines().zip(source.lines().skip(1));
    lines
        .filter(|(attribute, _)| attribute.starts_with("#[test]") || attribute.starts_with("#[tokio::test"))
        .filter_map(|(_, function)| function.split_once("fn ")?.1.split('(').next())
}

#[test]
fn the_page_names_each_test_and_no_other() {
    let known: Vec<_> = SOURCES.iter().flat_map(|source| tests(source)).collect();
    for test in &known {
        assert!(PAGE.contains(&format!("`{test}`")), "the page should name {test}");
    }
    let (_, bugs) = PAGE.split_once("## Bugs").expect("a section");
    let (bugs, _) = bugs.split_once("## Hooks").expect("the next section");
    for entry in bugs.split("**Test").skip(1) {
        let entry = entry.split("\n- ").next().unwrap_or_default();
        for name in entry.split('`').skip(1).step_by(2) {
            assert!(known.contains(&name), "no such test: {name}");
        }
    }
}
