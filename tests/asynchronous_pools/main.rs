//! What the connection for diesel-async has besides verified transactions, and what pools make of it, on real servers.

mod mobc_validate;
mod round_trips;
mod session_attrs;
mod stock_transactions;

// Other programs use the rest.
#[allow(dead_code, unused_imports)]
#[path = "../session_attrs"]
mod attrs {
    pub(crate) mod servers;
}

// Other programs use the rest.
#[allow(dead_code, unused_imports, unused_macros)]
#[path = "../asynchronous"]
mod asynchronous {
    pub(crate) mod tools;
}
use asynchronous::tools;

// Other programs use the rest.
#[allow(dead_code, unused_imports)]
#[path = "../support"]
mod support {
    pub(crate) mod diverging;
    pub(crate) mod meaning;
    pub(crate) mod own_process;
    pub(crate) mod pools;
    pub(crate) mod server;
}
