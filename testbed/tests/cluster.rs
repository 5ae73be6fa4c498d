//! Clusters start, stop and start again.

use std::{thread, time::Duration};

use testbed::Cluster;

fn ask(cluster: &Cluster, question: &str) -> String {
    cluster.client("postgres").unwrap().query_one(question, &[]).unwrap().get(0)
}

fn system_identifier(cluster: &Cluster) -> String {
    ask(cluster, "SELECT system_identifier::text FROM pg_control_system()")
}

#[test]
fn a_cluster_is_of_its_major_and_logs_statements() {
    for major in [10, 12] {
        let cluster = Cluster::start(major).unwrap();
        assert_eq!(cluster.major(), major);
        let version = ask(&cluster, "SELECT current_setting('server_version')");
        assert!(version.starts_with(&major.to_string()), "{version}");
        assert_eq!(ask(&cluster, "SELECT current_setting('TimeZone')"), "UTC");
        assert!(cluster.log().unwrap().contains("SELECT current_setting('server_version')"));
    }
}

#[test]
fn data_and_port_outlive_a_restart() {
    let mut cluster = Cluster::start(12).unwrap();
    let address = cluster.address();
    cluster.create_database("kept").unwrap();
    cluster.client("kept").unwrap().batch_execute("CREATE TABLE t AS SELECT 7 AS n").unwrap();
    cluster.stop().unwrap();
    assert!(cluster.client("kept").is_err());
    cluster.stop().unwrap();
    cluster.restart().unwrap();
    assert_eq!(cluster.address(), address);
    let number: i32 = cluster.client("kept").unwrap().query_one("SELECT n FROM t", &[]).unwrap().get(0);
    assert_eq!(number, 7);
    cluster.restart().unwrap();
    assert!(cluster.client("kept").is_ok());
}

#[test]
fn live_clusters_of_one_major_differ_in_their_system_identifier() {
    let first = Cluster::start(10).unwrap();
    let second = Cluster::start(10).unwrap();
    assert_ne!(first.address(), second.address());
    assert_ne!(system_identifier(&first), system_identifier(&second));
}

#[test]
fn a_copy_has_the_data_and_the_system_identifier_and_is_a_server_of_its_own() {
    let mut original = Cluster::start(12).unwrap();
    original.client("postgres").unwrap().batch_execute("CREATE TABLE t AS SELECT 7 AS n").unwrap();
    let refused = Cluster::copy_of(&original).unwrap_err().to_string();
    assert!(refused.contains("cannot be copied while it runs"), "{refused}");
    original.stop().unwrap();
    let copy = Cluster::copy_of(&original).unwrap();
    original.restart().unwrap();
    assert_ne!(copy.address(), original.address());
    assert_eq!(system_identifier(&copy), system_identifier(&original));
    for question in ["SELECT n::text FROM t", "SELECT 't'::regclass::oid::text"] {
        assert_eq!(ask(&copy, question), ask(&original, question), "{question}");
    }
    let start = "SELECT pg_postmaster_start_time()::text";
    assert_ne!(ask(&copy, start), ask(&original, start));
    drop(original);
    let stranger = Cluster::start(12).unwrap();
    assert_ne!(system_identifier(&copy), system_identifier(&stranger), "its template is still taken");
}

#[test]
fn the_shared_cluster_is_one() {
    let threads: Vec<_> = (0..4).map(|_| thread::spawn(|| Cluster::shared(12).address())).collect();
    let addresses: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(addresses.iter().all(|address| *address == addresses[0]));
}

#[test]
fn databases_are_created_while_others_use_the_template() {
    let cluster = Cluster::start(12).unwrap();
    let user = cluster.client("template1").unwrap();
    thread::scope(|scope| {
        let creating = scope.spawn(|| cluster.create_database("it's \"new\""));
        while !cluster.log().unwrap().contains("is being accessed by other users") {
            assert!(!creating.is_finished());
            thread::sleep(Duration::from_millis(20));
        }
        drop(user);
        creating.join().unwrap().unwrap();
    });
    let again = cluster.create_database("postgres").unwrap_err().to_string();
    assert!(again.contains("cannot create the database `postgres`"), "{again}");
    assert!(again.contains("42P04"), "{again}");
}

#[test]
fn the_extensions_are_there() {
    for major in [10, 12] {
        let mut client = Cluster::shared(major).client("postgres").unwrap();
        client.batch_execute("BEGIN; CREATE EXTENSION hstore; CREATE EXTENSION citext; ROLLBACK").unwrap();
    }
}
