//! SQL as PostgreSQL's lexer cuts it up, as far as the crate's statements go.

/// A piece of a statement. Words are in upper case, as they are all keywords or names that need no quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    Word(String),
    Quoted(String),
    Literal,
    Number,
    Parameter,
    Operator(String),
    /// One of `( ) [ ] , ; .` or `::`.
    Mark(&'static str),
}

impl Token {
    pub(crate) fn is_word(&self, word: &str) -> bool {
        matches!(self, Token::Word(found) if found == word)
    }

    pub(crate) fn is_mark(&self, mark: &str) -> bool {
        matches!(self, Token::Mark(found) if *found == mark)
    }

    /// Can it be what a name is?
    pub(crate) fn is_name(&self) -> bool {
        matches!(self, Token::Word(_) | Token::Quoted(_))
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Token::Word(word) => f.write_str(&word.to_lowercase()),
            Token::Quoted(name) => write!(f, "\"{name}\""),
            Token::Literal => f.write_str("'…'"),
            Token::Number => f.write_str("1"),
            Token::Parameter => f.write_str("$1"),
            Token::Operator(operator) => f.write_str(operator),
            Token::Mark(mark) => f.write_str(mark),
        }
    }
}

const MARKS: [&str; 9] = ["::", "(", ")", "[", "]", ",", ";", ".", ":"];

const OPERATOR_CHARACTERS: &str = "+-*/<>=~!@#%^&|`?";

/// Cuts up a statement. An error names what the lexer does not know.
pub(crate) fn tokens(sql: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = sql.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = if rest.starts_with("/*") {
            (None, comment(rest)?)
        } else if rest.starts_with("--") {
            (None, rest.find('\n').unwrap_or(rest.len()))
        } else if first == '\'' {
            (Some(Token::Literal), quoted(rest, '\'')?)
        } else if first == '"' {
            let length = quoted(rest, '"')?;
            (Some(Token::Quoted(rest[1..length - 1].to_owned())), length)
        } else if first == '$' {
            (Some(Token::Parameter), parameter(rest)?)
        } else if first.is_ascii_digit() {
            (Some(Token::Number), span(rest, |c| c.is_ascii_digit() || c == '.'))
        } else if first.is_alphabetic() || first == '_' {
            let length = span(rest, |c| c.is_alphanumeric() || c == '_' || c == '$');
            if rest[length..].starts_with('\'') {
                return Err(format!("a literal with a prefix: {}", &rest[..=length]));
            }
            (Some(Token::Word(rest[..length].to_uppercase())), length)
        } else if OPERATOR_CHARACTERS.contains(first) {
            let length = operator(rest);
            (Some(Token::Operator(rest[..length].to_owned())), length)
        } else if let Some(mark) = MARKS.iter().find(|mark| rest.starts_with(**mark)) {
            (Some(Token::Mark(mark)), mark.len())
        } else {
            return Err(format!("an unknown character: {first:?}"));
        };
        tokens.extend(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

fn span(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// As far as a comment or a sign begins that is none of the operator's.
fn operator(text: &str) -> usize {
    let length = span(text, |c| OPERATOR_CHARACTERS.contains(c));
    let comment = ["/*", "--"].iter().filter_map(|begin| text[..length].find(begin)).min();
    let length = comment.unwrap_or(length);
    // As in `=-1`: unless it has a character that no operator of the standard has, it ends before a sign.
    let is_open = text[..length].contains(['~', '!', '@', '#', '%', '^', '&', '|', '`', '?']);
    if is_open { length } else { text[..length].trim_end_matches(['+', '-']).len().max(1) }
}

/// Comments may be in comments.
fn comment(text: &str) -> Result<usize, String> {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return Ok(at);
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    Err("a comment without end".to_owned())
}

/// A quote within is written twice.
fn quoted(text: &str, quote: char) -> Result<usize, String> {
    let mut at = 1;
    loop {
        let end = text[at..].find(quote).ok_or_else(|| format!("no end of {text}"))?;
        at += end + 1;
        if !text[at..].starts_with(quote) {
            return Ok(at);
        }
        at += 1;
    }
}

fn parameter(text: &str) -> Result<usize, String> {
    let digits = span(&text[1..], |c| c.is_ascii_digit());
    if digits == 0 { Err("a literal in dollars".to_owned()) } else { Ok(1 + digits) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(sql: &str) -> String {
        let tokens = tokens(sql).expect(sql);
        tokens.iter().map(Token::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_statement_is_cut_up_as_the_server_does() {
        assert_eq!(shown("/* a /* b */ ' */ SELECT 'it''s', $12 -- c\n, x"), "select '…' , $1 , x");
        assert_eq!(shown("a.\"B\"\"c\"::pg_catalog.oid[]"), "a . \"B\"\"c\" :: pg_catalog . oid [ ]");
        assert_eq!(shown("x=-1 AND y!~'a' OR z<>ALL($1)"), "x = - 1 and y !~ '…' or z <> all ( $1 )");
        assert_eq!(shown("1.5*2--c"), "1 * 1");
        assert_eq!(shown("OPERATOR(pg_catalog.||)"), "operator ( pg_catalog . || )");
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for sql in ["SELECT 'a", "/* a", "$$a$$", "E'a'", "\"a", "SELECT \\d"] {
            assert!(tokens(sql).is_err(), "{sql}");
        }
    }
}
