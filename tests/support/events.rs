//! What tests look at from inside the process: the log, and a connection's own instrumentation.

use std::sync::{Arc, Mutex, Once, PoisonError};

use diesel::connection::{Instrumentation, InstrumentationEvent};
use log::{Level, LevelFilter, Log, Metadata, Record};

struct Recorder(Mutex<Vec<(Level, String)>>);

static RECORDER: Recorder = Recorder(Mutex::new(Vec::new()));

impl Log for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("diesel_postgres_hot_upgrade")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = (record.level(), record.args().to_string());
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }

    fn flush(&self) {}
}

/// Records this crate's log from now on.
pub(crate) fn record_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&RECORDER).expect("the only logger");
        log::set_max_level(LevelFilter::Debug);
    });
}

/// What was logged at that level and mentions `needle`; a database's name, say.
pub(crate) fn logged(level: Level, needle: &str) -> Vec<String> {
    let lines = RECORDER.0.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().filter(|(at, text)| *at == level && text.contains(needle)).map(|(_, text)| text.clone()).collect()
}

/// Counts what a connection does: an instrumentation as a user would set one, that prints queries too.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counter(Arc<Mutex<Counts>>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Queries sent, this crate's own among them.
    pub(crate) queries: usize,
    /// Statements put into the statement cache, this crate's own not counted.
    pub(crate) cached: usize,
    /// Diesel's own look-ups of a type's OID.
    pub(crate) lookups: usize,
}

impl Counter {
    pub(crate) fn counts(&self) -> Counts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Instrumentation for Counter {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            InstrumentationEvent::StartQuery { query, .. } => {
                counts.queries += 1;
                counts.lookups += usize::from(query.to_string().contains("typarray\" FROM"));
            }
            InstrumentationEvent::CacheQuery { sql, .. } => {
                counts.cached += usize::from(!sql.contains("diesel-postgres-hot-upgrade"));
            }
            _ => {}
        }
    }
}
