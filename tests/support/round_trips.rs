//! Round trips on the wire between the application and PgBouncer.

use diesel::prelude::*;
use testbed::Forwarder;

/// Round trips of one call of `work`, after it was called often enough to be in its steady state.
pub(crate) fn round_trips(
    forwarder: &Forwarder,
    conn: &mut PgConnection,
    work: impl Fn(&mut PgConnection) -> QueryResult<()>,
) -> usize {
    for _ in 0..3 {
        work(conn).expect("it works");
    }
    let before = forwarder.round_trips();
    work(conn).expect("it works");
    forwarder.round_trips() - before
}

pub(crate) fn connect(upgrade: &fixture::Upgrade, forwarder: &Forwarder) -> PgConnection {
    let url = format!("postgres://postgres@{}/{}", forwarder.address(), upgrade.database);
    PgConnection::establish(&url).expect("a connection")
}
