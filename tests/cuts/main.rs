//! Connections are cut under a pool's transactions, in every way that a switch has. The controls are stock Diesel and
//! `conn.hot_transaction`, which lose transactions. No test in here relies on what the process has counted:
//! `cuts_counted` has those.
//!
//! `CUTS_LONG=1 cargo test --test cuts ledger -- --nocapture --test-threads 1` keeps the ledgers with 16 writers and 20
//! switches each, in place of 4 and 4.

mod asynchronous;
mod boundaries;
mod ledger;
mod locks;
mod lost_attempts;

// Other programs use the rest.
#[allow(dead_code, unused_imports)]
#[path = "../support"]
mod support {
    pub(crate) mod own_process;
    pub(crate) mod pools;
    pub(crate) mod server;
}
