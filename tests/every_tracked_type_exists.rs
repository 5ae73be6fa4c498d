//! Every tracked type exists, so new ones are not searched for. A program of its own, since `track` narrows what the
//! whole process watches, and no test in here may track a type that is missing.

use std::sync::{Arc, Mutex, Once};

use diesel::connection::{Instrumentation, InstrumentationEvent, SimpleConnection};
use diesel::dsl::sql;
use diesel::expression::AsExpression;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{Bool, SqlType};
use diesel_postgres_hot_upgrade::{Outcome, synchronize, track};
use fixture::{RECREATE_ENUM, Statements, Upgrade};
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
fn tables_of_others_cost_no_second_statement() {
    let upgrade = upgrade();
    let mut conn = connect(&upgrade, upgrade.old);
    let mut other = connect(&upgrade, upgrade.old);
    synchronize(&mut conn).expect("a first look");
    let statements = Statements::default();
    conn.set_instrumentation(statements.clone());
    let mut cost = |path: &str, table: &str| {
        conn.batch_execute(&format!("SET search_path = {path}")).expect("a path");
        synchronize(&mut conn).expect("another path");
        let before = statements.count();
        other.batch_execute(&format!("CREATE TABLE {table} (id int)")).expect("a table");
        synchronize(&mut conn).expect("an answer");
        statements.count() - before
    };
    assert_eq!(cost("public", "one_more"), 1);
    assert!(cost("public, one", "another") > 1, "as documented, one of a schema in the path is looked for");
}
