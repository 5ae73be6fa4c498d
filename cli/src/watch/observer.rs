//! What follows from the answers. Pure: times come with them.

use std::time::Duration;

use crate::watch::event::{Event, SessionAtEnd, What, rounded};
use crate::watch::moves::{Oids, by_name, moves};
use crate::watch::session::{Answer, Told, Who};

/// A session that was due that long ago has no answer.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Observer {
    interval: Duration,
    servers: Vec<Seen>,
    sessions: Vec<Asked>,
    last_answer: Option<Duration>,
    longest_silence: Duration,
    answers: u64,
    failures: u64,
    switches: usize,
    /// Answers of servers whose types another session is reading.
    early: Vec<Told>,
}

/// A server. They are numbered from 1 in the order of their first answers.
#[derive(Debug)]
struct Seen {
    who: Who,
    first: Duration,
    takes_writes: bool,
    types: Oids,
}

#[derive(Debug, Default, Clone)]
struct Asked {
    server: Option<usize>,
    last: Option<Duration>,
    failing_since: Option<Duration>,
    /// The server that it was last said to have missed.
    late_for: Option<usize>,
}

impl Observer {
    pub(crate) fn new(sessions: u16, interval: Duration) -> Self {
        Observer {
            interval,
            servers: Vec::new(),
            sessions: vec![Asked::default(); usize::from(sessions)],
            last_answer: None,
            longest_silence: Duration::ZERO,
            answers: 0,
            failures: 0,
            switches: 0,
            early: Vec::new(),
        }
    }

    /// How long nobody has answered, so far.
    pub(crate) fn silence(&self, now: Duration) -> Option<Duration> {
        self.last_answer.map(|last| now.saturating_sub(last))
    }

    pub(crate) fn note(&mut self, told: Told) -> Vec<Event> {
        let is_known = |who: &Who| self.servers.iter().any(|seen| seen.who == *who);
        if told.found.as_ref().is_ok_and(|answer| answer.types.is_none() && !is_known(&answer.who())) {
            self.early.push(told);
            return Vec::new();
        }
        let at = told.at;
        let what = match told.found {
            Ok(answer) => self.answered(told.session, at, answer),
            Err(error) => self.failed(told.session, at, error),
        };
        let mut events: Vec<_> = what.into_iter().map(|what| Event::new(at, what)).collect();
        let is_known = |told: &Told| {
            told.found.as_ref().is_ok_and(|answer| self.servers.iter().any(|seen| seen.who == answer.who()))
        };
        let (due, early) = std::mem::take(&mut self.early).into_iter().partition(is_known);
        self.early = early;
        events.extend(Vec::into_iter(due).flat_map(|told| self.note(told)));
        events
    }

    fn failed(&mut self, session: u16, at: Duration, error: String) -> Vec<What> {
        self.failures += 1;
        let asked = &mut self.sessions[usize::from(session - 1)];
        if asked.failing_since.is_some() {
            return Vec::new();
        }
        asked.failing_since = Some(at);
        vec![What::Failed { session, error }]
    }

    fn answered(&mut self, session: u16, at: Duration, answer: Answer) -> Vec<What> {
        self.answers += 1;
        let mut said = Vec::new();
        let silence = self.silence(at).unwrap_or_default();
        self.longest_silence = self.longest_silence.max(silence);
        if silence > 2 * self.interval {
            said.push(What::Silence { seconds: rounded(silence) });
        }
        self.last_answer = self.last_answer.max(Some(at));
        let server = self.server(at, &answer, &mut said);
        let latest = self.servers.len();
        let asked = &mut self.sessions[usize::from(session - 1)];
        if let Some(since) = asked.failing_since.take() {
            said.push(What::Recovered { session, after_seconds: rounded(at.saturating_sub(since)) });
        }
        match asked.server {
            None => said.push(What::Session { session, server }),
            Some(from) if from != server => {
                self.switches += 1;
                said.push(What::Switched { session, from, to: server });
            }
            Some(_) => {}
        }
        asked.server = Some(server);
        asked.last = Some(at);
        let since_switch = at.saturating_sub(self.servers[latest - 1].first);
        // Its own question may have been under way.
        if server < latest && since_switch > 2 * self.interval && asked.late_for != Some(latest) {
            asked.late_for = Some(latest);
            let after_seconds = rounded(since_switch);
            said.push(What::StillOld { session, backend: answer.server.backend, server, after_seconds });
        }
        said
    }

    /// The server's number. If it is new, that is said.
    fn server(&mut self, at: Duration, answer: &Answer, said: &mut Vec<What>) -> usize {
        let (who, takes_writes) = (answer.who(), answer.takes_writes());
        if let Some(index) = self.servers.iter().position(|seen| seen.who == who) {
            let seen = &mut self.servers[index];
            if let Some(types) = &answer.types {
                seen.types = by_name(types);
            }
            if seen.takes_writes != takes_writes {
                seen.takes_writes = takes_writes;
                said.push(What::Writes { server: index + 1, takes_writes });
            }
            return index + 1;
        }
        let types = answer.types.as_deref().unwrap_or_default();
        let [moved, collided, missing] =
            self.servers.last().map(|seen| moves(&seen.types, types)).unwrap_or_default();
        self.servers.push(Seen { who, first: at, takes_writes, types: by_name(types) });
        said.push(What::Server {
            server: self.servers.len(),
            server_version: answer.server.version.clone(),
            database: answer.server.database.clone(),
            address: answer.place(),
            started: answer.identity.as_ref().map(|identity| identity.started.clone()),
            system_identifier: answer.identity.as_ref().map(|identity| identity.system_identifier.clone()),
            takes_writes,
            moved,
            collided,
            missing,
        });
        self.servers.len()
    }

