//! Servers that restart, and replicas that take turns: each connection is reset, and nothing is reported.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::{HotUpgradeManager, synchronize};
use testbed::Cluster;

use crate::support::counted::{Counted, alone, storm};
use crate::support::diverging::{DATABASE, connect, copies, original, pooler, session};
use crate::support::meaning::{Label, is_wrong, plain, verified};
use crate::support::ways::pool_of;

const SIZE: u32 = 3;
const CREATE: &str = "CREATE TYPE label AS ENUM ('x')";
const RECREATE: &str = "ALTER TYPE label RENAME TO label_old; CREATE TYPE label AS ENUM ('x')";

#[test]
fn a_restart_resets_each_connection_once_and_is_not_reported() {
    let mut alone = alone();
    let mut server = original(12);
    session(&server).batch_execute(CREATE).expect("a type");
    let pgbouncer = pooler(&server);
    let pool = pool_of(SIZE, HotUpgradeManager::new(pgbouncer.url(DATABASE)));
    let mut stock = connect(&pgbouncer.url(DATABASE));
    for restart in 0..3 {
        assert_eq!(storm(&pool, plain::<Label>), [""; 0]);
        alone.begin();
        server.restart().expect("a restart");
        for ask in [plain::<Label>, verified::<Label>, plain::<Label>] {
            assert_eq!(storm(&pool, ask), [""; 0], "restart {restart}");
        }
        let counted = alone.counted();
        let expected = Counted { resets: u64::from(SIZE), loads: counted.loads, ..Counted::default() };
        assert_eq!(counted, expected, "restart {restart}");
        assert!(counted.loads <= 1, "{counted:?}");
    }

    // The control: DDL while it is away is found, and reported once.
    assert_eq!(plain::<Label>(&mut stock), Ok(()));
    alone.begin();
    session(&server).batch_execute(RECREATE).expect("another type of that name");
    server.restart().expect("a restart");
    assert_eq!(storm(&pool, plain::<Label>), [""; 0]);
    let counted = alone.counted();
    assert_eq!((counted.resets, counted.changes, counted.warnings.len()), (u64::from(SIZE), 1, 1), "{counted:?}");
    assert!(is_wrong(&plain::<Label>(&mut stock)));
}

#[test]
fn a_rewrite_of_the_catalog_resets_each_connection_once_and_is_not_reported() {
    let mut alone = alone();
    let server = original(12);
    session(&server).batch_execute(CREATE).expect("a type");
    let pool = pool_of(SIZE, HotUpgradeManager::new(server.url(DATABASE)));
    assert_eq!(storm(&pool, plain::<Label>), [""; 0]);
    alone.begin();
    session(&server).batch_execute("VACUUM FULL pg_type").expect("another file");
    for ask in [plain::<Label>, verified::<Label>, plain::<Label>] {
        assert_eq!(storm(&pool, ask), [""; 0]);
    }
    let counted = alone.counted();
    assert_eq!(counted, Counted { resets: u64::from(SIZE), loads: 1, ..Counted::default() });
}

/// A primary and two standbys of it, of which the second is of another minor version.
fn replicas() -> [Cluster; 3] {
    let mut primary = original(17);
    session(&primary).batch_execute(CREATE).expect("a type");
    primary.stop().expect("a stop");
    let same = Cluster::standby_of(&primary).expect("a standby");
    let other = Cluster::standby_of_another_minor(&primary).expect("a standby");
    primary.restart().expect("a restart");
    for standby in [&same, &other] {
        standby.catch_up_with(&primary).expect("a standby that follows");
    }
    [primary, same, other]
}

