//! Sessions with temporary tables of their own.

use diesel::connection::SimpleConnection;
use diesel_postgres_hot_upgrade::HotUpgradeManager;

use crate::comings_and_goings::database;
use crate::support::counted::{Counted, alone, storm};
use crate::support::diverging::connect;
use crate::support::meaning::{Label, is_wrong, plain, verified};
use crate::support::ways::pool_of;

const SIZE: u32 = 16;

#[test]
fn one_type_that_moves_costs_one_load_and_one_event_among_sessions_with_temporary_tables() {
    let mut alone = alone();
    let url = database("temporary");
    let pool = pool_of(SIZE, HotUpgradeManager::new(url.as_str()));
    let mut stock = connect(&url);
    assert_eq!(plain::<Label>(&mut stock), Ok(()));
    assert_eq!(storm(&pool, plain::<Label>), [""; 0]);

    alone.begin();
    let create = |conn: &mut diesel::PgConnection| {
        conn.batch_execute("CREATE TEMPORARY TABLE scratch (id int8)").map_err(|error| error.to_string())
    };
    assert_eq!(storm(&pool, create), [""; 0]);
    for ask in [plain::<Label>, verified::<Label>] {
        assert_eq!(storm(&pool, ask), [""; 0]);
    }
    assert_eq!(alone.counted(), Counted::default(), "temporary tables alone");

    alone.begin();
    let recreate = "ALTER TYPE label RENAME TO label_old; CREATE TYPE label AS ENUM ('x')";
    connect(&url).batch_execute(recreate).expect("another type of that name");
    for ask in [plain::<Label>, verified::<Label>, plain::<Label>] {
        assert_eq!(storm(&pool, ask), [""; 0]);
    }
    let counted = alone.counted();
    let counts = (counted.loads, counted.changes, counted.resets, counted.warnings.len());
    assert_eq!(counts, (1, 1, u64::from(SIZE), 1), "{counted:?}");
    assert!(is_wrong(&plain::<Label>(&mut stock)), "the control");
}
