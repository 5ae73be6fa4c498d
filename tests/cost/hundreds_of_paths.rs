//! More search paths than anyone counts.

use diesel::connection::SimpleConnection;
use diesel_postgres_hot_upgrade::synchronize;

use crate::comings_and_goings::database;
use crate::support::counted::alone;
use crate::support::diverging::connect;
use crate::support::meaning::{Label, is_wrong, plain};

const PATHS: usize = 300;

#[test]
fn hundreds_of_search_paths_are_loaded_once_each() {
    let mut alone = alone();
    let url = database("paths");
    let mut conn = connect(&url);
    for number in 0..PATHS {
        let create = format!("CREATE SCHEMA t{number}; CREATE TYPE t{number}.label AS ENUM ('x')");
        conn.batch_execute(&create).expect("a tenant");
    }
    let mut visit_all = || {
        for number in 0..PATHS {
            conn.batch_execute(&format!("SET search_path = t{number}, public")).expect("a path");
            synchronize(&mut conn).expect("a look");
            assert_eq!(plain::<Label>(&mut conn), Ok(()), "t{number}");
        }
    };
    visit_all();
    assert!(alone.counted().loads <= PATHS as u64, "{:?}", alone.counted());
    alone.begin();
    visit_all();
    visit_all();
    let counted = alone.counted();
    assert_eq!((counted.loads, counted.changes), (0, 0), "{counted:?}");
    assert!(counted.warnings.is_empty(), "{counted:?}");

    let mut stock = connect(&url);
    assert_eq!(plain::<Label>(&mut stock), Ok(()));
    stock.batch_execute("SET search_path = t1, public").expect("a path");
    assert!(is_wrong(&plain::<Label>(&mut stock)), "the control");
}
