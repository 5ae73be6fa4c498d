//! What was right, and where what was wrong came from.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use crate::clients::{Memory, Seen};
use crate::keys::KEYS;
use crate::promises::{Grade, NAMES_THAT_COME_BACK_MAY_FAIL, STRAYS_ARE_HARMLESS, Use};
use crate::sites::{LETTERS, Sites};
use crate::steps::{Findings, Found};

const TRACE: usize = 25;

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    right: usize,
    wrong: usize,
    failed: usize,
}

#[derive(Debug)]
pub(crate) struct Report {
    counts: BTreeMap<Use, Count>,
    pub(crate) refused: usize,
    pub(crate) switches: usize,
    pub(crate) ddl: usize,
    /// What went wrong against a promise, by its kind: how often, and the first with what was done before it.
    broken: BTreeMap<String, (usize, String)>,
    trace: VecDeque<String>,
    /// The campaign.
    seed: u64,
    is_verbose: bool,
}

/// How an answer came about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Situation {
    pub(crate) usage: (Use, Grade),
    pub(crate) by: Use,
    pub(crate) site: usize,
    pub(crate) action: u64,
}

impl Report {
    pub(crate) fn new(is_verbose: bool) -> Report {
        let (counts, broken, trace) = Default::default();
        Report { counts, refused: 0, switches: 0, ddl: 0, broken, trace, seed: 0, is_verbose }
    }

    /// Notes that a campaign begins.
    pub(crate) fn begin(&mut self, seed: u64, [major, other]: [u32; 2]) {
        self.seed = seed;
        self.trace.clear();
        println!("RANDOM_SEED={seed}: PostgreSQL {major}, D is PostgreSQL {other}; {} answers", self.answers());
    }

    /// Notes what is done.
    pub(crate) fn note(&mut self, action: u64, what: &str) {
        if self.is_verbose {
            println!("{action}: {what}");
        }
        self.trace.push_back(format!("{action}: {what}"));
        if self.trace.len() > TRACE {
            self.trace.pop_front();
        }
    }

    pub(crate) fn judge(&mut self, findings: &Findings, memory: &mut Memory, situation: Situation, sites: &Sites) {
        self.refused += usize::from(findings.is_refused);
        for found in &findings.answers {
            self.judge_one(found, memory, situation, sites);
        }
    }

    fn judge_one(&mut self, found: &Found, memory: &mut Memory, situation: Situation, sites: &Sites) {
        let (usage, mut grade) = situation.usage;
        if grade == Grade::Strict && memory.rolled_back.contains(KEYS[found.ask.key].name) {
            grade = Grade::NotWrong;
        }
        if grade == Grade::Strict && NAMES_THAT_COME_BACK_MAY_FAIL && found.is_young && usage == Use::Plain {
            grade = Grade::NotWrong;
        }
        if !STRAYS_ARE_HARMLESS && memory.strayed.contains(&found.ask.key) {
            grade = Grade::Unjudged;
        }
        let count = self.counts.entry(usage).or_default();
        match &found.result {
            Ok(answer) => {
                assert_eq!(
                    answer.meant.is_some(),
                    found.exists,
                    "RANDOM_SEED={}: the model is wrong: {found:?}\n{}",
                    self.seed,
                    self.last()
                );
                let meant = if found.ask.array { answer.array } else { answer.meant };
                if meant == Some(answer.bound) {
                    count.right += 1;
                    let Situation { site, action, .. } = situation;
                    // Diesel keeps both.
                    for oid in [answer.meant, answer.array].into_iter().flatten() {
                        memory.seen.insert((found.ask.key, oid), Seen { site, path: found.path, action });
                    }
                    return;
                }
                count.wrong += 1;
                if matches!(grade, Grade::Strict | Grade::NotWrong) {
                    let seen = memory.seen.get(&(found.ask.key, answer.bound)).copied();
                    self.break_promise(&origin(situation, seen, found, sites), found, situation, seen);
                }
            }
            Err(_) if !found.exists => count.right += 1,
            Err(error) => {
                count.failed += 1;
                if matches!(grade, Grade::Strict | Grade::Healed) {
                    let what: String = error.chars().filter(|c| !c.is_ascii_digit()).collect();
                    let kind = format!("failed, {usage:?} by {:?}: {what}", situation.by);
                    self.break_promise(&kind, found, situation, None);
                }
            }
        }
    }

