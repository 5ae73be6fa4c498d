//! Maps are written and read as what they are.

use std::cell::RefCell;
use std::collections::HashMap;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Int8, Nullable, Text};
use diesel_postgres_hot_upgrade::hstore::{Hstore, HstoreMap};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::schema::{Ordered, map, open_samples, samples};

type Hashed = HashMap<String, Option<String>>;

fn hashed(pairs: &[(&str, Option<&str>)]) -> Hashed {
    map(pairs).into_iter().collect()
}

/// What the server itself has in a column, without this crate's reading.
fn on_the_server(conn: &mut PgConnection, column: &str) -> Vec<Option<Ordered>> {
    type Row = (Option<Vec<String>>, Option<Vec<Option<String>>>);
    let rows: Vec<Row> = samples::table
        .select((
            sql::<Nullable<Array<Text>>>(&format!("akeys({column})")),
            sql::<Nullable<Array<Nullable<Text>>>>(&format!("avals({column})")),
        ))
        .order(samples::id)
        .load(conn)
        .expect("keys and values");
    rows.into_iter().map(|(keys, values)| Some(keys?.into_iter().zip(values?).collect())).collect()
}

/// Maps as they are.
#[derive(Debug, Clone, PartialEq, Insertable, Queryable, Selectable)]
#[diesel(table_name = samples)]
struct Plain {
    #[diesel(serialize_as = HstoreMap)]
    pairs: Hashed,
    #[diesel(treat_none_as_default_value = false)]
    maybe: Option<Ordered>,
    versions: Vec<Ordered>,
    gaps: Option<Vec<Option<Hashed>>>,
}

/// The same, wrapped.
#[derive(Debug, Clone, PartialEq, Insertable, AsChangeset, Queryable, Selectable)]
#[diesel(table_name = samples)]
struct Wrapped {
    pairs: HstoreMap,
    maybe: Option<HstoreMap<Ordered>>,
    versions: Vec<HstoreMap<Ordered>>,
    gaps: Option<Vec<Option<HstoreMap>>>,
}

/// Its `None` is NULL.
#[derive(AsChangeset)]
#[diesel(table_name = samples, treat_none_as_null = true)]
struct Change {
    #[diesel(serialize_as = HstoreMap)]
    pairs: Hashed,
    maybe: Option<HstoreMap<Ordered>>,
    versions: Vec<Ordered>,
}

fn plain() -> Plain {
    Plain {
        pairs: hashed(&[("a", Some("1")), ("b", None), ("", Some("")), ("\"ä\" => '\\", Some("NULL, \n"))]),
        maybe: Some(map(&[("c", None)])),
        versions: vec![map(&[]), map(&[("d", Some("4"))])],
        gaps: Some(vec![None, Some(hashed(&[("e", Some("5"))])), None]),
    }
}

fn wrapped(plain: Plain) -> Wrapped {
    Wrapped {
        pairs: HstoreMap(plain.pairs),
        maybe: plain.maybe.map(HstoreMap),
        versions: plain.versions.into_iter().map(HstoreMap).collect(),
        gaps: plain.gaps.map(|gaps| gaps.into_iter().map(|gap| gap.map(HstoreMap)).collect()),
    }
}

