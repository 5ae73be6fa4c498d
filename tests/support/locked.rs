//! A server whose `pg_type` is locked, as `VACUUM FULL` locks it, and the sessions that wait for it.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{Integer, Text};

use crate::support::server::wait_until;

/// Other sessions of this database can't read `pg_type`. They still know the types that they have read before.
pub(crate) struct Locked {
    session: PgConnection,
}

impl Locked {
    /// `session` is a superuser's.
    pub(crate) fn lock(mut session: PgConnection) -> Self {
        session
            .batch_execute("BEGIN; LOCK TABLE pg_catalog.pg_type IN ACCESS EXCLUSIVE MODE")
            .expect("a lock on pg_type");
        Locked { session }
    }

    /// Returns when the server's process with this number waits for a lock, with the time when its statement began.
    pub(crate) fn wait_for(&mut self, pid: i32) -> String {
        self.wait_for_next(pid, "")
    }

    /// The same for a statement that did not begin then.
    pub(crate) fn wait_for_next(&mut self, pid: i32, began: &str) -> String {
        let mut found = None;
        wait_until("a session waits for a lock", || {
            found = self.waiting().into_iter().find(|session| session.pid == pid && session.began != began);
            found.is_some()
        });
        found.expect("it was found").began
    }

    /// The sessions that wait for a lock.
    pub(crate) fn waiting(&mut self) -> Vec<Waiting> {
        // In a transaction, a server remembers what it has shown.
        self.run("SELECT pg_stat_clear_snapshot()");
        let sql = "SELECT pid, concat(query_start) AS began FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        diesel::sql_query(sql).load(&mut self.session).expect("the waiting sessions")
    }

    pub(crate) fn run(&mut self, sql: &str) {
        self.session.batch_execute(sql).expect(sql);
    }

    pub(crate) fn release(mut self) {
        self.run("COMMIT");
    }
}

/// The number of the server's process that answers a connection.
pub(crate) fn pid(conn: &mut PgConnection) -> i32 {
    diesel::select(diesel::dsl::sql::<Integer>("pg_backend_pid()")).get_result(conn).expect("a number")
}

/// A session that waits.
#[derive(QueryableByName)]
pub(crate) struct Waiting {
    #[diesel(sql_type = Integer)]
    pub(crate) pid: i32,
    #[diesel(sql_type = Text)]
    began: String,
}
