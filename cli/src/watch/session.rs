//! One of the connections that ask.

use std::collections::HashSet;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::catalog::{Identity, Reader, Server, Type};
use crate::connect::{Connection, Url};
use crate::error::Error;

/// For the main thread.
pub(crate) enum Message {
    /// By a session.
    Told(Box<Told>),
    /// Somebody pressed Ctrl-C.
    End,
}

/// What a session found, and when.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) session: u16,
    pub(crate) at: Duration,
    pub(crate) found: Result<Answer, String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) server: Server,
    pub(crate) identity: Option<Identity>,
    /// Only of the first session that this server answers.
    pub(crate) types: Option<Vec<Type>>,
}

/// Who answers: by its system identifier, start and database, or if the role may not ask for these, by its address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Who {
    server: String,
    started: String,
    database_oid: u32,
}

impl Answer {
    pub(crate) fn who(&self) -> Who {
        let (server, started) = match &self.identity {
            Some(identity) => (identity.system_identifier.clone(), identity.started.clone()),
            None => (self.place().unwrap_or_default(), self.server.version.clone()),
        };
        Who { server, started, database_oid: self.server.database_oid }
    }

    /// As the server knows it. `None` for a socket.
    pub(crate) fn place(&self) -> Option<String> {
        Some(format!("{}:{}", self.server.address.as_ref()?, self.server.port?))
    }

    pub(crate) fn takes_writes(&self) -> bool {
        !self.server.in_recovery && !self.server.read_only
    }
}

/// The servers whose types were read.
type Known = Arc<Mutex<HashSet<Who>>>;

pub(crate) struct Session {
    number: u16,
    /// A connection that stays open does not show where new ones go: in session mode it stays where it is.
    connects_each_time: bool,
    url: Url,
    interval: Duration,
    began: Instant,
    known: Known,
    sender: Sender<Message>,
}

impl Session {
    /// Each asks in its own thread, at its own time.
    pub(crate) fn start_all(url: &Url, count: u16, interval: Duration, began: Instant, sender: &Sender<Message>) {
        let known = Known::default();
        for number in 1..=count {
            let (url, known, sender) = (url.clone(), Arc::clone(&known), sender.clone());
            let connects_each_time = number == count && count > 1;
            let session = Session { number, connects_each_time, url, interval, began, known, sender };
            let first = interval.mul_f64(f64::from(number - 1) / f64::from(count));
            thread::spawn(move || session.ask_for_ever(first));
        }
    }

    fn ask_for_ever(&self, first: Duration) {
        let mut connection = None;
        let mut due = self.began + first;
        loop {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let asked = self.ask(connection.take());
            let found = asked.map(|(answer, open)| {
                connection = Some(open).filter(|_| !self.connects_each_time);
                answer
            });
            let told = Told {
                session: self.number,
                at: self.began.elapsed(),
                found: found.map_err(|error| error.to_string()),
            };
            if self.sender.send(Message::Told(Box::new(told))).is_err() {
                return;
            }
            // What was missed while nobody answered is not asked afterwards.
            due = (due + self.interval).max(Instant::now());
        }
    }

    fn ask(&self, open: Option<Connection>) -> Result<(Answer, Connection), Error> {
        let connection =
            open.map_or_else(|| Connection::open(&self.url, &format!("session {}", self.number)), Ok)?;
        let mut reads = None;
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = ask(connection, |who| {
            let is_new = known().insert(who.clone());
            reads = is_new.then(|| who.clone());
            is_new
        });
        if let (Err(_), Some(who)) = (&asked, reads) {
            // Another session has to read its types.
            known().remove(&who);
        }
        asked
    }
}

/// In one transaction, so that one server answers all of it. `is_new` decides whether its types are read.
fn ask(connection: Connection, is_new: impl FnOnce(&Who) -> bool) -> Result<(Answer, Connection), Error> {
    let mut reader = Reader::begin(connection, None)?;
    reader.settle()?;
    let identity = reader.identity()?;
    let mut answer = Answer { server: reader.server.clone(), identity, types: None };
    if is_new(&answer.who()) {
        answer.types = Some(reader.types()?.unwrap_or_default());
    }
    Ok((answer, reader.end()?))
}

/// Is anybody there?
pub(crate) fn first_answer(url: &Url) -> Result<(), Error> {
    ask(Connection::open(url, "the pooler")?, |_| false).map(drop)
}
