//! r2d2 loses a slot for good if user code panics inside the pool. Here a panic becomes an error.

use std::panic::{AssertUnwindSafe, catch_unwind};

use diesel::r2d2::Error;

use crate::report::log::{self, printable};

pub(crate) fn panics_caught<T>(doing: &str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    // Unwind safe: r2d2 drops the connection that the work was about.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let reason = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let message = format!("a panic while {doing}: {reason}");
        log::error(format_args!("{}", printable(&message)));
        Err(Error::QueryError(diesel::result::Error::QueryBuilderError(message.into())))
    })
}
