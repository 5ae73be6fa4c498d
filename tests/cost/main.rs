//! What changes cost, and what they leave behind. The counters, the observers and the memory of this crate belong to
//! the process, so these tests take turns in a program of their own.

mod catalog_loads;
mod comings_and_goings;
mod hundreds_of_paths;
mod identities;
mod interrupted_checks;
mod left_behind;
mod locked_catalog;
mod observers;
mod pools;
mod temporary_tables;
mod thousand_changes;

// Other programs use the rest.
#[allow(dead_code, unused_imports)]
#[path = "../support"]
mod support {
    pub(crate) mod counted;
    pub(crate) mod diverging;
    pub(crate) mod events;
    pub(crate) mod freshness;
    pub(crate) mod locked;
    pub(crate) mod meaning;
    pub(crate) mod server;
    pub(crate) mod ways;
}
