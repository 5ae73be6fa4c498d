//! A tenant's schema has a type of the same name; `transactions::tenant` is the same inside transactions.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::{Outcome, synchronize};
use fixture::write_and_read_back;

use crate::support::documents::CREATE_TENANT;
use crate::support::pools::upgrade;

#[test]
fn another_search_path_finds_the_type_of_the_same_name_there() {
    let upgrade = upgrade();
    let url = upgrade.old.url(&upgrade.database);
    upgrade.run_on(upgrade.old, CREATE_TENANT).expect("a tenant");
    let mut hot = PgConnection::establish(&url).expect("a connection");
    let mut stock = PgConnection::establish(&url).expect("a connection");
    synchronize(&mut hot).expect("a first look");
    assert_eq!(write_and_read_back(&mut hot, 1), Ok(()));
    assert_eq!(write_and_read_back(&mut stock, 2), Ok(()));

    for conn in [&mut hot, &mut stock] {
        conn.batch_execute("SET search_path = tenant, public").expect("another path");
    }
    assert!(matches!(synchronize(&mut hot), Ok(Outcome::Changed(_))));
    assert_eq!(write_and_read_back(&mut hot, 3), Ok(()));
    assert!(write_and_read_back(&mut stock, 4).is_err(), "the control finds the tenant's type by itself");
}
