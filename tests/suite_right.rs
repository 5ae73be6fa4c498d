//! Scenarios in which a name comes to mean another type while nothing fails: on copies of a server, on one server, and
//! within a transaction. The stock connection is the control that must be wrong.

mod support {
    pub(crate) mod diverging;
    pub(crate) mod freshness;
    pub(crate) mod meaning;
    pub(crate) mod races;
    pub(crate) mod ways;
}

mod switch {
    pub(crate) mod clones;
    mod databases;
    mod standbys;
    mod two_in_turn;
}

mod same_server {
    mod new_types;
}

mod pool {
    mod never_asked;
}

mod transactions {
    mod tenants;
}
