//! Every statement that the crate sent, as the servers logged them, names everything with its schema. So the next
//! statement is checked as well, whether or not somebody has thought of an operator that fits it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::every_path::{PAIRS, Setting, track_all};
use super::server_log::{APPLICATION, is_of_driver, statements};
use super::unqualified::unqualified;
use crate::support::drivers::Driver;
use crate::support::own_process::in_a_process_of_its_own;

const TAG: &str = "/* diesel-postgres-hot-upgrade: ";

/// The tag of a statement, if it is one of the crate's that has one.
fn tag(statement: &str) -> Option<&str> {
    let (_, rest) = statement.split_once(TAG)?;
    rest.split_once(" */").map(|(tag, _)| tag)
}

/// Does this source have statements that a driver sends? What is sent by blocking Diesel alone stands in many places.
fn is_sent_by(driver: Driver, source: &Path) -> bool {
    let is_asynchronous = source.components().any(|folder| folder.as_os_str() == "asynchronous");
    let shared = ["check.rs", "identify.rs", "load.rs", "lost_attempt.rs", "session.rs", "writes.rs"];
    let is_shared = shared.iter().any(|file| source.ends_with(file));
    match driver {
        Driver::Blocking => !is_asynchronous,
        Driver::Async => is_asynchronous || is_shared,
    }
}

/// The comment that makes the text of a user's statement another one.
fn is_before_users_sql(tag: &str) -> bool {
    tag.starts_with("rerun ")
}

/// The tags that stand in the sources, but for that of the statement that is never sent.
fn tags_in(folder: &Path, driver: Driver, tags: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("the sources") {
        let path = entry.expect("the sources").path();
        if path.is_dir() {
            tags_in(&path, driver, tags);
        } else if is_sent_by(driver, &path) {
            let text = fs::read_to_string(&path).expect("a source");
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            tags.extend(
                code.filter_map(tag)
                    .filter(|tag| *tag != "never sent" && !is_before_users_sql(tag))
                    .map(str::to_owned),
            );
        }
    }
}

/// What Diesel, the pooler and libpq send by themselves, and what the application does.
fn is_of_others(statement: &str) -> bool {
    const SAVEPOINTS: [&str; 3] = [
        "SAVEPOINT diesel_savepoint_",
        "RELEASE SAVEPOINT diesel_savepoint_",
        "ROLLBACK TO SAVEPOINT diesel_savepoint_",
    ];
    const PLAIN: [&str; 5] = ["BEGIN", "COMMIT", "ROLLBACK", "SELECT 1", "DISCARD ALL"];
    let is_prefixed = SAVEPOINTS.iter().chain([&APPLICATION]).any(|prefix| statement.starts_with(prefix));
    let is_setting = statement.starts_with("SET ") && !statement.contains(';');
    is_of_driver(statement) || is_prefixed || is_setting || PLAIN.contains(&statement.trim_end_matches(';'))
}

/// A message that begins a transaction may have a statement of the application among others.
fn without_application(message: &str) -> String {
    let Some((before, rest)) = message.split_once(APPLICATION) else {
        return message.to_owned();
    };
    before.to_owned() + rest.split_once(';').map_or("", |(_, after)| after)
}

/// Which of the crate's kinds of statements have to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kinds {
    All,
    /// All but those that look for new types, which there is no need for where all that is tracked is there.
    Tracked,
}

fn every_statement_is_qualified(driver: Driver, majors: [u32; 2], kinds: Kinds) {
    let setting = Setting::start(majors);
    let [old, new] = [setting.upgrade.old, setting.upgrade.new];
    let before = [old, new].map(|server| statements(server, &setting.upgrade.database).len());
    setting.run(driver).expect("every path");
    let mut wanted = BTreeSet::new();
    tags_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), driver, &mut wanted);
    assert!(wanted.len() >= 4, "the tags are not where they are looked for: {wanted:?}");
    for (server, before) in [old, new].into_iter().zip(before) {
        let statements = statements(server, &setting.upgrade.database);
        let own: BTreeSet<_> = statements[before..].iter().filter(|statement| !is_of_others(statement)).collect();
        let seen: BTreeSet<_> = own.iter().filter_map(|statement| tag(statement)).map(str::to_owned).collect();
        let is_seen =
            if kinds == Kinds::All { seen == wanted } else { seen.is_subset(&wanted) && seen.len() >= 3 };
        assert!(is_seen, "PostgreSQL {} was sent {seen:?}, not {wanted:?}", server.major());
        assert!(seen.contains("commit"), "a verified COMMIT");
        let wrong: Vec<_> = own
            .iter()
            .flat_map(|statement| {
                let found = unqualified(&without_application(statement));
                found.into_iter().map(move |problem| format!("{problem}\n    {statement}\n"))
            })
            .collect();
        assert!(wrong.is_empty(), "on PostgreSQL {}:\n{}", server.major(), wrong.concat());
    }
}

macro_rules! by_both_drivers {
    ($($module:ident = $driver:ident;)*) => {
        $(mod $module {
            use super::*;

            #[test]
            fn every_statement_to_10_and_12_is_qualified() {
                every_statement_is_qualified(Driver::$driver, PAIRS[0], Kinds::All);
            }

            #[test]
            fn every_statement_to_14_and_18_is_qualified() {
                every_statement_is_qualified(Driver::$driver, PAIRS[1], Kinds::All);
            }

            #[test]
            fn every_statement_is_qualified_where_types_are_tracked() {
                let name = "every_statement_is_qualified_where_types_are_tracked";
                in_a_process_of_its_own(module_path!(), name, || {
                    track_all();
                    for majors in PAIRS {
                        every_statement_is_qualified(Driver::$driver, majors, Kinds::Tracked);
                    }
                });
            }
        })*
    };
}

by_both_drivers! {
    blocking = Blocking;
    asynchronous = Async;
}
