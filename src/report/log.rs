//! The way to the `log` backend, which is user code: it is called with no lock and no permit held, and its panic stays
//! here.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use log::Level;

const TARGET: &str = "diesel_postgres_hot_upgrade";

pub(crate) fn note(message: fmt::Arguments<'_>) {
    write(Level::Debug, message);
}

pub(crate) fn warn(message: fmt::Arguments<'_>) {
    write(Level::Warn, message);
}

pub(crate) fn error(message: fmt::Arguments<'_>) {
    write(Level::Error, message);
}

fn write(level: Level, message: fmt::Arguments<'_>) {
    let _ = catch_unwind(AssertUnwindSafe(|| log::log!(target: TARGET, level, "{message}")));
}

/// Shows text that came from a server without control characters, which could forge a line of a log or move a cursor.
pub(crate) fn printable(text: &dyn fmt::Display) -> String {
    text.to_string().chars().flat_map(escaped).collect()
}

fn escaped(character: char) -> impl Iterator<Item = char> {
    let is_shown = !character.is_control() && !is_direction_mark(character);
    let escape = (!is_shown).then(|| character.escape_debug());
    is_shown.then_some(character).into_iter().chain(escape.into_iter().flatten())
}

/// Characters that change the order in which a terminal shows what follows, and line separators.
fn is_direction_mark(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn control_characters_are_escaped_and_names_stay_readable() {
        assert_eq!(printable(&"Straße {} %s"), "Straße {} %s");
        assert_eq!(printable(&"a\nWARN b\u{1b}[2J"), "a\\nWARN b\\u{1b}[2J");
        assert_eq!(printable(&"\u{202e}x"), "\\u{202e}x");
    }
}
