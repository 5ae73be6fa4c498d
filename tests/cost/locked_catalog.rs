//! `pg_type` is locked for long, as `VACUUM FULL` locks it. Meanwhile a check may wait; afterwards each connection is
//! right, and nothing is reported.

use std::thread;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::HotUpgradeManager;
use testbed::Cluster;

use crate::support::counted::{Alone, Counted, alone, storm};
use crate::support::diverging::{DATABASE, connect, oid_of, original, session};
use crate::support::freshness::wait_until_stale;
use crate::support::locked::Locked;
use crate::support::meaning::{Label, is_wrong, plain, verified};
use crate::support::server::wait_until;
use crate::support::ways::{HotPool, pool_of};

const SIZE: u32 = 3;
const MAJORS: [u32; 2] = [10, 18];
const CREATE: &str = "CREATE TYPE label AS ENUM ('x'); CREATE TABLE notes (id int8, title text)";
const RECREATE: &str = "ALTER TYPE label RENAME TO label_old; CREATE TYPE label AS ENUM ('x')";

/// A server with a type, a pool that has used it, and a stock connection that has.
struct Scene {
    alone: Alone,
    server: Cluster,
    pool: HotPool,
    stock: PgConnection,
}

impl Scene {
    fn start(major: u32) -> Self {
        let alone = alone();
        let server = original(major);
        session(&server).batch_execute(CREATE).expect("a type and a table");
        let pool = pool_of(SIZE, HotUpgradeManager::new(server.url(DATABASE)));
        let stock = connect(&server.url(DATABASE));
        let mut scene = Scene { alone, server, pool, stock };
        scene.use_all();
        assert_eq!(plain::<Label>(&mut scene.stock), Ok(()));
        ordinary(&mut scene.stock);
        scene
    }

    fn use_all(&self) {
        for ask in [plain::<Label>, verified::<Label>] {
            assert_eq!(storm(&self.pool, ask), [""; 0]);
        }
    }

    /// The control: what does change is noticed by each, and reported once.
    fn notices_a_recreated_type(&mut self) {
        self.alone.begin();
        session(&self.server).batch_execute(RECREATE).expect("another type of that name");
        self.use_all();
        let counted = self.alone.counted();
        assert_eq!((counted.resets, counted.changes), (u64::from(SIZE), 1), "{counted:?}");
        assert!(is_wrong(&plain::<Label>(&mut self.stock)));
    }
}

/// What most statements do: no type of the application's own is bound.
fn ordinary(conn: &mut PgConnection) {
    diesel::sql_query("SELECT title FROM notes WHERE id = 1").execute(conn).expect("an ordinary statement");
}

#[test]
fn checkouts_that_wait_for_a_lock_on_pg_type_cost_nothing_more() {
    for major in MAJORS {
        let mut scene = Scene::start(major);
        wait_until_stale();
        scene.alone.begin();
        let mut locked = Locked::lock(session(&scene.server));
        // Sessions that have read their types do not wait, and a new session does.
        ordinary(&mut scene.stock);
        assert_eq!(plain::<Label>(&mut scene.stock), Ok(()));
        let mut new = connect(&scene.server.url(DATABASE));
        thread::scope(|scope| {
            let pool = &scene.pool;
            let checkouts = [plain::<Label>, verified::<Label>, plain::<Label>]
                .map(|ask| scope.spawn(move || ask(&mut pool.get().expect("a connection"))));
            let unused = scope.spawn(move || ordinary(&mut new));
            // The look for new types of one checkout, and the stock session that is new.
            wait_until("sessions wait for the lock", || locked.waiting().len() >= 2);
            locked.release();
            unused.join().expect("no panic");
            for checkout in checkouts {
                assert_eq!(checkout.join().expect("no panic"), Ok(()), "PostgreSQL {major}");
            }
        });
        scene.use_all();
        assert_eq!(scene.alone.counted(), Counted::default(), "PostgreSQL {major}");
        scene.notices_a_recreated_type();
    }
}

#[test]
fn a_vacuum_full_of_pg_type_resets_each_connection_once_and_is_not_reported() {
    for major in MAJORS {
        let mut scene = Scene::start(major);
        let mut vacuum = session(&scene.server);
        let label = oid_of(&mut vacuum, "label").expect("its OID");
        scene.alone.begin();
        for _ in 0..2 {
            let before = file_of_pg_type(&mut vacuum);
            scene.alone.begin();
            vacuum.batch_execute("VACUUM FULL pg_catalog.pg_type").expect("a rewrite");
            assert_ne!(file_of_pg_type(&mut vacuum), before, "the control: the table was rewritten");
            assert_eq!(oid_of(&mut vacuum, "label"), Ok(label));
            scene.use_all();
            scene.use_all();
            let counted = scene.alone.counted();
            let expected = Counted { resets: u64::from(SIZE), loads: 1, ..Counted::default() };
            assert_eq!(counted, expected, "PostgreSQL {major}");
        }
        assert_eq!(plain::<Label>(&mut scene.stock), Ok(()), "nothing has moved");
        scene.notices_a_recreated_type();
    }
}

fn file_of_pg_type(conn: &mut PgConnection) -> String {
    let file = diesel::dsl::sql::<diesel::sql_types::Text>("pg_relation_filepath('pg_type')");
    diesel::select(file).get_result(conn).expect("a path")
}
