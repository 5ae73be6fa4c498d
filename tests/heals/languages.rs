//! Healing reads no message: it is the same if the server's are German or Japanese. PostgreSQL 17 as Debian packages it
//! has translations. The locales are copies of `C.utf8` under other names, for a server that a process of its own
//! starts.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use testbed::Cluster;

use crate::client::In;
use crate::counting::{Counting, FAILURES, Failure, PREPARE};
use crate::matrix::heals_on;
use crate::scenarios;
use crate::site::{Site, Way, connect};

/// Names the language in the process that has the locales.
const VARIABLE: &str = "TEST_IN_LANGUAGE";

/// Where the C library looks for locales.
const LOCALES: &str = "LOCPATH";

struct Language {
    locale: &'static str,
    division_by_zero: &'static str,
}

const LANGUAGES: [Language; 2] = [
    Language { locale: "de_DE.UTF-8", division_by_zero: "Division durch Null" },
    Language { locale: "ja_JP.UTF-8", division_by_zero: "0 による除算が行われました" },
];

/// A folder of locales. It is deleted when this is dropped.
struct Locales(PathBuf);

impl Locales {
    fn create() -> Self {
        let folder = env::temp_dir().join(format!("heals-locales-{}", std::process::id()));
        for language in LANGUAGES {
            let copy = folder.join(language.locale.replace("UTF-8", "utf8"));
            copy_folder(Path::new("/usr/lib/locale/C.utf8"), &copy).expect("a locale of the C library");
        }
        Locales(folder)
    }
}

impl Drop for Locales {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let copy = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &copy)?;
        } else {
            fs::copy(entry.path(), copy)?;
        }
    }
    Ok(())
}

#[test]
fn german_and_japanese_messages_change_nothing() {
    if env::var_os(VARIABLE).is_some() {
        return on_a_server_with_locales();
    }
    let locales = Locales::create();
    let output = Command::new(env::current_exe().expect("this test's program"))
        .args(["--exact", "languages::german_and_japanese_messages_change_nothing"])
        .env(VARIABLE, "yes")
        .env(LOCALES, &locales.0)
        .output()
        .expect("another run");
    let report = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && report.contains("1 passed"), "{report}{errors}");
}

fn on_a_server_with_locales() {
    let server = Cluster::start_with_postgis_and_pgvector().expect("a server with translations");
    // It lives as long as this process, whose end stops it.
    let server: &'static Cluster = Box::leak(Box::new(server));
    for language in LANGUAGES {
        let mut client = server.client("postgres").expect("a session");
        let speak = format!("ALTER ROLE postgres SET lc_messages = '{}'", language.locale);
        client.batch_execute(&speak).expect("a locale that the server has");
        let error = Failure::DivisionByZero.fail(&mut connect(&server.url("postgres"))).expect_err("an error");
        assert_eq!(error.to_string(), language.division_by_zero);

        for scenario in [
            scenarios::A_COLUMN_BECOMES_TEXT,
            scenarios::AN_ENUM_IS_RECREATED,
            scenarios::STATEMENTS_ARE_DEALLOCATED,
            scenarios::A_ROLLED_BACK_TYPE_IS_CREATED,
        ] {
            for within in [In::HotTransaction, In::HotQuery] {
                heals_on(Site::on(server, Way::Direct), &scenario, within);
            }
        }
        errors_cost_one_question(server);
    }
}

fn errors_cost_one_question(server: &'static Cluster) {
    let mut site = Site::on(server, Way::Direct);
    site.run(PREPARE);
    let mut counting = Counting::connect(&site);
    let before = counting.round_trips();
    for time in 0..100 {
        counting.fail(FAILURES[time % FAILURES.len()]);
    }
    let round_trips = counting.round_trips() - before;
    assert!(counting.closures <= 108, "{} closures", counting.closures);
    assert!(round_trips <= 100 * 4 + 80, "{round_trips} round trips");
}
