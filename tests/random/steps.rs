//! What is done with a connection, and what it answers.

use diesel::prelude::*;
use diesel::result::Error;

use crate::keys::{Answer, KEYS, ask, shown};
use crate::model::{Catalog, Ddl, Path};
use crate::plan::create_temporary;
use crate::promises::{Grade, Use, bound};
use crate::support::drivers::Session;

/// A bind of a type, or of its array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ask {
    pub(crate) key: usize,
    pub(crate) array: bool,
}

impl Ask {
    pub(crate) fn shown(self) -> String {
        shown(self.key, self.array)
    }
}

/// How a transaction comes by a tenant's path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tenancy {
    BeforeProbe,
    /// The same, and a nested verified transaction in it.
    Nested,
    /// In the closure, with `synchronize` after it.
    Inside,
    /// In a savepoint, with `synchronize` after it.
    Savepoint {
        is_released: bool,
    },
    /// In a plain transaction, with `synchronize` after it.
    PlainTransaction,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Plain(Ask),
    PlainTransaction(Vec<Ask>),
    Query(Ask),
    Verified(Vec<Ask>),
    Tenant {
        path: Path,
        how: Tenancy,
        asks: Vec<Ask>,
        after: Vec<Ask>,
    },
    /// A migration of the connection's own, in a verified transaction.
    Migrate {
        ddl: Ddl,
        asks: Vec<Ask>,
        is_kept: bool,
    },
    Synchronize,
    /// Creates a temporary type: a table's, or an enum.
    Temporary {
        name: &'static str,
        is_table: bool,
    },
    /// Sets the session's path.
    SetPath(Path),
}

/// What names mean to a session.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) catalog: Catalog,
    pub(crate) path: Path,
}

/// An answer, and what the model says about it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) ask: Ask,
    pub(crate) path: Path,
    /// Does the name mean anything?
    pub(crate) exists: bool,
    /// It has meant it for less than the bound.
    pub(crate) is_young: bool,
    pub(crate) result: Result<Answer, String>,
}

#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) answers: Vec<Found>,
    /// `synchronize` said that it can't be done so.
    pub(crate) is_refused: bool,
}

impl Findings {
    /// Nothing failed.
    pub(crate) fn is_done(&self) -> bool {
        !self.is_refused && self.answers.iter().all(|found| found.result.is_ok())
    }

    fn ask(&mut self, conn: &mut Session<'_>, asks: &[Ask], scope: &Scope) -> QueryResult<()> {
        for one in asks {
            let result = ask(conn, one.key, one.array, false);
            self.note(*one, scope, &result);
            result?;
        }
        Ok(())
    }

    fn note(&mut self, ask: Ask, scope: &Scope, result: &QueryResult<Answer>) {
        let meaning = scope.catalog.find(KEYS[ask.key], scope.path);
        let (exists, is_young) = (meaning.is_some(), meaning.is_some_and(|ty| ty.created.1.elapsed() < bound()));
        let result = result.as_ref().map(|answer| *answer).map_err(ToString::to_string);
        self.answers.push(Found { ask, path: scope.path, exists, is_young, result });
    }

    fn set_path(&mut self, conn: &mut Session<'_>, path: Path) -> QueryResult<()> {
        conn.batch_execute(&set_local(path))?;
        self.synchronize(conn)
    }

    fn synchronize(&mut self, conn: &mut Session<'_>) -> QueryResult<()> {
        let outcome = conn.synchronize();
        self.is_refused |= matches!(&outcome, Err(error) if error.to_string().contains("before_probe"));
        outcome
    }
}

fn set_local(path: Path) -> String {
    format!("SET LOCAL search_path = {}", path.join(", "))
}

impl Step {
    pub(crate) fn run(&self, conn: &mut Session<'_>, scope: &Scope) -> Findings {
        let mut findings = Findings::default();
        let outcome = self.attempt(conn, scope, &mut findings);
        // An error of the transaction itself, of its `BEGIN` for one.
        let is_noted = findings.answers.last().is_some_and(|found| found.result.is_err());
        if let Err(error) = outcome
            && error != Error::RollbackTransaction
            && !findings.is_refused
            && !is_noted
        {
            let ask = self.first_ask();
            let result = Err(format!("the transaction itself: {error}"));
            findings.answers.push(Found { ask, path: scope.path, exists: true, is_young: false, result });
        }
        findings
    }

