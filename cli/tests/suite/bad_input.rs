//! What can't work has a clear error, and no verdict.

use std::fs;
use std::thread;
use std::time::Duration;

use insta::assert_snapshot;
use predicates::prelude::*;
use testbed::{Cluster, Forwarder, PgBouncer, PgBouncerConfig};

use crate::support::{Database, ENCODED_PASSWORD, PASSWORD, Ran, command, ran, run, stable, with_password};

/// Nothing on standard output, no password anywhere.
#[track_caller]
fn assert_error(ran: &Ran, code: i32) {
    assert_eq!((ran.code, ran.out.as_str()), (Some(code), ""), "{}", ran.err);
    for secret in [PASSWORD, ENCODED_PASSWORD, "s3cret"] {
        assert!(!ran.err.contains(secret), "{}", ran.err);
    }
}

#[test]
fn what_is_no_url_is_refused_without_quoting_it() {
    let good = Cluster::shared(17).url("postgres");
    let mut said = String::new();
    for wrong in [
        "mysql://app:s3cret@host/db",
        "app:s3cret@host/db",
        "postgres://app:s3cret/@:w@host/db",
        "postgres://app:s3cret@host/db?nonsense=1",
        "postgres://app:s3cret",
        "host=localhost password=s3cret nonsense=1",
        "host=localhost password='s3cret",
    ] {
        for urls in [[wrong, &good], [&good, wrong]] {
            let ran = run(&["compare", urls[0], urls[1]]);
            assert_error(&ran, 64);
            said += &ran.err;
        }
    }
    stable(&said, |text| assert_snapshot!("bad_urls", text));
}

#[test]
fn a_server_that_is_not_there_is_unreachable() {
    let server = Cluster::shared(17).url("postgres");
    let nowhere = "postgres://app:s3cret@127.0.0.1:1/db";
    let unknown = "postgres://app:s3cret@no.such.host.invalid/db";
    let missing = Cluster::shared(17).url("cli_no_such_database");
    let role = server.replace("postgres://postgres@", "postgres://cli_no_such_role@");
    for wrong in [nowhere, unknown, &missing, &role] {
        assert_error(&run(&["compare", &server, wrong]), 69);
        assert_error(&run(&["compare", wrong, &server]), 69);
        assert_error(&run(&["types", wrong]), 69);
        assert_error(&run(&["watch", "--for", "1s", wrong]), 69);
    }
    let said = [nowhere, &missing, &role].map(|wrong| run(&["compare", &server, wrong]).err).concat();
    stable(&said, |text| assert_snapshot!("unreachable", text));
}

#[test]
fn a_password_is_found_where_libpq_looks_for_it_and_never_shown() {
    let server = with_password();
    let other = Cluster::shared(17).url("postgres");
    let url = server.url("postgres").replace("postgres://postgres@", "postgres://locked@");
    let with = |password: &str| url.replace("locked@", &format!("locked:{password}@"));

    let wrong = run(&["compare", &with("s3cret_but_wrong"), &other]);
    assert_error(&wrong, 69);
    stable(&wrong.err, |text| assert_snapshot!("wrong_password", text));
    let wrong = ran(command().env("PGPASSWORD", "s3cret_but_wrong").args(["types", &url]));
    assert_error(&wrong, 69);
    assert_error(&run(&["types", &url]), 69);

    assert_eq!(run(&["types", &with(ENCODED_PASSWORD)]).code, Some(0));
    assert_eq!(ran(command().env("PGPASSWORD", PASSWORD).args(["types", &url])).code, Some(0));

    let folder = tempfile::tempdir().expect("a folder");
    let passwords = folder.path().join("passwords");
    let escaped = PASSWORD.replace('\\', "\\\\").replace(':', "\\:");
    fs::write(&passwords, format!("*:*:*:locked:{escaped}\n")).expect("a file");
    restrict(&passwords);
    assert_eq!(ran(command().env("PGPASSFILE", &passwords).args(["types", &url])).code, Some(0));

    let services = folder.path().join("services");
    let (host, port) = (server.address().ip(), server.address().port());
    let service = format!("[app]\nhost={host}\nport={port}\nuser=locked\npassword={PASSWORD}\ndbname=postgres\n");
    fs::write(&services, service).expect("a file");
    let mut by_service = command();
    by_service.env("PGSERVICEFILE", &services);
    assert_eq!(ran(by_service.args(["types", "service=app"])).code, Some(0));
    let mut by_environment = command();
    by_environment.env("PGSERVICEFILE", &services).env("PGSERVICE", "app");
    assert_eq!(ran(by_environment.args(["types"])).code, Some(0));
    let mut by_environment = command();
    by_environment.env("PGSERVICEFILE", &services).env("PGSERVICE", "no_such_service");
    assert_error(&ran(by_environment.args(["types"])), 69);
}

fn restrict(file: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("permissions");
}

