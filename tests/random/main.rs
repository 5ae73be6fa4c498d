//! Random sessions on four servers, with a model that says what each name means.
//!
//! A and B are copies of one cluster, C is a standby of A that is promoted at last, D is of another major version. A
//! pooler in transaction mode leads to one of them, and is switched to another; some clients connect to A without it.
//! Meanwhile types are created, dropped, renamed, replaced, moved to other schemas and hidden by others, differently on
//! each server, so that one type's OID is another one's elsewhere.
//!
//! An *answer* is one query of Diesel's that binds a value of a type by its name. The server is asked in the same
//! statement which type the bind arrived with (`pg_typeof`), and which type the name means there and then
//! (`to_regtype`). Two different ones are a **wrong** answer. The model knows which names mean something: if the name
//! means nothing, an error is right, and otherwise it is **failed**. A `synchronize` that says what to do instead is
//! *refused*.
//!
//! # Run it
//!
//! | | |
//! |---|---|
//! | `cargo test --test random` | 1,000 answers of one seed for each driver, always the same: half a minute |
//! | `RANDOM_ANSWERS=20000 cargo test --test random -- --nocapture` | the long run: twenty campaigns, ten minutes |
//! | `RANDOM_SEED=… cargo test --test random` | repeats one campaign. What is broken is shown with its seed |
//! | `RANDOM_VERBOSE=1` | prints each action, and the crate's log |
//!
//! Each driver has a test, in one process or another: blocking Diesel in r2d2, and diesel-async in bb8.
//!
//! A campaign is 1,000 answers or more on servers of its own. It has rounds with new connections. In the first two
//! rounds A, B and C have the same types but for the rows of tables, so a copy looks like the original. Some rounds are
//! *calm*: one server, and types that are newer than the connections. If the seed modulo 4 is 1 or 3,
//! [`track`](diesel_postgres_hot_upgrade::track) is called in the sixth round or at first.
//!
//! # What is judged
//!
//! | use | wrong | failed |
//! |---|---|---|
//! | verified transaction, after a checkout, in a window, or on a connection that is held | never | never |
//! | plain statement or transaction, `hot_query`, in a checkout that asked or after `synchronize` | never | never |
//! | under a tenant's path: `before_probe`, or `SET LOCAL` and `synchronize`, also in a savepoint | never | never |
//! | what follows such a transaction or savepoint in the same checkout | never | never |
//! | a migration of the connection's own in a verified transaction, with `synchronize` after it | never | never |
//! | a type that was used in a transaction that created or moved it, and was rolled back | never | may |
//! | `hot_query` on a connection that is held, or in a window | may | never |
//! | plain statement on a connection that is held, or in a window | may | may |
//! | a stock pool, the control | has to | |
//!
//! Plain statements that nothing is promised for are run all the same: what they leave behind must do no harm.
//!
//! Not done, since nothing is promised for it:
//!
//! - A type is not moved before it is older than the bound within which nobody looks for new types
//!   ([`bound`](promises::bound)).
//! - Types that nobody watches (rows of tables, and what `track` was not given) are re-created between two rounds only,
//!   and a temporary type's name is used once on each server and round.
//! - After a migration, a new temporary type or another session path, plain statements wait for the next checkout.
//! - Bare names are not used after a `SET LOCAL search_path` without `synchronize`.

mod campaign;
mod clients;
mod keys;
mod model;
mod plan;
mod promises;
mod report;
mod run;
mod sites;
mod steps;

use report::Report;
use support::drivers::Driver;
use support::own_process::in_a_process_of_its_own;

// Other programs use the rest.
#[allow(dead_code, unused_imports)]
#[path = "../support"]
mod support {
    pub(crate) mod drivers;
    pub(crate) mod own_process;
}

/// What CI asks for.
const ANSWERS: usize = 1_000;

/// So that what CI says of a change depends on the change alone. The long run draws its seeds.
const SEED: u64 = 61_416;

#[test]
fn whatever_happens_to_servers_and_types_no_answer_is_wrong() {
    no_answer_is_wrong(Driver::Blocking);
}

/// What is tracked belongs to the process.
#[test]
fn whatever_happens_to_servers_and_types_no_answer_of_diesel_async_is_wrong() {
    let name = "whatever_happens_to_servers_and_types_no_answer_of_diesel_async_is_wrong";
    in_a_process_of_its_own(module_path!(), name, || no_answer_is_wrong(Driver::Async));
}

fn no_answer_is_wrong(driver: Driver) {
    let answers = number("RANDOM_ANSWERS").map_or(ANSWERS, |answers| answers as usize);
    let is_long = answers > ANSWERS;
    let seed = number("RANDOM_SEED")
        .unwrap_or_else(|| if is_long { run::seed_of_everything(fastrand::u64(..1_000_000)) } else { SEED });
    let is_verbose = std::env::var_os("RANDOM_VERBOSE").is_some();
    if is_verbose {
        log::set_logger(&PrintedLog).expect("the first logger");
        log::set_max_level(log::LevelFilter::Trace);
    }
    let mut report = Report::new(is_verbose);
    for seed in run::seeds(seed, answers) {
        let outcome = run::run(driver, seed, &mut report);
        outcome.unwrap_or_else(|error| panic!("RANDOM_SEED={seed}: {error}\n{}", report.last()));
    }
    println!("{report}");
    assert_eq!(report.promises_broken(), 0, "promises are broken; each is shown with the seed that repeats it");
    assert!(report.answers() >= answers, "{}", report.answers());
    assert!(report.control() > 0, "a stock pool is right");
}

/// The crate's own records, among the actions.
struct PrintedLog;

impl log::Log for PrintedLog {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("diesel_postgres_hot_upgrade")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            println!("        {}: {}", record.level(), record.args());
        }
    }

    fn flush(&self) {}
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|error| panic!("{variable}={value}: {error}")))
}