#[test]
fn a_flip_between_replicas_resets_a_connection_and_is_not_reported() {
    let mut alone = alone();
    let servers = replicas();
    let pgbouncer = pooler(&servers[0]);
    let pool = pool_of(1, HotUpgradeManager::new(pgbouncer.url(DATABASE)));
    assert_eq!(storm(&pool, plain::<Label>), [""; 0]);
    alone.begin();
    for (flips, to) in (1..).zip([1, 0, 2, 1, 2, 0]) {
        pgbouncer.switch(DATABASE, &servers[to].target(DATABASE)).expect("a switch");
        for ask in [plain::<Label>, verified::<Label>] {
            assert_eq!(storm(&pool, ask), [""; 0], "flip {flips}");
        }
        let counted = alone.counted();
        assert_eq!((counted.resets, counted.changes), (flips, 0), "{counted:?}");
        // What may be said, once, is that there is an option for this.
        let others = counted.warnings.iter().filter(|text| !text.contains("interchangeable_replicas")).count();
        assert!(others == 0 && counted.warnings.len() <= 1, "{counted:?}");
        assert!(counted.loads <= 2, "each is loaded once: {counted:?}");
    }

    // The control: a server that is no replica of them is reported.
    let stranger = original(17);
    session(&stranger).batch_execute("CREATE TYPE bystander AS ENUM ('x')").expect("a type that takes the OID");
    session(&stranger).batch_execute(CREATE).expect("a type");
    alone.begin();
    pgbouncer.switch(DATABASE, &stranger.target(DATABASE)).expect("a switch");
    assert_eq!(storm(&pool, plain::<Label>), [""; 0]);
    assert_eq!(alone.counted().changes, 1);
}

fn interchangeable_replicas_take_turns(first: usize) {
    let mut alone = alone();
    let servers = replicas();
    let [primary, same, other] = &servers;
    let pgbouncer = pooler(&servers[first]);
    let manager = HotUpgradeManager::new(pgbouncer.url(DATABASE)).interchangeable_replicas(true);
    let pool = pool_of(SIZE, manager);
    let mut stock = connect(&pgbouncer.url(DATABASE));
    assert_eq!(plain::<Label>(&mut stock), Ok(()));
    assert_eq!(storm(&pool, plain::<Label>), [""; 0]);
    alone.begin();
    for (flip, to) in [1, 0, 2, 1, 2, 0, 2, 1, 0].into_iter().enumerate() {
        pgbouncer.switch(DATABASE, &servers[to].target(DATABASE)).expect("a switch");
        for ask in [plain::<Label>, verified::<Label>] {
            assert_eq!(storm(&pool, ask), [""; 0], "flip {flip}");
        }
        let counted = alone.counted();
        assert_eq!(counted, Counted { loads: counted.loads, ..Counted::default() }, "flip {flip}");
    }

    // The control: a standby whose types are no longer the primary's. It lags behind.
    for standby in [same, other] {
        session(standby).batch_execute("SELECT pg_wal_replay_pause()").expect("a pause");
    }
    session(primary).batch_execute(RECREATE).expect("another type of that name");
    for server in [primary, same, primary, other, primary] {
        pgbouncer.switch(DATABASE, &server.target(DATABASE)).expect("a switch");
        for ask in [verified::<Label>, plain::<Label>] {
            assert_eq!(storm(&pool, ask), [""; 0], "after the types differ");
        }
    }
    assert!(alone.counted().resets >= 4 * u64::from(SIZE), "{:?}", alone.counted());
    assert!(is_wrong(&plain::<Label>(&mut stock)));
}

#[test]
fn interchangeable_replicas_reset_nothing_while_their_types_agree() {
    interchangeable_replicas_take_turns(0);
}

#[test]
fn interchangeable_replicas_reset_nothing_if_a_standby_is_seen_first() {
    interchangeable_replicas_take_turns(1);
}

#[test]
fn interchangeable_replicas_reset_nothing_if_a_standby_of_another_minor_is_seen_first() {
    interchangeable_replicas_take_turns(2);
}

#[test]
fn dozens_of_copies_are_loaded_once_each() {
    let mut alone = alone();
    let servers: [Cluster; 36] = copies();
    let look = || {
        for server in &servers {
            let mut conn = session(server);
            synchronize(&mut conn).expect("a look");
            assert_eq!(diesel::sql_query("SELECT NULL::known").execute(&mut conn), Ok(1));
        }
    };
    look();
    assert!(alone.counted().loads <= 36, "{:?}", alone.counted());
    alone.begin();
    look();
    look();
    assert_eq!(alone.counted(), Counted::default());
}
