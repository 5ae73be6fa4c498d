//! The `log` backend is the application's code: it may panic, and it may use the pool that it is told about. What it is
//! told has no control characters. A program of its own, since there is one backend in a process; so its tests run one at
//! a time.

// Other programs use the rest.
#[allow(dead_code, unused_imports)]
mod support {
    pub(crate) mod backend;
}

mod report {
    mod backend_panics;
    mod backend_uses_the_pool;
    mod names_are_escaped;
}
