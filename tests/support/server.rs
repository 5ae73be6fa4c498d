//! What tests ask a server, and wait for.

use std::thread;
use std::time::{Duration, Instant};

use diesel::prelude::*;

/// Waits for a condition of another thread or process.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 60 s: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The server that answers, such as `100023`.
pub(crate) fn version(conn: &mut PgConnection) -> QueryResult<String> {
    settings(conn, "server_version_num")
}

pub(crate) fn settings(conn: &mut PgConnection, names: &str) -> QueryResult<String> {
    let settings: Vec<_> = names.split(", ").map(|name| format!("current_setting('{name}')")).collect();
    let sql = format!("concat_ws(', ', {})", settings.join(", "));
    diesel::select(diesel::dsl::sql::<diesel::sql_types::Text>(&sql)).get_result(conn)
}
