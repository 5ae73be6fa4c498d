use std::net::SocketAddr;

/// A database of a server, as PgBouncer is to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The server.
    pub address: SocketAddr,
    /// The database on that server.
    pub database: String,
    login: Option<Login>,
}

/// Credentials that replace the client's; only servers that the testbed did not start need them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: Option<String>,
}

impl Target {
    /// A database that users reach without a password.
    pub fn new(address: SocketAddr, database: impl Into<String>) -> Target {
        Target { address, database: database.into(), login: None }
    }

    pub(crate) fn with_login(mut self, login: Option<Login>) -> Target {
        self.login = login;
        self
    }

    /// The value of an entry of PgBouncer's section `[databases]`.
    pub(crate) fn render(&self) -> String {
        let mut text =
            format!("host={} port={} dbname={}", self.address.ip(), self.address.port(), quoted(&self.database));
        if let Some(login) = &self.login {
            text += &format!(" user={}", quoted(&login.user));
            if let Some(password) = &login.password {
                text += &format!(" password={}", quoted(password));
            }
        }
        text
    }
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::{Login, Target};

    #[test]
    fn rendering() {
        let target = Target::new("127.0.0.1:5432".parse().unwrap(), "it's");
        assert_eq!(target.render(), "host=127.0.0.1 port=5432 dbname='it''s'");
        let login = Login { user: "admin".to_owned(), password: Some("a b".to_owned()) };
        let target = target.with_login(Some(login));
        assert_eq!(target.render(), "host=127.0.0.1 port=5432 dbname='it''s' user='admin' password='a b'");
    }
}
