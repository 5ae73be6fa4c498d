//! What the other modules share, and the test of the migrations that they build on.

pub(crate) mod changing;
pub(crate) mod diverging;
pub(crate) mod documents;
// The other test programs use the rest.
#[allow(dead_code, unused_imports)]
pub(crate) mod drivers;
pub(crate) mod events;
pub(crate) mod freshness;
pub(crate) mod kinds;
pub(crate) mod meaning;
mod migrations;
pub(crate) mod own_process;
pub(crate) mod pools;
pub(crate) mod round_trips;
pub(crate) mod server;
pub(crate) mod ways;
