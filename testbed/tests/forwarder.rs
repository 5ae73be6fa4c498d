//! The forwarder moves its clients, counts their round trips and delays them.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
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

/// Says to its one client what it is told to say, and tells what it hears.
fn puppet() -> (SocketAddr, mpsc::Sender<u8>, mpsc::Receiver<u8>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (say, to_say) = mpsc::channel();
    let (hear, heard) = mpsc::channel();
    thread::spawn(move || {
        let client = listener.accept().unwrap().0;
        let speaker = client.try_clone().unwrap();
        thread::spawn(move || to_say.iter().try_for_each(|byte| (&speaker).write_all(&[byte])));
        let mut byte = [0];
        while (&client).read_exact(&mut byte).is_ok() && hear.send(byte[0]).is_ok() {}
    });
    (address, say, heard)
}

/// Says something to an echo, and returns how long the answer took.
fn exchange(client: &mut TcpStream) -> Duration {
    let start = Instant::now();
    client.write_all(b"hello").unwrap();
    assert_eq!(read(client, 5), "hello");
    start.elapsed()
}

fn read(client: &mut TcpStream, length: usize) -> String {
    let mut bytes = vec![0; length];
    client.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn an_address_that_moves_keeps_old_connections() {
    let forwarder = Forwarder::start(echo("one")).unwrap();
    let mut old = TcpStream::connect(forwarder.address()).unwrap();
    assert_eq!(read(&mut old, 3), "one");
    forwarder.lead_new_to(echo("two"));
    let mut new = TcpStream::connect(forwarder.address()).unwrap();
    assert_eq!(read(&mut new, 3), "two");
    exchange(&mut old);
    exchange(&mut new);
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
    for each_way in [Duration::ZERO, Duration::from_millis(50)] {
        let forwarder = Forwarder::start(echo("one")).unwrap();
        forwarder.delay(each_way);
        let mut client = TcpStream::connect(forwarder.address()).unwrap();
        client.write_all(b"last words").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "onelast words");
    }
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

#[test]
fn a_round_trip_is_a_turn_of_the_client() {
    let (address, say, heard) = puppet();
    let forwarder = Forwarder::start(address).unwrap();
    let mut client = TcpStream::connect(forwarder.address()).unwrap();
    for number in 1..=3 {
        for byte in *b"abc" {
            client.write_all(&[byte]).unwrap();
            assert_eq!(heard.recv().unwrap(), byte);
            assert_eq!(forwarder.round_trips(), number, "a burst is one");
        }
        for byte in *b"xyz" {
            say.send(byte).unwrap();
            assert_eq!(read(&mut client, 1).as_bytes(), [byte]);
            assert_eq!(forwarder.round_trips(), number, "the server's turn is none");
        }
    }
}

#[test]
fn the_round_trips_of_many_connections_are_counted_exactly() {
    for each_way in [Duration::ZERO, Duration::from_micros(50)] {
        let forwarder = Forwarder::start(echo("one")).unwrap();
        forwarder.delay(each_way);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut client = TcpStream::connect(forwarder.address()).unwrap();
                    assert_eq!(read(&mut client, 3), "one");
                    for _ in 0..500 {
                        exchange(&mut client);
                    }
                });
            }
        });
        assert_eq!(forwarder.round_trips(), 8 * 500);
    }
}

#[test]
fn the_round_trips_of_statements() {
    let cluster = Cluster::shared(12);
    let forwarder = Forwarder::start(cluster.address()).unwrap();
    let url = cluster.url_at(forwarder.address(), "postgres");
    let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
    let mut cost = |statements: &[&str]| {
        let before = forwarder.round_trips();
        statements.iter().for_each(|statement| client.batch_execute(statement).unwrap());
        forwarder.round_trips() - before
    };
    assert_eq!(cost(&["SELECT 1"]), 1);
    assert_eq!(cost(&["BEGIN", "SELECT 1", "COMMIT"]), 3);
    assert_eq!(cost(&["BEGIN; SELECT 1; COMMIT"]), 1);
    assert_eq!(cost(&["SELECT repeat('x', 1000) FROM generate_series(1, 10000)"]), 1, "a long answer");
    assert_eq!(cost(&[&format!("SELECT '{}'", "x".repeat(1_000_000))]), 1, "a long question");
}

