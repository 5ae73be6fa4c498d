//! What moves no type is not reported, and what was looked up is not looked up again. The counters belong to the
//! process: one test at a time.

// Other programs use the rest.
#[allow(dead_code, unused_imports)]
mod support {
    pub(crate) mod counted;
    pub(crate) mod diverging;
    pub(crate) mod freshness;
    pub(crate) mod meaning;
    pub(crate) mod races;
    pub(crate) mod ways;
}

mod switch {
    mod identities;
}

mod same_server {
    pub(crate) mod comings_and_goings;
    mod search_paths;
}

mod pool {
    mod temporary_tables;
}
