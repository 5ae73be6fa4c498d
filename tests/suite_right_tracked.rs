//! Copies of one server, and types that are not tracked. What is tracked belongs to the process: one test.

// Other programs use the rest.
#[allow(dead_code, unused_imports)]
mod support {
    pub(crate) mod diverging;
    pub(crate) mod meaning;
    pub(crate) mod ways;
}

use diesel_postgres_hot_upgrade::track;
use support::diverging::{DATABASE, Kind, copies, diverge, know, pooler, session};
use support::meaning::named_types;
use support::ways::Ways;

named_types! {
    Known = "known";
}

#[test]
fn a_type_that_is_not_tracked_is_another_one_on_a_copy() {
    track::<Known>();
    let [first, second] = copies();
    let pgbouncer = pooler(&first);
    diverge(&mut [session(&first), session(&second)], Kind::Enum);
    know(&[&first, &second]);
    let mut ways = Ways::connect(&pgbouncer.url(DATABASE));
    ways.visit(&pgbouncer, &first, &[&second, &first, &second]);
}
