//! Sends this crate's statements through diesel-async. What they are, and what their rows mean, is in `probe`.

use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::result::Error;
use diesel::sql_types::{Oid, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

use crate::asynchronous::connection::HotUpgradeAsyncPgConnection;
use crate::asynchronous::memory::{Key, OidPair};
use crate::catalog::server::PgStart;
use crate::catalog::session::TargetSessionAttrs;
use crate::catalog::snapshot::{Loaded, Question, Snapshot};
use crate::connection::notes;
use crate::probe::check::{Check, CheckAndLook, Looked, Mark};
use crate::probe::identify::{self, Identified, Identify, Level, Prepared, Text as IdentifyText};
use crate::probe::load::{self, Load};
use crate::probe::lost_attempt::Lock;
use crate::probe::session;

impl HotUpgradeAsyncPgConnection {
    /// Does the snapshot hold, and does the server fit? One round trip, and one more to prepare it.
    pub(super) async fn check(&mut self, snapshot: &Snapshot) -> QueryResult<bool> {
        check(&self.inner, snapshot, self.wanted()).await
    }

    /// Does the snapshot hold, does the server fit, and are there no other types? Two round trips, since it is prepared
    /// each time.
    pub(super) async fn check_and_look(
        &mut self,
        snapshot: &Snapshot,
        in_transaction: bool,
        mark: Option<Mark>,
    ) -> QueryResult<Looked> {
        let check = CheckAndLook::of(snapshot, self.wanted(), in_transaction, mark);
        let row = RunQueryDsl::get_result(check, &mut self.inner).await.optional()?;
        Ok(CheckAndLook::decode(row, mark))
    }

    /// Asks which server answers, and what it shows of these types. One round trip, and one more to prepare it. The
    /// same row has the state of the catalog: the cache of statements is emptied without another question. An
    /// [`Unfit`](crate::catalog::session::Unfit) error if the server does not fit.
    pub(super) async fn identify(&mut self, question: &Question, level: Level) -> QueryResult<Identified> {
        let (text, mark, shown, fields) = self.send_identify(question, level).await?;
        self.require(level, &fields).await?;
        let prepared = Prepared::decode((text, mark, Default::default(), Vec::new()), level);
        self.identified_at = prepared.mark;
        if let Some(is_prepared_by_pooler) = prepared.is_prepared_by_pooler {
            self.memory.with(|oids| notes::set_prepared_by_pooler(oids, is_prepared_by_pooler));
        }
        Identified::decode((text, mark, shown, fields))
    }

    /// Is the server there, and does it fit?
    pub(super) async fn ping(&mut self) -> QueryResult<()> {
        self.send_identify(&Question::default(), Level::Mute).await?;
        self.require_fit().await
    }

    /// Which servers the connection accepts.
    pub(super) fn wanted(&self) -> TargetSessionAttrs {
        self.memory.with(notes::lasting).wanted
    }

    /// The error of a server that does not fit, if `fields`, which it said of itself, show that.
    async fn require(&mut self, level: Level, fields: &[String]) -> QueryResult<()> {
        match self.wanted() {
            TargetSessionAttrs::Any => Ok(()),
            wanted if level == Level::Identified => session::from_identity(fields)?.require(wanted),
            _ => self.require_fit().await,
        }
    }

    /// Fails if the server does not fit, or does not say. One round trip, or none if every server fits.
    pub(super) async fn require_fit(&mut self) -> QueryResult<()> {
        let wanted = self.wanted();
        if wanted == TargetSessionAttrs::Any {
            return Ok(());
        }
        let answer = self.inner.batch_execute(&session::requirement(wanted)).await;
        answer.map_err(|error| session::unfit(wanted, &error).map_or(error, Error::from))
    }

    async fn send_identify(&mut self, question: &Question, level: Level) -> QueryResult<identify::Row> {
        let (text, conn) = (IdentifyText::First, &mut self.inner);
        match level {
            Level::Identified => {
                RunQueryDsl::get_result(Identify::<{ identify::IDENTIFIED }> { question, text }, conn).await
            }
            Level::Unidentified => {
                RunQueryDsl::get_result(Identify::<{ identify::UNIDENTIFIED }> { question, text }, conn).await
            }
            Level::Mute => RunQueryDsl::get_result(Identify::<{ identify::MUTE }> { question, text }, conn).await,
        }
    }

    /// Reads the catalog of the server that answers, if it fits, unless it is one of the `others`.
    pub(super) async fn load_catalog(
        &mut self,
        level: Level,
        in_transaction: bool,
        others: &BTreeSet<PgStart>,
    ) -> QueryResult<Option<Loaded>> {
        let replicas = self.memory.with(notes::lasting).replicas;
        let load = Load::unless_started(others, level, in_transaction);
        let row: load::Row = RunQueryDsl::get_result(load.clone(), &mut self.inner).await?;
        self.require(level, &row.1).await?;
        load.decode(row, replicas)
    }

    /// Takes the lock in the transaction that is open. One round trip.
    pub(super) async fn take(&mut self, lock: Lock) -> QueryResult<()> {
        self.inner.batch_execute(&format!("/* diesel-postgres-hot-upgrade: lock */ SELECT {}", lock.sql())).await
    }

    /// Does the server answer? One round trip. If it does not, the connection is marked broken.
    pub(super) async fn answers(&mut self) -> bool {
        let answers = self.inner.batch_execute("/* diesel-postgres-hot-upgrade: ping */ SELECT 1").await.is_ok();
        if !answers {
            self.status().set_in_error();
        }
        answers
    }
}

pub(super) async fn check(
    mut conn: &AsyncPgConnection,
    snapshot: &Snapshot,
    wanted: TargetSessionAttrs,
) -> QueryResult<bool> {
    RunQueryDsl::execute(Check::of(snapshot, wanted), &mut conn).await.map(Check::decode)
}

/// As Diesel asks for a type, but with names that no other schema can hide, and without an error on the server if there
/// is no such type.
pub(super) async fn look_up(mut conn: &AsyncPgConnection, (schema, name): &Key) -> QueryResult<OidPair> {
    const TYPE: &str =
        "/* diesel-postgres-hot-upgrade: look up */ SELECT t.oid, t.typarray FROM pg_catalog.pg_type t ";
    let in_schema = "JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace \
         WHERE t.typname::pg_catalog.text OPERATOR(pg_catalog.=) $1 \
         AND n.nspname::pg_catalog.text OPERATOR(pg_catalog.=) $2";
    let bare = "WHERE t.oid OPERATOR(pg_catalog.=) \
         pg_catalog.to_regtype(pg_catalog.quote_ident($1))::pg_catalog.oid";
    let found: Option<FoundType> = match schema {
        Some(schema) => {
            let query =
                diesel::sql_query(format!("{TYPE}{in_schema}")).bind::<Text, _>(name).bind::<Text, _>(schema);
            RunQueryDsl::get_result(query, &mut conn).await.optional()?
        }
        None => {
            let query = diesel::sql_query(format!("{TYPE}{bare}")).bind::<Text, _>(name);
            RunQueryDsl::get_result(query, &mut conn).await.optional()?
        }
    };
    let found = found.map(|found| (found.oid, found.typarray));
    found.ok_or_else(|| {
        let shown = schema.as_ref().map_or_else(|| name.clone(), |schema| format!("{schema}.{name}"));
        Error::SerializationError(format!("failed to find a type oid for `{shown}`").into())
    })
}

#[derive(QueryableByName)]
struct FoundType {
    #[diesel(sql_type = Oid)]
    oid: u32,
    #[diesel(sql_type = Oid)]
    typarray: u32,
}
