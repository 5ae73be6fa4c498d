//! The connection for diesel-async, on real servers, beside stock diesel-async, which is the control that must fail.

mod cancellation;
mod heals;
mod one_load;
mod other_queries;
mod pools;
mod round_trips;
mod shared;
mod switch;
mod tenants;
mod tools;
mod transactions;
mod unknown_types;
mod wrapped;

// Other programs use the rest.
#[allow(dead_code, unused_imports)]
#[path = "../support"]
mod support {
    pub(crate) mod freshness;
    pub(crate) mod meaning;
    pub(crate) mod own_process;
    pub(crate) mod pools;
    pub(crate) mod server;
}
