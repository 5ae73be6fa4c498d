//! The documentation shows the code that is tested.

const PAGE: &str = include_str!("../../../../docs/async-pools.md");

/// A recipe, without the line that says what it is, which the page says itself.
fn code(recipe: &str) -> &str {
    recipe.split_once("\n\n").map_or(recipe, |(_, code)| code)
}

#[test]
fn the_page_quotes_the_tested_recipes() {
    let recipes = [
        include_str!("../../../src/deadpool_diesel.rs"),
        include_str!("../../../src/async_bb8_diesel.rs"),
        include_str!("../../../src/rocket.rs"),
    ];
    for recipe in recipes {
        let block = format!("```rust\n{}```\n", code(recipe));
        assert!(PAGE.contains(&block), "the page should have:\n{block}");
    }
}
