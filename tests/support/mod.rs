//! What the other modules share, and the test of the migrations that they build on.

pub(crate) mod changing;
pub(crate) mod documents;
pub(crate) mod events;
pub(crate) mod kinds;
mod migrations;
pub(crate) mod pools;
pub(crate) mod round_trips;
pub(crate) mod server;