    fn attempt(&self, conn: &mut Session<'_>, scope: &Scope, findings: &mut Findings) -> QueryResult<()> {
        match self {
            Step::Plain(one) => findings.ask(conn, &[*one], scope),
            Step::Query(one) => {
                let result = ask(conn, one.key, one.array, true);
                findings.note(*one, scope, &result);
                result.map(drop)
            }
            Step::PlainTransaction(asks) => conn.transaction(|conn| findings.ask(conn, asks, scope)),
            Step::Verified(asks) => conn.hot_transaction(|conn| {
                *findings = Findings::default();
                findings.ask(conn, asks, scope)
            }),
            Step::Tenant { path, how, asks, after } => as_tenant(conn, scope, path, *how, [asks, after], findings),
            Step::Migrate { ddl, asks, is_kept } => conn.hot_transaction(|conn| {
                *findings = Findings::default();
                conn.batch_execute(&ddl.sql())?;
                findings.synchronize(conn)?;
                let mut scope = scope.clone();
                ddl.apply(&mut scope.catalog, 0);
                findings.ask(conn, asks, &scope)?;
                if *is_kept { Ok(()) } else { Err(Error::RollbackTransaction) }
            }),
            Step::Synchronize => conn.synchronize(),
            Step::Temporary { name, is_table } => conn.batch_execute(&create_temporary(name, *is_table)),
            Step::SetPath(path) => conn.batch_execute(&format!("SET search_path = {}", path.join(", "))),
        }
    }

    fn first_ask(&self) -> Ask {
        match self {
            Step::Plain(ask) | Step::Query(ask) => *ask,
            Step::PlainTransaction(asks)
            | Step::Verified(asks)
            | Step::Tenant { asks, .. }
            | Step::Migrate { asks, .. } => asks[0],
            Step::Synchronize | Step::Temporary { .. } | Step::SetPath(_) => Ask { key: 0, array: false },
        }
    }

    /// How this counts on a connection that is used so. `is_asked`: a checkout or `synchronize` came just before.
    pub(crate) fn usage(&self, by: Use, is_asked: bool) -> (Use, Grade) {
        match self {
            _ if by == Use::Stock => (Use::Stock, Grade::Unjudged),
            Step::Plain(_) | Step::PlainTransaction(_) if is_asked => (Use::Plain, Grade::Strict),
            Step::Plain(_) | Step::PlainTransaction(_) => (Use::Stray, Grade::Unjudged),
            Step::Query(_) if is_asked => (Use::Query, Grade::Strict),
            Step::Query(_) => (Use::Query, Grade::Healed),
            Step::Tenant { .. } => (Use::Tenant, Grade::Strict),
            _ => (by, Grade::Strict),
        }
    }
}

fn as_tenant(
    conn: &mut Session<'_>,
    scope: &Scope,
    path: Path,
    how: Tenancy,
    [asks, after]: [&[Ask]; 2],
    findings: &mut Findings,
) -> QueryResult<()> {
    let tenant = Scope { path, ..scope.clone() };
    match how {
        Tenancy::BeforeProbe => conn.hot_transaction_after(&set_local(path), |conn| {
            *findings = Findings::default();
            findings.ask(conn, asks, &tenant)
        }),
        Tenancy::Nested => conn.hot_transaction_after(&set_local(path), |conn| {
            *findings = Findings::default();
            conn.hot_transaction(|conn| findings.ask(conn, asks, &tenant))?;
            findings.ask(conn, after, &tenant)
        }),
        Tenancy::Inside => conn.hot_transaction(|conn| {
            *findings = Findings::default();
            findings.set_path(conn, path)?;
            findings.ask(conn, asks, &tenant)
        }),
        Tenancy::Savepoint { is_released } => conn.hot_transaction(|conn| {
            *findings = Findings::default();
            let savepoint = conn.transaction(|conn| {
                findings.set_path(conn, path)?;
                findings.ask(conn, asks, &tenant)?;
                if is_released { Ok(()) } else { Err(Error::RollbackTransaction) }
            });
            match savepoint {
                Ok(()) => findings.ask(conn, after, &tenant),
                Err(Error::RollbackTransaction) => findings.ask(conn, after, scope),
                Err(error) => Err(error),
            }
        }),
        Tenancy::PlainTransaction => conn.transaction(|conn| {
            findings.set_path(conn, path)?;
            findings.ask(conn, asks, &tenant)
        }),
    }
}

impl Step {
    /// In a line.
    pub(crate) fn shown(&self) -> String {
        let shown = |asks: &[Ask]| asks.iter().map(|ask| ask.shown()).collect::<Vec<_>>().join(" ");
        match self {
            Step::Plain(ask) => format!("plain {}", ask.shown()),
            Step::Query(ask) => format!("hot_query {}", ask.shown()),
            Step::PlainTransaction(asks) => format!("plain transaction {}", shown(asks)),
            Step::Verified(asks) => format!("verified {}", shown(asks)),
            Step::Tenant { path, how, asks, after } => {
                format!("tenant {} {how:?} {}, after it {}", path.join(", "), shown(asks), shown(after))
            }
            Step::Migrate { ddl, asks, is_kept } => {
                let end = if *is_kept { "commit" } else { "roll back" };
                format!("verified {ddl:?}, {}, {end}", shown(asks))
            }
            other => format!("{other:?}"),
        }
    }
}
