//! Nothing of a user's schema is executed by a statement of the crate.

#[path = "permissions/every_path.rs"]
mod every_path;
#[path = "permissions/hostile_operators.rs"]
mod hostile_operators;
#[path = "permissions/qualified_statements.rs"]
mod qualified_statements;
#[path = "permissions/server_log.rs"]
mod server_log;
#[path = "permissions/sql_tokens.rs"]
mod sql_tokens;
#[path = "permissions/tracking.rs"]
mod tracking;
#[path = "permissions/unqualified.rs"]
mod unqualified;
