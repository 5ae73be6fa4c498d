//! A tenant's search path within a transaction. What follows in the same checkout has the session's path again, and
//! binds the session's types, or an error says what to do instead. The control is a stock connection in the tenant's
//! place.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};
use diesel_postgres_hot_upgrade::{HotUpgradeExt, Outcome, synchronize};
use testbed::Cluster;

use crate::support::diverging::{Kind, connect};
use crate::support::documents::{connections, fail_by_unique_key};
use crate::support::meaning::{
    Label, Meaning, Verdict, in_transaction, is_wrong, judge, meaning, plain, verified,
};
use crate::support::pools::upgrade;

pub(super) const SET_PATH: &str = "SET LOCAL search_path = tenant, public";

/// A database with a type, and with one of the same name in a tenant's schema.
fn database(name: &str, kind: Kind) -> String {
    let server = Cluster::shared(12);
    let name = format!("tenants_{name}_{kind:?}_{}", std::process::id()).to_lowercase();
    server.create_database(&name).expect("a database");
    let url = server.url(&name);
    let create = [kind.create("label"), "CREATE SCHEMA tenant".to_owned(), kind.create("tenant.label")];
    connect(&url).batch_execute(&create.join(";")).expect("types");
    url
}

/// Knows the types, and has used the session's.
fn held(url: &str) -> PgConnection {
    let mut conn = connect(url);
    synchronize(&mut conn).expect("a first look");
    assert_eq!(verified::<Label>(&mut conn), Ok(()));
    assert_eq!(plain::<Label>(&mut conn), Ok(()));
    conn
}

/// What a tenant's part of a transaction does.
pub(super) fn as_tenant(conn: &mut PgConnection) -> QueryResult<Meaning> {
    conn.batch_execute(SET_PATH)?;
    synchronize(conn)?;
    meaning::<Label>(conn)
}

