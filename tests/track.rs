//! What is tracked belongs to the process: one test at a time, in a process of its own.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{Array, Citext};
use diesel_postgres_hot_upgrade::{HotUpgradeExt, Outcome, synchronize, track};
use fixture::{RECREATE_ENUM, Upgrade, sql_types, write_and_read_back};
use testbed::PgBouncerConfig;

#[test]
fn only_what_is_tracked_is_watched_on_one_server_and_everything_where_the_server_changes() {
    let upgrade = Upgrade::start(PgBouncerConfig::default()).expect("two servers and a pooler");
    let mut early = PgConnection::establish(&upgrade.url()).expect("a connection");
    synchronize(&mut early).expect("a first look");

    track::<Array<sql_types::DocumentStatus>>();
    track::<Citext>();
    assert!(matches!(synchronize(&mut early), Ok(Outcome::Primed)), "what is watched is something else now");
    track::<Citext>();
    assert!(matches!(synchronize(&mut early), Ok(Outcome::Unchanged)), "nothing new was named");

    let mut conn = PgConnection::establish(&upgrade.url()).expect("a connection");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Primed)));
    assert_eq!(write_and_read_back(&mut conn, 1), Ok(()), "what is not tracked is looked up by Diesel");
    upgrade.run_on(upgrade.old, "CREATE TYPE bystander AS ENUM ('a')").expect("a type nobody named");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)));

    // A tracked type.
    upgrade.run_on(upgrade.old, RECREATE_ENUM).expect("another enum of the same name");
    let Ok(Outcome::Changed(change)) = synchronize(&mut conn) else { panic!("a tracked type moved") };
    assert_eq!(change.moved().len(), 1, "{change}");
    assert_eq!(write_and_read_back(&mut conn, 2), Ok(()));

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

    for (number, server) in (4..).zip([upgrade.new, upgrade.old, upgrade.new]) {
        upgrade.switch_to(server).expect("a switch");
        assert!(matches!(synchronize(&mut conn), Ok(Outcome::Changed(_))));
        assert_eq!(write_and_read_back(&mut conn, number), Ok(()));
        let held = early.hot_transaction(|conn| {
            conn.batch_execute("SET LOCAL lock_timeout = '9s'")?;
            fixture::count_titled(conn, "no such title")
        });
        assert_eq!(held, Ok(0));
    }
}
