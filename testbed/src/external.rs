//! Servers that somebody else runs, named by URLs in the environment.

use std::net::{SocketAddr, ToSocketAddrs};

use postgres::{Config, config::Host};

use crate::{Error, target::Login};

/// A server named by an environment variable.
#[derive(Clone, Debug)]
pub(crate) struct External {
    variable: String,
    url: String,
    address: SocketAddr,
    login: Login,
}

impl External {
    pub(crate) fn parse(variable: &str, url: &str) -> Result<External, Error> {
        let wrong = |problem: String| {
            Error::setting(
                variable,
                url,
                format!("it has to be like postgres://user:password@host:5432: {problem}"),
            )
        };
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(wrong("it does not begin with postgres://".to_owned()));
        }
        let config: Config = url.parse().map_err(|error: postgres::Error| wrong(error.to_string()))?;
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let host = match config.get_hosts().first() {
            Some(Host::Tcp(host)) => host,
            _ => return Err(wrong("it names no host to be reached by TCP".to_owned())),
        };
        let found = (host.as_str(), port).to_socket_addrs();
        let mut found: Vec<SocketAddr> = found.map_err(|error| wrong(format!("{host}: {error}")))?.collect();
        found.sort_by_key(SocketAddr::is_ipv6);
        let address = *found.first().ok_or_else(|| wrong(format!("{host} has no address")))?;
        let login = Login {
            user: config.get_user().unwrap_or("postgres").to_owned(),
            password: config.get_password().map(|password| String::from_utf8_lossy(password).into_owned()),
        };
        Ok(External { variable: variable.to_owned(), url: url.to_owned(), address, login })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn login(&self) -> &Login {
        &self.login
    }

    /// The URL with another database.
    pub(crate) fn url(&self, database: &str) -> String {
        let (start, parameters) = self.around_database();
        format!("{start}/{database}{parameters}")
    }

    /// The URL with another database and address.
    pub(crate) fn url_at(&self, address: SocketAddr, database: &str) -> String {
        let (start, parameters) = self.around_database();
        let login = start.rfind('@').or_else(|| start.rfind('/')).map_or(0, |end| end + 1);
        format!("{}{address}/{database}{parameters}", &start[..login])
    }

    fn around_database(&self) -> (&str, &str) {
        let authority = self.url.find("://").map_or(0, |scheme| scheme + 3);
        let rest = &self.url[authority..];
        let end = authority + rest.find(['/', '?']).unwrap_or(rest.len());
        let parameters = self.url.find('?').map_or("", |start| &self.url[start..]);
        (&self.url[..end], parameters)
    }

    /// For requests that only the server's owner can grant.
    pub(crate) fn refuse(&self, request: &str) -> Error {
        Error::External {
            what: format!("the server at {}", self.address),
            problem: format!("it cannot {request}. Unset {} to have the testbed start a server.", self.variable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::External;

    #[test]
    fn another_database() {
        let url = |url: &str| External::parse("X", url).unwrap().url("db");
        assert_eq!(url("postgres://127.0.0.1"), "postgres://127.0.0.1/db");
        assert_eq!(url("postgres://u:p%2Fw@127.0.0.1:6000/a"), "postgres://u:p%2Fw@127.0.0.1:6000/db");
        assert_eq!(url("postgres://u@127.0.0.1?connect_timeout=1"), "postgres://u@127.0.0.1/db?connect_timeout=1");
        assert_eq!(
            url("postgresql://u@127.0.0.1/a?connect_timeout=1"),
            "postgresql://u@127.0.0.1/db?connect_timeout=1"
        );
    }

    #[test]
    fn another_address() {
        let url = |url: &str| External::parse("X", url).unwrap().url_at("127.0.0.2:1".parse().unwrap(), "db");
        assert_eq!(url("postgres://127.0.0.1"), "postgres://127.0.0.2:1/db");
        assert_eq!(url("postgres://u:p@127.0.0.1:6000/a"), "postgres://u:p@127.0.0.2:1/db");
    }

    #[test]
    fn parts() {
        let external = External::parse("X", "postgres://u:p%2Fw@127.0.0.1:6000/a").unwrap();
        assert_eq!(external.address().to_string(), "127.0.0.1:6000");
        assert_eq!(external.login().user, "u");
        assert_eq!(external.login().password.as_deref(), Some("p/w"));
        let error = External::parse("TESTBED_POSTGRES12_URL", "127.0.0.1:5432").unwrap_err().to_string();
        assert!(error.contains("TESTBED_POSTGRES12_URL is `127.0.0.1:5432`"), "{error}");
        let error = External::parse("X", "postgres://no.such.host.invalid").unwrap_err().to_string();
        assert!(error.contains("no.such.host.invalid"), "{error}");
    }
}