#[test]
fn a_delayed_round_trip_takes_twice_the_delay() {
    let forwarder = Forwarder::start(echo("one")).unwrap();
    let mut client = TcpStream::connect(forwarder.address()).unwrap();
    client.set_nodelay(true).unwrap();
    assert_eq!(read(&mut client, 3), "one");
    for each_way in [Duration::from_micros(250), Duration::from_millis(1), Duration::ZERO] {
        forwarder.delay(each_way);
        let mut times: Vec<Duration> = (0..200).map(|_| exchange(&mut client)).collect();
        times.sort();
        assert!(times[0] >= 2 * each_way, "{:?} with {each_way:?} each way", times[0]);
        assert!(
            times[100] < 2 * each_way + Duration::from_millis(2),
            "{:?} with {each_way:?} each way",
            times[100]
        );
    }
}

#[test]
fn delayed_chunks_keep_order_and_do_not_wait_for_each_other() {
    const EACH_WAY: Duration = Duration::from_millis(100);
    const COUNT: u8 = 20;
    let forwarder = Forwarder::start(echo("")).unwrap();
    let client = TcpStream::connect(forwarder.address()).unwrap();
    client.set_nodelay(true).unwrap();
    forwarder.delay(EACH_WAY);
    let start = Instant::now();
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            (0..COUNT)
                .map(|number| {
                    // Apart, or they were one chunk.
                    thread::sleep(Duration::from_millis(1));
                    let sent = Instant::now();
                    (&client).write_all(&[number]).unwrap();
                    sent
                })
                .collect::<Vec<_>>()
        });
        let receive = || {
            let mut byte = [0];
            (&client).read_exact(&mut byte).unwrap();
            (byte[0], Instant::now())
        };
        let received: Vec<_> = (0..COUNT).map(|_| receive()).collect();
        for (number, (sent, (byte, received))) in (0..).zip(sender.join().unwrap().into_iter().zip(received)) {
            assert_eq!(byte, number);
            assert!(received - sent >= 2 * EACH_WAY, "{number}: {:?}", received - sent);
        }
    });
    assert!(start.elapsed() < u32::from(COUNT) * EACH_WAY, "{:?}", start.elapsed());
}

#[test]
fn without_the_delay_nothing_overtakes_what_was_delayed() {
    let (address, _say, heard) = puppet();
    let forwarder = Forwarder::start(address).unwrap();
    let mut client = TcpStream::connect(forwarder.address()).unwrap();
    client.write_all(b"a").unwrap();
    assert_eq!(heard.recv().unwrap(), b'a');
    forwarder.delay(Duration::from_millis(100));
    client.write_all(b"b").unwrap();
    // Nothing shows when the forwarder has read it; were that later, the test would pass without need.
    thread::sleep(Duration::from_millis(10));
    forwarder.delay(Duration::ZERO);
    client.write_all(b"c").unwrap();
    assert_eq!([heard.recv().unwrap(), heard.recv().unwrap()], *b"bc");
}

#[test]
fn twins_have_one_port_and_a_target_each() {
    let twins = Forwarder::start_twins([echo("one"), echo("two")]).unwrap();
    let addresses = twins.each_ref().map(Forwarder::address);
    assert_eq!(addresses.map(|address| address.ip().to_string()), ["127.0.0.1", "127.0.0.2"]);
    assert_eq!(addresses[0].port(), addresses[1].port());
    let greetings = addresses.map(|address| read(&mut TcpStream::connect(address).unwrap(), 3));
    assert_eq!(greetings, ["one", "two"]);
    drop(twins);
    assert!(addresses.iter().all(|address| TcpStream::connect(address).is_err()));
}

#[test]
fn connections_take_the_targets_in_turn() {
    let forwarder = Forwarder::start_in_turn(&[echo("one"), echo("two")]).unwrap();
    let greeting = || read(&mut TcpStream::connect(forwarder.address()).unwrap(), 3);
    assert_eq!([(); 4].map(|()| greeting()), ["one", "two", "one", "two"]);
    forwarder.retarget(echo("six"));
    assert_eq!([(); 2].map(|()| greeting()), ["six", "six"]);
}
