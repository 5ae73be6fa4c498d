//! Statements, each with every operator, cast and function qualified: nothing that a user defined is executed.

/// The statement of a file in `sql/`, as one that returns JSON. In the files, operators stand between spaces and casts
/// have bare names; here they get their schema.
pub(crate) fn json(text: &str) -> String {
    rows_as_json(&qualified(text))
}

/// A statement that is qualified already, as one that returns JSON.
pub(crate) fn rows_as_json(qualified: &str) -> String {
    format!(
        "/* diesel-hot-upgrade */ SELECT pg_catalog.row_to_json(r)::pg_catalog.text AS row FROM ({qualified}) r"
    )
}

const OPERATORS: [&str; 11] = ["=", "<>", "!~", "~", "<", ">", "<=", ">=", "||", "+", "-"];

fn qualified(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("--"));
    let words = lines.flat_map(str::split_whitespace).map(|word| {
        if OPERATORS.contains(&word) {
            return format!("OPERATOR(pg_catalog.{word})");
        }
        // The only type whose name is a key word.
        word.replace("::", "::pg_catalog.").replace("::pg_catalog.char", "::pg_catalog.\"char\"")
    });
    words.collect::<Vec<_>>().join(" ")
}

/// An identifier as SQL.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn operators_and_casts_get_their_schema() {
        let sql = qualified("-- A comment = with one.\nSELECT a.b::int8 = c\n    FROM d WHERE e <> 'f'::char[]");
        let expected = "SELECT a.b::pg_catalog.int8 OPERATOR(pg_catalog.=) c FROM d \
                        WHERE e OPERATOR(pg_catalog.<>) 'f'::pg_catalog.\"char\"[]";
        assert_eq!(sql, expected);
    }

    #[test]
    fn nothing_in_a_statement_is_looked_up_in_the_search_path() {
        const WORDS: [&str; 20] = [
            "and", "or", "not", "any", "array", "coalesce", "exists", "from", "in", "lateral", "operator",
            "select", "where", "as", "join", "on", "then", "when", "values", "objects",
        ];
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/catalog/sql");
        for entry in fs::read_dir(folder).expect("the statements") {
            let path = entry.expect("a file").path();
            let sql = qualified(&fs::read_to_string(&path).expect("a statement"));
            let outside: String = sql.split('\'').step_by(2).collect::<Vec<_>>().join(" ");
            let bare = outside.replace("OPERATOR(pg_catalog.", "");
            for operator in
                ["=", "<", ">", "~", "|", "+", " - ", " IN (", " IN(", "BETWEEN", "LIKE", "USING", "IS DISTINCT"]
            {
                let count = outside.matches(operator).count();
                let named = outside.matches("OPERATOR(pg_catalog.").count();
                assert!(count <= named, "{}: {operator}", path.display());
            }
            for (at, _) in bare.match_indices('(') {
                let before: String =
                    bare[..at].chars().rev().take_while(|c| c.is_alphanumeric() || "_.\"".contains(*c)).collect();
                let before: String = before.chars().rev().collect();
                let is_word = before.is_empty() || WORDS.contains(&before.to_lowercase().as_str());
                let is_alias = bare[..at].ends_with(&format!("{before} ")) || before.len() == 1;
                assert!(is_word || is_alias || before.starts_with("pg_catalog."), "{}: {before}(", path.display());
            }
        }
    }

    #[test]
    fn an_identifier_is_quoted() {
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
    }
}