    /// And is all well: does every session go to the latest server that answered, and still have answers?
    ///
    /// At the beginning, nothing is expected of a session that has not had the time to answer.
    pub(crate) fn summary(&self, now: Duration) -> (Event, bool) {
        let is_overdue =
            |asked: &Asked| now.saturating_sub(asked.last.unwrap_or_default()) > 2 * self.interval + PATIENCE;
        // If the switch was undone, the server that answered last is not the newest one.
        let mut servers = self.sessions.iter().filter_map(|asked| asked.server);
        let latest = match servers.clone().next() {
            Some(one) if servers.all(|server| server == one) => Some(one),
            _ => self.sessions.iter().filter_map(|asked| asked.server).max(),
        };
        let sessions: Vec<_> = (1..)
            .zip(&self.sessions)
            .map(|(session, asked)| {
                let silent = now.saturating_sub(asked.last.unwrap_or_default());
                let is_elsewhere = asked.server.is_some() && asked.server != latest;
                let left_behind = is_elsewhere || asked.failing_since.is_some() || is_overdue(asked);
                SessionAtEnd { session, server: asked.server, silent_seconds: rounded(silent), left_behind }
            })
            .collect();
        let clean = sessions.iter().all(|session| !session.left_behind);
        let silence = self.silence(now).unwrap_or_default();
        let what = What::Summary {
            servers: self.servers.len(),
            switches: self.switches,
            answers: self.answers,
            failures: self.failures,
            longest_silence_seconds: rounded(self.longest_silence.max(silence)),
            sessions,
            last_server: latest,
            takes_writes: latest.map(|latest| self.servers[latest - 1].takes_writes),
            clean,
        };
        (Event::new(now, what), clean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Identity, Server, Type};

    fn told(session: u16, at: u64, server: &str) -> Told {
        let oid = if server == "old" { 20000 } else { 20001 };
        let ty = |oid, name: &str| Type {
            oid,
            name: name.into(),
            schema: "s".into(),
            watched: true,
            ..Type::default()
        };
        let mut types = vec![ty(oid, "mood")];
        if server != "old" {
            types.push(ty(20000, "other"));
        }
        let identity = Identity { system_identifier: server.into(), started: "then".into() };
        let answer = Answer { server: Server::default(), identity: Some(identity), types: Some(types) };
        Told { session, at: Duration::from_secs(at), found: Ok(answer) }
    }

    fn say(observer: &mut Observer, told: Told) -> Vec<What> {
        observer.note(told).into_iter().map(|event| event.what).collect()
    }

    #[test]
    fn a_session_that_stays_behind_is_named() {
        let mut observer = Observer::new(2, Duration::from_secs(1));
        assert!(matches!(&say(&mut observer, told(1, 0, "old"))[..], [What::Server { .. }, What::Session { .. }]));
        assert_eq!(say(&mut observer, told(2, 0, "old")), [What::Session { session: 2, server: 1 }]);
        let said = say(&mut observer, told(1, 1, "new"));
        let [What::Server { server: 2, moved, collided, .. }, What::Switched { session: 1, from: 1, to: 2 }] =
            &said[..]
        else {
            panic!("{said:?}");
        };
        assert_eq!((&moved[..], &collided[..]), (&["s.mood".to_owned()][..], &["s.mood".to_owned()][..]));
        assert_eq!(say(&mut observer, told(2, 2, "old")), [], "it may have asked before");
        let late = What::StillOld { session: 2, backend: 0, server: 1, after_seconds: 3.0 };
        assert_eq!(say(&mut observer, told(2, 4, "old")), [late]);
        assert_eq!(say(&mut observer, told(2, 5, "old")), [], "once");
        assert!(!observer.summary(Duration::from_secs(5)).1);
        assert_eq!(say(&mut observer, told(2, 6, "new")), [What::Switched { session: 2, from: 1, to: 2 }]);
        assert!(observer.summary(Duration::from_secs(6)).1);
    }

    #[test]
    fn silence_is_measured_between_answers_of_anybody() {
        let mut observer = Observer::new(2, Duration::from_secs(1));
        say(&mut observer, told(1, 0, "old"));
        say(&mut observer, told(2, 1, "old"));
        assert_eq!(say(&mut observer, told(1, 6, "old")), [What::Silence { seconds: 5.0 }]);
        let lost = Told { session: 1, at: Duration::from_secs(7), found: Err("lost".into()) };
        assert_eq!(say(&mut observer, lost), [What::Failed { session: 1, error: "lost".into() }]);
        assert_eq!(say(&mut observer, told(1, 8, "old")), [What::Recovered { session: 1, after_seconds: 1.0 }]);
    }

    #[test]
    fn a_session_without_an_answer_counts_once_it_has_had_the_time() {
        let mut observer = Observer::new(2, Duration::from_secs(60));
        say(&mut observer, told(1, 0, "old"));
        let text = |observer: &Observer, at| {
            let (event, is_clean) = observer.summary(Duration::from_secs(at));
            (event.text(), is_clean)
        };
        let (early, is_clean) = text(&observer, 1);
        assert!(is_clean, "it was not asked yet");
        assert!(early.contains("end: 1 answer of 1 server, 0 errors, 0 sessions switched"), "{early}");
        assert!(early.contains("1 session had no answer yet; every other session goes to server 1"), "{early}");
        let (late, is_clean) = text(&observer, 126);
        assert!(!is_clean);
        assert!(late.contains("session 1 has NO ANSWER any more"), "{late}");
        assert!(late.contains("session 2 never had an answer"), "{late}");
        let error = Told { session: 2, at: Duration::from_secs(1), found: Err("refused".into()) };
        say(&mut observer, error);
        assert!(!text(&observer, 1).1, "an error is an answer too");
    }
}
