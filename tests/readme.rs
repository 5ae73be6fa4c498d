//! The README lists each statement of this crate, and each line that it leaves in a server's log. No server is needed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const NAME: &str = "diesel-postgres-hot-upgrade";

/// What stands in the code of a folder, without its comments.
fn code_in(folder: &Path, code: &mut String) {
    for entry in fs::read_dir(folder).expect("the sources") {
        let path = entry.expect("the sources").path();
        if path.is_dir() {
            code_in(&path, code);
        } else {
            let text = fs::read_to_string(&path).expect("a source");
            code.extend(
                text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")),
            );
        }
    }
}

fn code() -> String {
    let mut code = String::new();
    code_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut code);
    code
}

/// The README in one line, as its words may be wrapped anywhere.
fn readme() -> String {
    include_str!("../README.md").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_readme_lists_the_word_of_each_statement() {
    let (code, readme) = (code(), readme());
    let tags: BTreeSet<_> = code
        .split(&format!("/* {NAME}: "))
        .skip(1)
        .filter_map(|rest| rest.split(" */").next())
        // A number follows.
        .map(|tag| tag.trim_end_matches(" {}"))
        .filter(|tag| *tag != "never sent")
        .collect();
    assert!(tags.len() >= 10, "the statements are not where they are looked for: {tags:?}");
    let missing: Vec<_> = tags.iter().filter(|tag| !readme.contains(&format!("`{tag}`"))).collect();
    assert!(missing.is_empty(), "the README lacks {missing:?}");
}

#[test]
fn the_readme_explains_each_line_in_a_servers_log() {
    let (code, readme) = (code(), readme());
    let lines: BTreeSet<_> = code
        .split(&format!("\"{NAME}"))
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .filter(|line| line.starts_with([' ', ':']))
        // What follows is the server's.
        .map(|line| line.split(", in recovery").next().unwrap_or(line))
        .collect();
    assert!(lines.len() >= 3, "the lines are not where they are looked for: {lines:?}");
    let missing: Vec<_> = lines.iter().filter(|line| !readme.contains(&format!("{NAME}{line}"))).collect();
    assert!(missing.is_empty(), "the README lacks {missing:?}");
}
