//! A `log` backend that a test tells what to do with this crate's records.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use diesel::pg::PgConnection;
use log::{LevelFilter, Log, Metadata, Record};

type Act = Arc<dyn Fn() + Send + Sync>;

struct Backend {
    act: Mutex<Option<Act>>,
    records: Mutex<Vec<String>>,
}

static BACKEND: Backend = Backend { act: Mutex::new(None), records: Mutex::new(Vec::new()) };

thread_local! {
    /// What it does may be logged in turn.
    static IS_ACTING: Cell<bool> = const { Cell::new(false) };
}

impl Log for Backend {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // r2d2's own records are not under this crate's control.
        metadata.target().starts_with("diesel_postgres_hot_upgrade")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) || IS_ACTING.get() {
            return;
        }
        lock(&self.records).push(record.args().to_string());
        let act = lock(&self.act).clone();
        if let Some(act) = act {
            let _acting = Acting::begin();
            act();
        }
    }

    fn flush(&self) {}
}

/// Ends also if the backend panics.
struct Acting;

impl Acting {
    fn begin() -> Self {
        IS_ACTING.set(true);
        Acting
    }
}

impl Drop for Acting {
    fn drop(&mut self) {
        IS_ACTING.set(false);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The only test that runs, until this is dropped.
pub(crate) struct Alone {
    _guard: MutexGuard<'static, ()>,
}

pub(crate) fn alone() -> Alone {
    static ALONE: Mutex<()> = Mutex::new(());
    let guard = lock(&ALONE);
    if log::set_logger(&BACKEND).is_ok() {
        log::set_max_level(LevelFilter::Trace);
    }
    lock(&BACKEND.records).clear();
    Alone { _guard: guard }
}

impl Alone {
    /// The backend does this at every record of this crate, until the test ends.
    pub(crate) fn at_every_record(&self, act: impl Fn() + Send + Sync + 'static) {
        *lock(&BACKEND.act) = Some(Arc::new(act));
    }

    /// What it was told since this was last called.
    pub(crate) fn records(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&BACKEND.records))
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        *lock(&BACKEND.act) = None;
    }
}

/// Writes a document and reads it back.
pub(crate) fn used(conn: &mut PgConnection) -> Result<(), String> {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    fixture::write_and_read_back(conn, NUMBER.fetch_add(1, Ordering::Relaxed))
}
