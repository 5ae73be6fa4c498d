//! Nothing of a user's schema is executed by a statement of the crate.

#[path = "permissions/every_path.rs"]
mod every_path;
#[path = "permissions/hostile_operators.rs"]
mod hostile_operators;
#[path = "permissions/server_log.rs"]
mod server_log;
