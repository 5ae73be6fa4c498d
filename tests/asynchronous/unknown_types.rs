//! Types in no snapshot: the rows of tables, temporary types, and what is not tracked. The connection looks them up by
//! itself, and is not replaced for it.

use std::io::Write;

use diesel::pg::Pg;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::Text;
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};

use crate::support::meaning::Label;
use crate::tools::{Asks, Bb8, Hot, bb8, blocking, connect, run, verified};

#[test]
fn a_type_in_no_snapshot_costs_no_connection() {
    run(async {
        let upgrade = blocking(crate::support::pools::upgrade);
        for server in [upgrade.old, upgrade.new] {
            blocking(|| upgrade.run_on(server, "CREATE TABLE label ()")).expect("a row type");
        }
        blocking(|| {
            upgrade.run_on(upgrade.old, "CREATE TABLE unrelated (); DROP TABLE label; CREATE TABLE label ()")
        })
        .expect("another OID");
        let pool: Bb8<Hot> = bb8(&upgrade.url(), 1, diesel::connection::CacheSize::Unbounded).await;
        for server in [upgrade.old, upgrade.new, upgrade.old] {
            blocking(|| upgrade.switch_to(server)).expect("a switch");
            let mut conn = pool.get().await.expect("a connection");
            assert_eq!(conn.plain::<Label>().await, Ok(()));
            assert_eq!(verified::<Label>(&mut conn).await, Ok(()));
        }
        assert_eq!(pool.state().statistics.connections_created, 1);
    });
}

#[test]
fn a_type_that_does_not_exist_is_an_error_that_aborts_nothing() {
    run(async {
        let upgrade = blocking(crate::support::pools::upgrade);
        let mut hot: Hot = connect(&upgrade.url()).await;
        let result = hot
            .transaction(async |conn| {
                let missing = conn.plain::<Label>().await.expect_err("there is no such type");
                assert!(missing.contains("label"), "{missing}");
                let used: diesel::QueryResult<()> = crate::tools::write_and_read_back!(&mut *conn);
                used
            })
            .await;
        assert_eq!(result, Ok(()));
    });
}

#[test]
fn a_temporary_type_costs_no_connection_and_what_it_hid_is_right_afterwards() {
    run(async {
        let upgrade = blocking(crate::support::pools::upgrade);
        blocking(|| upgrade.run_on(upgrade.old, "CREATE TYPE label AS ENUM ('x')")).expect("a type");
        let pool: Bb8<Hot> =
            bb8(&upgrade.old.url(&upgrade.database), 1, diesel::connection::CacheSize::Unbounded).await;
        for _ in 0..3 {
            let mut conn = pool.get().await.expect("a connection");
            assert_eq!(verified::<Label>(&mut conn).await, Ok(()));
            conn.batch_execute("CREATE TYPE pg_temp.label AS ENUM ('x')").await.expect("a temporary type");
            assert_eq!(verified::<Label>(&mut conn).await, Ok(()));
            drop(conn);
            let mut conn = pool.get().await.expect("a connection");
            assert_eq!(conn.plain::<Label>().await, Ok(()), "in the next checkout");
            conn.batch_execute("DROP TYPE pg_temp.label").await.expect("it is gone");
            assert_eq!(verified::<Label>(&mut conn).await, Ok(()));
        }
        assert_eq!(pool.state().statistics.connections_created, 1);
    });
}

/// So many enums, and a composite type of them all.
const MANY: usize = 100;

#[derive(Debug, Clone, Copy, diesel::query_builder::QueryId, diesel::sql_types::SqlType)]
#[diesel(postgres_type(name = "wide"))]
struct Wide;

#[derive(Debug, Clone, Copy, diesel::expression::AsExpression)]
#[diesel(sql_type = Wide)]
struct EachHappy;

impl ToSql<Wide, Pg> for EachHappy {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(&(MANY as u32).to_be_bytes())?;
        for number in 0..MANY {
            let oid = out.metadata_lookup().lookup_type(&format!("enum_{number}"), None).oid()?;
            out.write_all(&oid.to_be_bytes())?;
            out.write_all(&5_u32.to_be_bytes())?;
            out.write_all(b"happy")?;
        }
        Ok(IsNull::No)
    }
}

#[test]
fn a_hundred_types_of_one_value_are_looked_up() {
    run(async {
        let upgrade = blocking(crate::support::pools::upgrade);
        let mut hot: Hot = connect(&upgrade.url()).await;
        let enums: String =
            (0..MANY).map(|number| format!("CREATE TYPE enum_{number} AS ENUM ('happy'); ")).collect();
        let fields: Vec<_> = (0..MANY).map(|number| format!("field_{number} enum_{number}")).collect();
        let types = format!("{enums} CREATE TYPE wide AS ({})", fields.join(", "));
        blocking(|| upgrade.run_on(upgrade.old, &types)).expect("types");
        let shown = diesel::dsl::sql::<Text>("").bind::<Wide, _>(EachHappy).sql("::text");
        let shown: String = RunQueryDsl::get_result(diesel::select(shown), &mut hot).await.expect("a value");
        assert_eq!(shown.matches("happy").count(), MANY, "the server compares the OID of each field");
    });
}
