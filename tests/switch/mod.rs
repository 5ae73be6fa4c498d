//! The server is replaced while connections stay open: another version, a replica, a clone, another database.

mod alternating_servers;
mod behind_pgbouncer;
mod every_kind_of_type;
mod oid_collision;
mod open_pool;
mod other_database;
mod replica;
mod users_settings;
