//! PgBouncer runs in both releases and switches between servers.

use std::{thread, time::Duration};

use postgres::{Client, NoTls, SimpleQueryMessage};
use testbed::{Cluster, Forwarder, PgBouncer, PgBouncerConfig, Release, Target};

fn start(release: Release) -> PgBouncer {
    PgBouncer::start(PgBouncerConfig { release, ..PgBouncerConfig::default() }).unwrap()
}

fn version(client: &mut Client) -> u32 {
    ask(client, "SHOW server_version_num").parse::<u32>().unwrap() / 10_000
}

fn server(client: &mut Client) -> String {
    ask(client, "SELECT system_identifier FROM pg_control_system()")
}

fn ask(client: &mut Client, question: &str) -> String {
    let answer = client.simple_query(question).unwrap();
    let found = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    found.unwrap().to_owned()
}

/// A column of the row that begins with `name`.
fn shown(bouncer: &PgBouncer, command: &str, name: &str, column: &str) -> Option<String> {
    let answer = bouncer.console(command).unwrap();
    answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) if row.get(0) == Some(name) => row.get(column).map(str::to_owned),
        _ => None,
    })
}

#[test]
fn releases() {
    let version = start(Release::Debian12).version();
    assert!(version.starts_with("1.18."), "{version}");
    let bouncer = start(Release::Current);
    let version = bouncer.version();
    let minor: u32 = version.split('.').nth(1).unwrap().parse().unwrap();
    assert!(version.starts_with("1.") && minor >= 21, "{version}");
    assert!(bouncer.console("SHOW NONSENSE").unwrap_err().to_string().contains("SHOW NONSENSE"));
}

#[test]
fn settings_outlive_a_route() {
    let extra = vec![("query_wait_timeout".to_owned(), "77".to_owned())];
    let config = PgBouncerConfig { default_pool_size: 7, max_prepared_statements: 9, extra, ..Default::default() };
    let bouncer = PgBouncer::start(config).unwrap();
    bouncer.route("app", &Cluster::shared(12).target("postgres")).unwrap();
    let expected = [
        ("pool_mode", "transaction"),
        ("default_pool_size", "7"),
        ("max_prepared_statements", "9"),
        ("query_wait_timeout", "77"),
    ];
    for (name, value) in expected {
        assert_eq!(shown(&bouncer, "SHOW CONFIG", name, "value").as_deref(), Some(value), "{name}");
    }
}

#[test]
fn a_connected_client_sees_the_switch() {
    for release in [Release::Current, Release::Debian12] {
        let bouncer = start(release);
        let (old, new) = (Cluster::shared(10), Cluster::shared(12));
        bouncer.route("app", &old.target("postgres")).unwrap();
        let mut client = Client::connect(&bouncer.url("app"), NoTls).unwrap();
        assert_eq!(version(&mut client), 10);
        bouncer.switch("app", &new.target("postgres")).unwrap();
        assert_eq!(version(&mut client), 12);
        bouncer.route("app", &old.target("postgres")).unwrap();
        assert_eq!(version(&mut client), 10);
    }
}

#[test]
fn a_switch_waits_for_transactions() {
    let bouncer = start(Release::Current);
    bouncer.route("app", &Cluster::shared(10).target("postgres")).unwrap();
    let mut client = Client::connect(&bouncer.url("app"), NoTls).unwrap();
    client.batch_execute("BEGIN").unwrap();
    thread::scope(|scope| {
        let switch = scope.spawn(|| bouncer.switch("app", &Cluster::shared(12).target("postgres")));
        while shown(&bouncer, "SHOW DATABASES", "app", "paused").as_deref() != Some("1") {
            assert!(!switch.is_finished());
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(version(&mut client), 10);
        client.batch_execute("COMMIT").unwrap();
        switch.join().unwrap().unwrap();
    });
    assert_eq!(version(&mut client), 12);
}

#[test]
fn a_failed_switch_lets_transactions_go_on() {
    let bouncer = start(Release::Current);
    let (old, new) = (Cluster::shared(10), Cluster::shared(12));
    bouncer.route("app", &old.target("postgres")).unwrap();
    let mut client = Client::connect(&bouncer.url("app"), NoTls).unwrap();
    let wrong = Target::new(new.address(), "a\nb");
    let error = bouncer.switch("app", &wrong).unwrap_err().to_string();
    assert!(error.contains("line break"), "{error}");
    assert_eq!(version(&mut client), 10);
    bouncer.switch("app", &new.target("postgres")).unwrap();
    assert_eq!(version(&mut client), 12);
    let error = bouncer.switch("other", &new.target("postgres")).unwrap_err().to_string();
    assert!(error.contains("PAUSE \"other\""), "{error}");
}

#[test]
fn transactions_alternate_between_two_servers() {
    let clusters = [Cluster::start(12).unwrap(), Cluster::start(12).unwrap()];
    let twins = Forwarder::start_twins(clusters.each_ref().map(Cluster::address)).unwrap();
    let [first, second] = twins.each_ref().map(Forwarder::address);
    for release in [Release::Current, Release::Debian12] {
        let extra = vec![("server_round_robin".to_owned(), "1".to_owned())];
        let config = PgBouncerConfig { release, default_pool_size: 2, extra, ..Default::default() };
        let bouncer = PgBouncer::start(config).unwrap();
        bouncer.route("app", &Target::new(first, "postgres").also_at(second.ip())).unwrap();

        // Two transactions at once need both server connections.
        let [mut client, mut other] = [(); 2].map(|()| Client::connect(&bouncer.url("app"), NoTls).unwrap());
        for client in [&mut client, &mut other] {
            client.batch_execute("BEGIN").unwrap();
        }
        assert_ne!(server(&mut client), server(&mut other));
        for client in [&mut client, &mut other] {
            client.batch_execute("COMMIT").unwrap();
        }

        let servers: Vec<String> = (0..20).map(|_| server(&mut client)).collect();
        assert!(servers.windows(2).all(|two| two[0] != two[1]), "{servers:?}");
    }
}
