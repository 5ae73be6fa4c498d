//! Through Diesel, each operator says what the server says to the same expression in SQL.

use std::cell::RefCell;
use std::collections::HashSet;

use diesel::dsl::{count_star, sql};
use diesel::expression::SqlLiteral;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Nullable, Text};
use diesel_postgres_hot_upgrade::hstore::{Hstore, HstoreExpressionMethods, HstoreMap, dsl};
use fixture::Upgrade;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::schema::{Ordered, map, open_samples, samples};

/// Rows with and without each key, with NULL for its value, and with NULL for everything else that can be.
fn filled() -> (Upgrade, PgConnection) {
    let (upgrade, conn) = open_samples();
    upgrade
        .run_on(
            upgrade.new,
            r#"INSERT INTO samples (pairs, maybe, key, keys) VALUES
                ('', NULL, 'a', '{}'),
                ('a=>1', '', NULL, '{a}'),
                ('a=>NULL', 'a=>1', 'a', NULL),
                ('a=>1, b=>2, c=>NULL', 'a=>1, b=>3', 'c', '{a,b}'),
                ('a=>"", b=>NULL, "d e"=>"\"quoted\""', 'a=>"", b=>NULL, "d e"=>"\"quoted\"", f=>6', 'd e', '{zz,b}'),
                ('b=>2, "ä"=>1', 'b=>2, "ä"=>1', 'zz', '{zz,a,b}')"#,
        )
        .expect("rows");
    (upgrade, conn)
}

/// Both answers for all rows have to be equal, and not the same for each row.
fn compare<T: PartialEq + std::fmt::Debug>(sql: &str, diesel: QueryResult<Vec<T>>, server: QueryResult<Vec<T>>) {
    let server = server.expect(sql);
    assert_eq!(diesel.expect(sql), server, "{sql}");
    assert_eq!(server.len(), 6);
    assert!(server.iter().any(|answer| *answer != server[0]), "{sql} tells nothing: {server:?}");
}

macro_rules! agree {
    ($conn:expr, $sql_type:ty as $rust:ty: $($diesel:expr => $sql:literal,)*) => {$(
        compare::<$rust>(
            $sql,
            samples::table.select($diesel).order(samples::id).load($conn),
            samples::table.select(sql::<$sql_type>($sql)).order(samples::id).load($conn),
        );
    )*};
}

/// The server's hstores are read as arrays here, without the crate.
macro_rules! agree_on_hstore {
    ($conn:expr, $rust:ty: $($diesel:expr => $sql:literal,)*) => {$(
        compare::<Option<Ordered>>(
            $sql,
            samples::table.select($diesel).order(samples::id).load::<$rust>($conn)
                .map(|rows| rows.into_iter().map(Into::into).collect()),
            samples::table.select(arrays($sql)).order(samples::id).load($conn)
                .map(|rows| rows.into_iter().map(from_arrays).collect()),
        );
    )*};
}

type Arrays = (Option<Vec<String>>, Option<Vec<Option<String>>>);
type SqlArrays = (Nullable<Array<Text>>, Nullable<Array<Nullable<Text>>>);

fn arrays(hstore: &str) -> SqlLiteral<SqlArrays> {
    sql(&format!("akeys({hstore}), avals({hstore})"))
}

fn from_arrays((keys, values): Arrays) -> Option<Ordered> {
    Some(keys?.into_iter().zip(values?).collect())
}

#[test]
fn values_of_keys() {
    let (_upgrade, mut conn) = filled();
    agree!(&mut conn, Nullable<Text> as Option<String>:
        samples::pairs.get("a") => "pairs -> 'a'",
        samples::pairs.get("ä".to_owned()) => "pairs -> 'ä'",
        samples::maybe.get("d e") => "maybe -> 'd e'",
        samples::pairs.get(samples::key) => "pairs -> key",
        samples::maybe.get(samples::key) => "maybe -> key",
        samples::pairs.get(samples::key.assume_not_null()) => "pairs -> key",
    );
    agree!(&mut conn, Array<Nullable<Text>> as Vec<Option<String>>:
        samples::pairs.get_many(vec!["b", "zz", "a"]) => "pairs -> ARRAY['b', 'zz', 'a']",
    );
    agree!(&mut conn, Nullable<Array<Nullable<Text>>> as Option<Vec<Option<String>>>:
        samples::maybe.get_many(vec!["a".to_owned()]) => "maybe -> ARRAY['a']",
        samples::maybe.get_many(Vec::<String>::new()) => "maybe -> ARRAY[]::text[]",
        samples::pairs.get_many(samples::keys) => "pairs -> keys",
    );
}

