//! Real PostgreSQL clusters, a real PgBouncer and a real HAProxy that fetch, start and stop themselves.
//!
//! Nothing needs to be set up. What can be, by environment variables:
//!
//! | Variable | Names |
//! |---|---|
//! | `TESTBED_POSTGRES<major>_BIN` | the folder with `initdb` and `postgres` of that major |
//! | `TESTBED_POSTGRES<major>_URL` | a running server, as its superuser, for [`Cluster::shared`] |
//! | `TESTBED_PGBOUNCER_BIN` | the executable of a PgBouncer 1.21 or later |
//! | `TESTBED_PGBOUNCER_1_18_BIN` | the executable of a PgBouncer 1.18 |
//! | `TESTBED_HAPROXY_BIN` | the executable of an HAProxy |
//! | `TESTBED_PGBOUNCER_URL` | a running PgBouncer, as its administrator, for [`PgBouncer::start`] |
//! | `TESTBED_PGBOUNCER_INI` | the file that this PgBouncer includes and that has its section `[databases]` |
//!
//! Without them installed programs are used, and those that are not installed are fetched into `target/testbed`.

mod account;
mod apt;
mod cache;
mod cluster;
mod command;
mod cutter;
mod debian;
mod error;
mod external;
mod forwarder;
mod fragment;
mod guard;
mod haproxy;
mod ini;
mod installation;
mod messages;
mod npm;
mod pgbouncer;
mod port;
mod relay;
mod release;
mod server;
mod sources;
mod standby;
mod target;
mod template;

pub use cluster::{Cluster, MAJORS};
pub use command::listen;
pub use cutter::{Cutter, Place, Side, Way};
pub use error::Error;
pub use forwarder::Forwarder;
pub use haproxy::HaProxy;
pub use ini::PgBouncerConfig;
pub use installation::Installation;
pub use pgbouncer::PgBouncer;
pub use release::Release;
pub use target::Target;
