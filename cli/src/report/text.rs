//! Words, lines and numbers.

use textwrap::{Options, WordSplitter, WrapAlgorithm};

use crate::report::WIDTH;

/// Broken between words, and within what is longer than a line. `first` begins the first line, `others` the others.
pub(crate) fn wrapped(text: &str, first: &str, others: &str) -> String {
    let options = Options::new(WIDTH).initial_indent(first).subsequent_indent(others);
    let options = options.word_splitter(WordSplitter::NoHyphenation).wrap_algorithm(WrapAlgorithm::FirstFit);
    textwrap::fill(&clean(text), options) + "\n"
}

/// The first names, and how many more there are.
pub(crate) fn some(names: &[String], at_most: usize) -> String {
    let shown = names.iter().take(at_most).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(at_most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// As "1 server" or "2 servers".
pub(crate) fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Without what a terminal would obey, but for ends of lines.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if is_obeyed(c) && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// The same, and on one line: so nothing that a server names looks like a line of this program.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if is_obeyed(c) { '\u{fffd}' } else { c }).collect()
}

/// JSON in which what a terminal would obey is escaped. It occurs in strings only.
pub(crate) fn clean_json(json: &str) -> String {
    let escape = |c: char| if is_obeyed(c) && c != '\n' { format!("\\u{:04x}", u32::from(c)) } else { c.into() };
    json.chars().map(escape).collect()
}

/// Control characters, and what changes the order of what is shown.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_eighty_columns() {
        let text = format!("of {} and {}", "a".repeat(100), "漢".repeat(50));
        let wrapped = wrapped(&text, "   1.0 s  ", "    ");
        assert!(
            wrapped.starts_with("   1.0 s  of aaa") || wrapped.starts_with("   1.0 s  of\n    aaa"),
            "{wrapped}"
        );
        assert!(wrapped.lines().all(|line| textwrap::core::display_width(line) <= WIDTH), "{wrapped}");
        assert_eq!(wrapped.matches('a').count(), 101);
    }

    #[test]
    fn a_number_goes_with_its_word() {
        let counts = [0, 1, 2].map(|count| counted(count, "server"));
        assert_eq!(counts, ["0 servers", "1 server", "2 servers"]);
    }

    #[test]
    fn a_terminal_obeys_nothing() {
        let hostile = "a\u{1b}[2J\u{9b}31m\u{202e}b\r\nc\u{7f}";
        assert_eq!(clean(hostile), "a�[2J�31m�b�\nc�");
        assert_eq!(one_line(hostile), "a�[2J�31m�b��c�");
        let json = serde_json::to_string(hostile).expect("JSON");
        let cleaned = clean_json(&json);
        assert!(cleaned.chars().all(|c| !is_obeyed(c)), "{cleaned}");
        assert_eq!(serde_json::from_str::<String>(&cleaned).expect("JSON"), hostile);
    }
}
