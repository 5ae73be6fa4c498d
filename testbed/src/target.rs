use std::net::{IpAddr, SocketAddr};

/// A database of a server, as PgBouncer is to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The server.
    pub address: SocketAddr,
    /// The database on that server.
    pub database: String,
    also_at: Vec<IpAddr>,
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
        Target { address, database: database.into(), also_at: Vec::new(), login: None }
    }

    /// Adds a host, with the same port. PgBouncer takes the hosts in turn for its server connections.
    pub fn also_at(mut self, host: IpAddr) -> Target {
        self.also_at.push(host);
        self
    }

    pub(crate) fn with_login(mut self, login: Option<Login>) -> Target {
        self.login = login;
        self
    }

    /// The hosts, as PgBouncer reads and shows them.
    pub(crate) fn hosts(&self) -> String {
        let further = self.also_at.iter().map(|host| format!(",{host}"));
        further.fold(self.address.ip().to_string(), |hosts, host| hosts + &host)
    }

    /// The value of an entry of PgBouncer's section `[databases]`.
    pub(crate) fn render(&self) -> String {
        let mut text =
            format!("host={} port={} dbname={}", self.hosts(), self.address.port(), quoted(&self.database));
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
        let both = target.clone().also_at("127.0.0.2".parse().unwrap());
        assert_eq!(both.render(), "host=127.0.0.1,127.0.0.2 port=5432 dbname='it''s'");
        let login = Login { user: "admin".to_owned(), password: Some("a b".to_owned()) };
        let target = target.with_login(Some(login));
        assert_eq!(target.render(), "host=127.0.0.1 port=5432 dbname='it''s' user='admin' password='a b'");
    }
}
