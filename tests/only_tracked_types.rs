//! Only tracked types are watched. A program of its own with one test, since `track` narrows what the whole process
//! watches, and the test begins before the first call.

// Other programs use the rest.
#[allow(dead_code)]
mod support {
    pub(crate) mod freshness;
    pub(crate) mod looks;
    pub(crate) mod server;
}

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use diesel::connection::{Instrumentation, InstrumentationEvent, SimpleConnection};
use diesel::expression::AsExpression;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{Array, Citext, SqlType};
use diesel_postgres_hot_upgrade::{HotUpgradeExt, Outcome, synchronize, track};
use fixture::{RECREATE_ENUM, Upgrade, sql_types, write_and_read_back};
use support::freshness::wait_until_stale;
use support::looks::Looks;
use testbed::PgBouncerConfig;

/// Diesel's own look-ups of a type's OID.
#[derive(Debug, Clone, Default)]
struct Lookups(Arc<AtomicUsize>);

impl Instrumentation for Lookups {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if matches!(event, InstrumentationEvent::StartQuery { query, .. } if query.to_string().contains("typarray\" FROM"))
        {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// A name that the server cuts off in the middle of its last character, wherever it reads it.
const TOO_LONG: &str = "ein_Name_den_der_Server_kürzt_weil_er_mehr_als_dreiundsechzigß";

#[derive(Debug, Clone, Copy, SqlType, diesel::query_builder::QueryId)]
#[diesel(postgres_type(name = "ein_Name_den_der_Server_kürzt_weil_er_mehr_als_dreiundsechzigß"))]
struct TooLong;

#[derive(Debug, Clone, Copy, AsExpression)]
#[diesel(sql_type = TooLong)]
#[diesel(sql_type = Latecomer)]
struct Value;

impl ToSql<TooLong, Pg> for Value {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        std::io::Write::write_all(out, b"a")?;
        Ok(IsNull::No)
    }
}

fn bind_too_long(conn: &mut PgConnection) -> QueryResult<bool> {
    diesel::select(Value.into_sql::<TooLong>().is_not_null()).get_result(conn)
}

#[derive(Debug, Clone, Copy, SqlType, diesel::query_builder::QueryId)]
#[diesel(postgres_type(name = "latecomer"))]
struct Latecomer;

impl ToSql<Latecomer, Pg> for Value {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        ToSql::<TooLong, Pg>::to_sql(self, out)
    }
}

fn bind_latecomer(conn: &mut PgConnection) -> QueryResult<bool> {
    diesel::select(Value.into_sql::<Latecomer>().is_not_null()).get_result(conn)
}

/// How often new types are looked for once the last look is stale: by a check, and by one inside a transaction.
fn looks(upgrade: &Upgrade) -> [usize; 2] {
    let mut conn = PgConnection::establish(&upgrade.url()).expect("a connection");
    synchronize(&mut conn).expect("a first look");
    let looks = Looks::default();
    conn.set_instrumentation(looks.clone());
    let checks: [fn(&mut PgConnection) -> QueryResult<Outcome>; 2] =
        [synchronize, |conn| conn.transaction(synchronize)];
    checks.map(|check| {
        wait_until_stale();
        check(&mut conn).expect("nothing changed");
        looks.take()
    })
}

