//! The switch that turns everything off without a rebuild.

use lazy_static::lazy_static;

const VARIABLE: &str = "DIESEL_POSTGRES_HOT_UPGRADE";

lazy_static! {
    static ref ON: bool = is_on_in(std::env::var(VARIABLE).ok().as_deref());
}

/// Read once per process, from the environment variable `DIESEL_POSTGRES_HOT_UPGRADE`.
pub(crate) fn is_on() -> bool {
    *ON
}

fn is_on_in(value: Option<&str>) -> bool {
    match value.map(str::trim) {
        Some("off" | "OFF" | "0" | "false") => {
            log::warn!("{VARIABLE} turns off the protection against a change of the PostgreSQL server");
            false
        }
        None | Some("" | "on" | "ON" | "1" | "true") => true,
        Some(other) => {
            log::warn!("{VARIABLE} is {other:?}, which is neither \"on\" nor \"off\": the protection stays on");
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_on_in;

    #[test]
    fn only_a_clear_word_turns_the_protection_off() {
        for off in ["off", "OFF", "0", "false", " off "] {
            assert!(!is_on_in(Some(off)), "{off:?}");
        }
        for on in [None, Some(""), Some("on"), Some("1"), Some("of"), Some("disabled?")] {
            assert!(is_on_in(on), "{on:?}");
        }
    }
}
