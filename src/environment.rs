//! The switch that turns everything off without a rebuild.

use std::sync::atomic::{AtomicBool, Ordering};

use lazy_static::lazy_static;

use crate::report::log;

const VARIABLE: &str = "DIESEL_POSTGRES_HOT_UPGRADE";

lazy_static! {
    static ref SETTING: Setting = Setting::from(std::env::var(VARIABLE).ok());
}

/// Read once per process, from the environment variable `DIESEL_POSTGRES_HOT_UPGRADE`.
pub(crate) fn is_on() -> bool {
    static WARNED: AtomicBool = AtomicBool::new(false);
    // The log is user code: it is called with nothing locked.
    match &*SETTING {
        Setting::On => return true,
        _ if WARNED.swap(true, Ordering::Relaxed) => {}
        Setting::Off => {
            log::warn(format_args!(
                "{VARIABLE} turns off the protection against a change of the PostgreSQL server"
            ));
        }
        Setting::Unclear(value) => {
            log::warn(format_args!(
                "{VARIABLE} is {value:?}, which is neither \"on\" nor \"off\": the protection stays on"
            ));
        }
    }
    *SETTING != Setting::Off
}

#[derive(Debug, PartialEq, Eq)]
enum Setting {
    On,
    Off,
    /// Not understood, so the protection stays on.
    Unclear(String),
}

impl From<Option<String>> for Setting {
    fn from(value: Option<String>) -> Self {
        let value = value.unwrap_or_default().trim().to_ascii_lowercase();
        match value.as_str() {
            "off" | "0" | "false" | "no" => Setting::Off,
            "" | "on" | "1" | "true" | "yes" => Setting::On,
            _ => Setting::Unclear(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Setting;

    #[test]
    fn only_a_clear_word_turns_the_protection_off() {
        for off in ["off", "OFF", "Off", "0", "False", "no", " off "] {
            assert_eq!(Setting::from(Some(off.to_owned())), Setting::Off, "{off:?}");
        }
        for on in [None, Some(""), Some("on"), Some("1"), Some("Yes")] {
            assert_eq!(Setting::from(on.map(str::to_owned)), Setting::On, "{on:?}");
        }
        for unclear in ["of", "disabled?"] {
            assert_eq!(Setting::from(Some(unclear.to_owned())), Setting::Unclear(unclear.to_owned()));
        }
    }
}
