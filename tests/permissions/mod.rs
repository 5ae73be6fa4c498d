//! Roles that may do less than usual, and roles that create what a careless statement would execute.

mod every_path;
mod hostile_operators;
mod qualified_statements;
mod role_without_permissions;
mod server_log;
mod sql_tokens;
mod unqualified;
