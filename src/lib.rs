#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, unreachable_pub, rust_2018_idioms)]

mod begin;
mod change;
mod customizer;
mod ext;
mod heal;
mod horizon;
#[cfg(feature = "hstore")]
pub mod hstore;
mod manager;
mod marker;
mod oid_table;
mod prime;
mod probe;
mod protection;
mod query;
mod question;
mod reset;
mod rollback;
mod server;
mod shield;
mod snapshot;
mod state;
mod stats;
mod synchronize;
mod track;
mod tracked;
mod transaction;
mod transaction_builder;
mod verify;
mod watch;

pub use change::{Change, MovedType, TypeName, on_change};
pub use customizer::HotUpgradeCustomizer;
pub use ext::HotUpgradeExt;
pub use manager::HotUpgradeManager;
pub use query::HotQuery;
pub use server::Server;
pub use stats::{Stats, stats};
pub use synchronize::{Outcome, synchronize};
pub use track::track;
pub use transaction_builder::HotTransactionBuilder;
pub use verify::Verify;