#[test]
fn structs_are_inserted_changed_and_read() {
    let (_upgrade, mut conn) = open_samples();
    let conn = &mut conn;
    diesel::insert_into(samples::table).values(plain()).execute(conn).expect("an insert of maps");
    diesel::insert_into(samples::table).values(&wrapped(plain())).execute(conn).expect("an insert of HstoreMaps");
    let expected = Some(plain().pairs.into_iter().collect());
    assert_eq!(on_the_server(conn, "pairs"), [expected.clone(), expected]);
    assert_eq!(on_the_server(conn, "maybe"), [plain().maybe, plain().maybe]);
    assert_eq!(
        on_the_server(conn, "versions[2]"),
        [Some(map(&[("d", Some("4"))])), Some(map(&[("d", Some("4"))]))]
    );

    let rows = samples::table.select(Plain::as_select()).load(conn).expect("rows of maps");
    assert_eq!(rows, [plain(), plain()]);
    let rows = samples::table.select(Wrapped::as_select()).load(conn).expect("rows of HstoreMaps");
    assert_eq!(rows, [wrapped(plain()), wrapped(plain())]);

    let changed = Wrapped { maybe: None, gaps: None, ..wrapped(plain()) };
    diesel::update(samples::table).set(&changed).execute(conn).expect("an update that leaves what is None");
    let rows = samples::table.select(Wrapped::as_select()).load(conn).expect("rows of HstoreMaps");
    assert_eq!(rows, [wrapped(plain()), wrapped(plain())]);
    let change = Change { pairs: hashed(&[]), maybe: None, versions: vec![] };
    diesel::update(samples::table).set(change).execute(conn).expect("an update to NULL");
    let changed = Plain { pairs: hashed(&[]), maybe: None, versions: vec![], gaps: plain().gaps };
    let rows = samples::table.select(Plain::as_select()).load(conn).expect("rows of maps");
    assert_eq!(rows, [changed.clone(), changed]);
}

#[test]
fn none_is_null_or_the_default_as_diesel_is_told() {
    let (_upgrade, mut conn) = open_samples();
    let conn = &mut conn;
    let nothing = Plain { maybe: None, ..plain() };
    diesel::insert_into(samples::table).values(nothing.clone()).execute(conn).expect("an insert of maps");
    diesel::insert_into(samples::table).values(&wrapped(nothing)).execute(conn).expect("an insert of HstoreMaps");
    assert_eq!(on_the_server(conn, "maybe"), [None, Some(map(&[("by", Some("default"))]))]);
}

#[test]
fn values_stand_where_diesel_takes_expressions() {
    let (_upgrade, mut conn) = open_samples();
    let conn = &mut conn;
    let (green, red) = (map(&[("color", Some("green"))]), hashed(&[("color", Some("red"))]));
    diesel::insert_into(samples::table)
        .values((samples::pairs.eq(HstoreMap(&green)), samples::maybe.eq(HstoreMap(&red))))
        .execute(conn)
        .expect("an insert of references");
    diesel::insert_into(samples::table)
        .values(vec![
            (samples::pairs.eq(HstoreMap(red.clone())), samples::maybe.eq(Some(red.clone()))),
            (samples::pairs.eq(HstoreMap(red.clone())), samples::maybe.eq(None)),
        ])
        .execute(conn)
        .expect("an insert of several rows");

    let all = samples::table.count();
    assert_eq!(all.filter(samples::pairs.eq(HstoreMap(&green))).get_result(conn), Ok(1_i64));
    assert_eq!(all.filter(samples::pairs.ne(HstoreMap(&green))).get_result(conn), Ok(2_i64));
    assert_eq!(all.filter(samples::maybe.eq(Some(&red))).get_result(conn), Ok(2_i64));
    assert_eq!(all.filter(samples::maybe.is_not_distinct_from(None::<Hashed>)).get_result(conn), Ok(1_i64));
    assert_eq!(all.filter(samples::pairs.eq_any([HstoreMap(&green)])).get_result(conn), Ok(1_i64));
    assert_eq!(all.filter(samples::pairs.nullable().eq(samples::maybe)).get_result(conn), Ok(1_i64));

    diesel::update(samples::table)
        .set((samples::pairs.eq(HstoreMap(&green)), samples::maybe.eq(None::<Hashed>)))
        .execute(conn)
        .expect("an update");
    assert_eq!(on_the_server(conn, "pairs"), vec![Some(green); 3]);
    assert_eq!(on_the_server(conn, "maybe"), [None, None, None]);
}

