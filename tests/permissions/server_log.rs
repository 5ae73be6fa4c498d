//! What a server of the testbed has logged.

use testbed::Cluster;

/// Which statements are the application's own, and not the crate's.
pub(crate) const APPLICATION: &str = "/* application */";

/// Begins Diesel's own look-ups of a type.
pub(crate) const DIESEL: &str = "SELECT \"pg_type\".\"oid\"";

/// Begin what tokio-postgres asks of a type that it does not know.
pub(crate) const TOKIO_POSTGRES: [&str; 3] =
    ["SELECT t.typname, t.typtype", "SELECT enumlabel\nFROM", "SELECT attname, atttypid\nFROM"];

/// Is it one of a driver's own look-ups of a type?
pub(crate) fn is_of_driver(statement: &str) -> bool {
    statement.starts_with(DIESEL) || TOKIO_POSTGRES.iter().any(|beginning| statement.starts_with(beginning))
}

/// The messages of a server's log that concern one database, without what is before the message.
fn messages(server: &Cluster, database: &str) -> Vec<String> {
    let log = server.log().expect("a log");
    let mut messages: Vec<String> = Vec::new();
    let mut is_wanted = false;
    for line in log.lines() {
        if let Some(continued) = line.strip_prefix('\t') {
            if let Some(message) = messages.last_mut().filter(|_| is_wanted) {
                message.push('\n');
                message.push_str(continued);
            }
            continue;
        }
        // As testbed's `log_line_prefix` has it: time [process] database application
        let concerned = line.split_once("] ").and_then(|(_, rest)| rest.split_once(' '));
        let message =
            concerned.filter(|(name, _)| *name == database).and_then(|(_, rest)| rest.split_once("LOG:  "));
        is_wanted = message.is_some();
        messages.extend(message.map(|(_, message)| message.to_owned()));
    }
    messages
}

/// Something hostile was executed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Execution {
    /// Such as `oid > integer`.
    pub(crate) what: String,
    pub(crate) by: String,
    /// The message in which it was.
    pub(crate) statement: String,
}

impl Execution {
    fn parse(message: &str) -> Option<Self> {
        let (what, rest) = message.strip_prefix("hostile: ")?.split_once(" was executed by ")?;
        let (by, statement) = rest.split_once(" in ")?;
        Some(Execution { what: what.to_owned(), by: by.to_owned(), statement: statement.to_owned() })
    }
}

/// What hostile things were executed in a database.
pub(crate) fn executions(server: &Cluster, database: &str) -> Vec<Execution> {
    messages(server, database).iter().filter_map(|message| Execution::parse(message)).collect()
}

/// The statements that were sent to a database, by whoever.
pub(crate) fn statements(server: &Cluster, database: &str) -> Vec<String> {
    let messages = messages(server, database);
    messages.iter().filter_map(|message| statement(message)).map(str::to_owned).collect()
}

/// `statement: …`, or `execute <name>: …`.
fn statement(message: &str) -> Option<&str> {
    if let Some(statement) = message.strip_prefix("statement: ") {
        return Some(statement);
    }
    message.strip_prefix("execute ")?.split_once(": ").map(|(_, statement)| statement)
}

#[test]
fn a_statement_is_found_however_it_was_sent() {
    assert_eq!(statement("statement: SELECT 1"), Some("SELECT 1"));
    assert_eq!(statement("execute <unnamed>: SELECT 'a: b'"), Some("SELECT 'a: b'"));
    assert_eq!(statement("disconnection: session time: 0:00:00.1"), None);
}
