//! A switch, as `watch` sees it through a pooler.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use testbed::{Cluster, Forwarder, PgBouncer, PgBouncerConfig};

use crate::support::{Pair, command, run};

/// A `watch --json` that runs.
struct Watching {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Watching {
    fn start(url: &str, arguments: &[&str]) -> Watching {
        let program = command().get_program().to_owned();
        let mut child = Command::new(program)
            .args(["watch", "--json", url])
            .args(if arguments.contains(&"--interval") { &[][..] } else { &["--interval", "100ms"] })
            .args(arguments)
            .env_remove("DATABASE_URL")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the command");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        Watching { child, lines }
    }

    /// Reads until an event of that name.
    #[track_caller]
    fn until(&mut self, name: &str) -> Value {
        let mut seen = Vec::new();
        for line in &mut self.lines {
            let line = line.expect("a line");
            let event: Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!(event["version"], 1);
            if event["event"] == name {
                return event;
            }
            seen.push(line);
        }
        panic!("no event {name} after {seen:#?}");
    }

    /// As Ctrl-C does.
    fn interrupt(mut self) -> (Value, Option<i32>) {
        let number = self.child.id().to_string();
        let status = Command::new("kill").args(["-INT", &number]).status().expect("a signal");
        assert!(status.success());
        let summary = self.until("summary");
        let status = self.child.wait().expect("its end");
        assert!(self.lines.next().is_none(), "the summary is the last line");
        (summary, status.code())
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn documents(name: &str) -> Pair {
    let pair = Pair::shared(10, 12, name);
    pair.new.execute("CREATE TYPE first AS ENUM ('so that the OIDs differ')");
    pair.execute("CREATE TYPE mood AS ENUM ('happy', 'sad'); CREATE TYPE code AS ENUM ('x')");
    pair.old.execute("CREATE TYPE forgotten AS ENUM ('x')");
    pair
}

#[test]
fn a_switch_is_seen_from_its_pause_to_its_last_session() {
    let pair = documents("cli_watch");
    let pooler = PgBouncer::start(PgBouncerConfig::default()).expect("a pooler");
    pooler.route("app", &pair.old.cluster.target("cli_watch")).expect("a route");
    pair.new.execute("ALTER DATABASE cli_watch SET default_transaction_read_only TO on");
    let mut watching = Watching::start(&pooler.url("app"), &["--sessions", "3"]);
    let server = watching.until("server");
    assert_eq!((&server["server"], &server["takes_writes"]), (&1.into(), &true.into()));
    assert!(server["server_version"].as_str().is_some_and(|version| version.starts_with("10.")));
    let mut sessions: Vec<_> = (0..3).map(|_| watching.until("session")["session"].clone()).collect();
    sessions.sort_by_key(Value::as_u64);
    assert_eq!(sessions, [1, 2, 3]);

    pooler.switch("app", &pair.new.cluster.target("cli_watch")).expect("a switch");
    let server = watching.until("server");
    assert_eq!((&server["server"], &server["takes_writes"]), (&2.into(), &false.into()));
    assert!(server["server_version"].as_str().is_some_and(|version| version.starts_with("12.")));
    let names = |what: &str| server[what].as_array().expect("names").clone();
    assert_eq!(names("missing"), ["public.forgotten"]);
    assert_eq!(names("moved"), ["public.code", "public.mood"]);
    assert!(server["started"].is_string() && server["system_identifier"].is_string());
    for _ in 0..3 {
        let switched = watching.until("switched");
        assert_eq!((&switched["from"], &switched["to"]), (&1.into(), &2.into()));
    }

    pooler.console("PAUSE app").expect("a pause");
    std::thread::sleep(Duration::from_millis(700));
    pooler.console("RESUME app").expect("an end of it");
    // A busy machine may have been silent for a shorter time before.
    while watching.until("silence")["seconds"].as_f64() < Some(0.5) {}

    let (summary, code) = watching.interrupt();
    assert_eq!(code, Some(0), "{summary}");
    assert_eq!((&summary["clean"], &summary["last_server"]), (&true.into(), &2.into()));
    assert_eq!(summary["sessions"].as_array().map(Vec::len), Some(3));
    assert!(summary["longest_silence_seconds"].as_f64().is_some_and(|seconds| seconds > 0.5), "{summary}");
}

#[test]
fn sessions_that_still_go_to_the_old_server_are_named() {
    let pair = documents("cli_left_behind");
    // As in session mode: what is open stays at the old server, and only new connections go to the new one.
    let switched = || {
        let (old, new) = (pair.old.cluster.address(), pair.new.cluster.address());
        Forwarder::start_in_turn(&[vec![old; 5], vec![new; 1000]].concat()).expect("a forwarder")
    };
    let forwarder = switched();
    let url = pair.old.cluster.url_at(forwarder.address(), "cli_left_behind");
    let mut watching = Watching::start(&url, &[]);
    let late = watching.until("still_old");
    assert!(late["session"].is_u64() && late["backend"].is_u64(), "{late}");
    assert_eq!(late["server"], 1);
    watching.until("still_old");
    let (summary, code) = watching.interrupt();
    assert_eq!(code, Some(1), "{summary}");
    let behind =
        summary["sessions"].as_array().expect("sessions").iter().filter(|session| session["left_behind"] == true);
    assert_eq!(behind.count(), 3, "{summary}");

    let forwarder = switched();
    let url = pair.old.cluster.url_at(forwarder.address(), "cli_left_behind");
    let text = command().args(["watch", "--for", "1500ms", "--interval", "100ms", &url]).assert().code(1);
    let text = String::from_utf8(text.get_output().stdout.clone()).expect("UTF-8");
    assert!(text.contains("STILL goes to server 1") && text.contains("was LEFT BEHIND at server 1"), "{text}");
    assert!(
        text.contains("2 types moved: public.code, public.mood") || text.contains("types are missing"),
        "{text}"
    );
}

#[test]
fn a_session_whose_connection_is_lost_connects_again() {
    let server = Cluster::shared(17);
    let forwarder = Forwarder::start(server.address()).expect("a forwarder");
    let url = server.url_at(forwarder.address(), "postgres");
    let mut watching = Watching::start(&url, &["--sessions", "1"]);
    watching.until("server");
    forwarder.retarget(server.address());
    watching.until("failed");
    watching.until("recovered");
    let (summary, code) = watching.interrupt();
    assert_eq!((code, &summary["servers"]), (Some(0), &1.into()), "{summary}");
}

#[test]
fn a_server_begins_and_stops_to_take_writes() {
    let mut primary = Cluster::start(17).expect("a primary");
    primary.create_database("cli_standby").expect("a database");
    primary.stop().expect("a stop");
    let mut standby = Cluster::standby_of(&primary).expect("a standby");
    primary.restart().expect("a start");
    standby.catch_up_with(&primary).expect("a standby that follows");
    let url = standby.url("cli_standby");
    // Also what a comparison says of it.
    let compared = run(&["compare", &primary.url("cli_standby"), &url]);
    assert!(compared.out.contains("the new one is a standby"), "{compared:?}");
    assert_eq!(compared.code, Some(0), "{compared:?}");

    let mut watching = Watching::start(&url, &["--sessions", "1"]);
    assert_eq!(watching.until("server")["takes_writes"], false);
    standby.promote().expect("a promotion");
    let writes = watching.until("writes");
    assert_eq!((&writes["server"], &writes["takes_writes"]), (&1.into(), &true.into()));
    let mut client = standby.client("postgres").expect("a connection");
    client.batch_execute("ALTER SYSTEM SET default_transaction_read_only TO on").expect("a setting");
    client.batch_execute("SELECT pg_reload_conf()").expect("a reload");
    assert_eq!(watching.until("writes")["takes_writes"], false);
    let (summary, code) = watching.interrupt();
    assert_eq!((code, &summary["takes_writes"]), (Some(0), &false.into()), "{summary}");
}

/// The sessions ask one after the other, within the first interval.
#[test]
fn an_early_end_is_no_failure() {
    let mut watching = Watching::start(&Cluster::shared(17).url("postgres"), &["--interval", "10m"]);
    watching.until("server");
    let (summary, code) = watching.interrupt();
    assert_eq!((code, &summary["clean"]), (Some(0), &true.into()), "{summary}");
    let never = summary["sessions"].as_array().expect("sessions").iter().filter(|one| one["server"].is_null());
    assert_eq!(never.count(), 3, "{summary}");
}

#[test]
fn a_server_that_is_lost_for_good_is_a_failure() {
    let server = Cluster::shared(17);
    let forwarder = Forwarder::start(server.address()).expect("a forwarder");
    let url = server.url_at(forwarder.address(), "postgres");
    let mut watching = Watching::start(&url, &["--sessions", "2"]);
    for _ in 0..2 {
        watching.until("session");
    }
    forwarder.retarget(([127, 0, 0, 1], 1).into());
    for _ in 0..2 {
        let failed = watching.until("failed");
        assert!(failed["error"].as_str().is_some_and(|error| error.contains("session")), "{failed}");
    }
    let (summary, code) = watching.interrupt();
    assert_eq!((code, &summary["clean"]), (Some(1), &false.into()), "{summary}");
    assert!(summary["failures"].as_u64() >= Some(2), "{summary}");
}

/// Each session waits for an answer, without an error.
#[test]
fn a_pooler_that_stays_paused_is_a_failure() {
    let server = Cluster::shared(17);
    let pooler = PgBouncer::start(PgBouncerConfig::default()).expect("a pooler");
    pooler.route("app", &server.target("postgres")).expect("a route");
    let mut watching = Watching::start(&pooler.url("app"), &["--sessions", "2"]);
    for _ in 0..2 {
        watching.until("session");
    }
    pooler.console("PAUSE app").expect("a pause");
    // How long they wait is what counts.
    std::thread::sleep(Duration::from_millis(5500));
    let (summary, code) = watching.interrupt();
    assert_eq!((code, &summary["clean"]), (Some(1), &false.into()), "{summary}");
}