#[test]
fn presence_of_keys() {
    let (_upgrade, mut conn) = filled();
    agree!(&mut conn, Bool as bool:
        samples::pairs.has_key("a") => "pairs ? 'a'",
        samples::pairs.has_any_key(vec!["c", "d e"]) => "pairs ?| ARRAY['c', 'd e']",
        samples::pairs.has_all_keys(vec!["a", "b"]) => "pairs ?& ARRAY['a', 'b']",
    );
    agree!(&mut conn, Nullable<Bool> as Option<bool>:
        samples::maybe.has_key("a") => "maybe ? 'a'",
        samples::pairs.has_key(samples::key) => "pairs ? key",
        samples::maybe.has_any_key(vec!["a", "zz"]) => "maybe ?| ARRAY['a', 'zz']",
        samples::maybe.has_any_key(Vec::<&str>::new()) => "maybe ?| ARRAY[]::text[]",
        samples::pairs.has_any_key(samples::keys) => "pairs ?| keys",
        samples::maybe.has_all_keys(Vec::<&str>::new()) => "maybe ?& ARRAY[]::text[]",
        samples::pairs.has_all_keys(samples::keys) => "pairs ?& keys",
    );
}

#[test]
fn containment() {
    let (_upgrade, mut conn) = filled();
    let (one, null, much) = (
        map(&[("a", Some("1"))]),
        map(&[("a", None)]),
        map(&[("a", Some("1")), ("b", Some("2")), ("c", None), ("z", Some("26"))]),
    );
    agree!(&mut conn, Bool as bool:
        samples::pairs.contains(&one) => "pairs @> 'a=>1'",
        samples::pairs.contains(null) => "pairs @> 'a=>NULL'",
        samples::pairs.contains(HstoreMap(&one)) => "pairs @> 'a=>1'",
        samples::pairs.is_contained_by(&much) => "pairs <@ 'a=>1, b=>2, c=>NULL, z=>26'",
    );
    agree!(&mut conn, Nullable<Bool> as Option<bool>:
        samples::maybe.contains(&one) => "maybe @> 'a=>1'",
        samples::pairs.contains(samples::maybe) => "pairs @> maybe",
        samples::maybe.contains(samples::pairs) => "maybe @> pairs",
        samples::maybe.is_contained_by(much) => "maybe <@ 'a=>1, b=>2, c=>NULL, z=>26'",
        samples::pairs.is_contained_by(samples::maybe) => "pairs <@ maybe",
    );
}

#[test]
fn concatenation_and_removal() {
    let (_upgrade, mut conn) = filled();
    let (other, one) = (map(&[("a", Some("new")), ("n", None)]), map(&[("a", Some("1"))]));
    agree_on_hstore!(&mut conn, Ordered:
        samples::pairs.concat(&other) => "pairs || 'a=>new, n=>NULL'::hstore",
        HstoreMap(&other).into_sql::<Hstore>().concat(samples::pairs) => "'a=>new, n=>NULL'::hstore || pairs",
        samples::pairs.remove("a") => "pairs - 'a'::text",
        samples::pairs.remove("a".to_owned()) => "pairs - 'a'::text",
        samples::pairs.remove(vec!["a", "b", "zz"]) => "pairs - ARRAY['a', 'b', 'zz']",
        samples::pairs.remove(&one) => "pairs - 'a=>1'::hstore",
        samples::pairs.remove(HstoreMap(&one)) => "pairs - 'a=>1'::hstore",
    );
    agree_on_hstore!(&mut conn, Option<Ordered>:
        samples::maybe.concat(&other) => "maybe || 'a=>new, n=>NULL'::hstore",
        samples::pairs.concat(samples::maybe) => "pairs || maybe",
        samples::maybe.remove("a") => "maybe - 'a'::text",
        samples::pairs.remove(samples::key) => "pairs - key",
        samples::pairs.remove(samples::keys) => "pairs - keys",
        samples::pairs.remove(samples::maybe) => "pairs - maybe",
        samples::maybe.remove(samples::pairs) => "maybe - pairs",
    );
}

#[test]
fn operators_nest() {
    let (_upgrade, mut conn) = filled();
    let two = map(&[("b", Some("2"))]);
    agree!(&mut conn, Nullable<Text> as Option<String>:
        samples::pairs.concat(samples::maybe).get("a") => "(pairs || maybe) -> 'a'",
        samples::pairs.concat(samples::pairs.remove("a")).get("a") => "(pairs || (pairs - 'a'::text)) -> 'a'",
    );
    agree!(&mut conn, Nullable<Bool> as Option<bool>:
        samples::pairs.contains(samples::maybe.concat(&two)) => "pairs @> (maybe || 'b=>2'::hstore)",
        samples::pairs.remove(samples::maybe.remove("a")).has_key("b") => "(pairs - (maybe - 'a'::text)) ? 'b'",
        samples::pairs.get("a").eq("1") => "(pairs -> 'a') = '1'",
        samples::pairs.get("a").eq(samples::maybe.get("a")) => "(pairs -> 'a') = (maybe -> 'a')",
        samples::pairs.has_key("a").and(samples::maybe.has_key("b")) => "(pairs ? 'a') AND (maybe ? 'b')",
    );
}

