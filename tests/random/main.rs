//! Random sessions on four servers, with a model that says what each name means.
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

/// What CI asks for.
const ANSWERS: usize = 1_000;

#[test]
fn whatever_happens_to_servers_and_types_no_answer_is_wrong() {
    let seed = number("RANDOM_SEED").unwrap_or_else(|| run::seed_of_everything(fastrand::u64(..1_000_000)));
    let answers = number("RANDOM_ANSWERS").map_or(ANSWERS, |answers| answers as usize);
    let mut report = Report::new(std::env::var_os("RANDOM_VERBOSE").is_some());
    for seed in run::seeds(seed, answers) {
        let outcome = run::run(seed, &mut report);
        outcome.unwrap_or_else(|error| panic!("RANDOM_SEED={seed}: {error}\n{}", report.last()));
    }
    println!("{report}");
    assert_eq!(report.promises_broken(), 0, "promises are broken; each is shown with the seed that repeats it");
    assert!(report.answers() >= answers, "{}", report.answers());
    assert!(report.control() > 0, "a stock pool is right");
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|error| panic!("{variable}={value}: {error}")))
}
