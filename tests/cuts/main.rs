//! Connections are cut under a pool's transactions, in every way that a switch has. The controls are stock Diesel and
//! `conn.hot_transaction`, which lose transactions.
//!
//! `CUTS_LONG=1 cargo test --release --test cuts ledger` runs the ledgers with 16 writers and 20 switches each, in place of 4
//! and 4.

mod boundaries;
mod errors;
mod ledger;
mod lost;
mod lost_attempts;
mod read_only;
mod setting;
mod waiting;

// Other programs use the rest.
#[allow(dead_code, unused_imports)]
#[path = "../support"]
mod support {
    pub(crate) mod events;
    pub(crate) mod own_process;
    pub(crate) mod pools;
    pub(crate) mod server;
}