#[test]
fn operators_stand_wherever_expressions_do() {
    fn has_a() -> dsl::HasKey<samples::pairs, &'static str> {
        samples::pairs.has_key("a")
    }
    let (_upgrade, mut conn) = filled();
    let conn = &mut conn;
    let expected: Vec<i64> = samples::table
        .filter(sql::<Bool>("pairs ? 'a'"))
        .select(samples::id)
        .order(samples::id)
        .load(conn)
        .unwrap();
    assert_eq!(expected, [2, 3, 4, 5]);

    let boxed: Box<dyn BoxableExpression<samples::table, Pg, SqlType = Bool>> = Box::new(has_a());
    let ids = samples::table.filter(boxed).select(samples::id).order(samples::id);
    assert_eq!(ids.load(conn), Ok(expected.clone()));

    let other = diesel::alias!(samples as other);
    let has_key = other.fields(samples::pairs.has_key(samples::key));
    let ids = other.filter(has_key).select(other.field(samples::id)).order(other.field(samples::id));
    assert_eq!(ids.load(conn), Ok(vec![3_i64, 4, 5]));

    let groups = samples::table.group_by(samples::pairs).select((has_a(), count_star())).filter(has_a());
    assert_eq!(groups.load(conn), Ok(vec![(true, 1_i64); 4]));

    diesel::update(samples::table.filter(has_a()))
        .set((samples::pairs.eq(samples::pairs.remove("a")), samples::maybe.eq(samples::maybe.remove(vec!["a"]))))
        .execute(conn)
        .expect("an update");
    assert_eq!(samples::table.filter(has_a()).count().get_result(conn), Ok(0_i64));
}

#[test]
fn operators_agree_with_the_server_on_anything() {
    type Answers = (Option<String>, Vec<Option<String>>, bool, bool, bool, bool, bool);
    type Sql = (Nullable<Text>, Array<Nullable<Text>>, Bool, Bool, Bool, Bool, Bool);

    let (_upgrade, conn) = open_samples();
    let conn = RefCell::new(conn);
    // Few keys and values, so that they meet.
    let key = || "[ab'\"\\\\ä, ]{0,1}";
    let maps = || proptest::collection::btree_map(key(), proptest::option::of("[1\"'\\\\]{0,1}"), 0..5);
    let input = (maps(), maps(), key(), proptest::collection::vec(key(), 0..4));
    let (contained, present) = (RefCell::new(HashSet::new()), RefCell::new(HashSet::new()));
    TestRunner::new(Config { cases: 256, failure_persistence: None, ..Config::default() })
        .run(&input, |(left, right, key, keys)| {
            let conn = &mut *conn.borrow_mut();
            let here = || HstoreMap(&left).into_sql::<Hstore>();
            let diesel: (Answers, [Ordered; 4]) = {
                let (answers, (concat, less_key, less_keys, less_pairs)) = diesel::select((
                    (
                        here().get(&key),
                        here().get_many(&keys),
                        here().has_key(&key),
                        here().has_any_key(&keys),
                        here().has_all_keys(&keys),
                        here().contains(&right),
                        here().is_contained_by(&right),
                    ),
                    (here().concat(&right), here().remove(&key), here().remove(&keys), here().remove(&right)),
                ))
                .get_result(conn)
                .expect("Diesel's answers");
                (answers, [concat, less_key, less_keys, less_pairs])
            };

            let (l, r, k) = (hstore_literal(&left), hstore_literal(&right), literal(&key));
            let ks =
                format!("ARRAY[{}]::text[]", keys.iter().map(|key| literal(key)).collect::<Vec<_>>().join(", "));
            let answers: Answers = diesel::select(sql::<Sql>(&format!(
                "{l} -> {k}, {l} -> {ks}, {l} ? {k}, {l} ?| {ks}, {l} ?& {ks}, {l} @> {r}, {l} <@ {r}"
            )))
            .get_result(conn)
            .expect("the server's answers");
            contained.borrow_mut().insert(answers.5);
            present.borrow_mut().insert(answers.2);
            prop_assert_eq!(diesel.0, answers);
            for (map, expression) in diesel.1.into_iter().zip([
                format!("{l} || {r}"),
                format!("{l} - {k}"),
                format!("{l} - {ks}"),
                format!("{l} - {r}"),
            ]) {
                let arrays: Arrays = diesel::select(arrays(&expression)).get_result(conn).expect(&expression);
                prop_assert_eq!(Some(map), from_arrays(arrays), "{}", expression);
            }
            Ok(())
        })
        .expect("the same answers");
    assert_eq!((contained.borrow().len(), present.borrow().len()), (2, 2), "the cases tell nothing");
}

fn literal(text: &str) -> String {
    format!("'{}'::text", text.replace('\'', "''"))
}

fn hstore_literal(map: &Ordered) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let pairs: Vec<_> = map
        .iter()
        .map(|(key, value)| format!("{}=>{}", quoted(key), value.as_deref().map_or("NULL".to_owned(), quoted)))
        .collect();
    format!("'{}'::hstore", pairs.join(", ").replace('\'', "''"))
}
