//! Random sessions on four servers, with a model that says what each name means.
mod clients;
mod keys;
mod model;
mod plan;
mod promises;
mod report;
mod run;
mod sites;
mod steps;

use run::{Settings, run};

/// What CI asks for.
const ANSWERS: usize = 1_000;

#[test]
fn whatever_happens_to_servers_and_types_no_answer_is_wrong() {
    let seed = number("RANDOM_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    let answers = number("RANDOM_ANSWERS").map_or(ANSWERS, |answers| answers as usize);
    println!("RANDOM_SEED={seed} RANDOM_ANSWERS={answers} cargo test --test random");
    let is_verbose = std::env::var_os("RANDOM_VERBOSE").is_some();
    let report = run(Settings { seed, answers, is_verbose }).expect("servers that do what they are asked to");
    println!("{report}");
    assert_eq!(report.promises_broken(), 0, "RANDOM_SEED={seed}");
    assert!(report.answers() >= answers);
    assert!(report.control() > 0, "a stock pool is right");
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|error| panic!("{variable}={value}: {error}")))
}
