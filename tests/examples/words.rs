//! `examples/async_bb8.rs`, and what both examples need of a database.

use std::io::Write;

use fixture::Upgrade;
use testbed::PgBouncerConfig;

use crate::built::Example;

/// Two servers with the examples' table, on which `citext` has two OIDs.
pub(crate) fn upgrade() -> Upgrade {
    let upgrade = Upgrade::start(PgBouncerConfig::default()).expect("two servers and a pooler");
    upgrade
        .create_apart("DROP TABLE documents; DROP EXTENSION citext; CREATE EXTENSION citext")
        .and_then(|()| upgrade.create_apart("CREATE TABLE words (id bigserial PRIMARY KEY, word citext)"))
        .expect("the examples' table");
    let [old, new] = upgrade.oids_of_type("citext").expect("two OIDs");
    assert_ne!(old, new, "nothing would go wrong");
    upgrade
}

fn say(example: &mut Example, word: &str) -> String {
    writeln!(example.input(), "{word}").expect("it reads");
    example.line()
}

#[test]
fn the_example_for_bb8_counts_on_through_switches() {
    let upgrade = upgrade();
    let mut example = Example::reader("async_bb8", &upgrade.url());
    assert_eq!(say(&mut example, "word"), "word: 1");
    assert_eq!(say(&mut example, "WORD"), "WORD: 2");
    upgrade.switch_to(upgrade.new).expect("a switch");
    assert_eq!(say(&mut example, "Word"), "Word: 1", "the new server has none yet");
    upgrade.switch_to(upgrade.old).expect("a switch");
    assert_eq!(say(&mut example, "word"), "word: 3");
    // The switch meets transactions that are under way. Each word is there once, on one of the two servers.
    let words = 400;
    let counts: Vec<String> = std::thread::scope(|scope| {
        let mut input = example.take_input();
        scope.spawn(move || (0..words).try_for_each(|_| writeln!(input, "during")).expect("it reads"));
        let early: Vec<_> = (0..20).map(|_| example.line()).collect();
        upgrade.switch_to(upgrade.new).expect("a switch");
        early.into_iter().chain((20..words).map(|_| example.line())).collect()
    });
    let on_old = counts.iter().enumerate().position(|(before, count)| *count != said(before + 1)).unwrap_or(words);
    assert!((20..words).contains(&on_old), "no switch in the middle: {on_old}");
    let expected: Vec<_> = (1..=on_old).chain(1..=words - on_old).map(said).collect();
    assert_eq!(counts, expected);
}

fn said(count: usize) -> String {
    format!("during: {count}")
}
