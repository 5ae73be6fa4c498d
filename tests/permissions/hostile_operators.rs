//! A role that may create objects in a schema of the search path creates operators, functions, types, casts and
//! relations that fit the crate's statements better than the built-in ones. The application's role, a superuser,
//! executes none.

use std::collections::{BTreeMap, BTreeSet};

use diesel::connection::SimpleConnection;
use diesel::pg::{PgConnection, PgMetadataLookup};
use diesel::prelude::*;
use testbed::Cluster;

use super::every_path::{AnyError, PAIRS, Setting, servers, track_all};
use super::server_log::{APPLICATION, executions, is_of_driver};
use crate::support::drivers::Driver;
use crate::support::own_process::in_a_process_of_its_own;

/// What the role may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It may create something in `public`: what the built-in operators take only after a cast is its own.
    Public,
    /// The same in a schema that stands before `pg_catalog` in the search path: everything is its own.
    BeforeCatalog,
}

const CONTROL: &str = "/* control */ SELECT ";

impl Place {
    fn schema(self) -> &'static str {
        match self {
            Place::Public => "public",
            Place::BeforeCatalog => "evil",
        }
    }

    /// Lets the hostile role create what it may, and the application have its search path.
    fn prepare(self, server: &Cluster, setting: &Setting) -> Result<(), AnyError> {
        let database = &setting.upgrade.database;
        let role = format!("mallory_{database}");
        let mut sql = format!("{APPLICATION} CREATE ROLE {role} LOGIN;");
        if self == Place::BeforeCatalog {
            sql += &format!(
                "CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO PUBLIC; GRANT USAGE, CREATE ON SCHEMA evil TO {role};
                 ALTER DATABASE {database} SET search_path = evil, pg_catalog, public;"
            );
        } else if server.major() >= 15 {
            sql += &format!("GRANT CREATE ON SCHEMA public TO {role};");
        }
        setting.upgrade.run_on(server, &sql)?;
        let url = server.url(database).replace("postgres@", &format!("{role}@"));
        let mut mallory = PgConnection::establish(&url)?;
        mallory.batch_execute(&include_str!("hostile_objects.sql").replace("$schema", self.schema()))?;
        Ok(())
    }

    /// Expressions that a careless statement could have, and what they execute.
    fn controls(self) -> Vec<(&'static str, &'static str)> {
        let mut controls = vec![
            ("1::pg_catalog.oid > 1", "oid > integer"),
            ("1::pg_catalog.oid <> 1", "oid <> integer"),
            ("'a'::pg_catalog.name !~ 'b'", "name !~ name"),
            ("ARRAY['a'::pg_catalog.text] || ARRAY['b'::pg_catalog.text]", "text[] || text[]"),
            ("2::pg_catalog.float8 * 2", "double precision * integer"),
            ("2::pg_catalog.numeric * 2", "numeric * integer"),
            ("1::pg_catalog.oid IN (1)", "oid = integer"),
            ("array_position(ARRAY[1::pg_catalog.oid], 1::pg_catalog.oid)", "array_position(oid[], oid)"),
            ("concat('a'::pg_catalog.name, 'b'::pg_catalog.name)", "concat(name, name)"),
            ("quote_ident('a'::pg_catalog.name)", "quote_ident(name)"),
        ];
        if self == Place::BeforeCatalog {
            controls.extend([
                ("1::pg_catalog.oid = 1::pg_catalog.oid", "oid = oid"),
                ("now() - now()", "timestamp with time zone - timestamp with time zone"),
                ("pg_type_is_visible(16::pg_catalog.oid)", "pg_type_is_visible(oid)"),
                ("pg_postmaster_start_time()", "pg_postmaster_start_time()"),
                ("(pg_control_system()).system_identifier", "pg_control_system("),
                ("count(*) FROM pg_catalog.pg_class", "count(*)"),
                ("1::oid", "the type oid"),
                ("'a'::text", "the type text"),
                ("typname FROM pg_type", "the relation pg_type"),
            ]);
        }
        controls
    }

    /// The trap works.
    fn control(self, server: &Cluster, setting: &Setting) -> Result<(), AnyError> {
        let mut client = server.client(&setting.upgrade.database)?;
        for (expression, _) in self.controls() {
            client.batch_execute(&format!("{CONTROL}{expression}"))?;
        }
        let number = |catalog, column| {
            format!(
                "(SELECT pg_catalog.count(*) FROM pg_catalog.{catalog} WHERE {column} OPERATOR(pg_catalog.=) n.oid)"
            )
        };
        let count = format!(
            "SELECT {}, {} FROM pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.=) '{}'",
            number("pg_operator", "oprnamespace"),
            number("pg_proc", "pronamespace"),
            self.schema()
        );
        let created = client.query_one(&format!("{APPLICATION} {count}"), &[])?;
        let [operators, functions]: [i64; 2] = [created.get(0), created.get(1)];
        assert!(operators > 900 && functions > 4_000, "only {operators} operators and {functions} functions");
        let executed = executions(server, &setting.upgrade.database);
        for (expression, wanted) in self.controls() {
            let statement = format!("{CONTROL}{expression}");
            let hit = executed
                .iter()
                .any(|one| one.statement == statement && one.what.starts_with(wanted) && one.by == "postgres");
            assert!(hit, "{expression} should execute {wanted} on PostgreSQL {}", server.major());
        }
        Ok(())
    }
}

