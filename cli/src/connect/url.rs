//! Which URL, and what of it may be shown.

use std::env;

use crate::error::Error;

/// Variables by which libpq finds a server without a URL.
const OF_LIBPQ: [&str; 6] = ["PGSERVICE", "PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER"];

/// A connection string for libpq. It never shows itself: it may have a password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url {
    text: String,
    secrets: Vec<String>,
}

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Url(…)")
    }
}

impl Url {
    /// That of an argument, or what the environment says.
    pub(crate) fn given(argument: Option<&str>, which: &str) -> Result<Url, Error> {
        let of_environment = env::var("DATABASE_URL").ok().filter(|url| !url.is_empty());
        match argument.map(str::to_owned).or(of_environment) {
            Some(text) => Url::parse(&text, which),
            None if OF_LIBPQ.iter().any(|name| env::var_os(name).is_some()) => Url::parse("", which),
            None => Err(Error::Usage(format!(
                "{which}: no URL. Name one, or set DATABASE_URL, PGSERVICE or PGHOST. See --help"
            ))),
        }
    }

    /// Refuses what libpq would quote a part of a password from.
    pub(crate) fn parse(text: &str, which: &str) -> Result<Url, Error> {
        let unreadable = |why: &str| Err(Error::Usage(format!("{which}: not a URL that libpq can read: {why}")));
        if text.contains('\0') {
            return unreadable("it has a zero byte");
        }
        let Some(rest) = ["postgres://", "postgresql://"].iter().find_map(|scheme| text.strip_prefix(scheme))
        else {
            if text.contains("://") {
                return unreadable("it begins neither with postgres:// nor with postgresql://");
            }
            if !text.is_empty() && !text.contains('=') {
                return unreadable("write postgres://user@host/database, 'host=… dbname=…' or service=…");
            }
            return Ok(Url { text: text.to_owned(), secrets: of_keywords(text) });
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let ats = authority.matches('@').count();
        if ats > 1 || (ats == 0 && path.contains('@')) {
            return unreadable("in a user or password, write @ as %40, / as %2F, : as %3A, ? as %3F and # as %23");
        }
        let login = authority.rsplit_once('@').map(|(login, _)| login);
        let password = login.and_then(|login| login.split_once(':')).map(|(_, password)| password);
        let query = path.split_once('?').map_or("", |(_, query)| query);
        let in_query = query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(key, _)| is_secret(key));
        let secrets = password.into_iter().chain(in_query.map(|(_, value)| value));
        let secrets = secrets.flat_map(|secret| [secret.to_owned(), decoded(secret)]).collect();
        Ok(Url { text: text.to_owned(), secrets })
    }

    /// For libpq, with a limit to how long a connection may take.
    pub(crate) fn for_libpq(&self, timeout_is_set: bool) -> String {
        let has = |key: &str| self.text.contains(&format!("{key}="));
        let mut settings = vec![format!("fallback_application_name={}", crate::args::NAME)];
        if !timeout_is_set && !has("connect_timeout") {
            settings.push("connect_timeout=10".to_owned());
        }
        if !self.text.contains("://") {
            return format!("{} {}", self.text, settings.join(" ")).trim().to_owned();
        }
        let separator = if self.text.contains('?') { '&' } else { '?' };
        format!("{}{separator}{}", self.text, settings.join("&"))
    }

    /// A message without what is secret in this URL.
    pub(crate) fn redact(&self, message: &str) -> String {
        let mut message = message.to_owned();
        if self.text.len() > 3 {
            message = message.replace(&self.text, "…");
        }
        for secret in self.secrets.iter().filter(|secret| !secret.is_empty()) {
            message = message.replace(secret.as_str(), "…");
        }
        message
    }
}

fn is_secret(key: &str) -> bool {
    key.trim().eq_ignore_ascii_case("password") || key.trim().eq_ignore_ascii_case("sslpassword")
}

/// The values of `password=…` and `sslpassword=…`, quoted or not.
fn of_keywords(text: &str) -> Vec<String> {
    let mut secrets = Vec::new();
    for (at, _) in text.match_indices("password") {
        let Some(value) = text[at + "password".len()..].trim_start().strip_prefix('=') else { continue };
        let value = value.trim_start();
        let (mut raw, mut plain, mut is_escaped) = (String::new(), String::new(), false);
        let is_quoted = value.starts_with('\'');
        for character in value.chars().skip(usize::from(is_quoted)) {
            let is_end = if is_quoted { character == '\'' } else { character.is_whitespace() };
            if is_end && !is_escaped {
                break;
            }
            raw.push(character);
            is_escaped = character == '\\' && !is_escaped;
            if !is_escaped {
                plain.push(character);
            }
        }
        secrets.extend([raw, plain]);
    }
    secrets
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text, "the old server").expect("a URL")
    }

    #[test]
    fn no_form_of_a_password_is_left_in_a_message() {
        let encoded = url("postgres://app:s%40cret@host/db?password=an%20other&sslpassword=third");
        let shown = encoded.redact("s%40cret s@cret an%20other an other third host");
        assert_eq!(shown, "… … … … … host");
        assert_eq!(url("host=h password=secret dbname=d").redact("no secret"), "no …");
        let quoted = url(r"host=h password = 'my \'secret' dbname=d");
        assert_eq!(quoted.redact(r"my 'secret my \'secret"), "… …");
        assert_eq!(format!("{encoded:?}"), "Url(…)");
    }

    #[test]
    fn what_libpq_would_quote_a_password_from_is_refused_without_quoting_it() {
        for text in [
            "postgres://app:sec@ret@host/db",
            "postgres://app:sec/ret@host/db",
            "postgres://app:sec?ret@host/db",
            "postgres://app:sec#ret@host/db",
            "mysql://app:secret@host/db",
            "app:secret",
            "postgres:/app:secret",
        ] {
            let error = Url::parse(text, "the old server").expect_err(text);
            assert_eq!(error.code(), 64);
            assert!(!error.to_string().contains("sec"), "{error}");
        }
    }

    #[test]
    fn a_connection_has_ten_seconds_unless_more_is_said() {
        let own = "fallback_application_name=diesel-hot-upgrade";
        assert_eq!(url("service=old").for_libpq(false), format!("service=old {own} connect_timeout=10"));
        assert_eq!(url("service=old").for_libpq(true), format!("service=old {own}"));
        assert_eq!(url("").for_libpq(true), own);
        let text = "postgres://host/db?connect_timeout=3";
        assert_eq!(url(text).for_libpq(false), format!("{text}&{own}"));
        assert_eq!(url("postgres://host/db").for_libpq(true), format!("postgres://host/db?{own}"));
    }
}
