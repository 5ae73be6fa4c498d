//! Were the promises kept, and does the run show anything?

use crate::figures::{Figures, SubjectFigures};
use crate::rows::plural;
use crate::subject::Subject;

/// `checkout` did nothing wrong on a connection that was checked out after a switch, unless it was cut, and `verified`
/// nothing at all.
pub(crate) fn is_kept(figures: &Figures) -> bool {
    figures.subjects.iter().all(|of| {
        let (failures, wrong) = (&of.failures_when, &of.wrong_answers_when);
        let outside = failures.before_first_switch + failures.after_switch;
        let wrong_outside = wrong.before_first_switch + wrong.after_switch;
        let lost = if figures.options.pooler.is_cut() { 0 } else { failures.connection_lost };
        match of.subject {
            Subject::Stock => true,
            Subject::Checkout => outside + wrong_outside + lost == 0 && of.right_answers > 0,
            Subject::Verified => of.failures + of.wrong_answers == 0 && of.right_answers > 0,
        }
    })
}

/// A sentence on each subject.
pub(crate) fn sentences(figures: &Figures) -> String {
    let lost = figures.subjects.iter().any(|of| of.failures_when.connection_lost > 0);
    let mut sentences: Vec<_> = figures.subjects.iter().map(sentence).collect();
    if figures.options.pooler.is_cut() && lost {
        sentences.push(
            "The switch cuts every connection, and new ones start empty: stock and checkout lose what was under way, \
             and verified runs it again on another connection."
                .to_owned(),
        );
    }
    if diesel_postgres_hot_upgrade::stats().probes() == 0 {
        sentences.push("The protection was switched off by the environment.".to_owned());
    } else {
        let all = if is_kept(figures) { "All promises were kept." } else { "A promise was NOT kept." };
        sentences.push(all.to_owned());
    }
    sentences.join("\n")
}

fn sentence(of: &SubjectFigures) -> String {
    let name = of.subject.name();
    let unknown = match of.unknown_outcomes {
        0 => String::new(),
        count => format!("; {}, reported as such", plural(count, "unknown outcome")),
    };
    if of.failures + of.wrong_answers == 0 {
        let so = if of.subject == Subject::Stock { ", so this run shows nothing" } else { "" };
        return format!("{name}: no failure, no wrong answer{so}{unknown}.");
    }
    let (failures, wrong) = (&of.failures_when, &of.wrong_answers_when);
    let parts = [
        (failures.connection_lost, "on connections that were cut"),
        (failures.before_first_switch + wrong.before_first_switch, "before the first switch"),
        (failures.during_switch + wrong.during_switch, "checked out before a switch was done"),
        (failures.after_switch + wrong.after_switch, "checked out after it"),
    ];
    let parts: Vec<_> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, when)| format!("{count} {when}")).collect();
    let (failures, wrong) = (plural(of.failures, "failure"), plural(of.wrong_answers, "wrong answer"));
    format!("{name}: {failures} and {wrong}; {}{unknown}.", parts.join(", "))
}
