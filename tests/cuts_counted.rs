//! What a pool's transaction reports, counts and logs if its connection is lost, and if not. Counters and the log belong to
//! the process: one test at a time, in a program of its own.

#[path = "cuts/asynchronous"]
mod asynchronous {
    mod both;
    mod errors;
    mod lost;
    // Other programs use the rest.
    #[allow(dead_code)]
    pub(crate) mod pools;
    pub(crate) mod setting;
    mod waiting;
}
#[path = "cuts/errors.rs"]
mod errors;
#[path = "cuts/limits.rs"]
mod limits;
#[path = "cuts/lost.rs"]
mod lost;
#[path = "cuts/outage.rs"]
mod outage;
#[path = "cuts/read_only.rs"]
mod read_only;
#[path = "cuts/setting.rs"]
mod setting;
#[path = "cuts/waiting.rs"]
mod waiting;

// Other programs use the rest.
#[allow(dead_code, unused_imports)]
mod support {
    pub(crate) mod events;
    pub(crate) mod own_process;
    pub(crate) mod server;
}
