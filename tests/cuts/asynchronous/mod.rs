//! The pools of diesel-async.

mod boundaries;
mod cancelled;
mod lost_attempts;
pub(crate) mod pools;
mod setting;
pub(crate) mod tasks;
