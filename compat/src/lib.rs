//! The recipes of `docs/async-pools.md`: Diesel's blocking connections in pools other than r2d2. The page quotes these
//! files, and a test compares the two.

#![allow(missing_debug_implementations, reason = "a recipe has only what it needs")]

pub mod async_bb8_diesel;
pub mod deadpool_diesel;
pub mod rocket;
