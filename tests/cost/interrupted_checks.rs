//! A check that ends in a timeout, a cancelled query or a lost connection concerns one connection: the others load
//! nothing, are not reset, and nothing is reported.

use std::thread;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::HotUpgradeManager;
use testbed::{Cluster, Forwarder};

use crate::support::counted::{Alone, Counted, alone, storm};
use crate::support::diverging::{DATABASE, original, session};
use crate::support::freshness::wait_until_stale;
use crate::support::locked::{Locked, pid};
use crate::support::meaning::{Label, Verdict, is_wrong, plain, verified};
use crate::support::ways::{HotPool, pool_of};

const OTHERS: u32 = 2;

/// How often a check is cancelled.
const TIMES: usize = 2;

const CREATE: &str = "CREATE TYPE label AS ENUM ('x')";
const RECREATE: &str = "ALTER TYPE label RENAME TO label_old; CREATE TYPE label AS ENUM ('x')";

/// A pool of one connection, whose check is interrupted, and a pool of others on the same server.
struct Scene {
    alone: Alone,
    server: Cluster,
    forwarder: Forwarder,
    interrupted: HotPool,
    others: HotPool,
}

impl Scene {
    fn start() -> Self {
        let alone = alone();
        let server = original(12);
        session(&server).batch_execute(CREATE).expect("a type");
        let forwarder = Forwarder::start(server.address()).expect("a forwarder");
        let url = server.url_at(forwarder.address(), DATABASE);
        let interrupted = pool_of(1, HotUpgradeManager::new(url));
        let others = pool_of(OTHERS, HotUpgradeManager::new(server.url(DATABASE)));
        let mut scene = Scene { alone, server, forwarder, interrupted, others };
        scene.use_all();
        scene.alone.begin();
        scene
    }

    fn use_all(&self) {
        for pool in [&self.interrupted, &self.others] {
            for ask in [plain::<Label>, verified::<Label>] {
                assert_eq!(storm(pool, ask), [""; 0]);
            }
        }
    }

    /// Lets a checkout wait for `pg_type` in its check, and interrupts it there. Returns what a statement said that
    /// followed when `pg_type` could be read again.
    fn interrupt(
        &self,
        ask: fn(&mut PgConnection) -> Verdict,
        interrupt: impl FnOnce(&mut Locked, i32),
    ) -> Verdict {
        let pid = pid(&mut self.interrupted.get().expect("a connection"));
        // The next check looks for new types, which reads the table.
        wait_until_stale();
        let mut locked = Locked::lock(session(&self.server));
        thread::scope(|scope| {
            let checkout = scope.spawn(|| ask(&mut self.interrupted.get().expect("a connection")));
            locked.wait_for(pid);
            interrupt(&mut locked, pid);
            locked.release();
            checkout.join().expect("no panic")
        })
    }

    /// The interruption cost at most a reset, and that of the interrupted connection.
    fn assert_that_the_others_noticed_nothing(&mut self) {
        let Counted { resets, .. } = self.alone.counted();
        assert!(resets <= 1, "{resets} resets");
        assert_eq!(self.alone.counted(), Counted { resets, ..Counted::default() });
        self.alone.begin();
        self.use_all();
        assert_eq!(self.alone.counted(), Counted::default());
    }
}

fn cancel(locked: &mut Locked, pid: i32) {
    locked.run(&format!("SELECT pg_cancel_backend({pid})"));
}

#[test]
fn a_cancelled_check_at_checkout_concerns_one_connection() {
    let mut scene = Scene::start();
    assert_eq!(scene.interrupt(plain::<Label>, cancel), Ok(()));
    scene.assert_that_the_others_noticed_nothing();
}

#[test]
fn a_check_that_is_cancelled_again_and_again_concerns_one_connection() {
    let mut scene = Scene::start();
    let cancel_all = |locked: &mut Locked, pid| {
        let mut began = locked.wait_for(pid);
        for _ in 0..TIMES {
            cancel(locked, pid);
            began = locked.wait_for_next(pid, &began);
        }
    };
    assert_eq!(scene.interrupt(plain::<Label>, cancel_all), Ok(()));
    scene.assert_that_the_others_noticed_nothing();
}

#[test]
fn a_terminated_session_concerns_one_connection() {
    let mut scene = Scene::start();
    let terminate = |locked: &mut Locked, pid| locked.run(&format!("SELECT pg_terminate_backend({pid})"));
    assert_eq!(scene.interrupt(plain::<Label>, terminate), Ok(()));
    scene.assert_that_the_others_noticed_nothing();
}

#[test]
fn a_connection_that_the_network_cuts_concerns_no_other() {
    let mut scene = Scene::start();
    let cut = |_: &mut Locked, _| scene.forwarder.retarget(scene.server.address());
    assert_eq!(scene.interrupt(plain::<Label>, cut), Ok(()));
    scene.assert_that_the_others_noticed_nothing();
}

#[test]
fn a_check_that_runs_into_a_timeout_concerns_one_connection() {
    let mut scene = Scene::start();
    let mut conn = scene.interrupted.get().expect("a connection");
    conn.batch_execute("SET statement_timeout = '100ms'").expect("little patience");
    drop(conn);
    wait_until_stale();
    let locked = Locked::lock(session(&scene.server));
    // The checkout may fail. It comes back before the lock is gone.
    let timed_out = scene.interrupted.get().map(drop);
    locked.release();
    assert_eq!(storm(&scene.interrupted, plain::<Label>), [""; 0], "{timed_out:?}");
    scene.assert_that_the_others_noticed_nothing();
}

/// A check that travels with `BEGIN` waits for a type that the session has to read again.
#[test]
fn a_cancelled_check_with_begin_concerns_one_connection() {
    let mut scene = Scene::start();
    let mut held = scene.interrupted.get().expect("a connection");
    let pid = pid(&mut held);
    for _ in 0..3 {
        assert_eq!(verified::<Label>(&mut held), Ok(()));
        session(&scene.server).batch_execute("GRANT USAGE ON TYPE label TO PUBLIC").expect("another row for it");
        let mut locked = Locked::lock(session(&scene.server));
        let verdict = thread::scope(|scope| {
            let begun = scope.spawn(|| verified::<Label>(&mut held));
            locked.wait_for(pid);
            cancel(&mut locked, pid);
            locked.release();
            begun.join().expect("no panic")
        });
        assert_eq!(verdict, Ok(()));
    }
    drop(held);
    let Counted { resets, .. } = scene.alone.counted();
    assert!(resets <= 3, "{resets} resets");
    scene.alone.begin();
    scene.use_all();
    assert_eq!(scene.alone.counted(), Counted::default());
}

/// The control: what changes meanwhile is noticed by all, and reported.
#[test]
fn a_type_that_is_recreated_during_an_interrupted_check_is_noticed() {
    let scene = Scene::start();
    let mut stock = session(&scene.server);
    assert_eq!(plain::<Label>(&mut stock), Ok(()));
    let recreate_and_cancel = |locked: &mut Locked, pid| {
        locked.run(RECREATE);
        cancel(locked, pid);
    };
    assert_eq!(scene.interrupt(plain::<Label>, recreate_and_cancel), Ok(()));
    scene.use_all();
    let counted = scene.alone.counted();
    assert_eq!((counted.loads, counted.changes, counted.warnings.len()), (1, 1, 1), "{counted:?}");
    assert!(counted.resets >= u64::from(OTHERS), "{counted:?}");
    assert!(is_wrong(&plain::<Label>(&mut stock)));
}
