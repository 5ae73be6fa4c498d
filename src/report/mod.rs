//! What users see: changes, observers, counters, the log.

pub(crate) mod change;
pub(crate) mod log;
pub(crate) mod observers;
pub(crate) mod stats;
pub(crate) mod warnings;
