//! What this crate logs at `warn` or above.

use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use log::{LevelFilter, Log, Metadata, Record};

static LOGGED: AtomicUsize = AtomicUsize::new(0);

/// How many warnings were logged since the first call.
pub(crate) fn warnings() -> usize {
    static START: Once = Once::new();
    START.call_once(|| {
        log::set_logger(&Counter).expect("the only logger");
        log::set_max_level(LevelFilter::Warn);
    });
    LOGGED.load(Ordering::SeqCst)
}

struct Counter;

impl Log for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("diesel_postgres_hot_upgrade")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            LOGGED.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn flush(&self) {}
}
