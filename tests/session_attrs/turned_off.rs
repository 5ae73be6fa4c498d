//! What turns the protection off turns this off too: everything is stock then.

use diesel::r2d2::ManageConnection;
use diesel_postgres_hot_upgrade::{HotUpgradeExt, HotUpgradeManager, TargetSessionAttrs};

use super::servers::Kind;

fn read_write() -> HotUpgradeManager {
    HotUpgradeManager::new(Kind::Standby.url()).target_session_attrs(TargetSessionAttrs::ReadWrite)
}

fn accepts_a_standby(manager: &HotUpgradeManager) {
    let mut conn = manager.connect().expect("as stock");
    manager.is_valid(&mut conn).expect("as stock");
    conn.hot_transaction(|_| diesel::QueryResult::Ok(())).expect("as stock");
    assert!(!manager.has_broken(&mut conn));
}

#[test]
fn a_manager_that_is_turned_off_accepts_every_server() {
    accepts_a_standby(&read_write().enabled(false));
    read_write().connect().map(drop).expect_err("the control");
}

const VARIABLE: &str = "DIESEL_POSTGRES_HOT_UPGRADE";

/// The variable is read once in a process: this test runs itself again, in a process that has it.
#[test]
fn the_environment_turns_it_off() {
    if std::env::var_os(VARIABLE).is_some() {
        return accepts_a_standby(&read_write());
    }
    let itself = std::env::current_exe().expect("this test's program");
    let output = std::process::Command::new(itself)
        .args(["--exact", "session_attrs::turned_off::the_environment_turns_it_off"])
        .env(VARIABLE, "off")
        .output()
        .expect("another run");
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && report.contains("1 passed"), "{report}");
}
