//! A tenant's search path in a savepoint or in a transaction that this crate did not begin: right, or an error that
//! says what to do instead.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error;
use diesel_postgres_hot_upgrade::{HotUpgradeExt, synchronize};

use super::tenants::{SET_PATH, as_tenant, what_follows_is_right};
use crate::support::meaning::{Label, Verdict, judge, meaning};

/// Right, or an error that says what to do instead.
fn is_acceptable(verdict: &Verdict) -> bool {
    verdict.as_ref().map_or_else(|problem| problem.contains("before_probe"), |()| true)
}

/// What follows is asked within the outer transaction, too, under whichever path is set there.
fn within(
    conn: &mut PgConnection,
    nested: impl Fn(&mut PgConnection) -> QueryResult<Verdict>,
) -> QueryResult<Verdict> {
    let mut verdicts = vec![judge(meaning::<Label>(conn)), nested(conn)?];
    verdicts.push(judge(meaning::<Label>(conn)));
    verdicts.push(judge(conn.transaction(meaning::<Label>)));
    verdicts.push(judge(conn.hot_transaction(meaning::<Label>)));
    Ok(verdicts.into_iter().collect())
}

/// A tenant in a savepoint, which is released or rolled back. Its error is the outer transaction's.
fn in_a_savepoint(conn: &mut PgConnection, is_hot: bool, is_kept: bool) -> QueryResult<Verdict> {
    let mut verdict = Ok(());
    let result = {
        let savepoint = |conn: &mut PgConnection| {
            verdict = judge(Ok(as_tenant(conn)?));
            if is_kept { Ok(()) } else { Err(Error::RollbackTransaction) }
        };
        if is_hot { conn.hot_transaction(savepoint) } else { conn.transaction(savepoint) }
    };
    match result {
        Ok(()) | Err(Error::RollbackTransaction) => Ok(verdict),
        Err(error) => Err(error),
    }
}

/// The outcome of an outer transaction as a verdict.
fn flatten(outer: QueryResult<Verdict>) -> Verdict {
    outer.unwrap_or_else(|error| Err(format!("error: {error}")))
}

#[test]
fn a_tenant_in_a_nested_verified_transaction_leaves_nothing_wrong() {
    for is_kept in [true, false] {
        let tenant: fn(&mut PgConnection) -> Verdict = if is_kept {
            |conn| flatten(conn.hot_transaction(|conn| within(conn, |conn| in_a_savepoint(conn, true, true))))
        } else {
            |conn| flatten(conn.hot_transaction(|conn| within(conn, |conn| in_a_savepoint(conn, true, false))))
        };
        what_follows_is_right(&format!("nested_{is_kept}"), tenant, is_acceptable);
    }
}

#[test]
fn a_tenant_in_a_savepoint_leaves_nothing_wrong() {
    for is_kept in [true, false] {
        let tenant: fn(&mut PgConnection) -> Verdict = if is_kept {
            |conn| flatten(conn.hot_transaction(|conn| within(conn, |conn| in_a_savepoint(conn, false, true))))
        } else {
            |conn| flatten(conn.hot_transaction(|conn| within(conn, |conn| in_a_savepoint(conn, false, false))))
        };
        what_follows_is_right(&format!("savepoint_{is_kept}"), tenant, is_acceptable);
    }
}

#[test]
fn a_tenant_in_a_plain_transaction_leaves_nothing_wrong() {
    what_follows_is_right("plain", |conn| judge(conn.transaction(as_tenant)), is_acceptable);
}

#[test]
fn a_tenant_in_a_savepoint_of_a_plain_transaction_leaves_nothing_wrong() {
    for is_kept in [true, false] {
        let tenant: fn(&mut PgConnection) -> Verdict = if is_kept {
            |conn| flatten(conn.transaction(|conn| within(conn, |conn| in_a_savepoint(conn, false, true))))
        } else {
            |conn| flatten(conn.transaction(|conn| within(conn, |conn| in_a_savepoint(conn, false, false))))
        };
        what_follows_is_right(&format!("plain_savepoint_{is_kept}"), tenant, is_acceptable);
    }
}

#[test]
fn a_tenants_path_set_in_an_outer_transaction_is_followed_in_a_nested_one() {
    let tenant = |conn: &mut PgConnection| {
        flatten(conn.hot_transaction_with(
            |builder| builder.before_probe(SET_PATH),
            |conn| {
                within(conn, |conn| {
                    let back = conn.hot_transaction(|conn| {
                        conn.batch_execute("SET LOCAL search_path = public")?;
                        synchronize(conn)?;
                        meaning::<Label>(conn)
                    });
                    back.map(|meaning| judge(Ok(meaning)))
                })
            },
        ))
    };
    what_follows_is_right("outer", tenant, is_acceptable);
}
