//! The forwarder moves its clients.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
};

use testbed::{Cluster, Forwarder};

/// Says its name to every client, and then what the client says.
fn echo(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || {
                (&client).write_all(name.as_bytes()).unwrap();
                let _ = std::io::copy(&mut &client, &mut &client);
            });
        }
    });
    address
}

fn read(client: &mut TcpStream, length: usize) -> String {
    let mut bytes = vec![0; length];
    client.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn retargeting_closes_old_connections() {
    let forwarder = Forwarder::start(echo("one")).unwrap();
    let mut old: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(forwarder.address()).unwrap()).collect();
    for client in &mut old {
        assert_eq!(read(client, 3), "one");
        client.write_all(b"hello").unwrap();
        assert_eq!(read(client, 5), "hello");
    }
    forwarder.retarget(echo("two"));
    for client in &mut old {
        assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
    }
    let mut new = TcpStream::connect(forwarder.address()).unwrap();
    assert_eq!(read(&mut new, 3), "two");
    assert_eq!(forwarder.connections(), 21);
}

#[test]
fn the_end_of_one_direction_is_passed_on() {
    let forwarder = Forwarder::start(echo("one")).unwrap();
    let mut client = TcpStream::connect(forwarder.address()).unwrap();
    client.write_all(b"last words").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "onelast words");
}

#[test]
fn an_unreachable_target_closes_the_connection() {
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let forwarder = Forwarder::start(closed).unwrap();
    let mut client = TcpStream::connect(forwarder.address()).unwrap();
    assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
}

#[test]
fn dropping_it_closes_everything() {
    let forwarder = Forwarder::start(echo("one")).unwrap();
    let mut client = TcpStream::connect(forwarder.address()).unwrap();
    assert_eq!(read(&mut client, 3), "one");
    let address = forwarder.address();
    drop(forwarder);
    assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn clients_of_postgres_move() {
    let (old, new) = (Cluster::shared(10), Cluster::shared(12));
    let forwarder = Forwarder::start(old.address()).unwrap();
    let major = |cluster: &Cluster| -> u32 {
        let url = cluster.url_at(forwarder.address(), "postgres");
        let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
        let number: String = client.query_one("SHOW server_version_num", &[]).unwrap().get(0);
        number.parse::<u32>().unwrap() / 10_000
    };
    assert_eq!(major(old), 10);
    forwarder.retarget(new.address());
    assert_eq!(major(new), 12);
}
