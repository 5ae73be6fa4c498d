//! What users are told.

pub(crate) mod change;
pub(crate) mod log;
pub(crate) mod observers;
pub(crate) mod stats;
pub(crate) mod warnings;