#[test]
fn the_old_server_may_be_the_one_of_database_url() {
    let (old, new) = (Cluster::shared(17).url("postgres"), Cluster::shared(18).url("postgres"));
    let ran = ran(command().env("DATABASE_URL", &old).args(["compare", "--json", &new]));
    assert!(ran.code < Some(2), "{ran:?}");
    assert!(ran.out.contains(r#""server_version": "17."#) && ran.out.contains(r#""server_version": "18."#));
    assert_error(&run(&["compare", &new]), 64);
    assert_error(&run(&["types"]), 64);
    assert_error(&run(&["watch"]), 64);
}

#[test]
fn a_server_is_not_compared_with_itself() {
    let server = Cluster::shared(17);
    let pooler = PgBouncer::start(PgBouncerConfig::default()).expect("a pooler");
    pooler.route("app", &server.target("postgres")).expect("a route");
    for (old, new) in [
        (server.url("postgres"), server.url("postgres")),
        (server.url("postgres"), server.url("postgres").replace("127.0.0.1", "localhost")),
        (server.url("postgres"), pooler.url("app")),
    ] {
        let ran = run(&["compare", &old, &new]);
        assert_error(&ran, 64);
        assert!(ran.err.contains("both URLs lead to the same database of the same server"), "{}", ran.err);
    }
    // The administrator's console is no server.
    assert_error(&run(&["compare", &server.url("postgres"), &pooler.url("pgbouncer")]), 69);
    // Two databases of one server are two.
    let other = Database::create(server, "cli_other");
    assert!(run(&["compare", &server.url("postgres"), &other.url()]).code < Some(2));
}

#[test]
fn a_connection_that_is_lost_in_the_middle_is_no_verdict() {
    let (old, new) = (Cluster::shared(17), Cluster::shared(18));
    for which in ["the old server", "the new server"] {
        let [behind, other] = if which == "the old server" { [old, new] } else { [new, old] };
        let forwarder = Forwarder::start(behind.address()).expect("a forwarder");
        forwarder.delay(Duration::from_millis(100));
        let (cut, whole) = (behind.url_at(forwarder.address(), "postgres"), other.url("postgres"));
        let urls = if which == "the old server" { [cut, whole] } else { [whole, cut] };
        let comparing = thread::spawn(move || run(&["compare", &urls[0], &urls[1]]));
        // Far enough to have read the types, and not yet the rest.
        while forwarder.round_trips() < 16 {
            assert!(!comparing.is_finished(), "it asked less than expected");
            thread::sleep(Duration::from_millis(5));
        }
        forwarder.retarget(([127, 0, 0, 1], 1).into());
        let ran = comparing.join().expect("the command");
        assert_error(&ran, 69);
        assert!(ran.err.contains(which), "{}", ran.err);
        // Also, what takes longer than two seconds says so.
        assert!(ran.err.contains(&format!("of {which} …")), "{}", ran.err);
    }
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    for wrong in [
        &["compare"][..],
        &["compare", "a=b", "c=d", "e=f"],
        &["compare", "--nonsense", "a=b", "c=d"],
        &["watch", "--interval", "soon", "a=b"],
        &["watch", "--sessions", "0", "a=b"],
        &["nonsense"],
        &[],
    ] {
        let ran = run(wrong);
        assert_eq!((ran.code, ran.out.as_str()), (Some(64), ""), "{wrong:?}: {}", ran.err);
    }
    let url = format!("postgres://app:{ENCODED_PASSWORD}@host/db");
    let (words, option) = (format!("host=h password='{PASSWORD}'"), format!("--json={url}"));
    for wrong in [
        &[url.as_str()][..],
        &[&words],
        &["compare", &url, &url, &url],
        &["compare", &url, &url, &words],
        &["compare", &option, &url],
        &["watch", "--interval", &url],
        &["types", &format!("--{url}")],
        &["man", &url],
        &["completions", &words],
    ] {
        let ran = run(wrong);
        assert_error(&ran, 64);
        assert!(ran.err.starts_with("error: ") && ran.err.contains("--help"), "{}", ran.err);
    }
    let (old, new) = (Cluster::shared(17).url("postgres"), Cluster::shared(18).url("postgres"));
    let ran = run(&["compare", "--schema", "no_such_schema", &old, &new]);
    assert_error(&ran, 64);
    assert!(ran.err.contains("the old server has no schema no_such_schema"), "{}", ran.err);
}

#[test]
fn help_completions_and_the_manual_page_are_printed() {
    for arguments in [&["--help"][..], &["compare", "--help"], &["watch", "--help"], &["types", "--help"]] {
        let shown = predicate::str::contains("Examples:").and(predicate::str::contains("postgres://app@"));
        let shown =
            shown.and(predicate::function(|text: &str| text.lines().all(|line| line.chars().count() <= 80)));
        command().args(arguments).assert().success().stdout(shown);
    }
    for command_without_url in ["completions", "man"] {
        command()
            .args([command_without_url, "--help"])
            .assert()
            .success()
            .stdout(predicate::str::contains("Examples:"));
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        command().args(["completions", shell]).assert().success().stdout(predicate::str::contains("compare"));
    }
    command().arg("man").assert().success().stdout(predicate::str::contains(".TH diesel-hot-upgrade"));
    let page = command().args(["man", "compare"]).assert().success();
    page.stdout(
        predicate::str::contains(".TH diesel-hot-upgrade-compare").and(predicate::str::contains("Exit codes")),
    );
    command().arg("--version").assert().success();
}
