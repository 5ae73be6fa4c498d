//! The documentation shows the examples that are tested.

const PAGE: &str = include_str!("../../docs/async.md");

/// An example without the lines that say what it is, which the page says itself.
fn code(example: &str) -> &str {
    example.split_once("\n\n").map_or(example, |(_, code)| code)
}

#[test]
fn the_page_quotes_the_examples() {
    let examples = [include_str!("../../examples/async_bb8.rs"), include_str!("../../examples/async_deadpool.rs")];
    for example in examples {
        let block = format!("```rust\n{}```\n", code(example));
        assert!(PAGE.contains(&block), "the page should have:\n{block}");
    }
}
