//! Names that come from a server are shown without control characters, and stay what they are for the application.

use std::sync::{Arc, Mutex};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{CustomizeConnection, Error, Pool};
use diesel_postgres_hot_upgrade::{Change, HotUpgradeCustomizer, HotUpgradeManager, on_change};
use fixture::{builder, on_every_connection};
use testbed::{Cluster, Forwarder};

use crate::support::backend::alone;

/// A forged line of a log, a terminal's escape sequence, two format strings, and a mark that reverses what follows.
const HOSTILE: &str = "a\nWARN b\u{1b}[2J{}%s\u{202e}c";

/// The same in a URL.
const HOSTILE_IN_URL: &str = "a%0AWARN%20b%1B%5B2J%7B%7D%25s%E2%80%AEc";

const RAW: &[char] = &['\n', '\u{1b}', '\u{202e}'];

fn assert_harmless(text: &str) {
    let shown = text.chars().filter(|character| character.is_control() || RAW.contains(character));
    assert_eq!(shown.collect::<String>(), "", "{text:?}");
}

/// A server whose database, schema and type have such a name, and another type before it.
fn start(major: u32, other: &str) -> Cluster {
    let server = Cluster::start(major).expect("a server of this test's own");
    server.create_database(HOSTILE).expect("a database");
    let mut conn = PgConnection::establish(&server.url(HOSTILE_IN_URL)).expect("a connection");
    conn.batch_execute(&format!(
        "ALTER DATABASE \"{HOSTILE}\" SET search_path = \"{HOSTILE}\", public;
         CREATE SCHEMA \"{HOSTILE}\"; CREATE TYPE \"{HOSTILE}\".\"{other}\" AS ENUM ();
         CREATE TYPE \"{HOSTILE}\".\"{HOSTILE}\" AS ENUM ()"
    ))
    .expect("a schema and a type");
    server
}

/// Its panic shows what the server said of such a name.
#[derive(Debug, Default)]
struct QuotesTheServer(Mutex<bool>);

impl CustomizeConnection<PgConnection, Error> for QuotesTheServer {
    fn on_acquire(&self, conn: &mut PgConnection) -> Result<(), Error> {
        let mut has_quoted = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !std::mem::replace(&mut has_quoted, true) {
            let error = conn.batch_execute(&format!("SELECT FROM \"{HOSTILE}\"")).expect_err("no such table");
            assert!(error.to_string().contains(HOSTILE), "the control: {error:?}");
            panic!("{error}");
        }
        Ok(())
    }
}

fn use_both(pool: &Pool<HotUpgradeManager>) {
    let used = |conn: &mut PgConnection| conn.batch_execute("SELECT 1").map_err(|error| error.to_string());
    assert_eq!(on_every_connection(pool, used), [""; 0]);
}

#[test]
fn names_are_shown_escaped_and_told_as_they_are() {
    let alone = alone();
    let gone = format!("gone {HOSTILE}");
    let (old, new) = (start(10, &gone), start(12, "other"));
    // From here on, the two draw different OIDs.
    run(&new, "CREATE TYPE one_more AS ENUM ()");
    recreate(&new);
    let forwarder = Forwarder::start(old.address()).expect("a forwarder");
    let changes = Arc::new(Mutex::new(Vec::<Change>::new()));
    let noticed = Arc::clone(&changes);
    on_change(move |change| {
        if change.to().database() == HOSTILE {
            noticed.lock().expect("no panic holds it").push(change.clone());
        }
    });
    let customizer = HotUpgradeCustomizer::wrap(Box::<QuotesTheServer>::default());
    let url = old.url_at(forwarder.address(), HOSTILE_IN_URL);
    let pool =
        builder(2).connection_customizer(Box::new(customizer)).build(HotUpgradeManager::new(url)).expect("a pool");
    use_both(&pool);
    run(&old, &format!("DROP TYPE \"{gone}\""));
    recreate(&old);
    use_both(&pool);
    forwarder.retarget(new.address());
    use_both(&pool);

    let records = alone.records();
    records.iter().for_each(|record| assert_harmless(record));
    for said in ["relation", "types changed on", "the server changed from"] {
        let is_said = |record: &&String| record.contains(said) && record.contains("{}%s");
        assert!(records.iter().any(|record| is_said(&record)), "{said}: {records:?}");
    }
    let changes = changes.lock().expect("no panic holds it");
    assert_eq!(changes.len(), 2, "{changes:?}");
    changes.iter().for_each(assert_names);
    let missing: Vec<_> = changes[0].missing().iter().map(|missing| (missing.schema(), missing.name())).collect();
    assert_eq!(missing, [(HOSTILE, &*gone)]);
}

fn run(server: &Cluster, sql: &str) {
    let mut conn = PgConnection::establish(&server.url(HOSTILE_IN_URL)).expect("a connection");
    conn.batch_execute(sql).expect(sql);
}

fn recreate(server: &Cluster) {
    run(server, &format!("DROP TYPE \"{HOSTILE}\"; CREATE TYPE \"{HOSTILE}\" AS ENUM ()"));
}

/// Shown escaped. The control: the names themselves have what must not be shown.
fn assert_names(change: &Change) {
    for shown in [change.to_string(), change.from().to_string(), change.to().to_string()] {
        assert!(shown.contains("{}%s"), "{shown}");
        assert_harmless(&shown);
    }
    let [moved] = change.moved() else { panic!("{change:?}") };
    assert_eq!((moved.name().schema(), moved.name().name()), (HOSTILE, HOSTILE));
    assert_eq!(change.to().database(), HOSTILE);
    assert!(change.to().schemas().iter().any(|schema| schema == HOSTILE), "{change:?}");
    assert_harmless(&moved.name().to_string());
    change.missing().iter().for_each(|missing| assert_harmless(&missing.to_string()));
    assert!(RAW.iter().all(|raw| moved.name().name().contains(*raw)));
}
