//! What `stats` says of reruns and of failures that were left as they are. The counters belong to the process: one test at
//! a time, in a program of its own.

// Other programs use the rest.
#[allow(dead_code, unused_imports)]
mod support {
    pub(crate) mod counted;
    pub(crate) mod diverging;
    pub(crate) mod events;
    pub(crate) mod meaning;
    pub(crate) mod pools;
    pub(crate) mod ways;
}

#[allow(dead_code)]
#[path = "heals/client.rs"]
mod client;
#[path = "heals/counters.rs"]
mod counters;
#[allow(dead_code)]
#[path = "heals/counting.rs"]
mod counting;
#[allow(dead_code)]
#[path = "heals/scenarios.rs"]
mod scenarios;
#[allow(dead_code)]
#[path = "heals/site.rs"]
mod site;
#[path = "heals/uses.rs"]
mod uses;
