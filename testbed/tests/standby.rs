//! Clusters follow others, and are promoted.

use testbed::Cluster;

fn ask(cluster: &Cluster, question: &str) -> String {
    cluster.client("postgres").unwrap().query_one(question, &[]).unwrap().get(0)
}

fn run(cluster: &Cluster, sql: &str) {
    cluster.client("postgres").unwrap().batch_execute(sql).unwrap();
}

const RECOVERS: &str = "SELECT pg_is_in_recovery()::text";
const START: &str = "SELECT pg_postmaster_start_time()::text";

#[test]
fn a_standby_replays_what_its_primary_does_and_is_promoted_without_a_restart() {
    for major in [10, 12] {
        let mut primary = Cluster::start(major).unwrap();
        let running = Cluster::standby_of(&primary).unwrap_err().to_string();
        assert!(running.contains("cannot be copied while it runs"), "{running}");
        primary.stop().unwrap();
        let mut standby = Cluster::standby_of(&primary).unwrap();
        primary.restart().unwrap();
        run(&primary, "CREATE TABLE t AS SELECT 7 AS n");
        standby.catch_up_with(&primary).unwrap();
        assert_eq!(ask(&standby, "SELECT n::text FROM t"), "7");
        assert_eq!([ask(&primary, RECOVERS), ask(&standby, RECOVERS)], ["false", "true"]);

        let start = ask(&standby, START);
        standby.promote().unwrap();
        run(&standby, "UPDATE t SET n = 8");
        assert_eq!(ask(&standby, START), start);
        assert_eq!([ask(&primary, "SELECT n::text FROM t"), ask(&standby, "SELECT n::text FROM t")], ["7", "8"]);
        let again = standby.promote().unwrap_err().to_string();
        assert!(again.contains("cannot be promoted: it is no standby"), "{again}");

        standby.restart().unwrap();
        assert_eq!([ask(&standby, RECOVERS), ask(&standby, "SELECT n::text FROM t")], ["false", "8"]);
        assert_ne!(ask(&standby, START), start);
    }
}

#[test]
fn a_restarted_standby_and_a_restarted_primary_find_each_other_again() {
    let mut primary = Cluster::start(12).unwrap();
    primary.stop().unwrap();
    let mut standby = Cluster::standby_of(&primary).unwrap();
    primary.restart().unwrap();
    standby.restart().unwrap();
    run(&primary, "CREATE TABLE t AS SELECT 7 AS n");
    standby.catch_up_with(&primary).unwrap();
    primary.restart().unwrap();
    run(&primary, "UPDATE t SET n = 8");
    standby.catch_up_with(&primary).unwrap();
    assert_eq!([ask(&standby, RECOVERS), ask(&standby, "SELECT n::text FROM t")], ["true", "8"]);
}

#[test]
fn a_demoted_primary_follows_the_standby_that_was_promoted() {
    for major in [10, 12] {
        let mut primary = Cluster::start(major).unwrap();
        primary.stop().unwrap();
        let mut standby = Cluster::standby_of(&primary).unwrap();
        primary.restart().unwrap();
        run(&primary, "CREATE TABLE t AS SELECT 7 AS n");
        standby.catch_up_with(&primary).unwrap();
        primary.stop().unwrap();
        standby.promote().unwrap();
        primary.restart_as_standby_of(&standby).unwrap();
        run(&standby, "UPDATE t SET n = 8");
        primary.catch_up_with(&standby).unwrap();
        assert_eq!([ask(&primary, RECOVERS), ask(&primary, "SELECT n::text FROM t")], ["true", "8"]);
    }
}

#[test]
fn a_standby_can_be_of_another_minor_version() {
    let mut primary = Cluster::start(17).unwrap();
    primary.stop().unwrap();
    let standby = Cluster::standby_of_another_minor(&primary).unwrap();
    primary.restart().unwrap();
    run(&primary, "CREATE TABLE t AS SELECT 7 AS n");
    standby.catch_up_with(&primary).unwrap();
    assert_eq!(ask(&standby, "SELECT n::text FROM t"), "7");
    let versions = [&primary, &standby].map(|server| ask(server, "SELECT current_setting('server_version')"));
    assert!(versions.iter().all(|version| version.starts_with("17.")), "{versions:?}");
    assert_ne!(versions[0], versions[1]);
}

#[test]
fn a_copy_takes_the_address_of_the_original() {
    let mut original = Cluster::start(12).unwrap();
    run(&original, "CREATE TABLE t AS SELECT 7 AS n");
    original.stop().unwrap();
    let mut copy = Cluster::copy_of(&original).unwrap();
    run(&copy, "UPDATE t SET n = 8");
    original.restart().unwrap();
    let running = copy.restart_in_place_of(&original).unwrap_err().to_string();
    assert!(running.contains("cannot be replaced while it runs"), "{running}");
    assert_eq!(ask(&original, "SELECT n::text FROM t"), "7");
    original.stop().unwrap();
    copy.restart_in_place_of(&original).unwrap();
    assert_eq!(copy.address(), original.address());
    assert_eq!(ask(&original, "SELECT n::text FROM t"), "8");
}
