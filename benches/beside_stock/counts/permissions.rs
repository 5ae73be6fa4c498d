//! A role that may use its tables, and may ask the server for nothing.

use diesel::connection::{CacheSize, Connection};
use diesel::pg::PgConnection;
use diesel::r2d2::{ManageConnection, Pool};
use diesel_postgres_hot_upgrade::{HotUpgradeExt, Verify};
use testbed::Forwarder;

use super::Count;
use crate::args::Subject;
use crate::goals::{FORBIDDEN_CHECKOUT, FORBIDDEN_CONNECTIONS, FORBIDDEN_INSERT};
use crate::shared::servers::{create_database, quiet_cluster};
use crate::shared::{AnyError, subjects, twenty};

const DATABASE: &str = "permissions";

/// Of each kind.
const TIMES: usize = 100;

const REVOKE: &str = "
    CREATE ROLE limited LOGIN;
    GRANT SELECT, INSERT ON items TO limited;
    GRANT USAGE ON SEQUENCE items_id_seq TO limited;
    REVOKE EXECUTE ON FUNCTION
        pg_catalog.current_schemas(bool),
        pg_catalog.pg_control_system(),
        pg_catalog.pg_is_in_recovery(),
        pg_catalog.pg_postmaster_start_time(),
        pg_catalog.pg_relation_filepath(regclass)
    FROM PUBLIC;";

pub(crate) fn count() -> Result<Vec<Count>, AnyError> {
    let cluster = quiet_cluster()?;
    create_database(&cluster, DATABASE, twenty::SQL)?;
    cluster.client(DATABASE)?.batch_execute(REVOKE)?;
    let wire = Forwarder::start(cluster.address())?;
    let url = cluster.url_at(wire.address(), DATABASE).replace("postgres@", "limited@");
    let stock = subjects::stock(&url, 1, CacheSize::Unbounded)?;
    let ours = subjects::protected(&url, 1, CacheSize::Unbounded, Verify::EveryCheckout)?;

    let [stock_checkout, _] = on_the_wire(&wire, || check_out(&stock))?;
    let [our_checkout, for_checkouts] = on_the_wire(&wire, || check_out(&ours))?;
    let [stock_insert, _] = on_the_wire(&wire, || {
        let conn: &mut PgConnection = &mut *stock.get()?;
        Ok(conn.transaction(twenty::insert)?)
    })?;
    let [our_insert, for_inserts] = on_the_wire(&wire, || {
        let conn: &mut PgConnection = &mut *ours.get()?;
        Ok(conn.hot_transaction(twenty::insert)?)
    })?;

    let count = |what: &str, figure| {
        Count::new(Subject::Permissions, format!("a role without permissions: {what}"), figure)
    };
    let connections = ((for_checkouts + for_inserts) * TIMES as f64).round();
    Ok(vec![
        count("round trips of a checkout", our_checkout).beside(stock_checkout).with_goal(FORBIDDEN_CHECKOUT),
        count("round trips of a checkout and a verified insert", our_insert)
            .beside(stock_insert)
            .with_goal(FORBIDDEN_INSERT),
        count(&format!("new connections in {TIMES} of each"), connections).with_goal(FORBIDDEN_CONNECTIONS),
    ])
}

fn check_out<M: ManageConnection>(pool: &Pool<M>) -> Result<(), AnyError> {
    drop(pool.get()?);
    Ok(())
}

/// Round trips and new connections of one call in its steady state, as means.
fn on_the_wire(wire: &Forwarder, work: impl Fn() -> Result<(), AnyError>) -> Result<[f64; 2], AnyError> {
    let counted = || [wire.round_trips(), wire.connections()];
    for _ in 0..3 {
        work()?;
    }
    let before = counted();
    for _ in 0..TIMES {
        work()?;
    }
    let after = counted();
    Ok([0, 1].map(|figure| (after[figure] - before[figure]) as f64 / TIMES as f64))
}
