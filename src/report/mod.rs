//! What users are told.

pub(crate) mod change;
pub(crate) mod stats;
