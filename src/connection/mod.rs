//! What a `PgConnection` remembers: caches, notes, and the state of its transaction.

pub(crate) mod caches;
pub(crate) mod generation;
pub(crate) mod notes;
pub(crate) mod statements;
pub(crate) mod transaction_state;
pub(crate) mod writable;
