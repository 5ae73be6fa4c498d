//! The recipes of `docs/async-pools.md`, each through a change of server and back, next to the pool without it.

mod async_bb8_diesel;
mod deadpool_diesel;
mod page;
mod rocket;
mod survives;
