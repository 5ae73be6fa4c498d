//! No server outlives the process that started it.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use postgres::{Client, NoTls};

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "still not so: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn ask(client: &mut Client, question: &str) -> String {
    client.query_one(question, &[]).unwrap().get(0)
}

#[test]
fn a_killed_testbed_leaves_neither_server_nor_folder() {
    let mut testbed = Command::new(env!("CARGO_BIN_EXE_testbed"));
    testbed.args(["run", "--postgres", "12", "--", "sh", "-c", "echo $TESTBED_POSTGRES12_URL; read -r _"]);
    let mut testbed = testbed.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut url = String::new();
    BufReader::new(testbed.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let mut client = Client::connect(url.trim(), NoTls).unwrap();
    let data = ask(&mut client, "SELECT current_setting('data_directory')");
    let status = std::fs::read_to_string(format!("{data}/postmaster.pid")).unwrap();
    let pid: u32 = status.lines().next().unwrap().trim().parse().unwrap();
    let process = format!("{data} {pid}");
    assert!(is_alive(pid), "{process}");

    testbed.kill().unwrap();
    testbed.wait().unwrap();
    eventually(&format!("the server is gone: {process}"), || !is_alive(pid));
    eventually(&format!("the folder is gone: {process}"), || !Path::new(&data).parent().unwrap().exists());
    assert!(Client::connect(url.trim(), NoTls).is_err());
}

#[test]
fn the_command_line_passes_the_exit_code_on() {
    let testbed = env!("CARGO_BIN_EXE_testbed");
    let script = "test -n \"$TESTBED_POSTGRES10_URL\" && test -n \"$TESTBED_POSTGRES12_URL\" && exit 42";
    let arguments = ["run", "--postgres", "10", "--postgres", "12", "--", "sh", "-c", script];
    let status = Command::new(testbed).args(arguments).status().unwrap();
    assert_eq!(status.code(), Some(42));
}

/// Whether it runs: a process that waits for its parent to take note of its end does not.
fn is_alive(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}
