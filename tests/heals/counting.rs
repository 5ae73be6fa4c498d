//! What failures of an application cost it: round trips on the wire, and calls of its closures.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer};
use diesel_postgres_hot_upgrade::{HotUpgradeExt, synchronize};
use testbed::Forwarder;

use crate::site::{Site, connect};

/// Failures of an application, none of which has to do with caches.
pub(crate) const PREPARE: &str = "CREATE TABLE accounts (id int8, balance int8 CHECK (balance >= 0));
    INSERT INTO accounts VALUES (1, 0);
    CREATE FUNCTION refuse() RETURNS int8 LANGUAGE plpgsql AS
    $$BEGIN RAISE EXCEPTION 'cached plan must not change result type'; END$$";

/// How an application fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A function raises an exception, with the text of a stale plan's.
    Exception,
    DivisionByZero,
    /// A statement that is kept prepared violates a check constraint.
    CheckConstraint,
    /// A message of the simple protocol.
    Message,
}

pub(crate) const FAILURES: [Failure; 4] =
    [Failure::Exception, Failure::DivisionByZero, Failure::CheckConstraint, Failure::Message];

diesel::table! {
    accounts (id) {
        id -> BigInt,
        balance -> BigInt,
    }
}

impl Failure {
    pub(crate) fn fail(self, conn: &mut PgConnection) -> QueryResult<()> {
        match self {
            Failure::Exception => {
                diesel::select(diesel::dsl::sql::<BigInt>("refuse()")).get_result::<i64>(conn).map(drop)
            }
            Failure::DivisionByZero => {
                let quotient = diesel::dsl::sql::<Integer>("1 / ").bind::<Integer, _>(0);
                diesel::select(quotient).get_result::<i32>(conn).map(drop)
            }
            Failure::CheckConstraint => diesel::update(accounts::table.find(1_i64))
                .set(accounts::balance.eq(accounts::balance - 1))
                .execute(conn)
                .map(drop),
            Failure::Message => conn.batch_execute("SELECT 1; SELECT 1 / 0"),
        }
    }
}

/// A connection whose round trips and closures are counted.
pub(crate) struct Counting {
    forwarder: Forwarder,
    pub(crate) conn: PgConnection,
    pub(crate) closures: usize,
}

impl Counting {
    pub(crate) fn connect(site: &Site) -> Self {
        let forwarder = Forwarder::start(site.server.address()).expect("a forwarder");
        let mut conn = connect(&site.server.url_at(forwarder.address(), &site.database));
        synchronize(&mut conn).expect("a first look");
        let mut counting = Counting { forwarder, conn, closures: 0 };
        // The first ones find out more than those that follow.
        for failure in FAILURES {
            counting.fail(failure);
            counting.fail(failure);
        }
        counting.closures = 0;
        counting
    }

    pub(crate) fn round_trips(&self) -> usize {
        self.forwarder.round_trips()
    }

    /// A verified transaction that fails.
    pub(crate) fn fail(&mut self, failure: Failure) {
        let closures = &mut self.closures;
        let failed = self.conn.hot_transaction(|conn| {
            *closures += 1;
            failure.fail(conn)
        });
        failed.expect_err("the application fails");
    }
}
