//! `examples/async_deadpool.rs`.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::built::Example;
use crate::words::upgrade;

const CLIENTS: usize = 8;
const REQUESTS: usize = 40;

/// The status and the text of an answer.
fn ask(address: &str, method: &str, word: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("the service");
    let request = format!(
        "{method} /words/{word} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let (_, text) = answer.split_once("\r\n\r\n").expect("a body");
    (status, text.to_owned())
}

fn right(count: usize) -> (u16, String) {
    (200, count.to_string())
}

#[test]
fn the_example_for_deadpool_answers_right_before_during_and_after_a_switch() {
    let upgrade = upgrade();
    let mut example = Example::service("async_deadpool", &upgrade.url(), &["127.0.0.1:0"]);
    let line = example.line();
    let address = line.strip_prefix("listening on ").expect("its address");
    assert_eq!(ask(address, "POST", "word"), right(1));
    assert_eq!(ask(address, "POST", "WORD"), right(2));
    assert_eq!(ask(address, "GET", "Word"), right(2));

    // The counts of a word that many clients add at once are those from one on, in some order; on each server.
    let answered = AtomicUsize::new(0);
    let client = |number: usize| {
        let word = format!("during{number}");
        let add = |_| (ask(address, "POST", &word), answered.fetch_add(1, Ordering::Relaxed)).0;
        (0..REQUESTS).map(add).collect::<Vec<_>>()
    };
    let all: Vec<Vec<_>> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || client(number))).collect();
        while answered.load(Ordering::Relaxed) < CLIENTS {
            thread::yield_now();
        }
        upgrade.switch_to(upgrade.new).expect("a switch");
        clients.into_iter().map(|client| client.join().expect("no panic")).collect()
    });
    let mut switched_at = HashSet::new();
    for counts in all {
        let on_old = (0..REQUESTS).take_while(|before| counts[*before] == right(before + 1)).count();
        let expected: Vec<_> = (1..=on_old).chain(1..=REQUESTS - on_old).map(right).collect();
        assert_eq!(counts, expected);
        switched_at.insert(on_old);
    }
    assert!(switched_at.iter().any(|before| *before < REQUESTS), "no switch in the middle");

    assert_eq!(ask(address, "GET", "word"), right(0), "the new server has none yet");
    assert_eq!(ask(address, "POST", "word"), right(1));
    upgrade.switch_to(upgrade.old).expect("a switch");
    assert_eq!(ask(address, "GET", "WORD"), right(2));
}