#[test]
fn only_what_is_tracked_is_watched_on_one_server_and_everything_where_the_server_changes() {
    let upgrade = Upgrade::start(PgBouncerConfig::default()).expect("two servers and a pooler");
    let mut early = PgConnection::establish(&upgrade.url()).expect("a connection");
    synchronize(&mut early).expect("a first look");
    assert_eq!(looks(&upgrade), [1, 1], "where every type is watched, new ones are looked for");

    track::<Array<sql_types::DocumentStatus>>();
    track::<Citext>();
    assert!(matches!(synchronize(&mut early), Ok(Outcome::Primed)), "what is watched is something else now");
    track::<Citext>();
    assert!(matches!(synchronize(&mut early), Ok(Outcome::Unchanged)), "nothing new was named");

    assert_eq!(looks(&upgrade), [0, 0], "everything that is tracked is there");

    let mut conn = PgConnection::establish(&upgrade.url()).expect("a connection");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Primed)));
    let mut stock = PgConnection::establish(&upgrade.url()).expect("a connection");
    let (lookups, control) = (Lookups::default(), Lookups::default());
    conn.set_instrumentation(lookups.clone());
    stock.set_instrumentation(control.clone());
    assert_eq!(write_and_read_back(&mut conn, 1), Ok(()));
    assert_eq!(write_and_read_back(&mut stock, 101), Ok(()));
    let looked_up = [lookups, control].map(|lookups| lookups.0.load(Ordering::SeqCst));
    assert_eq!(looked_up, [2, 4], "what is not tracked is looked up by Diesel; in the control, everything is");
    upgrade.run_on(upgrade.old, "CREATE TYPE bystander AS ENUM ('a')").expect("a type nobody named");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)));

    // A tracked type.
    upgrade.run_on(upgrade.old, RECREATE_ENUM).expect("another enum of the same name");
    let Ok(Outcome::Changed(change)) = synchronize(&mut conn) else { panic!("a tracked type moved") };
    assert_eq!(change.moved().len(), 1, "{change}");
    assert_eq!(write_and_read_back(&mut conn, 2), Ok(()));
    write_and_read_back(&mut stock, 102).expect_err("the control");

    // Another one: as documented, a checkout does not see it.
    upgrade
        .run_on(
            upgrade.old,
            "ALTER DOMAIN document_code RENAME TO outgoing; CREATE DOMAIN document_code AS text;
             ALTER TABLE documents ALTER code TYPE document_code; DROP DOMAIN outgoing",
        )
        .expect("another domain of the same name");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)));
    assert!(write_and_read_back(&mut conn, 3).is_err(), "then it is watched, and the documentation is wrong");

    // One whose name is not what the application calls it.
    assert_eq!(TOO_LONG.len(), 64);
    let create = format!("CREATE TYPE \"{TOO_LONG}\" AS ENUM ('a');");
    upgrade.run_on(upgrade.old, &create).expect("a type of a shorter name");
    track::<TooLong>();
    synchronize(&mut conn).expect("a look at one more");
    assert_eq!((bind_too_long(&mut conn), bind_too_long(&mut stock)), (Ok(true), Ok(true)));
    upgrade.run_on(upgrade.old, &format!("DROP TYPE \"{TOO_LONG}\"; {create}")).expect("another type");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Changed(_))));
    assert_eq!(bind_too_long(&mut conn), Ok(true));
    bind_too_long(&mut stock).expect_err("the control");

    // One that is not there yet.
    track::<Latecomer>();
    synchronize(&mut conn).expect("a look for one more");
    let create = "CREATE TYPE latecomer AS ENUM ('a')";
    upgrade.run_on(upgrade.old, create).expect("a type");
    wait_until_stale();
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)), "a type that was added is no change");
    assert_eq!((bind_latecomer(&mut conn), bind_latecomer(&mut stock)), (Ok(true), Ok(true)));
    upgrade.run_on(upgrade.old, &format!("DROP TYPE latecomer; {create}")).expect("another type");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Changed(_))));
    assert_eq!(bind_latecomer(&mut conn), Ok(true));
    bind_latecomer(&mut stock).expect_err("the control");

    for (number, server) in (4..).zip([upgrade.new, upgrade.old, upgrade.new]) {
        let mut stock = PgConnection::establish(&upgrade.url()).expect("a connection");
        assert_eq!(write_and_read_back(&mut stock, 1_000 + number), Ok(()));
        upgrade.switch_to(server).expect("a switch");
        write_and_read_back(&mut stock, 2_000 + number).expect_err("the control");
        assert!(matches!(synchronize(&mut conn), Ok(Outcome::Changed(_))));
        assert_eq!(write_and_read_back(&mut conn, number), Ok(()));
        let held = early.hot_transaction(|conn| {
            conn.batch_execute("SET LOCAL lock_timeout = '9s'")?;
            fixture::count_titled(conn, "no such title")
        });
        assert_eq!(held, Ok(0));
    }
}
