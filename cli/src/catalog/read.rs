//! The transaction that reads a catalog.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::catalog::rows::Server;
use crate::catalog::{Catalog, Unseen, sequences, sql};
use crate::connect::{Connection, Unanswered, Url};
use crate::error::Error;
use crate::progress::Steps;

const OLDEST_MAJOR: u32 = 10;

macro_rules! statement {
    ($name:literal) => {
        include_str!(concat!("sql/", $name, ".sql"))
    };
}

/// An open READ ONLY transaction.
pub(crate) struct Reader {
    connection: Connection,
    pub(crate) server: Server,
    steps: Option<Steps>,
    pub(crate) unseen: Vec<Unseen>,
}

#[derive(Deserialize)]
struct Oid {
    oid: u32,
}

impl Reader {
    /// `which` names the server in errors: "the old server".
    pub(crate) fn open(url: &Url, which: &str, steps: Option<Steps>) -> Result<Reader, Error> {
        if let Some(steps) = &steps {
            steps.set(format!("connecting to {which}"));
        }
        Self::begin(Connection::open(url, which)?, steps)
    }

    pub(crate) fn begin(mut connection: Connection, steps: Option<Steps>) -> Result<Reader, Error> {
        let which = connection.which().to_owned();
        let failed = |unanswered: Unanswered| unanswered.into_error(&which);
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").map_err(failed)?;
        let server: Vec<Server> = connection.ask(&sql::json(statement!("server"))).map_err(failed)?;
        let server =
            server.into_iter().next().ok_or_else(|| connection.unavailable("it does not say who it is"))?;
        refuse_too_old(&which, server.version_number, &server.version)?;
        Ok(Reader { connection, server, steps, unseen: Vec::new() })
    }

    /// The OIDs of types that the session finds by their bare names. Only before [`Reader::settle`].
    pub(crate) fn visible_types(&mut self) -> Result<Vec<u32>, Error> {
        let visible: Vec<Oid> = self.must(statement!("visible"))?;
        Ok(visible.into_iter().map(|Oid { oid }| oid).collect())
    }

    /// Makes names come with their schemas, and errors harmless: the transaction goes on after them.
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        let settings = "SET LOCAL search_path TO ''; SET LOCAL quote_all_identifiers TO off; \
                        SET LOCAL lock_timeout TO '2s'; SET LOCAL row_security TO off; SAVEPOINT question";
        let done = self.connection.execute(settings);
        done.map_err(|unanswered| unanswered.into_error(self.connection.which()))
    }

    fn must<T: DeserializeOwned>(&mut self, text: &str) -> Result<Vec<T>, Error> {
        let answer = self.connection.ask(&sql::json(text));
        answer.map_err(|unanswered| unanswered.into_error(self.connection.which()))
    }

    /// `None` if the role may not ask that, which is noted.
    pub(crate) fn ask<T: DeserializeOwned>(&mut self, what: &str, text: &str) -> Result<Option<Vec<T>>, Error> {
        self.ask_as_it_is(what, &sql::json(text))
    }

    /// A statement that returns JSON.
    pub(crate) fn ask_as_it_is<T: DeserializeOwned>(
        &mut self,
        what: &str,
        sql: &str,
    ) -> Result<Option<Vec<T>>, Error> {
        if let Some(steps) = &self.steps {
            steps.set(format!("reading {what} of {}", self.connection.which()));
        }
        match self.connection.ask(sql) {
            Ok(rows) => Ok(Some(rows)),
            Err(Unanswered::Failed(error)) => Err(error),
            Err(Unanswered::Refused(why)) => {
                let went_on = self.connection.execute("ROLLBACK TO SAVEPOINT question");
                went_on.map_err(|_| self.connection.unavailable(&why))?;
                self.note(what, why);
                Ok(None)
            }
        }
    }

    pub(crate) fn note(&mut self, what: &str, why: String) {
        let what = format!("{what} of {}", self.connection.which());
        self.unseen.push(Unseen { what, why });
    }

    /// The role may not ask that, and it does not matter.
    pub(crate) fn ask_if_allowed<T: DeserializeOwned>(&mut self, what: &str, text: &str) -> Result<Vec<T>, Error> {
        let noted = self.unseen.len();
        let answer = self.ask(what, text)?;
        self.unseen.truncate(noted);
        Ok(answer.unwrap_or_default())
    }

    pub(crate) fn types<T: DeserializeOwned>(&mut self) -> Result<Option<Vec<T>>, Error> {
        let of_range = if self.server.major() < 14 {
            "g.rngtypid = t.oid"
        } else {
            "g.rngtypid = t.oid OR g.rngmultitypid = t.oid"
        };
        self.ask("the types", &statement!("types").replace("{of_range}", of_range))
    }

    pub(crate) fn columns<T: DeserializeOwned>(&mut self) -> Result<Option<Vec<T>>, Error> {
        self.ask("the columns", statement!("columns"))
    }

    pub(crate) fn identity<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        Ok(self.ask_if_allowed("the identity", statement!("identity"))?.into_iter().next())
    }

    pub(crate) fn end(mut self) -> Result<Connection, Error> {
        let ended = self.connection.execute("ROLLBACK");
        ended.map_err(|unanswered| unanswered.into_error(self.connection.which()))?;
        Ok(self.connection)
    }

    fn database_collation(&self) -> String {
        let [provider, locale, recorded, actual] = match self.server.major() {
            ..15 => ["'c'::text", "NULL::text", "NULL::text", "NULL::text"],
            15..17 => ["d.datlocprovider", "d.daticulocale", "d.datcollversion", ACTUAL],
            17.. => ["d.datlocprovider", "d.datlocale", "d.datcollversion", ACTUAL],
        };
        let text = statement!("database_collation").replace("{provider}", provider).replace("{locale}", locale);
        text.replace("{recorded}", recorded).replace("{actual}", actual)
    }
}

