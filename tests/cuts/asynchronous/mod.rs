//! The pools of diesel-async.

pub(crate) mod pools;
pub(crate) mod tasks;
