//! The switch happens behind PgBouncer, which never hears of it: a load balancer, a virtual address, DNS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use diesel::connection::CacheSize;
use testbed::Forwarder;

use crate::support::pools::{NOTHING_WRONG, hot_pool, stock_pool, upgrade, use_every_connection};

#[test]
fn a_switch_behind_pgbouncer_is_noticed_though_the_handshake_still_names_the_old_version() {
    let upgrade = upgrade();
    let forwarder = Forwarder::start(upgrade.old.address()).expect("a forwarder");
    let mut through_forwarder = upgrade.old.target(&upgrade.database);
    through_forwarder.address = forwarder.address();
    upgrade.pgbouncer.route(&upgrade.database, &through_forwarder).expect("a route");

    let hot = hot_pool(&upgrade.url(), 4, CacheSize::Unbounded);
    let stock = stock_pool(&upgrade.url(), 4, CacheSize::Unbounded);
    assert_eq!(use_every_connection(&hot), NOTHING_WRONG);
    assert_eq!(use_every_connection(&stock), NOTHING_WRONG);

    forwarder.retarget(upgrade.new.address());

    assert_eq!(use_every_connection(&hot), NOTHING_WRONG, "open connections");
    let new_pool = hot_pool(&upgrade.url(), 2, CacheSize::Unbounded);
    assert_eq!(use_every_connection(&new_pool), NOTHING_WRONG, "new connections");
    assert_ne!(use_every_connection(&stock), NOTHING_WRONG, "the control");

    let version = version_in_handshake(upgrade.pgbouncer.address(), &upgrade.database);
    assert!(version.starts_with("10."), "the handshake says {version}: then it could be trusted");
}

/// What a new client is told in the startup messages.
fn version_in_handshake(address: SocketAddr, database: &str) -> String {
    let mut body = 196_608_i32.to_be_bytes().to_vec();
    body.extend(format!("user\0postgres\0database\0{database}\0\0").bytes());
    let mut stream = TcpStream::connect(address).expect("the pooler");
    let length = u32::try_from(body.len() + 4).expect("short");
    stream.write_all(&[&length.to_be_bytes()[..], &body].concat()).expect("a startup message");
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head).expect("a message");
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let mut message = vec![0; length - 4];
        stream.read_exact(&mut message).expect("its body");
        let text = String::from_utf8_lossy(&message);
        if let (b'S', Some(value)) = (head[0], text.strip_prefix("server_version\0")) {
            return value.trim_end_matches('\0').to_owned();
        }
        assert_ne!(head[0], b'Z', "no version in the handshake");
    }
}