#[test]
fn the_servers_own_values_are_read() {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Hstore)]
        pairs: Ordered,
        #[diesel(sql_type = Nullable<Hstore>)]
        nothing: Option<Hashed>,
        #[diesel(sql_type = Int8)]
        bytes: i64,
    }
    let (_upgrade, mut conn) = open_samples();
    let row: Row = diesel::sql_query(
        r#"SELECT 'a=>1, "b"=>NULL, "c"=>"NULL", ""=>"", a=>twice, "ä\\"=>"\""'::hstore AS pairs, NULL::hstore AS nothing,
            octet_length(hstore_send('a=>1'))::bigint AS bytes"#,
    )
    .get_result(&mut conn)
    .expect("a row");
    let expected = map(&[("a", Some("1")), ("b", None), ("c", Some("NULL")), ("", Some("")), ("ä\\", Some("\""))]);
    assert_eq!(row.pairs, expected);
    assert_eq!((row.nothing, row.bytes), (None, 14));
}

#[test]
fn any_map_survives_the_server() {
    let (_upgrade, conn) = open_samples();
    let conn = RefCell::new(conn);
    // No server takes `\0` in a text.
    let text = || "[^\\x00]{0,20}";
    let maps = proptest::collection::btree_map(text(), proptest::option::of(text()), 0..30);
    TestRunner::new(Config { cases: 128, failure_persistence: None, ..Config::default() })
        .run(&maps, |map| {
            let hashed: Hashed = map.clone().into_iter().collect();
            let (ordered, is_the_same): (Ordered, bool) = diesel::select((
                HstoreMap(&map).into_sql::<Hstore>(),
                HstoreMap(&map).into_sql::<Hstore>().eq(HstoreMap(&hashed)),
            ))
            .get_result(&mut *conn.borrow_mut())
            .expect("there and back");
            prop_assert_eq!(ordered, map);
            prop_assert!(is_the_same);
            Ok(())
        })
        .expect("any map");
}

#[test]
fn long_texts_and_many_pairs_survive_the_server() {
    let (_upgrade, mut conn) = open_samples();
    for length in [65_534, 65_535, 65_536, 5_000_000] {
        let text = "ä".repeat(length / 2) + &"x".repeat(length % 2);
        let long = Ordered::from([(text.clone(), Some(text.clone())), ("other".to_owned(), Some(text.clone()))]);
        let (back, is_the_text): (Ordered, bool) = diesel::select((
            HstoreMap(&long).into_sql::<Hstore>(),
            sql::<Bool>("").bind::<Hstore, _>(HstoreMap(&long)).sql(" -> 'other' = ").bind::<Text, _>(&text),
        ))
        .get_result(&mut conn)
        .expect("long texts");
        assert!(back == long && is_the_text, "{length} bytes");
    }
    let many: Hashed = (0..50_000).map(|number| (number.to_string(), Some(format!("value {number}")))).collect();
    let back: Hashed =
        diesel::select(HstoreMap(&many).into_sql::<Hstore>()).get_result(&mut conn).expect("many pairs");
    assert!(back == many);
}

#[test]
fn what_the_server_refuses_is_an_error_and_the_connection_goes_on() {
    let (upgrade, mut conn) = open_samples();
    let conn = &mut conn;
    let zero = map(&[("a\0b", Some("1"))]);
    diesel::select(HstoreMap(zero).into_sql::<Hstore>())
        .get_result::<Ordered>(conn)
        .expect_err("no \\0 in a text");
    assert_eq!(diesel::select(HstoreMap(map(&[])).into_sql::<Hstore>()).get_result(conn), Ok(map(&[])));

    upgrade.run_on(upgrade.old, "DROP EXTENSION hstore CASCADE").expect("no hstore on the older server");
    let mut without = PgConnection::establish(&upgrade.old.url(&upgrade.database)).expect("a connection");
    let error = diesel::select(HstoreMap(map(&[])).into_sql::<Hstore>())
        .get_result::<Ordered>(&mut without)
        .expect_err("no such type")
        .to_string();
    assert!(error.contains("hstore"), "{error}");
}
