//! What verified transactions and single statements promise, whatever changes meanwhile.

mod acknowledged_writes;
mod ended_by_the_closure;
mod options;
mod reported_outcome;
mod round_trips;
mod server_or_type_changes;
mod single_statements;
mod tenants;
mod tenants_in_savepoints;
mod test_customizer;
