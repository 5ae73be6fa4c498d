//! The README's lists for whoever reads a server's log are complete: each statement of this crate by its comment, and
//! each error that its statements cause on purpose. And the words of these lists are still in the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const TAG: &str = "/* diesel-postgres-hot-upgrade: ";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// The code without comments, of all sources.
fn code() -> String {
    let texts = sources(&root().join("src")).into_iter().map(|path| fs::read_to_string(path).expect("a source"));
    let mut code = String::new();
    for text in texts {
        text.lines().filter(|line| !line.trim_start().starts_with("//")).for_each(|line| {
            code.push_str(line);
            code.push('\n');
        });
    }
    code
}

/// In one line.
fn readme() -> String {
    let text = fs::read_to_string(root().join("README.md")).expect("the README");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What stands in the texts of statements. One is never sent, so no server has it in its log.
fn tags() -> BTreeSet<String> {
    let code = code();
    let tags = code.split(TAG).skip(1).filter_map(|rest| rest.split_once(" */")).map(|(tag, _)| tag);
    tags.filter(|tag| *tag != "never sent").map(|tag| tag.trim_end_matches(" {}").to_owned()).collect()
}

/// The settings that do not exist, for which statements ask so that they fail. Some go on with what is variable.
fn errors() -> BTreeSet<String> {
    let code = code();
    let texts = code.split("\"diesel-postgres-hot-upgrade").skip(1).filter_map(|rest| rest.split_once('"'));
    let texts = texts.map(|(text, _)| text.split_once(", in recovery").map_or(text, |(before, _)| before));
    texts.filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

#[test]
fn the_readme_has_every_statement_and_no_other() {
    let readme = readme();
    let (_, list) = readme.split_once("The word after the colon says which: ").expect("the list");
    let (list, _) = list.split_once(" - **").expect("the end of the list");
    let quoted = list.split('`').skip(1).step_by(2).filter(|quoted| *quoted != "pool.hot_transaction");
    let quoted: BTreeSet<_> = quoted.map(str::to_owned).collect();
    assert_eq!(quoted, tags());
}

#[test]
fn the_readme_has_every_error_that_a_server_logs_on_purpose() {
    let readme = readme();
    let errors = errors();
    assert!(errors.len() >= 5, "they are not where they are looked for: {errors:?}");
    let missing: Vec<_> = errors.iter().filter(|text| !readme.contains(text.as_str())).collect();
    assert!(missing.is_empty(), "the README lacks {missing:?}");
}
