//! The server is replaced while connections stay open: another version, a replica, a clone, another database.

mod alternating_servers;
mod behind_pgbouncer;
mod clones;
mod databases;
mod every_kind_of_type;
mod missing_extension;
mod oid_collision;
mod open_pool;
mod other_database;
mod replica;
mod standbys;
mod two_in_turn;
mod users_settings;