type Step = (&'static str, fn(&mut PgConnection) -> Verdict);

/// The uses that follow a tenant's, each on a connection of its own, since one that is reset is right for the next one.
const FOLLOWING: [Step; 3] = [
    ("plain statement", plain::<Label>),
    ("plain transaction", in_transaction::<Label>),
    ("verified transaction", verified::<Label>),
];

/// `tenant` runs and is right; what follows on the same connection is right as well, whether it comes first or later.
pub(super) fn what_follows_is_right(
    name: &str,
    tenant: fn(&mut PgConnection) -> Verdict,
    is_right: fn(&Verdict) -> bool,
) {
    what_follows_is_right_on(&database(name, Kind::Enum), tenant, is_right);
}

fn what_follows_is_right_on(url: &str, tenant: fn(&mut PgConnection) -> Verdict, is_right: fn(&Verdict) -> bool) {
    for first in 0..FOLLOWING.len() {
        let mut conn = held(url);
        for round in 0..3 {
            let verdict = tenant(&mut conn);
            assert!(is_right(&verdict), "the tenant, round {round}: {verdict:?}");
            for step in 0..FOLLOWING.len() {
                let (what, ask) = FOLLOWING[(first + step) % FOLLOWING.len()];
                assert_eq!(ask(&mut conn), Ok(()), "{what}, round {round}");
            }
        }
    }
    let mut stock = connect(url);
    assert_eq!(plain::<Label>(&mut stock), Ok(()));
    let control = stock.transaction(|conn| {
        conn.batch_execute(SET_PATH)?;
        meaning::<Label>(conn)
    });
    let control = judge(control);
    assert!(is_wrong(&control), "the control: {control:?}");
}

fn before_probe(conn: &mut PgConnection) -> Verdict {
    judge(conn.hot_transaction_with(|builder| builder.before_probe(SET_PATH), meaning::<Label>))
}

fn in_the_closure(conn: &mut PgConnection) -> Verdict {
    judge(conn.hot_transaction(as_tenant))
}

#[test]
fn after_a_path_that_is_set_before_the_probe_the_sessions_types_are_bound() {
    what_follows_is_right("before_probe", before_probe, Result::is_ok);
}

#[test]
fn after_a_path_that_is_set_in_the_closure_the_sessions_types_are_bound() {
    what_follows_is_right("closure", in_the_closure, Result::is_ok);
}

#[test]
fn row_types_of_a_path_that_is_set_before_the_probe_end_with_the_transaction() {
    what_follows_is_right_on(&database("before_probe", Kind::RowType), before_probe, Result::is_ok);
}

#[test]
fn row_types_of_a_path_that_is_set_in_the_closure_end_with_the_transaction() {
    what_follows_is_right_on(&database("closure", Kind::RowType), in_the_closure, Result::is_ok);
}

#[test]
fn after_a_tenants_transaction_that_is_rolled_back_the_sessions_types_are_bound() {
    let tenant = |conn: &mut PgConnection| {
        let mut verdicts = Vec::new();
        for is_before_probe in [true, false] {
            let mut verdict = Err("it did not run".to_owned());
            let rolled_back = conn.hot_transaction_with::<(), Error, _, _>(
                |builder| if is_before_probe { builder.before_probe(SET_PATH) } else { builder },
                |conn| {
                    verdict = judge(if is_before_probe { meaning::<Label>(conn) } else { as_tenant(conn) });
                    Err(Error::RollbackTransaction)
                },
            );
            assert_eq!(rolled_back, Err(Error::RollbackTransaction));
            verdicts.push(verdict);
        }
        verdicts.into_iter().collect()
    };
    what_follows_is_right("rolled_back", tenant, Result::is_ok);
}

#[test]
fn two_tenants_and_the_session_take_turns_on_one_connection() {
    let tenant = |conn: &mut PgConnection| {
        let paths = ["tenant, public", "public", "public, tenant", "tenant"];
        paths
            .map(|path| {
                let set = format!("SET LOCAL search_path = {path}");
                judge(conn.hot_transaction_with(|builder| builder.before_probe(set), meaning::<Label>))
            })
            .into_iter()
            .collect()
    };
    what_follows_is_right("in_turn", tenant, Result::is_ok);
}

fn session_with_another_path(conn: &mut PgConnection) -> Verdict {
    let set = conn.batch_execute("SET search_path = tenant, public").and_then(|()| synchronize(conn));
    let set = match set {
        Ok(Outcome::Changed(_)) => Ok(()),
        other => Err(format!("another path: {other:?}")),
    };
    let verdicts = [set, plain::<Label>(conn), verified::<Label>(conn)];
    let back = conn.batch_execute("RESET search_path").and_then(|()| synchronize(conn).map(drop));
    verdicts.into_iter().chain([back.map_err(|error| error.to_string())]).collect()
}

#[test]
fn a_session_that_keeps_a_tenants_path_binds_the_tenants_types() {
    what_follows_is_right("session", session_with_another_path, Result::is_ok);
}

#[test]
fn a_session_that_keeps_a_tenants_path_binds_the_tenants_row_types() {
    what_follows_is_right_on(&database("session", Kind::RowType), session_with_another_path, Result::is_ok);
}

#[test]
fn a_violated_constraint_in_a_tenants_schema_is_not_run_again() {
    let upgrade = upgrade();
    upgrade
        .run_on(upgrade.old, "CREATE SCHEMA tenant; CREATE TYPE tenant.document_status AS ENUM ('draft')")
        .expect("a tenant");
    let (mut hot, _) = connections(&upgrade.url());
    let path = "SET LOCAL search_path = tenant, public";
    // The first failure on a server connection of PgBouncer runs again: its plans may be out of date.
    hot.hot_transaction(fail_by_unique_key).expect_err("a violated constraint");
    for _ in 0..2 {
        let mut attempts = 0;
        let result = hot.hot_transaction_with(
            |builder| builder.before_probe(path),
            |conn| {
                attempts += 1;
                fail_by_unique_key(conn)
            },
        );
        assert!(matches!(result, Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _))), "{result:?}");
        assert_eq!(attempts, 1, "before the probe");

        let mut attempts = 0;
        let result = hot.hot_transaction(|conn| {
            attempts += 1;
            conn.batch_execute(path)?;
            conn.batch_execute("CREATE TYPE of_its_own AS ENUM ('a')")?;
            synchronize(conn)?;
            fail_by_unique_key(conn)
        });
        assert!(matches!(result, Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _))), "{result:?}");
        assert_eq!(attempts, 1, "in the closure, with DDL of its own");
    }
}
