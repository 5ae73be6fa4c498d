//! A table of each way in which a column can be an `hstore`, on the newer server of an [`Upgrade`].

use std::collections::BTreeMap;

use diesel::prelude::*;
use fixture::Upgrade;
use testbed::PgBouncerConfig;

pub(crate) type Ordered = BTreeMap<String, Option<String>>;

diesel::table! {
    use diesel::sql_types::*;
    use diesel_postgres_hot_upgrade::hstore::Hstore;

    samples (id) {
        id -> Int8,
        pairs -> Hstore,
        maybe -> Nullable<Hstore>,
        versions -> Array<Hstore>,
        gaps -> Nullable<Array<Nullable<Hstore>>>,
        key -> Nullable<Text>,
        keys -> Nullable<Array<Text>>,
    }
}

const SAMPLES: &str = "CREATE TABLE samples (
    id bigserial PRIMARY KEY,
    pairs hstore NOT NULL DEFAULT 'by=>default',
    maybe hstore DEFAULT 'by=>default',
    versions hstore[] NOT NULL DEFAULT '{}',
    gaps hstore[],
    key text,
    keys text[]
)";

/// The database has to outlive the connection: it is the first of the two for that.
pub(crate) fn open_samples() -> (Upgrade, PgConnection) {
    let upgrade = Upgrade::start(PgBouncerConfig::default()).expect("two servers and a pooler");
    upgrade.run_on(upgrade.new, SAMPLES).expect("a table");
    let conn = PgConnection::establish(&upgrade.new.url(&upgrade.database)).expect("a connection");
    (upgrade, conn)
}

pub(crate) fn map(pairs: &[(&str, Option<&str>)]) -> Ordered {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect()
}
