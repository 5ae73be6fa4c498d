//! Two servers and a pooler, the same types with other OIDs on each server.

use std::sync::LazyLock;

use fixture::Upgrade;
use testbed::{Cluster, Error, PgBouncerConfig};

/// PostgreSQL 14 and 17. (Before 13, `ltree` has no binary form, and Diesel knows no other.)
pub(crate) fn from_14_to_17(create: &str, types: &[&str]) -> Upgrade {
    between(Cluster::shared(14), Cluster::shared(17), create, types)
}

/// Two servers that have PostGIS and pgvector, of the one version that Debian packages both for.
pub(crate) fn with_postgis_and_pgvector(create: &str, types: &[&str]) -> Upgrade {
    static SERVERS: LazyLock<Result<[Cluster; 2], Error>> = LazyLock::new(|| {
        Ok([Cluster::start_with_postgis_and_pgvector()?, Cluster::start_with_postgis_and_pgvector()?])
    });
    let [old, new] = SERVERS.as_ref().unwrap_or_else(|error| panic!("{error}"));
    between(old, new, create, types)
}

fn between(old: &'static Cluster, new: &'static Cluster, create: &str, types: &[&str]) -> Upgrade {
    let upgrade = Upgrade::between(old, new, PgBouncerConfig::default()).expect("two servers and a pooler");
    upgrade.create_apart(create).expect("types");
    for name in types {
        let [old, new] = upgrade.oids_of_type(name).expect("OIDs");
        assert_ne!(old, new, "the OID of {name} on both servers");
    }
    upgrade
}
