//! Both drivers behind one face, so that one scenario runs on each: blocking Diesel, and diesel-async, whose futures are
//! waited for. On a stock connection, what is verified is an ordinary transaction: the same scenario is its own control.

mod pools;
mod session;

pub(crate) use pools::{Checkout, Connection, Options, Pool};
pub(crate) use session::{Begin, Session};

use std::sync::LazyLock;

use tokio::runtime::{Builder, Handle, Runtime};

/// Which Diesel a test uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driver {
    /// `PgConnection`, in r2d2.
    Blocking,
    /// diesel-async, in bb8.
    Async,
}

/// Is a connection protected, or is it the control?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Hot,
    Stock,
}

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime"));

/// Waits for a future, also within another one that is waited for.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    match Handle::try_current() {
        Ok(_) => tokio::task::block_in_place(|| RUNTIME.block_on(future)),
        Err(_) => RUNTIME.block_on(future),
    }
}
