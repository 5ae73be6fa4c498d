//! Transaction ids that checkouts draw. Whatever draws ids brings the server closer to a wraparound.

use diesel::connection::CacheSize;
use diesel::pg::PgConnection;
use diesel::r2d2::{ManageConnection, Pool};
use diesel_postgres_hot_upgrade::Verify;
use postgres::Client;

use super::Count;
use crate::args::Subject;
use crate::goals;
use crate::shared::servers::{create_database, quiet_cluster};
use crate::shared::{AnyError, subjects, twenty};

const DATABASE: &str = "transaction_ids";
const CHECKOUTS: usize = 1_000;
const TEMPORARY_TABLES: usize = 50;

pub(crate) fn count() -> Result<Vec<Count>, AnyError> {
    let cluster = quiet_cluster()?;
    let mut client = cluster.client("postgres")?;
    // So that nobody else draws any.
    client.batch_execute("ALTER SYSTEM SET autovacuum = off")?;
    client.batch_execute("SELECT pg_catalog.pg_reload_conf()")?;
    create_database(&cluster, DATABASE, twenty::SQL)?;
    let url = cluster.url(DATABASE);
    let stock = subjects::stock(&url, 1, CacheSize::Unbounded)?;
    let ours = subjects::protected(&url, 1, CacheSize::Unbounded, Verify::EveryCheckout)?;
    twenty::bind_each(&mut *stock.get()?)?;
    twenty::bind_each(&mut *ours.get()?)?;
    let mut others = cluster.client(DATABASE)?;
    // A session's first temporary table creates its schema, too.
    create_and_drop(&mut others, || Ok(()))?;

    let idle = [while_idle(&mut client, &stock)?, while_idle(&mut client, &ours)?];
    let beside =
        [beside_tables(&mut client, &mut others, &stock)?, beside_tables(&mut client, &mut others, &ours)?];
    let of_others =
        format!("by checkouts while another session creates and drops {TEMPORARY_TABLES} temporary tables");
    Ok(vec![drawn(&format!("by {CHECKOUTS} checkouts"), idle)?, drawn(&of_others, beside)?])
}

fn drawn(what: &str, [stock, ours]: [i64; 2]) -> Result<Count, AnyError> {
    if stock != 0 {
        return Err(format!("{stock} transaction ids were drawn by somebody else").into());
    }
    let count = Count::new(Subject::TransactionIds, format!("transaction ids drawn {what}"), ours as f64);
    Ok(count.beside(stock as f64).with_goal(goals::TRANSACTION_IDS))
}

fn while_idle<M>(client: &mut Client, pool: &Pool<M>) -> Result<i64, AnyError>
where
    M: ManageConnection<Connection = PgConnection>,
{
    let before = next_id(client)?;
    check_out(pool, CHECKOUTS)?;
    Ok(next_id(client)? - before)
}

/// Without those of the tables themselves.
fn beside_tables<M>(client: &mut Client, others: &mut Client, pool: &Pool<M>) -> Result<i64, AnyError>
where
    M: ManageConnection<Connection = PgConnection>,
{
    let before = next_id(client)?;
    for _ in 0..TEMPORARY_TABLES {
        create_and_drop(others, || check_out(pool, 3))?;
    }
    Ok(next_id(client)? - before - 2 * TEMPORARY_TABLES as i64)
}

/// Draws two ids.
fn create_and_drop(client: &mut Client, after_each: impl Fn() -> Result<(), AnyError>) -> Result<(), AnyError> {
    for statement in ["CREATE TEMPORARY TABLE passing (number int4)", "DROP TABLE passing"] {
        client.batch_execute(statement)?;
        after_each()?;
    }
    Ok(())
}

fn check_out<M: ManageConnection>(pool: &Pool<M>, times: usize) -> Result<(), AnyError> {
    for _ in 0..times {
        drop(pool.get()?);
    }
    Ok(())
}

/// The next id that the server gives. To ask for it draws none.
fn next_id(client: &mut Client) -> Result<i64, AnyError> {
    let asked = "SELECT pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot())";
    Ok(client.query_one(asked, &[])?.get(0))
}
