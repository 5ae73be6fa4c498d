//! `diesel_full_text_search`. `tsvector`, `tsquery` and `regconfig` are built in and have the same OIDs everywhere, so
//! there is nothing to protect from: a stock pool is right too.

use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_full_text_search::configuration::{TsConfiguration, TsConfigurationByName};
use diesel_full_text_search::*;
use fixture::on_every_connection;

use crate::servers::from_14_to_17;
use crate::switch::{NOTHING_WRONG, Use, Verdict, expect, hot_pool, stock_pool, survives};

diesel::table! {
    use diesel::sql_types::*;
    use diesel_full_text_search::TsVector;

    notes (id) {
        id -> Int4,
        body -> Text,
        searchable -> TsVector,
    }
}

const CREATE: &str = "CREATE TEXT SEARCH CONFIGURATION prose (COPY = english);
    CREATE TABLE notes (id serial PRIMARY KEY, body text NOT NULL, searchable tsvector NOT NULL);
    INSERT INTO notes (body, searchable)
    SELECT body, to_tsvector('prose', body) FROM unnest(ARRAY['fat cats ate', 'a rat ran', 'cats and rats']) body;
    CREATE INDEX ON notes USING gin (searchable)";

const PROSE: TsConfigurationByName = TsConfigurationByName("prose");

fn inserted(conn: &mut PgConnection) -> Verdict {
    let vector = to_tsvector_with_search_config::<Text, _, _>(PROSE, "many dogs");
    let insert = diesel::insert_into(notes::table)
        .values((notes::body.eq("many dogs"), notes::searchable.eq(vector)))
        .returning(notes::searchable);
    let entry = |lexeme: &str, position| PgTsVectorEntry { lexeme: lexeme.to_owned(), positions: vec![position] };
    expect(insert.get_result(conn), &PgTsVector { entries: vec![entry("dog", 2), entry("mani", 1)] })?;
    expect(diesel::delete(notes::table.filter(notes::body.eq("many dogs"))).execute(conn), &1)
}

fn matched(conn: &mut PgConnection) -> Verdict {
    let query = to_tsquery_with_search_config(PROSE, "cat & !rat");
    expect(notes::table.filter(notes::searchable.matches(query)).select(notes::id).load(conn), &vec![1])
}

fn ranked(conn: &mut PgConnection) -> Verdict {
    let query = || websearch_to_tsquery_with_search_config(PROSE, "rats or \"fat cats\"");
    let headline = ts_headline_with_search_config(PROSE, notes::body, query());
    let found = notes::table
        .filter(notes::searchable.matches(query()))
        .order((ts_rank_cd(notes::searchable, query()).desc(), notes::id))
        .select((notes::id, headline));
    let wanted = [(1, "<b>fat</b> <b>cats</b> ate"), (2, "a <b>rat</b> ran"), (3, "<b>cats</b> and <b>rats</b>")];
    expect(found.load(conn), &wanted.map(|(id, headline)| (id, headline.to_owned())).to_vec())
}

/// A bind of `regconfig`, which Diesel looks up by its name. (The crate's type for it has no `QueryId`: hence the box.)
fn matching_in(conn: &mut PgConnection, configuration: u32) -> QueryResult<Vec<i32>> {
    let vector = to_tsvector_with_search_config::<Text, _, _>(TsConfiguration(configuration), notes::body);
    let matched = notes::table.into_boxed().filter(vector.matches(to_tsquery_with_search_config(PROSE, "rat")));
    matched.order(notes::id).select(notes::id).load(conn)
}

fn in_a_bound_configuration(conn: &mut PgConnection) -> Verdict {
    expect(matching_in(conn, TsConfiguration::SIMPLE.0), &vec![2])
}

#[test]
fn full_text_search_needs_no_protection_and_goes_on_with_it() {
    let upgrade = from_14_to_17(CREATE, &[]);
    survives(
        &upgrade,
        &[
            Use::of_built_in_type("insert", inserted),
            Use::of_built_in_type("@@", matched),
            Use::of_built_in_type("ts_rank_cd and ts_headline", ranked),
            Use::of_built_in_type("a bound configuration", in_a_bound_configuration),
        ],
    );
}

/// The crate knows a configuration by its OID or by its name. An OID is what the application remembers, and no type.
#[test]
fn a_configuration_that_is_known_by_its_oid_is_lost_in_both_pools() {
    let upgrade = from_14_to_17(CREATE, &[]);
    let [old, new] = [upgrade.old, upgrade.new].map(|server| {
        let mut client = server.client(&upgrade.database).expect("a connection");
        client.query_one("SELECT 'prose'::regconfig::oid", &[]).expect("an OID").get::<_, u32>(0)
    });
    assert_ne!(old, new);
    let in_old = |conn: &mut PgConnection| expect(matching_in(conn, old), &vec![2, 3]);
    let in_new = |conn: &mut PgConnection| expect(matching_in(conn, new), &vec![2, 3]);
    let (hot, stock) = (hot_pool(&upgrade), stock_pool(&upgrade));
    assert_eq!(on_every_connection(&hot, in_old), NOTHING_WRONG);
    assert_eq!(on_every_connection(&stock, in_old), NOTHING_WRONG);

    upgrade.switch_to(upgrade.new).expect("a switch");

    for wrong in [on_every_connection(&hot, in_old), on_every_connection(&stock, in_old)] {
        let unknown = format!("cache lookup failed for text search configuration {old}");
        assert_eq!(wrong, [unknown.clone(), unknown.clone(), unknown]);
    }
    assert_eq!(on_every_connection(&hot, in_new), NOTHING_WRONG);
    assert_eq!(on_every_connection(&stock, in_new), NOTHING_WRONG);
}
