//! The `log` backend is the application's code: it may panic, and it may use the pool that a record is about. No record
//! has a control character. A process has one backend, so these tests are a program, and run one at a time.

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
