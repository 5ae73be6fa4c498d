//! One server whose catalog changes under open connections: what went stale is healed by the next verified transaction
//! or
//! `hot_query`, and an application's own errors cost next to nothing. The control is stock Diesel, which fails for
//! ever. No test in here relies on what the process has counted.

mod another_path;
mod client;
mod counting;
mod deaf;
mod inside_a_checkout;
mod languages;
mod large_catalog;
mod left_behind;
mod matrix;
mod once;
mod own_errors;
mod plain_statements;
mod pool_transactions;
mod poolers_plans;
mod rolled_back;
mod savepoints;
mod scenarios;
mod site;
mod uses;

// Other programs use the rest.
#[allow(dead_code, unused_imports)]
#[path = "../support"]
mod support {
    pub(crate) mod meaning;
    pub(crate) mod pools;
    pub(crate) mod server;
}
