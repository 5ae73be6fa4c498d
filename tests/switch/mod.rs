//! The server is replaced while connections stay open: another version, a replica, a clone, another database.

mod alternating_servers;
mod behind_pgbouncer;
mod clone;
mod every_kind_of_type;
mod missing_extension;
mod oid_collision;
mod open_pool;
mod other_database;
mod replica;
mod users_settings;
