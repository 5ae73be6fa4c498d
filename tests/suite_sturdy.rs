//! What disturbs one connection's check, or all of them for a while, changes nothing for good. The counters belong to
//! the process: one test at a time.

// Other programs use the rest.
#[allow(dead_code, unused_imports)]
mod support {
    pub(crate) mod counted;
    pub(crate) mod diverging;
    pub(crate) mod freshness;
    pub(crate) mod locked;
    pub(crate) mod meaning;
    pub(crate) mod races;
    pub(crate) mod ways;
}

mod pool {
    mod interrupted_checks;
    mod locked_catalog;
}
