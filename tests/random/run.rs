//! The run: campaigns of rounds of random actions.

use std::cmp::Ordering;

use crate::campaign::Campaign;
use crate::keys::track_some;
use crate::report::Report;
use crate::sites::AnyError;
use crate::support::drivers::Driver;

/// How many answers a campaign gives, or more.
const ANSWERS: usize = 1_000;
/// Rounds of a campaign, at least.
const ROUNDS: u64 = 7;
/// The majors of A, B and C, and of D.
const MAJORS: [[u32; 2]; 3] = [[12, 10], [18, 10], [10, 18]];

/// From which round on only some types are watched. This belongs to the process and can't be undone, so the seed of a
/// campaign says it, and those with it come last.
#[derive(Debug, Clone, Copy)]
enum Tracked {
    Never,
    From(u64),
}

impl Tracked {
    fn of(seed: u64) -> Tracked {
        match seed % 4 {
            1 => Tracked::From(5),
            3 => Tracked::From(0),
            _ => Tracked::Never,
        }
    }
}

/// A seed whose campaign has a bit of everything.
pub(crate) fn seed_of_everything(number: u64) -> u64 {
    number * 4 + 1
}

/// The seeds of the campaigns that give so many answers. Each can be run alone.
pub(crate) fn seeds(first: u64, answers: usize) -> Vec<u64> {
    let count = answers.div_ceil(ANSWERS) as u64;
    if count <= 1 {
        return vec![first];
    }
    let first_tracked = count - (count / 4).max(1);
    let kind = |number: u64| match number.cmp(&first_tracked) {
        Ordering::Less => 0,
        Ordering::Equal => 1,
        Ordering::Greater => 3,
    };
    (0..count).map(|number| (first / 4 + number) * 4 + kind(number)).collect()
}

/// Runs one campaign: on servers of its own, until they have given [`ANSWERS`].
pub(crate) fn run(driver: Driver, seed: u64, report: &mut Report) -> Result<(), AnyError> {
    let before = report.answers();
    let majors = MAJORS[(seed / 4 % 3) as usize];
    report.begin(seed, majors);
    let mut campaign = Campaign::start(driver, seed, majors)?;
    for round in 0.. {
        let is_tracked = matches!(Tracked::of(seed), Tracked::From(first) if round >= first);
        if is_tracked {
            track_some();
        }
        if round + 1 == ROUNDS {
            campaign.promote(report)?;
        }
        campaign.round(round, is_tracked, report)?;
        if round + 1 >= ROUNDS && report.answers() >= before + ANSWERS {
            break;
        }
    }
    Ok(())
}
