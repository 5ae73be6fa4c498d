#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, unreachable_pub, rust_2018_idioms)]

mod catalog;
mod connection;
mod environment;
#[cfg(feature = "hstore")]
pub mod hstore;
mod pool;
mod probe;
mod report;
mod synchronize;
mod transaction;

pub use catalog::server::Server;
pub use catalog::track::track;
pub use pool::customizer::HotUpgradeCustomizer;
pub use pool::manager::HotUpgradeManager;
pub use pool::verify::Verify;
pub use report::change::{Change, MovedType, TypeName};
pub use report::observers::on_change;
pub use report::stats::{Stats, stats};
pub use synchronize::{Outcome, synchronize};
pub use transaction::builder::HotTransactionBuilder;
pub use transaction::ext::HotUpgradeExt;
pub use transaction::query::HotQuery;