/// What the crate's statements executed on either server, a line each.
fn executed_by_the_crate(setting: &Setting) -> Vec<String> {
    let mut found = BTreeMap::<_, (usize, String)>::new();
    for server in [setting.upgrade.old, setting.upgrade.new] {
        for one in executions(server, &setting.upgrade.database) {
            let others = [APPLICATION, CONTROL];
            if is_of_driver(&one.statement) || others.iter().any(|begins| one.statement.starts_with(begins)) {
                continue;
            }
            let first = || (0, one.statement.chars().take(80).collect());
            found.entry((server.major(), one.what, one.by)).or_insert_with(first).0 += 1;
        }
    }
    let lines = found.into_iter().map(|((major, what, by), (times, statement))| {
        format!("{what}, on PostgreSQL {major}, by {by}, {times} times, as in {statement}\n")
    });
    lines.collect()
}

fn nothing_is_executed(driver: Driver, majors: [u32; 2], place: Place) {
    let setting = Setting::start(majors);
    for server in [setting.upgrade.old, setting.upgrade.new] {
        place.prepare(server, &setting).expect("what an ordinary role may create");
        place.control(server, &setting).expect("careless statements");
    }
    let went_through = setting.run(driver);
    let executed = executed_by_the_crate(&setting);
    assert!(
        executed.is_empty(),
        "executed by statements of the crate, until {went_through:?}:\n{}",
        executed.concat()
    );
    went_through.expect("every path");
}

macro_rules! by_both_drivers {
    ($($name:ident = $majors:expr, $place:ident;)*) => {
        by_both_drivers! { @driver blocking Blocking $($name = $majors, $place;)* }
        by_both_drivers! { @driver asynchronous Async $($name = $majors, $place;)* }
    };
    (@driver $module:ident $driver:ident $($name:ident = $majors:expr, $place:ident;)*) => {
        mod $module {
            use super::*;
            $(
                #[test]
                fn $name() {
                    nothing_is_executed(Driver::$driver, $majors, Place::$place);
                }
            )*

            #[test]
            fn nothing_is_executed_where_types_are_tracked() {
                in_a_process_of_its_own(module_path!(), "nothing_is_executed_where_types_are_tracked", || {
                    track_all();
                    for majors in PAIRS {
                        for place in [Place::Public, Place::BeforeCatalog] {
                            nothing_is_executed(Driver::$driver, majors, place);
                        }
                    }
                });
            }
        }
    };
}

by_both_drivers! {
    nothing_in_public_is_executed_on_10_and_12 = PAIRS[0], Public;
    nothing_in_public_is_executed_on_14_and_18 = PAIRS[1], Public;
    nothing_before_pg_catalog_is_executed_on_10_and_12 = PAIRS[0], BeforeCatalog;
    nothing_before_pg_catalog_is_executed_on_14_and_18 = PAIRS[1], BeforeCatalog;
}

/// What look-ups that drivers send by themselves executed: Diesel's of a type by its bare name, the same with its
/// schema, and those of tokio-postgres.
fn executed_by_drivers(server: &'static Cluster, place: Place) -> [Vec<String>; 3] {
    let setting = Setting::start(if PAIRS[0].contains(&server.major()) { PAIRS[0] } else { PAIRS[1] });
    place.prepare(server, &setting).expect("what an ordinary role may create");
    let database = &setting.upgrade.database;
    let mut conn = PgConnection::establish(&server.url(database)).expect("a connection");
    let mut client = server.client(database).expect("a connection");
    let mut known = 0;
    let mut newly_executed = || {
        let executed = executions(server, database).split_off(known);
        known += executed.len();
        let whats: BTreeSet<_> = executed.into_iter().map(|one| one.what).collect();
        whats.into_iter().collect()
    };
    let with_schemas = [None, Some("public")].map(|schema| {
        conn.lookup_type("document_status", schema).oid().expect("a type");
        newly_executed()
    });
    client.prepare("SELECT status FROM public.documents").expect("a statement that has an enum");
    let [bare, with_schema] = with_schemas;
    [bare, with_schema, newly_executed()]
}

/// If this fails, a driver has changed: then SECURITY.md has to say something else.
#[test]
fn the_look_ups_of_drivers_execute_what_security_md_says() {
    for server in PAIRS.into_iter().flat_map(servers) {
        let major = server.major();
        let [bare, with_schema, asynchronous] = executed_by_drivers(server, Place::Public);
        assert!(bare.is_empty() && asynchronous.is_empty(), "{bare:?}, {asynchronous:?} on PostgreSQL {major}");
        let wanted: &[&str] = if major < 12 { &["name = text"] } else { &[] };
        assert_eq!(with_schema, wanted, "on PostgreSQL {major}");
        for executed in executed_by_drivers(server, Place::BeforeCatalog) {
            assert!(!executed.is_empty(), "on PostgreSQL {major}");
        }
    }
}