const ACTUAL: &str = "pg_catalog.pg_database_collation_actual_version(d.oid)";

/// Everything that is compared.
pub(crate) fn read(url: &Url, which: &str, is_new: bool, steps: Steps) -> Result<Catalog, Error> {
    let mut reader = Reader::open(url, which, Some(steps))?;
    reader.settle()?;
    let database_collation = reader.database_collation();
    let mut catalog = Catalog {
        identity: reader.identity()?,
        types: reader.types()?,
        columns: reader.columns()?,
        tables: reader.ask("the tables", statement!("tables"))?,
        functions: reader.ask("the functions", statement!("functions"))?,
        extensions: reader.ask("the extensions", statement!("extensions"))?,
        available: is_new
            .then(|| reader.ask_if_allowed("the available extensions", statement!("available")))
            .transpose()?,
        schemas: reader.ask("the schemas", statement!("schemas"))?,
        roles: reader.ask("the roles", statement!("roles"))?,
        grants: reader.ask("the permissions", statement!("grants"))?,
        settings: reader.ask("the settings of the database and its roles", statement!("settings"))?,
        known: reader.ask("the settings", statement!("known"))?,
        collations: reader.ask("the collations", statement!("collations"))?,
        database_collation: reader.ask("the database's collation", &database_collation)?,
        sequences: reader.ask("the sequences", statement!("sequences"))?,
        indexes: reader.ask("the indexes", statement!("indexes"))?,
        large_objects: reader.ask("the large objects", statement!("large_objects"))?,
        casts: reader.ask("the casts", statement!("casts"))?,
        equalities: reader.ask("the operators", statement!("equalities"))?,
        ..Catalog::default()
    };
    if let Some(sequences) = &mut catalog.sequences {
        sequences::look_at(&mut reader, sequences, is_new)?;
    }
    catalog.server = std::mem::take(&mut reader.server);
    catalog.unseen = std::mem::take(&mut reader.unseen);
    reader.end()?;
    Ok(catalog)
}

fn refuse_too_old(which: &str, number: u32, version: &str) -> Result<(), Error> {
    if number >= OLDEST_MAJOR * 10_000 {
        return Ok(());
    }
    Err(Error::Unavailable(format!("{which}: PostgreSQL {version} is too old: {OLDEST_MAJOR} or later is needed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_before_10_is_refused() {
        let error = refuse_too_old("the old server", 90_624, "9.6.24").expect_err("too old");
        assert_eq!(error.code(), 69);
        assert_eq!(error.to_string(), "the old server: PostgreSQL 9.6.24 is too old: 10 or later is needed");
        assert_eq!(refuse_too_old("the old server", 100_000, "10.0"), Ok(()));
    }
}
