//! If no server fits, a pool connects again and again, but not without pauses.

use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{Builder, ConnectionManager, CustomizeConnection, Error, ManageConnection, Pool};
use diesel_postgres_hot_upgrade::{HotUpgradeManager, TargetSessionAttrs};
use testbed::Forwarder;

use super::servers::Kind;
use crate::support::diverging::{DATABASE, original};

const SIZE: u32 = 10;
const THREADS: usize = 16;
const TIME: Duration = Duration::from_secs(3);

fn builder<M: ManageConnection>() -> Builder<M> {
    Pool::builder().max_size(SIZE).connection_timeout(TIME)
}

/// Lets many threads ask for a connection in vain, and returns their errors.
fn errors<M: ManageConnection>(pool: &Pool<M>) -> Vec<String> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| pool.get().map(drop))).collect();
        let results = threads.into_iter().map(|thread| thread.join().expect("no panic"));
        results.map(|result| result.expect_err("no server fits").to_string()).collect()
    })
}

fn address_of(url: &str) -> std::net::SocketAddr {
    let (_, rest) = url.split_once('@').expect("a user");
    rest.split('/').next().and_then(|address| address.parse().ok()).expect("an address")
}

#[test]
fn the_error_of_a_checkout_says_why_and_the_pool_pauses_between_attempts() {
    let url = Kind::Standby.url();
    let forwarder = Forwarder::start(address_of(&url)).expect("a forwarder");
    let url = format!("postgres://postgres@{}/{DATABASE}", forwarder.address());
    let manager = HotUpgradeManager::new(&url).target_session_attrs(TargetSessionAttrs::ReadWrite);
    let pool = builder().build_unchecked(manager);
    let errors = errors(&pool);
    let expected = "timed out waiting for connection: no connection to a server that is read-write (asked for by \
                    target_session_attrs): the server that answered is in recovery (a standby), PostgreSQL 12.";
    // r2d2 gives the reason to the first one that asks.
    assert!(errors.iter().any(|error| error.starts_with(expected)), "{errors:?}");
    // At 0, 0.2, 0.6, 1.4, 2.9 s.
    let attempts = forwarder.connections();
    let manager = HotUpgradeManager::new(&url).target_session_attrs(TargetSessionAttrs::ReadWrite);
    let error = Pool::builder().connection_timeout(TIME / 3).build(manager).map(drop).expect_err("no server fits");
    assert!(error.to_string().starts_with(expected), "a pool is not built: {error}");
    assert!(attempts <= 6 * SIZE as usize, "{attempts} attempts of {SIZE} slots within {TIME:?}");
}

/// After the check of `connect`.
#[derive(Debug)]
struct MakeReadOnly;

impl CustomizeConnection<PgConnection, Error> for MakeReadOnly {
    fn on_acquire(&self, conn: &mut PgConnection) -> Result<(), Error> {
        conn.batch_execute("SET default_transaction_read_only = on").map_err(Error::QueryError)
    }
}

/// What r2d2 does by itself with connections that are never valid.
#[derive(Debug)]
struct NeverValid(ConnectionManager<PgConnection>);

impl ManageConnection for NeverValid {
    type Connection = PgConnection;
    type Error = Error;

    fn connect(&self) -> Result<PgConnection, Error> {
        self.0.connect()
    }

    fn is_valid(&self, conn: &mut PgConnection) -> Result<(), Error> {
        self.0.is_valid(conn)?;
        Err(Error::QueryError(diesel::result::Error::NotFound))
    }

    fn has_broken(&self, conn: &mut PgConnection) -> bool {
        self.0.has_broken(conn)
    }
}

#[test]
fn new_connections_that_never_pass_a_checkout_are_made_with_pauses() {
    let server = original(12);
    let attempts = |test: &dyn Fn(&str)| {
        let forwarder = Forwarder::start(server.address()).expect("a forwarder");
        test(&server.url_at(forwarder.address(), DATABASE));
        forwarder.connections()
    };
    let paced = attempts(&|url| {
        let manager = HotUpgradeManager::new(url).target_session_attrs(TargetSessionAttrs::ReadWrite);
        let pool = builder().connection_customizer(Box::new(MakeReadOnly)).build_unchecked(manager);
        let errors = errors(&pool);
        assert!(errors.iter().any(|error| error.contains("default_transaction_read_only = on")), "{errors:?}");
    });
    let control = attempts(&|url| {
        let pool = builder().build_unchecked(NeverValid(ConnectionManager::new(url)));
        errors(&pool);
    });
    // Each slot once in 0.2 s, and those that were connecting when the first was refused.
    let bound = SIZE as usize * (TIME.as_millis() / 200 + 2) as usize;
    assert!(paced <= bound, "{paced} attempts");
    assert!(control > paced, "the control: r2d2 does not pause: {control} attempts, {paced} with pauses");
}
