//! What is said of a switch.

use serde::Serialize;

use crate::compare::JSON_VERSION;
use crate::report::{counted, one_line, some, wrapped};

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Event {
    version: u32,
    /// Since the beginning.
    at_seconds: f64,
    #[serde(flatten)]
    pub(crate) what: What,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum What {
    /// A server answers for the first time.
    Server {
        server: usize,
        server_version: String,
        database: String,
        address: Option<String>,
        started: Option<String>,
        system_identifier: Option<String>,
        takes_writes: bool,
        /// Types with another OID than on the server before.
        moved: Vec<String>,
        /// Those of them whose old OID is another type's now.
        collided: Vec<String>,
        missing: Vec<String>,
    },
    /// A session is answered for the first time.
    Session { session: u16, server: usize },
    /// A session is answered by another server than before.
    Switched { session: u16, from: usize, to: usize },
    /// A session still goes to a server that others have left.
    StillOld { session: u16, backend: i32, server: usize, after_seconds: f64 },
    /// A session has no answer, but an error.
    Failed { session: u16, error: String },
    /// A session that failed has an answer again.
    Recovered { session: u16, after_seconds: f64 },
    /// No session had an answer for that long.
    Silence { seconds: f64 },
    /// A server begins or stops to take writes.
    Writes { server: usize, takes_writes: bool },
    /// The end.
    Summary {
        servers: usize,
        switches: usize,
        answers: u64,
        failures: u64,
        longest_silence_seconds: f64,
        sessions: Vec<SessionAtEnd>,
        last_server: Option<usize>,
        takes_writes: Option<bool>,
        clean: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SessionAtEnd {
    pub(crate) session: u16,
    /// `null` if it never had an answer.
    pub(crate) server: Option<usize>,
    /// How long ago its last answer is.
    pub(crate) silent_seconds: f64,
    /// Its last answer is of an older server than others', or was too long ago, or an error came after it.
    pub(crate) left_behind: bool,
}

impl Event {
    pub(crate) fn new(at: std::time::Duration, what: What) -> Event {
        Event { version: JSON_VERSION, at_seconds: rounded(at), what }
    }

    /// One line for people, or several.
    pub(crate) fn text(&self) -> String {
        let time = format!("{:8.1} s  ", self.at_seconds);
        let lines = match &self.what {
            What::Server { server, server_version, database, address, started, takes_writes, .. } => {
                let at = address.as_ref().map(|address| format!(" at {address}")).unwrap_or_default();
                let mut lines =
                    vec![format!("server {server} answers: PostgreSQL {server_version}{at}, database {database}")];
                lines.extend(started.as_ref().map(|started| format!("  started {started}")));
                lines.push(format!("  {}", writes(*takes_writes)));
                lines.extend(self.moves());
                lines
            }
            What::Switched { session, from, to } => {
                vec![format!("session {session} goes to server {to}, no longer to {from}")]
            }
            What::Session { session, server } => vec![format!("session {session} goes to server {server}")],
            What::StillOld { session, backend, server, after_seconds } => vec![format!(
                "session {session} (backend {backend}) STILL goes to server {server}, {after_seconds:.1} s later"
            )],
            What::Failed { session, error } => vec![format!("session {session} has an error: {error}")],
            What::Recovered { session, after_seconds } => {
                vec![format!("session {session} has an answer again, after {after_seconds:.1} s")]
            }
            What::Silence { seconds } => vec![format!("nobody answered for {seconds:.1} s")],
            What::Writes { server, takes_writes } => vec![format!("server {server} {}", writes(*takes_writes))],
            What::Summary { .. } => self.end(),
        };
        let shown = |line: &String| {
            let text = line.trim_start();
            let first = format!("{time}{}", " ".repeat(line.len() - text.len()));
            let others = " ".repeat(first.len() + 2);
            wrapped(&one_line(text), &first, &others)
        };
        lines.iter().map(shown).collect()
    }

    fn moves(&self) -> Vec<String> {
        let What::Server { server, moved, collided, missing, .. } = &self.what else { return Vec::new() };
        if *server == 1 {
            return Vec::new();
        }
        let mut lines = Vec::new();
        for (names, one, several) in
            [(moved, "moved", "moved"), (collided, "COLLIDES", "COLLIDE"), (missing, "is missing", "are missing")]
        {
            let what = if names.len() == 1 { one } else { several };
            if !names.is_empty() {
                lines.push(format!("  {} {what}: {}", counted(names.len() as u64, "type"), some(names, 3)));
            }
        }
        if lines.is_empty() {
            lines.push("  no type moved".to_owned());
        }
        lines
    }

    fn end(&self) -> Vec<String> {
        let What::Summary {
            servers,
            switches,
            answers,
            failures,
            longest_silence_seconds,
            sessions,
            last_server,
            takes_writes,
            clean,
        } = &self.what
        else {
            return Vec::new();
        };
        let mut lines = vec![
            format!(
                "end: {} of {}, {}, {} switched",
                counted(*answers, "answer"),
                counted(*servers as u64, "server"),
                counted(*failures, "error"),
                counted(*switches as u64, "session")
            ),
            format!("longest time that nobody answered: {longest_silence_seconds:.1} s"),
        ];
        lines.extend(sessions.iter().filter(|session| session.left_behind).map(|session| {
            let SessionAtEnd { session, server, silent_seconds, .. } = session;
            match server {
                Some(server) if Some(*server) != *last_server => format!(
                    "session {session} was LEFT BEHIND at server {server}; its last answer is {silent_seconds:.1} s ago"
                ),
                Some(_) => format!("session {session} has NO ANSWER any more; its last is {silent_seconds:.1} s ago"),
                None => format!("session {session} never had an answer"),
            }
        }));
        if let (Some(server), Some(takes_writes), true) = (last_server, takes_writes, *clean) {
            let waiting = sessions.iter().filter(|session| session.server.is_none()).count();
            let every = if waiting == 0 {
                "every session goes".to_owned()
            } else {
                format!("{} had no answer yet; every other session goes", counted(waiting as u64, "session"))
            };
            lines.push(format!("{every} to server {server}, which {}", writes(*takes_writes)));
        }
        lines
    }
}

fn writes(takes_writes: bool) -> &'static str {
    if takes_writes { "takes writes" } else { "takes NO writes" }
}

/// To the millisecond.
pub(crate) fn rounded(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}
