//! A switch while the pool is open, for every kind of type, and all of them created anew on one server.

use diesel::connection::CacheSize;
use diesel::prelude::*;
use fixture::Upgrade;
use testbed::{Cluster, PgBouncerConfig};

use crate::support::kinds::Verdict;
use crate::support::kinds::list::{DOMAINS, EVERYWHERE, FROM_14, Kind};
use crate::support::kinds::sql_types::{Isbn, Wire};
use crate::support::pools::{hot_pool, stock_pool, upgrade};

/// The types, after `unused` OIDs that let each server number them otherwise.
fn create(upgrade: &Upgrade, server: &Cluster, unused: u32) {
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

struct Use {
    name: String,
    run: fn(&mut PgConnection) -> Verdict,
    /// Does it name a type? COPY names none, so a stock pool is right as well.
    breaks_stock: bool,
}

fn plain(kind: &Kind) -> Use {
    Use { name: format!("{}, alone", kind.name), run: kind.plain, breaks_stock: true }
}

fn in_arrays(kind: &Kind) -> Use {
    Use { name: format!("{}, arrays", kind.name), run: kind.many, breaks_stock: true }
}

fn arrays(kind: &Kind) -> [Use; 2] {
    [in_arrays(kind), Use { name: format!("{}, copied", kind.name), run: kind.copied, breaks_stock: false }]
}

/// Each use before the switch, after it, and on the way back; each by a stock pool that has to fail.
fn survives(upgrade: &Upgrade, uses: &[Use]) {
    create(upgrade, upgrade.old, 10);
    create(upgrade, upgrade.new, 700);
    let hot = hot_pool(&upgrade.url(), 1, CacheSize::Unbounded);
    for Use { name, run, .. } in uses {
        assert_eq!(run(&mut hot.get().expect("a connection")), Ok(()), "{name}, before the switch");
    }
    for server in [upgrade.new, upgrade.old] {
        let stock = stock_pool(&upgrade.url(), 1, CacheSize::Unbounded);
        for Use { name, run, .. } in uses {
            assert_eq!(run(&mut stock.get().expect("a connection")), Ok(()), "{name}, stock");
        }

        upgrade.switch_to(server).expect("a switch");

        for Use { name, run, breaks_stock } in uses {
            let verdict = run(&mut hot.get().expect("a connection"));
            assert_eq!(verdict, Ok(()), "{name}, on {}", server.major());
            let control = run(&mut stock.get().expect("a connection"));
            assert_eq!(control.is_err(), *breaks_stock, "{name}, the control on {}: {control:?}", server.major());
        }
    }
}

#[test]
fn every_kind_of_type_survives_a_switch_from_10_to_12() {
    let upgrade = upgrade();
    let mut uses: Vec<_> = EVERYWHERE.iter().chain(DOMAINS).map(plain).collect();
    uses.extend(EVERYWHERE.iter().flat_map(arrays));
    survives(&upgrade, &uses);
}

#[test]
fn multiranges_and_arrays_of_domains_survive_a_switch_from_14_to_17() {
    let config = PgBouncerConfig::default();
    let upgrade =
        Upgrade::between(Cluster::shared(14), Cluster::shared(17), config).expect("two servers and a pooler");
    let kinds = || EVERYWHERE.iter().chain(DOMAINS).chain(FROM_14);
    let uses: Vec<_> = kinds().map(plain).chain(kinds().flat_map(arrays)).collect();
    survives(&upgrade, &uses);
}

/// Each use before and after all types were created anew; each by a stock pool that has to fail. Past PgBouncer, whose
/// own prepared statements are another matter.
fn survives_on_one_server(upgrade: &Upgrade, uses: &[Use]) {
    let server = upgrade.old;
    create(upgrade, server, 10);
    let url = server.url(&upgrade.database);
    let (hot, stock) = (hot_pool(&url, 1, CacheSize::Unbounded), stock_pool(&url, 1, CacheSize::Unbounded));
    for Use { name, run, .. } in uses {
        assert_eq!(run(&mut hot.get().expect("a connection")), Ok(()), "{name}");
        assert_eq!(run(&mut stock.get().expect("a connection")), Ok(()), "{name}, stock");
    }

    let drop_all = "DROP SCHEMA kinds CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public;
        CREATE TABLE documents (); CREATE EXTENSION hstore; CREATE EXTENSION citext";
    upgrade.run_on(server, drop_all).expect("no types");
    create(upgrade, server, 10);

    for Use { name, run, .. } in uses {
        assert_eq!(run(&mut hot.get().expect("a connection")), Ok(()), "{name}, created anew");
        run(&mut stock.get().expect("a connection")).expect_err(name);
    }
}

#[test]
fn every_kind_of_type_is_created_anew_on_10() {
    let mut uses: Vec<_> = EVERYWHERE.iter().chain(DOMAINS).map(plain).collect();
    uses.extend(EVERYWHERE.iter().map(in_arrays));
    survives_on_one_server(&upgrade(), &uses);
}

#[test]
fn multiranges_and_arrays_of_domains_are_created_anew_on_14() {
    let config = PgBouncerConfig::default();
    let upgrade =
        Upgrade::between(Cluster::shared(14), Cluster::shared(17), config).expect("two servers and a pooler");
    let kinds = || EVERYWHERE.iter().chain(DOMAINS).chain(FROM_14);
    let uses: Vec<_> = kinds().map(plain).chain(kinds().map(in_arrays)).collect();
    survives_on_one_server(&upgrade, &uses);
}

/// The types of `isn` have no binary form in any version, and Diesel knows no other: nothing here could bind one.
#[test]
fn a_type_without_a_binary_form_is_refused_by_its_name_and_breaks_nothing_else() {
    let upgrade = upgrade();
    create(&upgrade, upgrade.old, 10);
    create(&upgrade, upgrade.new, 700);
    let bind = |conn: &mut PgConnection| {
        let isbn = Wire::<Isbn>::new("0-393-04002-X").into_sql::<Isbn>();
        diesel::select(isbn.is_not_null()).get_result::<bool>(conn).map_err(|error| error.to_string())
    };
    let refused = Err("no binary input function available for type isbn".to_owned());
    let hot = hot_pool(&upgrade.url(), 1, CacheSize::Unbounded);
    let stock = stock_pool(&upgrade.url(), 1, CacheSize::Unbounded);
    for server in [upgrade.old, upgrade.new, upgrade.old, upgrade.new] {
        upgrade.switch_to(server).expect("a switch");
        assert_eq!(bind(&mut hot.get().expect("a connection")), refused, "on {}", server.major());
        assert_eq!((crate::support::kinds::list::mood::KIND.plain)(&mut hot.get().expect("a connection")), Ok(()));
        if server.major() == upgrade.old.major() {
            assert_eq!(bind(&mut stock.get().expect("a connection")), refused);
        }
    }
    assert_ne!(bind(&mut stock.get().expect("a connection")), refused, "the control takes it for another type");
}
