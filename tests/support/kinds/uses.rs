//! The types of every kind on a server, and what is done with each.

use fixture::Upgrade;
use testbed::Cluster;

use crate::support::drivers::{Driver, Session};
use crate::support::kinds::Verdict;
use crate::support::kinds::list::{DOMAINS, EVERYWHERE, FROM_14, Kind};

/// The types, after `unused` OIDs that let each server number them otherwise.
pub(crate) fn create(upgrade: &Upgrade, server: &Cluster, unused: u32) {
    let from_11 = server.major() >= 11;
    let from_14 = server.major() >= 14;
    let optional = |sql: &str, is_there: bool| if is_there { sql.to_owned() } else { String::new() };
    let types = [
        format!(
            "CREATE SCHEMA kinds; DROP TABLE documents; DROP EXTENSION citext; DROP EXTENSION hstore;
             SELECT lo_create(0) FROM generate_series(1, {unused});
             CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION isn;
             CREATE TYPE mood AS ENUM ('happy');
             CREATE TYPE citext_range AS RANGE (subtype = citext);
             CREATE TYPE mood_range AS RANGE (subtype = mood);
             CREATE TYPE citizen AS (name citext, mood mood);
             CREATE TYPE household AS (head citizen, others citizen[]);
             CREATE DOMAIN hstore_domain AS hstore; CREATE DOMAIN citext_domain AS citext;
             CREATE DOMAIN mood_domain AS mood; CREATE DOMAIN domain_domain AS mood_domain;
             CREATE DOMAIN range_domain AS citext_range;"
        ),
        optional("CREATE DOMAIN citizen_domain AS citizen;", from_11),
        optional(
            "CREATE EXTENSION ltree; CREATE EXTENSION cube; CREATE DOMAIN ltree_domain AS ltree;
             CREATE DOMAIN cube_domain AS cube; CREATE DOMAIN multirange_domain AS citext_multirange;",
            from_14,
        ),
    ];
    upgrade.run_on(server, &types.concat()).expect("types");
    let tables = EVERYWHERE.iter().map(|kind| (kind, true));
    let tables = tables.chain(DOMAINS.iter().map(|kind| (kind, from_11)));
    let tables = tables.chain(FROM_14.iter().filter(|_| from_14).map(|kind| (kind, true)));
    for (Kind { name, .. }, has_array) in tables {
        let many = if has_array { name } else { "text" };
        let table = format!(
            "CREATE TABLE kinds.{name} (id bigserial PRIMARY KEY, plain {name}, many {many}[] NOT NULL DEFAULT '{{}}')"
        );
        upgrade.run_on(server, &table).expect("a table");
    }
}

pub(crate) struct Use {
    pub(crate) name: String,
    pub(crate) run: fn(&mut Session<'_>) -> Verdict,
    /// Does it name a type? COPY names none, so a stock pool is right as well.
    pub(crate) breaks_stock: bool,
}

pub(crate) fn plain(kind: &Kind) -> Use {
    Use { name: format!("{}, alone", kind.name), run: kind.plain, breaks_stock: true }
}

pub(crate) fn in_arrays(kind: &Kind) -> Use {
    Use { name: format!("{}, arrays", kind.name), run: kind.many, breaks_stock: true }
}

/// What the driver can do with arrays.
pub(crate) fn arrays(driver: Driver) -> impl Fn(&Kind) -> Vec<Use> {
    move |kind| {
        let mut uses = vec![in_arrays(kind)];
        if driver == Driver::Blocking {
            uses.push(Use { name: format!("{}, copied", kind.name), run: kind.copied, breaks_stock: false });
        }
        uses
    }
}
