//! What verified transactions and single statements promise, whatever changes meanwhile.

pub(crate) mod acknowledged_writes;
pub(crate) mod ended_by_the_closure;
pub(crate) mod reported_outcome;
pub(crate) mod round_trips;
pub(crate) mod server_or_type_changes;
pub(crate) mod single_statements;
pub(crate) mod test_customizer;
