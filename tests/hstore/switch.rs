//! Maps and operators on a pool whose server is replaced.

use std::time::Duration;

use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, ManageConnection, Pool};
use diesel_postgres_hot_upgrade::hstore::{HstoreExpressionMethods, HstoreMap};
use diesel_postgres_hot_upgrade::{HotUpgradeCustomizer, HotUpgradeManager};
use fixture::{Code, Status, Upgrade};
use testbed::PgBouncerConfig;

use crate::schema::{Ordered, map};

diesel::table! {
    use diesel::sql_types::*;
    use diesel_postgres_hot_upgrade::hstore::Hstore;
    use fixture::sql_types::{DocumentCode, DocumentStatus};

    documents (id) {
        id -> Int8,
        title -> Citext,
        attributes -> Hstore,
        status -> DocumentStatus,
        code -> DocumentCode,
    }
}

const SIZE: u32 = 4;

fn builder<M: ManageConnection>() -> diesel::r2d2::Builder<M> {
    Pool::builder().max_size(SIZE).connection_timeout(Duration::from_secs(10))
}

/// Writes a map, and finds it by itself, by its operators and by arrays of maps.
fn write_and_read_back(conn: &mut PgConnection) -> Result<(), String> {
    let attributes = map(&[("color", Some("green")), ("discount", None)]);
    let id: i64 = diesel::insert_into(documents::table)
        .values((
            documents::title.eq("hstore"),
            documents::attributes.eq(HstoreMap(&attributes)),
            documents::status.eq(Status::Draft),
            documents::code.eq(Code("DE-1".to_owned())),
        ))
        .returning(documents::id)
        .get_result(conn)
        .map_err(|error| format!("insert: {error}"))?;
    let found: Result<Vec<(Ordered, Option<String>)>, _> = documents::table
        .find(id)
        .filter(documents::attributes.eq(HstoreMap(&attributes)))
        .filter(documents::attributes.contains(&attributes))
        .filter(documents::attributes.has_all_keys(vec!["color", "discount"]))
        .filter(documents::attributes.eq_any(vec![HstoreMap(&attributes)]))
        .select((documents::attributes.remove("discount"), documents::attributes.get("color")))
        .load(conn);
    match found {
        Ok(found) if found == [(map(&[("color", Some("green"))]), Some("green".to_owned()))] => Ok(()),
        Ok(found) => Err(format!("wrong answer: {found:?}")),
        Err(error) => Err(format!("select: {error}")),
    }
}

/// What went wrong on each connection, all checked out at once.
fn use_every_connection<M: ManageConnection<Connection = PgConnection>>(pool: &Pool<M>) -> Vec<String> {
    let mut checked_out: Vec<_> = (0..SIZE).map(|_| pool.get()).collect();
    checked_out
        .iter_mut()
        .filter_map(|conn| match conn {
            Ok(conn) => write_and_read_back(conn).err(),
            Err(error) => Some(format!("checkout: {error}")),
        })
        .collect()
}

#[test]
fn maps_and_operators_survive_a_switch_and_the_way_back() {
    const NOTHING_WRONG: &[String] = &[];
    let upgrade = Upgrade::start(PgBouncerConfig::default()).expect("two servers and a pooler");
    let hot = builder()
        .connection_customizer(Box::new(HotUpgradeCustomizer::new()))
        .build(HotUpgradeManager::new(upgrade.url()))
        .expect("a protected pool");
    assert_eq!(use_every_connection(&hot), NOTHING_WRONG);

    for server in [upgrade.new, upgrade.old] {
        let stock = builder().build(ConnectionManager::<PgConnection>::new(upgrade.url())).expect("a stock pool");
        assert_eq!(use_every_connection(&stock), NOTHING_WRONG);

        upgrade.switch_to(server).expect("a switch");

        assert_eq!(use_every_connection(&hot), NOTHING_WRONG, "protected, on {}", server.major());
        assert_eq!(use_every_connection(&stock).len(), SIZE as usize, "the control, on {}", server.major());
    }
}
