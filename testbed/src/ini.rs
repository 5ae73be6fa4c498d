use std::collections::BTreeMap;

use crate::{Release, Target};

/// How a PgBouncer is to run.
#[derive(Clone, Debug)]
pub struct PgBouncerConfig {
    /// Which PgBouncer.
    pub release: Release,
    /// `transaction`, `session` or `statement`.
    pub pool_mode: &'static str,
    /// How many prepared statements to keep per server connection; [`Release::Debian12`] does not know this setting
    /// and is not told.
    pub max_prepared_statements: u32,
    /// How many server connections a pair of user and database may have.
    pub default_pool_size: u32,
    /// Users who may connect without a password, besides `postgres` and `pgbouncer`.
    pub users: Vec<String>,
    /// More settings of the section `[pgbouncer]`; they win over the testbed's own.
    pub extra: Vec<(String, String)>,
}

impl Default for PgBouncerConfig {
    fn default() -> Self {
        PgBouncerConfig {
            release: Release::Current,
            pool_mode: "transaction",
            max_prepared_statements: 200,
            default_pool_size: 20,
            users: Vec::new(),
            extra: Vec::new(),
        }
    }
}

impl PgBouncerConfig {
    /// The settings that this configuration is about.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        let mut settings = vec![
            ("pool_mode".to_owned(), self.pool_mode.to_owned()),
            ("default_pool_size".to_owned(), self.default_pool_size.to_string()),
        ];
        if self.release != Release::Debian12 {
            settings.push(("max_prepared_statements".to_owned(), self.max_prepared_statements.to_string()));
        }
        settings.extend(self.extra.iter().cloned());
        settings
    }

    /// The users that PgBouncer lets in.
    pub(crate) fn auth_file(&self) -> String {
        let users = ["postgres", "pgbouncer"].into_iter().chain(self.users.iter().map(String::as_str));
        users.map(|user| format!("\"{}\" \"\"\n", user.replace('"', "\"\""))).collect()
    }

    /// The section `[pgbouncer]`.
    pub(crate) fn render(&self, port: u16, auth_file: &str) -> String {
        let mut text = format!(
            "[pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {port}\n\
             unix_socket_dir =\n\
             auth_type = trust\n\
             auth_file = {auth_file}\n\
             admin_users = postgres, pgbouncer\n\
             ignore_startup_parameters = extra_float_digits\n\
             max_client_conn = 1000\n"
        );
        for (name, value) in self.settings() {
            text += &format!("{name} = {value}\n");
        }
        text
    }
}

/// The section `[databases]`.
pub(crate) fn databases(routes: &BTreeMap<String, Target>) -> String {
    let lines: String = routes.iter().map(|(name, target)| format!("{name} = {}\n", target.render())).collect();
    format!("[databases]\n{lines}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_12_is_not_told_of_prepared_statements() {
        let config = PgBouncerConfig::default();
        assert!(config.render(1, "x").contains("max_prepared_statements = 200\n"));
        let config = PgBouncerConfig { release: Release::Debian12, ..config };
        assert!(!config.render(1, "x").contains("max_prepared_statements"));
    }

    #[test]
    fn users_are_listed_with_an_empty_password() {
        let config = PgBouncerConfig { users: vec!["app".to_owned()], ..PgBouncerConfig::default() };
        assert_eq!(config.auth_file(), "\"postgres\" \"\"\n\"pgbouncer\" \"\"\n\"app\" \"\"\n");
    }

    #[test]
    fn extra_settings_come_last() {
        let extra = vec![("pool_mode".to_owned(), "session".to_owned())];
        let text = PgBouncerConfig { extra, ..PgBouncerConfig::default() }.render(1, "x");
        assert!(text.ends_with("pool_mode = session\n"), "{text}");
    }

    #[test]
    fn routes() {
        let target = Target::new("127.0.0.1:5432".parse().unwrap(), "old");
        let routes = BTreeMap::from([("app".to_owned(), target)]);
        assert_eq!(databases(&routes), "[databases]\napp = host=127.0.0.1 port=5432 dbname='old'\n");
    }
}
