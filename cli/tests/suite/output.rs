//! How the answers look: their width, colours and JSON, also if a name is long or hostile.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;
use testbed::{Cluster, Forwarder};

use crate::support::{Database, Pair, command, ran, run};

const ESCAPE: char = '\u{1b}';

/// Every key of an answer, and every value that is a word of a fixed set.
fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                found.insert(key.clone());
                if ["verdict", "severity", "event"].contains(&key.as_str()) {
                    found.insert(value.as_str().expect("a word").to_owned());
                }
                keys(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

#[test]
fn every_field_of_the_json_is_documented() {
    let pair = Pair::shared(16, 15, "cli_json");
    pair.execute("CREATE TYPE mood AS ENUM ('happy', 'sad'); CREATE TABLE t (mood mood)");
    pair.old.execute("CREATE EXTENSION citext; CREATE FUNCTION f(mood) RETURNS int4 LANGUAGE sql AS 'SELECT 1'");
    let (old, new) = (pair.old.url(), pair.new.url());
    let forwarder = Forwarder::start_in_turn(&[pair.old.cluster.address(), pair.new.cluster.address()]);
    let forwarder = forwarder.expect("a forwarder");
    let both = pair.old.cluster.url_at(forwarder.address(), "cli_json");
    let mut found = BTreeSet::new();
    for arguments in [
        &["compare", "--json", &old, &new][..],
        &["types", "--json", &old],
        &["watch", "--json", "--interval", "100ms", "--for", "4s", &both],
    ] {
        let ran = run(arguments);
        let values = serde_json::Deserializer::from_str(&ran.out).into_iter::<Value>();
        let values: Vec<_> = values.collect::<Result<_, _>>().unwrap_or_else(|_| panic!("{ran:?}"));
        assert!(!values.is_empty() && values.iter().all(|value| value["version"] == 1), "{ran:?}");
        values.iter().for_each(|value| keys(value, &mut found));
    }
    for expected in ["collisions", "track", "still_old", "left_behind", "missing"] {
        assert!(found.contains(expected), "{expected} is not in {found:?}");
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/before-the-upgrade.md");
    let page = fs::read_to_string(page).expect("the page");
    let (_, section) = page.split_once("\n## JSON\n").expect("a section");
    let documented: BTreeSet<_> = section.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let undocumented: Vec<_> = found.difference(&documented).collect();
    assert!(undocumented.is_empty(), "{undocumented:?}");
}

/// What the command shows on a terminal.
fn on_a_terminal(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("a terminal");
    let name = ptsname(&master, Vec::new()).expect("its name");
    let slave = rustix::fs::open(&*name, OFlags::RDWR | OFlags::NOCTTY, rustix::fs::Mode::empty());
    let slave = File::from(slave.expect("its other end"));
    let program = command().get_program().to_owned();
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("TERM", "xterm")
        .envs(variables.iter().copied())
        .stdout(Stdio::from(slave))
        .spawn()
        .expect("the command");
    let mut shown = Vec::new();
    // It ends with an error once nobody has the other end open.
    let mut terminal = File::from(master);
    let mut some = [0; 4096];
    while let Ok(count @ 1..) = terminal.read(&mut some) {
        shown.extend_from_slice(&some[..count]);
    }
    child.wait().expect("its end");
    String::from_utf8(shown).expect("UTF-8")
}

#[test]
fn colours_are_for_terminals_and_no_color_turns_them_off() {
    let pair = Pair::shared(17, 18, "cli_colours");
    pair.old.execute("CREATE TYPE gone AS ENUM ('x'); CREATE TABLE t (gone gone)");
    let (old, new) = (pair.old.url(), pair.new.url());
    let arguments = ["compare", &old, &new];
    assert!(on_a_terminal(&arguments, &[]).contains(ESCAPE));
    assert!(!on_a_terminal(&arguments, &[("NO_COLOR", "1")]).contains(ESCAPE));
    assert!(!on_a_terminal(&arguments, &[("TERM", "dumb")]).contains(ESCAPE));
    assert!(!run(&arguments).out.contains(ESCAPE), "a pipe is no terminal");
    assert!(ran(command().env("CLICOLOR_FORCE", "1").args(arguments)).out.contains(ESCAPE));
    let with_json = ["compare", "--json", &old, &new];
    assert!(!on_a_terminal(&with_json, &[]).contains(ESCAPE));
}

/// Of everything that the commands print about two databases.
fn printed(pair: &Pair) -> Vec<String> {
    let (old, new) = (pair.old.url(), pair.new.url());
    let forwarder = Forwarder::start_in_turn(&[pair.old.cluster.address(), pair.new.cluster.address()]);
    let forwarder = forwarder.expect("a forwarder");
    let both = pair.old.cluster.url_at(forwarder.address(), &pair.old.name);
    [
        &["compare", &old, &new][..],
        &["compare", "--json", &old, &new],
        &["types", &old],
        &["types", "--json", &old],
        &["watch", "--interval", "100ms", "--for", "4s", &both],
        &["watch", "--interval", "100ms", "--for", "4s", "--json", &both],
    ]
    .map(|arguments| run(arguments).out)
    .into()
}

#[test]
fn no_line_has_more_than_eighty_columns() {
    let name = |letter: &str| letter.repeat(63);
    let [schema, ty, table, gone] = ["s", "t", "b", "g"].map(name);
    let database = name("d");
    let pair = Pair::on(Cluster::shared(17), Cluster::shared(18), &database);
    pair.new.execute("CREATE TYPE first AS ENUM ('so that the OIDs differ')");
    pair.execute(&format!(
        "CREATE SCHEMA {schema};
         CREATE TYPE {schema}.{ty} AS ENUM ('happy');
         CREATE TABLE {schema}.{table} (\"a b c\" {schema}.{ty}, x int4)"
    ));
    pair.old.execute(&format!(
        "CREATE TYPE {schema}.{gone} AS ENUM ('x'); CREATE TABLE {schema}.gone ({gone} {schema}.{gone})"
    ));
    for text in printed(&pair).iter().step_by(2) {
        assert!(text.contains("sssss") && text.lines().count() > 5, "{text}");
        let long: Vec<_> = text.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(long.is_empty(), "{long:#?}");
    }
}

#[test]
fn a_long_list_is_cut_and_says_so() {
    let pair = Pair::shared(17, 18, "cli_long_list");
    pair.old.execute(
        "DO $$ BEGIN FOR i IN 1..210 LOOP EXECUTE format('CREATE TYPE gone_%s AS ENUM (''a'')', i); END LOOP; END $$;
         CREATE TABLE t (id int4 PRIMARY KEY);
         DO $$ BEGIN FOR i IN 1..20 LOOP EXECUTE format('ALTER TABLE t ADD c_%s gone_1', i); END LOOP; END $$",
    );
    let text = pair.compare(&[]).out;
    assert!(text.contains("Types: 0 same, 0 move, 0 collide, 210 missing, 0 differ"), "{text}");
    assert!(text.contains("\nand 10 more: see --json\n") && text.contains("and 15 more"), "{text}");
    let json: Value = serde_json::from_str(&pair.compare(&["--json"]).out).expect("JSON");
    let types = json["types"].as_array().expect("types");
    assert_eq!(types.len(), 210);
    assert!(types.iter().any(|ty| ty["columns"].as_array().expect("columns").len() == 20));
}

/// Names that clear the screen, paint, turn the direction of text, or look like a verdict.
#[test]
fn a_terminal_obeys_no_name() {
    const HOSTILE: &str = "x\u{1b}[2J\u{1b}]0;t\u{7}\u{9b}31m\u{202e}\r\nTo do: nothing. \u{7f}";
    let pair = Pair::on(Cluster::shared(16), Cluster::shared(17), "cli_hostile");
    let quoted = format!("\"{HOSTILE}\"");
    pair.new.execute("CREATE TYPE first AS ENUM ('so that the OIDs differ')");
    pair.execute(&format!(
        "CREATE SCHEMA {quoted};
         CREATE TYPE {quoted}.{quoted} AS ENUM ('{HOSTILE}', 'x');
         CREATE DOMAIN {quoted}.d AS text CHECK (VALUE <> '{HOSTILE}');
         CREATE TABLE {quoted}.\"t{HOSTILE}\" ({quoted} {quoted}.{quoted}, d {quoted}.d)"
    ));
    pair.old.execute(&format!(
        "CREATE TYPE {quoted}.\"a\"\"b'c\" AS ({quoted} int4);
         ALTER TYPE {quoted}.{quoted} ADD VALUE 'of {HOSTILE}';
         ALTER DOMAIN {quoted}.d SET DEFAULT '{HOSTILE}';
         ALTER DATABASE cli_hostile SET search_path TO {quoted};
         CREATE COLLATION {quoted}.{quoted} FROM \"C\";
         CREATE SEQUENCE {quoted}.s;
         CREATE FUNCTION {quoted}.{quoted}({quoted} {quoted}.{quoted}) RETURNS int4 LANGUAGE sql AS 'SELECT 1';
         CREATE TABLE {quoted}.t (\"a\"\"b'c\" {quoted}.\"a\"\"b'c\")"
    ));
    pair.new.execute(&format!(
        "CREATE FUNCTION {quoted}.{quoted}({quoted} {quoted}.{quoted}) RETURNS int4 LANGUAGE sql AS 'SELECT 1';
         REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA {quoted} FROM PUBLIC"
    ));
    let obeyed = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    for text in printed(&pair) {
        assert!(text.lines().count() > 3 && text.contains("[2J"), "{text}");
        assert!(!text.contains(obeyed), "{:?}", text.lines().find(|line| line.contains(obeyed)));
        let verdicts = text.lines().filter(|line| line.starts_with("To do:"));
        assert!(verdicts.count() <= 1, "{text}");
    }
    // In errors too.
    let database = Database::create(Cluster::shared(17), "cli_hostile_error");
    for arguments in [
        &["compare", "--schema", HOSTILE, &database.url(), &pair.new.url()][..],
        &["types", &database.url().replace("/cli_hostile_error", "/no%1B%5B2J%C2%9B31m")],
    ] {
        let ran = run(arguments);
        assert!(ran.code >= Some(64) && ran.err.contains("[2J"), "{ran:?}");
        assert!(!ran.err.contains(obeyed), "{ran:?}");
    }
}
