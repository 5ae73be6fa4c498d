//! The command, servers and databases for it, and what in its output changes from run to run.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use assert_cmd::Command;
use testbed::Cluster;

/// Variables that would lead the command elsewhere.
const CLEARED: [&str; 12] = [
    "DATABASE_URL",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGPASSFILE",
    "PGPASSWORD",
    "PGHOST",
    "PGPORT",
    "PGDATABASE",
    "PGUSER",
    "NO_COLOR",
    "CLICOLOR_FORCE",
    "PGOPTIONS",
];

/// What the command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn command() -> Command {
    let mut command = Command::cargo_bin("diesel-hot-upgrade").expect("the command");
    CLEARED.into_iter().for_each(|name| {
        command.env_remove(name);
    });
    // A home without a password file.
    command.env("HOME", "/nonexistent").timeout(Duration::from_secs(120));
    command
}

pub(crate) fn run(arguments: &[&str]) -> Ran {
    ran(command().args(arguments))
}

pub(crate) fn ran(command: &mut Command) -> Ran {
    let output = command.output().expect("the command runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A database of a server.
pub(crate) struct Database {
    pub(crate) cluster: &'static Cluster,
    pub(crate) name: String,
}

impl Database {
    pub(crate) fn create(cluster: &'static Cluster, name: &str) -> Database {
        cluster.create_database(name).expect("a database");
        Database { cluster, name: name.to_owned() }
    }

    pub(crate) fn url(&self) -> String {
        self.cluster.url(&self.name)
    }

    pub(crate) fn url_of(&self, role: &str) -> String {
        self.url().replace("postgres://postgres@", &format!("postgres://{role}@"))
    }

    #[track_caller]
    pub(crate) fn execute(&self, sql: &str) {
        self.cluster.client(&self.name).expect("a connection").batch_execute(sql).expect(sql);
    }

    /// For new sessions of all databases. Returns once they have it.
    pub(crate) fn set_for_all(&self, name: &str, value: &str) {
        let mut client = self.cluster.client("postgres").expect("a connection");
        let set = format!("ALTER SYSTEM SET {name} TO {value}");
        client.batch_execute(&set).and_then(|()| client.batch_execute("SELECT pg_reload_conf()")).expect(&set);
        let deadline = Instant::now() + Duration::from_secs(20);
        // The server reads its files when it comes to it.
        let has_it = "SELECT setting = reset_val AND pending_restart IS FALSE AND sourcefile LIKE '%auto.conf'
            FROM pg_settings WHERE name = $1";
        let is_set = || -> bool {
            let mut client = self.cluster.client("postgres").expect("a connection");
            client.query_one(has_it, &[&name]).expect("a setting").get::<_, Option<bool>>(0).unwrap_or(false)
        };
        while !is_set() {
            assert!(Instant::now() < deadline, "{name} is not set");
        }
    }

    pub(crate) fn oid_of_type(&self, name: &str) -> u32 {
        let mut client = self.cluster.client(&self.name).expect("a connection");
        client.query_one("SELECT $1::text::regtype::oid", &[&name]).expect("a type").get(0)
    }

    /// Uses up OIDs, so that what is created next gets this one.
    pub(crate) fn continue_at(&self, wanted: u32) {
        let mut client = self.cluster.client(&self.name).expect("a connection");
        let mut draw = |count: u32| -> u32 {
            let mut transaction = client.transaction().expect("a transaction");
            let sql = "SELECT max(lo_create(0)) FROM generate_series(1, $1::int8)";
            transaction.query_one(sql, &[&i64::from(count)]).expect("OIDs").get(0)
        };
        let mut last = draw(1);
        while last + 1 < wanted {
            last = draw(wanted - last - 1);
        }
        assert_eq!(last + 1, wanted, "the server is further already");
    }
}

/// Two databases of one name on two servers.
pub(crate) struct Pair {
    pub(crate) old: Database,
    pub(crate) new: Database,
}

impl Pair {
    pub(crate) fn on(old: &'static Cluster, new: &'static Cluster, name: &str) -> Pair {
        Pair { old: Database::create(old, name), new: Database::create(new, name) }
    }

    pub(crate) fn shared(old: u32, new: u32, name: &str) -> Pair {
        Self::on(Cluster::shared(old), Cluster::shared(new), name)
    }

    pub(crate) fn compare(&self, arguments: &[&str]) -> Ran {
        let (old, new) = (self.old.url(), self.new.url());
        run(&[&["compare", &old, &new], arguments].concat())
    }

    #[track_caller]
    pub(crate) fn execute(&self, sql: &str) {
        self.old.execute(sql);
        self.new.execute(sql);
    }
}

/// A base type made by hand, and what it is sent and received as.
pub(crate) fn handmade(binary: &str, format: &str) -> String {
    let function = |name: &str, signature: &str, volatility: &str, body: &str| {
        format!("CREATE FUNCTION handmade_{name}({signature} LANGUAGE internal STRICT {volatility} AS '{body}';")
    };
    [
        "CREATE TYPE handmade;".to_owned(),
        function("in", "cstring) RETURNS handmade", "IMMUTABLE", "textin"),
        function("out", "handmade) RETURNS cstring", "IMMUTABLE", "textout"),
        function("recv", "internal) RETURNS handmade", "STABLE", &format!("{format}recv")),
        function("send", "handmade) RETURNS bytea", "STABLE", &format!("{format}send")),
        format!("CREATE TYPE handmade (INPUT = handmade_in, OUTPUT = handmade_out {binary})"),
    ]
    .concat()
}

/// Started for one test: OIDs come from a counter that a server's databases share.
pub(crate) fn started(major: u32) -> &'static Cluster {
    Box::leak(Box::new(Cluster::start(major).expect("a server")))
}

/// A server with the role `locked`, whose password is [`PASSWORD`].
pub(crate) fn with_password() -> &'static Cluster {
    static SERVER: OnceLock<&'static Cluster> = OnceLock::new();
    SERVER.get_or_init(|| {
        let cluster = started(17);
        let mut client = cluster.client("postgres").expect("a connection");
        let setup = format!(
            "CREATE ROLE locked LOGIN PASSWORD '{PASSWORD}';
             CREATE TEMPORARY TABLE lines (number serial, line text);
             INSERT INTO lines (line) VALUES ('host all locked all scram-sha-256');
             INSERT INTO lines (line) SELECT translate(line, E'\\t', ' ')
                FROM unnest(string_to_array(pg_read_file(current_setting('hba_file')), E'\\n')) line
                WHERE line ~ '^[a-z]';
             DO $$ BEGIN
                EXECUTE format('COPY (SELECT line FROM lines ORDER BY number) TO %L', current_setting('hba_file'));
             END $$;
             SELECT pg_reload_conf()"
        );
        client.batch_execute(&setup).expect("a role with a password");
        let locked = cluster.url("postgres").replace("postgres://postgres@", "postgres://locked@");
        let deadline = Instant::now() + Duration::from_secs(20);
        // The server reads the file when it comes to it.
        while postgres::Client::connect(&locked, postgres::NoTls).is_ok() {
            assert!(Instant::now() < deadline, "the server asks for no password");
        }
        cluster
    })
}

/// Has what a URL and a service file quote.
pub(crate) const PASSWORD: &str = "s3cret/@:w";

/// As in a URL.
pub(crate) const ENCODED_PASSWORD: &str = "s3cret%2F%40%3Aw";

/// Compares with a snapshot, without what changes from run to run. What stands in for it is as long, so tables keep
/// their form.
pub(crate) fn stable(text: &str, check: impl FnOnce(&str)) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.add_filter(r"PostgreSQL (\d+)\.\d+", "PostgreSQL $1.x");
    settings.add_filter(r#""server_version": "(\d+)\.[^"]*""#, r#""server_version": "$1.x""#);
    settings.add_filter(r#""system_identifier": "\d+""#, r#""system_identifier": "[identifier]""#);
    settings.add_filter(r"127\.0\.0\.1:\d+", "[address]");
    settings.add_filter(r"port \d+", "port [port]");
    settings.add_filter(r"\b[1-9]\d{4}\b", "[oid]");
    settings.bind(|| check(text));
}
