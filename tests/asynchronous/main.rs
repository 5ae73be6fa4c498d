//! The connection for diesel-async, on real servers, beside stock diesel-async, which is the control that must fail.

#[path = "../support/mod.rs"]
#[allow(dead_code)]
mod support;

mod cancellation;
mod clones;
mod collision;
mod errors;
mod heals;
mod one_load;
mod other_queries;
mod pools;
mod round_trips;
mod switch;
mod tenants;
mod tools;
mod transactions;
