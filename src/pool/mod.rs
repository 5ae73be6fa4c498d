//! What a pool is built of.

pub(crate) mod customizer;
pub(crate) mod manager;
pub(crate) mod pace;
pub(crate) mod panics;
pub(crate) mod transaction;
pub(crate) mod verify;
