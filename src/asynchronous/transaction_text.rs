//! Does a text end the transaction? diesel-async has no view of what the server thinks of the transaction, so a
//! `COMMIT` that the user wrote has to be seen in what is sent.

/// Does one of the statements end a transaction? One that ends a savepoint does not.
pub(super) fn ends_transaction(sql: &str) -> bool {
    let mut rest = sql;
    loop {
        let (words, after) = first_words(rest);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let ends = match words.as_slice() {
            ["COMMIT" | "END" | "ABORT", ..] | ["PREPARE", "TRANSACTION", ..] => true,
            ["ROLLBACK", rest @ ..] => !rest.contains(&"TO"),
            _ => false,
        };
        if ends {
            return true;
        }
        match after {
            Some(after) => rest = after,
            None => return false,
        }
    }
}

/// As many as such a statement has. (`ROLLBACK TRANSACTION TO`)
const WORDS: usize = 3;

/// The first words of a statement, and what follows its semicolon. Quoted texts, comments, and the body of a function
/// are passed over.
fn first_words(sql: &str) -> (Vec<String>, Option<&str>) {
    let (mut words, mut rest, mut body) = (Vec::new(), sql, Body::default());
    loop {
        let Some(next) = rest.chars().next() else {
            return (words, None);
        };
        if next == ';' && body.depth == 0 {
            return (words, Some(&rest[1..]));
        }
        if next.is_alphanumeric() || next == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').unwrap_or(rest.len());
            let word = &rest[..end];
            rest = &rest[end..];
            let is_escaped = word.eq_ignore_ascii_case("e") && rest.starts_with('\'');
            if is_escaped {
                rest = after_quote(&rest[1..], '\'', true);
                continue;
            }
            body.read(word);
            if words.len() < WORDS {
                words.push(word.to_ascii_uppercase());
            }
        } else {
            rest = after_token(rest, next);
        }
    }
}

/// `BEGIN ATOMIC … END`, the body of a function in SQL, whose statements end with semicolons. `CASE … END` is inside.
#[derive(Default)]
struct Body {
    depth: usize,
    may_begin: bool,
}

impl Body {
    fn read(&mut self, word: &str) {
        let is = |other| word.eq_ignore_ascii_case(other);
        if is("ATOMIC") && self.may_begin {
            self.depth = 1;
        } else if is("CASE") && self.depth > 0 {
            self.depth += 1;
        } else if is("END") {
            self.depth = self.depth.saturating_sub(1);
        }
        self.may_begin = is("BEGIN") && self.depth == 0;
    }
}

fn after_token(sql: &str, first: char) -> &str {
    let rest = &sql[first.len_utf8()..];
    match first {
        '\'' | '"' => after_quote(rest, first, false),
        '-' if rest.starts_with('-') => rest.find(['\n', '\r']).map_or("", |end| &rest[end..]),
        '/' if rest.starts_with('*') => after_comment(&rest[1..]),
        '$' => after_dollar_quote(rest),
        _ => rest,
    }
}

fn after_quote(sql: &str, quote: char, has_escapes: bool) -> &str {
    let mut chars = sql.char_indices();
    while let Some((at, c)) = chars.next() {
        if has_escapes && c == '\\' {
            chars.next();
        } else if c == quote {
            // A doubled one begins the next quote, which is passed over alike.
            return &sql[at + 1..];
        }
    }
    ""
}

/// Comments nest.
fn after_comment(sql: &str) -> &str {
    let (mut depth, mut rest) = (1, sql);
    while depth > 0 {
        let (open, close) = (rest.find("/*"), rest.find("*/"));
        match (open, close) {
            (Some(open), Some(close)) if open < close => (depth, rest) = (depth + 1, &rest[open + 2..]),
            (_, Some(close)) => (depth, rest) = (depth - 1, &rest[close + 2..]),
            (_, None) => return "",
        }
    }
    rest
}

/// `$1` is a parameter, and `$$` or `$tag$` begins a quote.
fn after_dollar_quote(sql: &str) -> &str {
    let end = sql.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(sql.len());
    let is_quote = sql[end..].starts_with('$') && !sql.starts_with(|c: char| c.is_ascii_digit());
    if !is_quote {
        return sql;
    }
    let tag = format!("${}$", &sql[..end]);
    let body = &sql[end + 1..];
    body.find(&tag).map_or("", |at| &body[at + tag.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_ends_the_transaction_is_seen() {
        let ending = [
            "COMMIT",
            " commit ;",
            "SELECT 1; commit",
            "/* a; */ END",
            "-- no\nABORT",
            "rollback",
            "ROLLBACK WORK",
            "COMMIT AND CHAIN",
            "SELECT ';'';'; ROLLBACK",
            "SELECT E'\\';'; COMMIT",
            "DO $x$ BEGIN; END $x$; COMMIT",
            "PREPARE TRANSACTION 'a'",
            "/* /* */ */ COMMIT",
            "-- no\rCOMMIT",
            "CREATE FUNCTION f() RETURNS int4 BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END; COMMIT",
        ];
        for sql in ending {
            assert!(ends_transaction(sql), "{sql}");
        }
    }

    #[test]
    fn a_text_that_does_not_is_not() {
        let others = [
            "",
            "SELECT 1",
            "ROLLBACK TO SAVEPOINT a",
            "ROLLBACK TRANSACTION TO a",
            "SELECT 'a; COMMIT'",
            "SELECT \"a; COMMIT\"",
            "SELECT E'\\'; COMMIT'",
            "DO $$ BEGIN; COMMIT; END $$",
            "DO $tag$ ; COMMIT; $$ $tag$",
            "SELECT $1; SELECT $2",
            "/* ; COMMIT */ SELECT 1 -- ; COMMIT",
            "/* /* */ ; COMMIT */ SELECT 1",
            "PREPARE a AS SELECT 1",
            "SAVEPOINT a; RELEASE a",
            "committed",
            "CREATE FUNCTION f() RETURNS int4 LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END",
            "CREATE PROCEDURE f() BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END; SELECT 1",
        ];
        for sql in others {
            assert!(!ends_transaction(sql), "{sql}");
        }
    }
}
