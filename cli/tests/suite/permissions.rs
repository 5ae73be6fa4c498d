//! A role that owns nothing, one that may look at less, and schemas with traps.

use insta::assert_snapshot;
use testbed::Cluster;

use crate::support::{Pair, run, stable, started};

#[test]
fn a_role_that_owns_nothing_sees_everything_but_data() {
    let pair = Pair::on(started(13), started(16), "cli_role");
    pair.new.continue_at(30_000);
    pair.execute(
        "CREATE ROLE reader LOGIN;
         CREATE TYPE mood AS ENUM ('happy');
         CREATE TABLE t (id serial PRIMARY KEY, mood mood);
         INSERT INTO t (mood) VALUES ('happy');
         CREATE SCHEMA closed;
         CREATE TYPE closed.code AS ENUM ('x');
         CREATE TABLE closed.t (id int4 PRIMARY KEY, code closed.code)",
    );
    let compare = || run(&["compare", &pair.old.url_of("reader"), &pair.new.url_of("reader")]);
    let ran = compare();
    stable(&ran.out, |text| assert_snapshot!("as_a_role_that_owns_nothing", text));
    assert_eq!(ran.code, Some(3), "it may not see the sequences");

    pair.execute("GRANT SELECT ON SEQUENCE t_id_seq TO reader; GRANT SELECT ON t TO reader");
    assert_eq!(compare().code, Some(1), "types move");

    // A policy would execute what a user wrote.
    pair.new.execute(
        "CREATE FUNCTION trap() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE 'executed'; END $$;
         ALTER TABLE t ENABLE ROW LEVEL SECURITY;
         CREATE POLICY trap ON t USING (trap())",
    );
    let ran = compare();
    assert_eq!(ran.code, Some(3));
    assert!(!ran.out.contains("executed"), "{}", ran.out);
    pair.new.execute("ALTER TABLE t DISABLE ROW LEVEL SECURITY");

    pair.execute(
        "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_control_system() FROM PUBLIC;
         REVOKE EXECUTE ON FUNCTION pg_catalog.pg_postmaster_start_time() FROM PUBLIC",
    );
    assert_eq!(compare().code, Some(1), "who the server is does not matter");
    let one = pair.old.url_of("reader");
    assert_eq!(run(&["compare", &one, &one]).code, Some(64), "one server is known by its address");

    pair.new.execute(
        "REVOKE SELECT ON pg_catalog.pg_roles FROM PUBLIC; REVOKE SELECT ON pg_catalog.pg_type FROM PUBLIC",
    );
    let ran = compare();
    stable(&ran.out, |text| assert_snapshot!("as_a_role_that_may_not_read_types", text));
    assert_eq!(ran.code, Some(3));
    assert_eq!(run(&["types", &pair.new.url_of("reader")]).code, Some(69));

    pair.new.execute("GRANT SELECT ON pg_catalog.pg_type TO PUBLIC; DROP TABLE closed.t");
    assert_eq!(compare().code, Some(2), "what breaks comes first");
}

#[test]
fn a_role_that_reads_all_data_lacks_no_permission_to_read() {
    let pair = Pair::on(started(13), started(16), "cli_read_all");
    pair.execute("CREATE ROLE reader LOGIN; CREATE SCHEMA s; CREATE TABLE s.t (id serial PRIMARY KEY)");
    pair.old.execute("GRANT USAGE ON SCHEMA s TO reader; GRANT SELECT ON s.t, s.t_id_seq TO reader");
    let compare = || run(&["compare", &pair.old.url_of("reader"), &pair.new.url_of("reader")]);
    let ran = compare();
    assert!(ran.out.contains("reader lacks"), "the control: {}", ran.out);
    pair.new.execute("GRANT pg_read_all_data TO reader");
    let ran = compare();
    assert_eq!(ran.code, Some(0), "{}", ran.out);

    pair.old.execute("GRANT INSERT ON s.t TO reader");
    assert!(compare().out.contains("reader lacks: INSERT on s.t"), "it may not write");
}

/// Everything that a statement could be led to, by a role that may create in the search path.
#[test]
fn nothing_that_a_user_defined_is_executed() {
    let pair = Pair::shared(12, 14, "cli_traps");
    let mut traps = "
        CREATE FUNCTION trap_bool() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE 'executed'; END $$;
        CREATE TABLE t (id serial PRIMARY KEY);
        CREATE TYPE mood AS ENUM ('happy');"
        .to_owned();
    let types = ["oid", "name", "text", "\"char\"", "int8", "int4", "int2", "\"any\"", "oid[]"];
    for (number, ty) in types.iter().filter(|ty| **ty != "\"any\"").enumerate() {
        traps += &format!(
            "CREATE FUNCTION trap_{number}({ty}, {ty}) RETURNS bool LANGUAGE plpgsql AS
             $$ BEGIN RAISE 'executed'; END $$;"
        );
        for operator in ["=", "<>", ">", "<", "~", "!~", "||", "+"] {
            traps += &format!(
                "CREATE OPERATOR {operator} (PROCEDURE = trap_{number}, LEFTARG = {ty}, RIGHTARG = {ty});"
            );
        }
    }
    for (name, arguments) in [
        ("format_type", "oid, int4"),
        ("concat", "name, name"),
        ("count", "int4"),
        ("max", "int4"),
        ("row_to_json", "record"),
        ("current_database", ""),
        ("pg_get_constraintdef", "oid"),
    ] {
        if arguments == "record" {
            continue;
        }
        traps += &format!(
            "CREATE FUNCTION public.{name}({arguments}) RETURNS text LANGUAGE plpgsql AS
             $$ BEGIN RAISE 'executed'; END $$;"
        );
    }
    pair.execute(&traps);
    pair.execute("ALTER DATABASE cli_traps SET search_path TO public, pg_catalog");
    // The control: what is not qualified is led there.
    let mut client = pair.old.cluster.client(&pair.old.name).expect("a connection");
    client.query_one("SELECT count(*) FROM pg_class WHERE oid = 1::oid", &[]).expect_err("a trap");

    let ran = pair.compare(&["--json"]);
    assert!(ran.code < Some(2), "{ran:?}");
    assert!(ran.out.contains(r#""unseen": []"#), "{}", ran.out);
    assert_eq!(run(&["types", &pair.old.url()]).code, Some(0));
    assert_eq!(run(&["watch", "--for", "500ms", "--interval", "50ms", &pair.old.url()]).code, Some(0));
}

/// `READ ONLY`: the server's own log has every statement.
#[test]
fn nothing_is_written() {
    let servers: [&Cluster; 2] = [started(11), started(18)];
    let pair = Pair::on(servers[0], servers[1], "cli_read_only");
    pair.execute(
        "CREATE TABLE t (id serial PRIMARY KEY);
         ALTER DATABASE cli_read_only SET log_statement TO 'all'",
    );
    assert!(pair.compare(&[]).code < Some(3));
    run(&["types", &pair.old.url()]);
    run(&["watch", "--for", "300ms", "--interval", "50ms", &pair.old.url()]);
    for server in servers {
        let log = server.log().expect("a log");
        let ours = log.lines().filter(|line| line.contains("/* diesel-hot-upgrade */"));
        assert!(ours.count() > 10, "{log}");
        assert!(log.contains("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"));
    }
}
