//! Ports for servers.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

use crate::Error;

/// Below the range from which systems take the ports of outgoing connections. A client that keeps trying to reach a
/// stopped server on a port of that range may be given this very port, connect to itself, and keep the server out.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// Returns a port of 127.0.0.1 on which nothing listens, and never the same twice.
pub(crate) fn free() -> Result<u16, Error> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes at work at the same time start far from each other.
    let start = (std::process::id() % 199) as u16 * 100;
    for _ in 0..COUNT {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::Unavailable {
        what: "a free port".to_owned(),
        problem: format!("every port from {FIRST} to {} of 127.0.0.1 is in use", FIRST + COUNT - 1),
        advice: "stop what listens there, or allow this process to listen on 127.0.0.1".to_owned(),
    })
}
