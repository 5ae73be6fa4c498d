//! What the other modules share, and the test of the migrations that they build on.

pub(crate) mod events;
pub(crate) mod kinds;
pub(crate) mod migrations;
pub(crate) mod pools;
