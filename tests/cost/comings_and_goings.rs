//! What others create and drop while a pool is open: tenants, and a tool's types. Nothing that the pool uses moves.

use diesel::connection::SimpleConnection;
use diesel_postgres_hot_upgrade::HotUpgradeManager;
use testbed::Cluster;

use crate::support::counted::{Alone, Counted, alone, storm};
use crate::support::diverging::connect;
use crate::support::freshness::wait_until_stale;
use crate::support::meaning::{Label, is_wrong, plain, verified};
use crate::support::ways::{HotPool, pool_of};

const SIZE: u32 = 4;

/// A database of its own.
pub(crate) fn database(name: &str) -> String {
    let server = Cluster::shared(12);
    let name = format!("{name}_{}", std::process::id());
    server.create_database(&name).expect("a database");
    let url = server.url(&name);
    connect(&url).batch_execute("CREATE TYPE label AS ENUM ('x')").expect("a type");
    url
}

/// While each of the statements is executed, the pool is used; now and then, every look is stale.
fn nothing_is_reported(name: &str, statements: impl IntoIterator<Item = String>) {
    let mut alone = alone();
    let url = database(name);
    let pool = pool_of(SIZE, HotUpgradeManager::new(url.as_str()));
    let mut owner = connect(&url);
    use_it(&pool);
    alone.begin();
    for (number, statement) in statements.into_iter().enumerate() {
        owner.batch_execute(&statement).expect("DDL");
        if number % 20 == 0 {
            wait_until_stale();
        }
        use_it(&pool);
    }
    let counted = alone.counted();
    assert!(counted.resets <= 4, "{counted:?}");
    assert_eq!(
        counted,
        Counted { resets: counted.resets, loads: counted.loads, ..Counted::default() },
        "no event and no warning"
    );
    a_move_is_reported(&mut alone, &url, &pool);
}

/// The control.
fn a_move_is_reported(alone: &mut Alone, url: &str, pool: &HotPool) {
    let mut stock = connect(url);
    assert_eq!(plain::<Label>(&mut stock), Ok(()));
    alone.begin();
    let recreate = "ALTER TYPE label RENAME TO label_old; CREATE TYPE label AS ENUM ('x')";
    connect(url).batch_execute(recreate).expect("another type of that name");
    use_it(pool);
    let counted = alone.counted();
    assert_eq!((counted.resets, counted.changes, counted.warnings.len()), (u64::from(SIZE), 1, 1), "{counted:?}");
    assert!(is_wrong(&plain::<Label>(&mut stock)));
}

fn use_it(pool: &HotPool) {
    for ask in [plain::<Label>, verified::<Label>] {
        assert_eq!(storm(pool, ask), [""; 0]);
    }
}

#[test]
fn tenants_come_and_go_unreported() {
    let create = (0..40).map(|number| {
        format!(
            "CREATE SCHEMA tenant_{number}; CREATE TYPE tenant_{number}.label AS ENUM ('x');
             CREATE DOMAIN tenant_{number}.code AS text;
             CREATE TABLE tenant_{number}.labels (label tenant_{number}.label)"
        )
    });
    let drop = (0..40).map(|number| format!("DROP SCHEMA tenant_{number} CASCADE"));
    nothing_is_reported("tenants", create.chain(drop));
}

#[test]
fn types_of_a_tool_come_and_go_unreported() {
    let repack = (0..40).map(|number| {
        let create = "CREATE SCHEMA IF NOT EXISTS repack; CREATE TYPE repack.pk_";
        [format!("{create}{number} AS (id int8)"), format!("DROP TYPE repack.pk_{number}")]
    });
    nothing_is_reported("repacked", repack.flatten());
}
