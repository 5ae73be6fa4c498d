//! Transactions in a tenant's schema, in which a type has the same name as elsewhere.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};
use diesel_postgres_hot_upgrade::{HotUpgradeExt, synchronize};

use crate::support::documents::{CREATE_TENANT, connections, fail_by_unique_key, work};
use crate::support::pools::upgrade;

#[test]
fn a_transaction_of_a_tenant_finds_the_tenants_types() {
    let upgrade = upgrade();
    upgrade.run_on(upgrade.old, CREATE_TENANT).expect("a tenant");
    let (mut hot, mut stock) = connections(&upgrade.url());
    let tenant = "SET LOCAL search_path = tenant, public";
    for number in 3..6 {
        let in_closure = hot.hot_transaction(|conn| {
            conn.batch_execute(tenant)?;
            synchronize(conn)?;
            work(conn, number)
        });
        assert_eq!(in_closure, Ok(()));
        assert_eq!(hot.hot_transaction(|conn| work(conn, number)), Ok(()), "and back");
        let before_probe =
            hot.hot_transaction_with(|builder| builder.before_probe(tenant), |conn| work(conn, number + 10));
        assert_eq!(before_probe, Ok(()));
    }
    let control = stock.transaction(|conn| {
        conn.batch_execute(tenant)?;
        work(conn, 9)
    });
    control.expect_err("the control finds the tenant's type by itself");
}

#[test]
fn a_violated_constraint_in_a_tenants_schema_is_not_run_again() {
    let upgrade = upgrade();
    upgrade
        .run_on(upgrade.old, "CREATE SCHEMA tenant; CREATE TYPE tenant.document_status AS ENUM ('draft')")
        .expect("a tenant");
    let (mut hot, _) = connections(&upgrade.url());
    let path = "SET LOCAL search_path = tenant, public";
    for _ in 0..2 {
        let mut attempts = 0;
        let result = hot.hot_transaction_with(
            |builder| builder.before_probe(path),
            |conn| {
                attempts += 1;
                fail_by_unique_key(conn)
            },
        );
        assert!(matches!(result, Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _))), "{result:?}");
        assert_eq!(attempts, 1, "before the probe");

        let mut attempts = 0;
        let result = hot.hot_transaction(|conn| {
            attempts += 1;
            conn.batch_execute(path)?;
            conn.batch_execute("CREATE TYPE of_its_own AS ENUM ('a')")?;
            diesel_postgres_hot_upgrade::synchronize(conn)?;
            fail_by_unique_key(conn)
        });
        assert!(matches!(result, Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _))), "{result:?}");
        assert_eq!(attempts, 1, "in the closure, with DDL of its own");
    }
}
