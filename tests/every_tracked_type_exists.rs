//! Every tracked type exists, so new ones are not searched for. A program of its own, since `track` narrows what the
//! whole process watches, and no test in here may track a type that is missing.

// Other programs use the rest.
#[allow(dead_code)]
mod support {
    pub(crate) mod freshness;
    pub(crate) mod looks;
    pub(crate) mod server;
}

use std::sync::{Arc, Mutex, Once};

use diesel::connection::{Instrumentation, InstrumentationEvent, SimpleConnection};
use diesel::dsl::sql;
use diesel::expression::AsExpression;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{Bool, SqlType};
use diesel_postgres_hot_upgrade::{Outcome, synchronize, track};
use fixture::{RECREATE_ENUM, Upgrade};
use support::freshness::wait_until_stale;
use support::looks::Looks;
use testbed::{Cluster, PgBouncerConfig};

const CREATE: &str = "CREATE SCHEMA one; CREATE TYPE one.mood AS ENUM ('happy')";

/// `one.mood`, whatever the search path.
#[derive(Debug, Clone, Copy, SqlType, diesel::query_builder::QueryId)]
#[diesel(postgres_type(name = "mood", schema = "one"))]
struct MoodOfOne;

#[derive(Debug, Clone, Copy, AsExpression)]
#[diesel(sql_type = MoodOfOne)]
struct Happy;

impl ToSql<MoodOfOne, Pg> for Happy {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        std::io::Write::write_all(out, b"happy")?;
        Ok(IsNull::No)
    }
}

fn is_happy(conn: &mut PgConnection) -> QueryResult<bool> {
    diesel::select(sql::<Bool>("'happy'::one.mood = ").bind::<MoodOfOne, _>(Happy)).get_result(conn)
}

/// Two servers whose databases have all that is tracked.
fn upgrade() -> Upgrade {
    static TRACKED: Once = Once::new();
    TRACKED.call_once(|| {
        track::<MoodOfOne>();
        track::<fixture::sql_types::DocumentStatus>();
    });
    let upgrade = Upgrade::start(PgBouncerConfig::default()).expect("two servers and a pooler");
    upgrade.run_on(upgrade.old, CREATE).expect("a type in a schema");
    upgrade
}

fn connect(upgrade: &Upgrade, server: &Cluster) -> PgConnection {
    PgConnection::establish(&server.url(&upgrade.database)).expect("a connection")
}

#[test]
fn a_tracked_type_leaves_its_schema_and_is_created_there_anew() {
    for path in ["public", "one, public", "public, one"] {
        let upgrade = upgrade();
        let connect = || {
            let mut conn = connect(&upgrade, upgrade.old);
            conn.batch_execute(&format!("SET search_path = {path}")).expect("a path");
            conn
        };
        let (mut conn, mut stock) = (connect(), connect());
        assert!(matches!(synchronize(&mut conn), Ok(Outcome::Primed)));
        assert_eq!((is_happy(&mut conn), is_happy(&mut stock)), (Ok(true), Ok(true)));

        // If the path finds it in either schema, the type that stays is shown alike: only a look finds the new one.
        wait_until_stale();
        let recreate = "ALTER TYPE one.mood SET SCHEMA public; CREATE TYPE one.mood AS ENUM ('happy')";
        upgrade.run_on(upgrade.old, recreate).expect("another type of that name");

        assert!(matches!(synchronize(&mut conn), Ok(Outcome::Changed(_))), "{path}");
        assert_eq!(is_happy(&mut conn), Ok(true), "{path}");
        is_happy(&mut stock).expect_err("the control");
    }
}

/// What failed on a connection.
#[derive(Debug, Clone, Default)]
struct Failures(Arc<Mutex<Vec<String>>>);

impl Instrumentation for Failures {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if let InstrumentationEvent::FinishQuery { error: Some(error), .. } = event {
            self.0.lock().expect("no panic holds it").push(error.to_string());
        }
    }
}

#[test]
fn who_notices_later_that_a_tracked_type_moved_asks_nothing_that_fails() {
    let upgrade = upgrade();
    let mut connections = [connect(&upgrade, upgrade.old), connect(&upgrade, upgrade.old)];
    let failures = Failures::default();
    for conn in &mut connections {
        synchronize(conn).expect("a first look");
        conn.set_instrumentation(failures.clone());
    }
    upgrade.run_on(upgrade.old, RECREATE_ENUM).expect("another enum of the same name");
    for conn in &mut connections {
        assert!(matches!(synchronize(conn), Ok(Outcome::Changed(_))));
    }
    let failures = failures.0.lock().expect("no panic holds it");
    assert!(failures.is_empty(), "{failures:?}");
}

#[test]
fn new_types_are_looked_for_only_if_one_could_hide_a_tracked_type_without_a_trace() {
    let upgrade = upgrade();
    let mut conn = connect(&upgrade, upgrade.old);
    synchronize(&mut conn).expect("a first look");
    let looks = Looks::default();
    conn.set_instrumentation(looks.clone());
    let mut looks_with_path = |path: &str| {
        conn.batch_execute(&format!("SET search_path = {path}")).expect("a path");
        synchronize(&mut conn).expect("another path");
        wait_until_stale();
        looks.take();
        synchronize(&mut conn).expect("an answer");
        looks.take()
    };
    assert_eq!(looks_with_path("public"), 0);
    assert_eq!(looks_with_path("public, one"), 1, "as documented, one of a schema in the path is looked for");
}
