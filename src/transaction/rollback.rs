//! The end of a transaction of which nothing is to remain.

use std::num::NonZeroU32;

use diesel::connection::{Connection, InstrumentationEvent, SimpleConnection};
use diesel::{PgConnection, QueryResult};

use crate::connection::transaction_state::status;

/// Rolls back whatever transaction the server has open. A connection on which that fails is marked broken.
pub(crate) fn roll_back(conn: &mut PgConnection) -> QueryResult<()> {
    conn.instrumentation().on_connection_event(InstrumentationEvent::rollback_transaction(NonZeroU32::MIN));
    let rolled_back = conn.batch_execute("ROLLBACK");
    if rolled_back.is_err() {
        status(conn).set_in_error();
    }
    rolled_back
}