    fn break_promise(&mut self, kind: &str, found: &Found, situation: Situation, seen: Option<Seen>) {
        let shown = format!(
            "RANDOM_SEED={}, action {}, {:?} by {:?} on {}: {} under {}: {:?}; {}\n{}",
            self.seed,
            situation.action,
            situation.usage.0,
            situation.by,
            LETTERS[situation.site],
            found.ask.shown(),
            found.path.join(", "),
            found.result,
            seen.map_or("".to_owned(), |Seen { site, path, action }| format!(
                "right in action {action}, on {} under {}",
                LETTERS[site],
                path.join(", ")
            )),
            self.last()
        );
        self.broken.entry(kind.to_owned()).or_insert((0, shown)).0 += 1;
    }

    /// What was done last.
    pub(crate) fn last(&self) -> String {
        self.trace.iter().map(|what| format!("    {what}\n")).collect()
    }

    fn sum(&self, judged: impl Fn(Use) -> bool) -> Count {
        self.counts.iter().filter(|(usage, _)| judged(**usage)).fold(Count::default(), |sum, (_, count)| Count {
            right: sum.right + count.right,
            wrong: sum.wrong + count.wrong,
            failed: sum.failed + count.failed,
        })
    }

    /// Answers of which something is promised.
    pub(crate) fn answers(&self) -> usize {
        let sum = self.sum(is_judged);
        sum.right + sum.wrong + sum.failed
    }

    pub(crate) fn promises_broken(&self) -> usize {
        self.broken.values().map(|(count, _)| count).sum()
    }

    /// What went wrong in the control.
    pub(crate) fn control(&self) -> usize {
        let Count { wrong, failed, .. } = self.sum(|usage| usage == Use::Stock);
        wrong + failed
    }
}

fn is_judged(usage: Use) -> bool {
    !matches!(usage, Use::Stray | Use::Stock)
}

/// Where the OID of a wrong answer came from. The letters are those of the faults that this test was written to find.
fn origin(situation: Situation, seen: Option<Seen>, found: &Found, sites: &Sites) -> String {
    let what = match KEYS[found.ask.key].name.as_bytes()[0] {
        b'r' => "row type",
        b'm' => "temporary type",
        _ => "type",
    };
    let name = KEYS[found.ask.key].name;
    let bound = found.result.as_ref().map_or(0, |answer| answer.bound);
    let whose = if seen.is_none() { sites.whose(bound) } else { Vec::new() };
    let is_namesake =
        |on_this: bool| whose.iter().any(|(site, _, found)| (*site == situation.site) == on_this && found == name);
    let from = match seen {
        None if is_namesake(true) => "E: another path's (by its name)",
        None if is_namesake(false) => "C: another server's (by its name)",
        None => "? of unknown origin",
        Some(seen) if seen.site != situation.site && matches!(situation.by, Use::Held | Use::Window) => {
            "B: another server's, on a connection that was not asked"
        }
        Some(seen) if seen.site != situation.site => "C: another server's, although the checkout asked",
        Some(seen) if seen.path != found.path => "E: another path's",
        Some(_) => "D: what the name meant before, on the same server",
    };
    format!("{from} ({what}, {:?} by {:?})", situation.usage.0, situation.by)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, (times, first)) in &self.broken {
            writeln!(f, "{times} × {kind}\n  the first: {first}")?;
        }
        for (usage, Count { right, wrong, failed }) in &self.counts {
            let (name, note) = (format!("{usage:?}"), if is_judged(*usage) { "" } else { " (not judged)" });
            writeln!(f, "{name:>10}: {right} right, {wrong} wrong, {failed} failed{note}")?;
        }
        let of = |usage| {
            let Count { right, wrong, failed } = self.sum(|one| one == usage);
            right + wrong + failed
        };
        write!(
            f,
            "{} answers ({} plain, {} verified, {} window, {} held, {} tenant, {} hot_query): {} wrong, {} failed, \
             {} refused; {} against a promise; {} switches, {} DDL statements; the control: {} wrong or failed",
            self.answers(),
            of(Use::Plain),
            of(Use::Verified),
            of(Use::Window),
            of(Use::Held),
            of(Use::Tenant),
            of(Use::Query),
            self.sum(is_judged).wrong,
            self.sum(is_judged).failed,
            self.refused,
            self.promises_broken(),
            self.switches,
            self.ddl,
            self.control()
        )
    }
}
