//! What the tables leave unsaid.

use crate::args::Subject;
use crate::asynchronous::Asked;
use crate::cells::time;
use crate::memory::Memory;
use crate::precision::Precision;
use crate::recovery::Counts;
use crate::report::Report;
use crate::types;

pub(crate) fn sentences(report: &Report) -> Vec<String> {
    let mut sentences = vec![how(report), STOCK.to_owned()];
    if report.rows.iter().any(|row| row.subject.is_asynchronous()) {
        sentences.push(ASYNCHRONOUS.to_owned());
    }
    if report.rows.iter().any(|row| row.subject.is_on_one_core()) || !report.disturbed.is_empty() {
        sentences.push(ONE_CORE.to_owned());
    }
    if !report.disturbed.is_empty() {
        sentences.push(DISTURBED.to_owned());
    }
    if report.counts.iter().any(|count| count.subject == Subject::Permissions) {
        sentences.push(PERMISSIONS.to_owned());
    }
    sentences.extend(report.recovery.as_ref().map(recovery));
    sentences.extend(report.async_recovery.as_ref().map(async_recovery));
    sentences.extend(types::verdict(&report.types).map(|verdict| {
        format!("Watched types: the goal is a straight line or better, and at most 1 µs a type: {verdict}.")
    }));
    sentences.extend(report.memory.as_ref().map(memory));
    if !report.profile.is_empty() {
        sentences.push(PROFILE.to_owned());
    }
    if !report.forwarder.is_empty() {
        sentences.push(forwarder(&report.forwarder));
    }
    sentences.push(report.machine.describe());
    sentences
}

fn how(report: &Report) -> String {
    let path = if report.is_direct {
        "The application talks to PostgreSQL, without a pooler"
    } else {
        "The application talks to PgBouncer (`pool_mode = transaction`, `max_prepared_statements = 200`)"
    };
    let length = if report.is_quick { " This was a short run, which says little." } else { "" };
    format!(
        "{path}, over the loopback interface or a network with the row's delay in each direction. The two take turns, \
         pair by pair. The ratio is this crate's figure divided by stock's, the difference this crate's less stock's; \
         each column is the median of its own values over blocks of pairs.{length}"
    )
}

/// What the other one does.
const STOCK: &str = "Stock is Diesel's `ConnectionManager`, which pings at each checkout, and `transaction`; its \
     connections look up each type themselves, and after a switch they are dropped and opened again.";

const ASYNCHRONOUS: &str = "In the rows of diesel-async, stock is `AsyncPgConnection`, and both are in its pool of deadpool, on a \
     runtime of one thread. To prepare a statement, tokio-postgres asks about each type that its connection does not \
     know, on both sides: this crate can't spare that.";

const DISTURBED: &str = "Of the checkouts that others disturb, two servers take turns, without a pooler: on one of \
     them the others do what the row says. Times are means of hundreds of checkouts; round trips are means, counted \
     on the wire.";

const PERMISSIONS: &str = "The role without permissions may use its tables, but may not execute the functions by \
     which this crate tells servers and search paths apart.";

/// Of the rows without a pooler.
const ONE_CORE: &str = "Without a pooler, the application and the two server processes share one core, so that no \
     figure depends on how long a sleeping core takes to wake up.";

const PROFILE: &str = "Processor time is that of the server's process and of the application's thread, without a \
     pooler, in batches. A checkout costs what it does beyond a ping because the server prints the names of the \
     types, and finds out for each whether the bare name finds it. If client, pooler and server share processors that \
     do nothing but checkouts, checkouts per second fall in the same proportion. Without Diesel's statement cache \
     the server also plans all that each time.";

fn recovery(counts: &Counts) -> String {
    format!(
        "After a switch to an unseen server, on which {} types had moved, the protected pool of {} read the catalog \
         {}, and Diesel looked up {} types on its connections; stock connections that were dropped and opened again \
         looked up {}. The goal is once and none: {}.",
        counts.types,
        counts.connections,
        if counts.catalog_loads == 1 { "once".to_owned() } else { format!("{} times", counts.catalog_loads) },
        if counts.look_ups == 0 { "no".to_owned() } else { counts.look_ups.to_string() },
        counts.stock_look_ups,
        counts.verdict,
    )
}

fn async_recovery([ours, stock]: &[Asked; 2]) -> String {
    format!(
        "After the same switch, diesel-async looked up {} types on the protected connections, and {} on stock's. \
         tokio-postgres asked {} times about types on the protected connections, and {} times on stock's: this crate \
         can't spare that.",
        ours.look_ups, stock.look_ups, ours.questions, stock.questions,
    )
}

fn memory(memory: &Memory) -> String {
    format!(
        "Memory, with {} types: {:.0} bytes for each type and process (goal: at most 300: {}), and {:.0} for each \
         type and connection, most of it in the OID cache, which is Diesel's: this crate fills it with all that are \
         watched, and stock Diesel with those that were used.",
        memory.types, memory.a_type_and_process, memory.verdict, memory.a_type_and_connection,
    )
}

fn forwarder(precisions: &[Precision]) -> String {
    let of = |precision: &Precision| {
        let delay = if precision.delay == 0.0 { "nothing".to_owned() } else { time(precision.delay) };
        format!(
            "{} ({} in a tenth of the cases) where it delays {delay}",
            time(precision.overshoot_median),
            time(precision.overshoot_p90),
        )
    };
    let all: Vec<_> = precisions.iter().map(of).collect();
    format!(
        "The forwarder that makes the network adds to each round trip, beyond twice its delay: {}.",
        all.join(", ")
    )
}
