//! Queries whose OIDs take another way than a simple bind: boxed queries, batch inserts, `sql_query`, arrays of enums,
//! nested composites. With the types known to the process, and with types in no snapshot, which are looked up first.
//! After a switch, each is right; the control is a stock connection.

use std::io::Write;

use diesel::prelude::*;
use diesel::serialize::{self, IsNull, Output, ToSql, WriteTuple};
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text};
use diesel_async::{RunQueryDsl, SaveChangesDsl};
use futures_util::TryStreamExt;

use crate::support::pools::upgrade;
use crate::tools::{Hot, Stock, blocking, connect, run};

mod sql_types {
    #[derive(Debug, Clone, diesel::query_builder::QueryId, diesel::sql_types::SqlType)]
    #[diesel(postgres_type(name = "mood"))]
    pub struct Mood;

    #[derive(Debug, Clone, diesel::query_builder::QueryId, diesel::sql_types::SqlType)]
    #[diesel(postgres_type(name = "citizen"))]
    pub struct Citizen;

    /// The row type of a table: it is in no snapshot.
    #[derive(Debug, Clone, diesel::query_builder::QueryId, diesel::sql_types::SqlType)]
    #[diesel(postgres_type(name = "letter"))]
    pub struct Letter;
}

diesel::table! {
    use diesel::sql_types::*;
    use super::sql_types::*;

    uses (id) {
        id -> Integer,
        one -> Mood,
        many -> Array<Mood>,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, diesel::expression::AsExpression)]
#[diesel(sql_type = sql_types::Mood)]
struct Happy;

impl ToSql<sql_types::Mood, diesel::pg::Pg> for Happy {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, diesel::pg::Pg>) -> serialize::Result {
        out.write_all(b"happy")?;
        Ok(IsNull::No)
    }
}

/// Has the OIDs of its fields inside, and of an array's elements inside of that.
#[derive(Debug, Clone, Copy, diesel::expression::AsExpression)]
#[diesel(sql_type = sql_types::Citizen)]
struct Citizen;

impl ToSql<sql_types::Citizen, diesel::pg::Pg> for Citizen {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, diesel::pg::Pg>) -> serialize::Result {
        type Fields = (Text, sql_types::Mood, Array<sql_types::Mood>);
        WriteTuple::<Fields>::write_tuple(&("Ann", Happy, vec![Happy, Happy]), out)
    }
}

#[derive(Debug, Clone, Copy, diesel::expression::AsExpression)]
#[diesel(sql_type = sql_types::Letter)]
struct Letter;

impl ToSql<sql_types::Letter, diesel::pg::Pg> for Letter {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, diesel::pg::Pg>) -> serialize::Result {
        WriteTuple::<(sql_types::Mood, Integer)>::write_tuple(&(Happy, 7), out)
    }
}

const CREATE: [&str; 3] = [
    "CREATE TYPE mood AS ENUM ('happy', 'sad')",
    "CREATE TYPE citizen AS (name text, mood mood, moods mood[])",
    "CREATE TABLE letter (mood mood, number int4);
     CREATE TABLE uses (id serial PRIMARY KEY, one mood NOT NULL, many mood[] NOT NULL)",
];

/// Each kind of query, and what went wrong.
macro_rules! use_all {
    ($conn:expr) => {{
        use diesel::dsl::sql;
        let conn = $conn;
        let mut wrong: Vec<(&str, diesel::result::Error)> = Vec::new();
        let mut note = |what, result: QueryResult<()>| wrong.extend(result.err().map(|error| (what, error)));
        let row = || (uses::one.eq(Happy), uses::many.eq(vec![Happy, Happy]));
        let inserted = RunQueryDsl::execute(diesel::insert_into(uses::table).values(row()), conn).await;
        note("insert", inserted.map(|rows| assert_eq!(rows, 1)));
        let rows: Vec<_> = (0..3).map(|_| row()).collect();
        let inserted = RunQueryDsl::execute(diesel::insert_into(uses::table).values(rows), conn).await;
        note("batch insert", inserted.map(|rows| assert_eq!(rows, 3)));
        let boxed = uses::table.filter(uses::one.eq(Happy)).into_boxed().filter(uses::many.contains(vec![Happy]));
        note("boxed", RunQueryDsl::get_result::<i64>(boxed.count(), conn).await.map(|count| assert!(count >= 4)));
        let any = uses::table.filter(uses::one.eq_any(vec![Happy])).count();
        note("= ANY", RunQueryDsl::get_result::<i64>(any, conn).await.map(|count| assert!(count >= 4)));
        let null = uses::table.filter(uses::one.nullable().is_not_distinct_from(None::<Happy>)).count();
        note("NULL", RunQueryDsl::get_result::<i64>(null, conn).await.map(|count| assert_eq!(count, 0)));
        let query = diesel::sql_query("SELECT ($1)::text || ($2)::text AS value")
            .bind::<sql_types::Mood, _>(Happy)
            .bind::<Array<sql_types::Mood>, _>(vec![Happy]);
        let shown = RunQueryDsl::get_result::<Shown>(query, conn).await;
        note("sql_query", shown.map(|shown| assert_eq!(shown.value, "happy{happy}")));
        let composite = diesel::select(sql::<Text>("").bind::<sql_types::Citizen, _>(Citizen).sql("::text"));
        let shown = RunQueryDsl::get_result::<String>(composite, conn).await;
        note("composite", shown.map(|shown| assert_eq!(shown, "(Ann,happy,\"{happy,happy}\")")));
        let composites = vec![Citizen, Citizen];
        let array = diesel::select(
            sql::<BigInt>("cardinality(").bind::<Array<sql_types::Citizen>, _>(composites).sql(")::int8"),
        );
        note("array of composites", RunQueryDsl::get_result::<i64>(array, conn).await.map(|n| assert_eq!(n, 2)));
        let row = diesel::select(sql::<Text>("").bind::<sql_types::Letter, _>(Letter).sql("::text"));
        let shown = RunQueryDsl::get_result::<String>(row, conn).await;
        note("row type", shown.map(|shown| assert_eq!(shown, "(happy,7)")));
        let nullable = vec![Some(Letter), None];
        let rows = diesel::select(
            sql::<BigInt>("cardinality(").bind::<Array<Nullable<sql_types::Letter>>, _>(nullable).sql(")::int8"),
        );
        note("array of row types", RunQueryDsl::get_result::<i64>(rows, conn).await.map(|n| assert_eq!(n, 2)));
        wrong
    }};
}

#[derive(QueryableByName)]
struct Shown {
    #[diesel(sql_type = Text)]
    value: String,
}

/// On the new server, everything has another OID.
async fn every_query_is_right(is_known: bool) {
    let upgrade = blocking(upgrade);
    blocking(|| upgrade.run_on(upgrade.new, "CREATE TYPE first AS ENUM (); CREATE TABLE second ()"))
        .expect("OIDs");
    let url = upgrade.url();
    let (mut plain, mut verified, mut stock): (Hot, Hot, Stock) =
        (connect(&url).await, connect(&url).await, connect(&url).await);
    for server in [upgrade.old, upgrade.new] {
        for sql in CREATE {
            blocking(|| upgrade.run_on(server, sql)).expect("types");
        }
    }
    if is_known {
        // The next one to look.
        blocking(crate::support::freshness::wait_until_stale);
        plain.synchronize().await.expect("a look");
        verified.synchronize().await.expect("it moves");
    }
    for round in 0..2 {
        assert_eq!(use_all!(&mut plain), [], "round {round}");
        let wrong = verified.hot_transaction(async |conn| QueryResult::Ok(use_all!(conn))).await;
        assert_eq!(wrong, Ok(vec![]), "round {round}");
        assert_eq!(use_all!(&mut stock), [], "round {round}");
    }
    blocking(|| upgrade.switch_to(upgrade.new)).expect("a switch");
    plain.synchronize().await.expect("a check");
    for round in 0..2 {
        assert_eq!(use_all!(&mut plain), [], "round {round} after the switch");
        let wrong = verified.hot_transaction(async |conn| QueryResult::Ok(use_all!(conn))).await;
        assert_eq!(wrong, Ok(vec![]), "round {round} after the switch");
    }
    assert!(use_all!(&mut stock).len() >= 5, "the control is right");
}

#[test]
fn every_kind_of_query_is_right_with_known_types() {
    run(every_query_is_right(true));
}

#[test]
fn every_kind_of_query_is_right_with_types_in_no_snapshot() {
    run(every_query_is_right(false));
}

#[test]
fn queries_on_a_shared_reference_are_pipelined_and_streams_stream() {
    run(async {
        let upgrade = blocking(upgrade);
        for sql in CREATE {
            blocking(|| upgrade.run_on(upgrade.old, sql)).expect("types");
        }
        let conn: Hot = connect(&upgrade.old.url(&upgrade.database)).await;
        let insert = || diesel::insert_into(uses::table).values((uses::one.eq(Happy), uses::many.eq(vec![Happy])));
        let (mut one, mut two) = (&conn, &conn);
        let inserted = futures_util::future::join(insert().execute(&mut one), insert().execute(&mut two)).await;
        assert_eq!(inserted, (Ok(1), Ok(1)));
        let rows = uses::table.filter(uses::one.eq(Happy)).select(uses::id).load_stream::<i32>(&mut one).await;
        let rows: Vec<i32> = rows.expect("a stream").try_collect().await.expect("rows");
        assert_eq!(rows, [1, 2]);
    });
}

/// Two inserts at once, and a stream, on `&` of the connection.
macro_rules! use_shared {
    ($conn:expr) => {{
        let insert = || diesel::insert_into(uses::table).values((uses::one.eq(Happy), uses::many.eq(vec![Happy])));
        let (mut one, mut two) = ($conn, $conn);
        let inserted = futures_util::future::join(insert().execute(&mut one), insert().execute(&mut two)).await;
        let rows = uses::table.filter(uses::one.eq(Happy)).select(uses::id).load_stream::<i32>(&mut one).await;
        let streamed: QueryResult<Vec<i32>> = match rows {
            Ok(rows) => rows.try_collect().await,
            Err(error) => Err(error),
        };
        match (inserted, streamed) {
            ((Ok(1), Ok(1)), Ok(rows)) if rows.len() >= 2 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }};
}

#[test]
fn pipelined_queries_and_streams_are_right_after_each_switch() {
    run(async {
        let upgrade = blocking(upgrade);
        blocking(|| upgrade.run_on(upgrade.new, "CREATE TYPE first AS ENUM ()")).expect("other OIDs");
        for (server, sql) in
            [upgrade.old, upgrade.new].into_iter().flat_map(|server| CREATE.map(|sql| (server, sql)))
        {
            blocking(|| upgrade.run_on(server, sql)).expect("types");
        }
        let mut hot: Hot = connect(&upgrade.url()).await;
        let stock: Stock = connect(&upgrade.url()).await;
        assert_eq!(use_shared!(&stock), Ok(()));
        for server in [upgrade.new, upgrade.old, upgrade.new] {
            assert_eq!(use_shared!(&hot), Ok(()));
            blocking(|| upgrade.switch_to(server)).expect("a switch");
            let verified = hot.hot_transaction(async |conn| QueryResult::Ok(use_shared!(&*conn))).await;
            assert_eq!(verified, Ok(Ok(())));
        }
        blocking(|| upgrade.switch_to(upgrade.old)).expect("a switch");
        hot.synchronize().await.expect("a check");
        assert_eq!(use_shared!(&hot), Ok(()));
        blocking(|| upgrade.switch_to(upgrade.new)).expect("a switch");
        assert!(use_shared!(&stock).is_err(), "the control");
    });
}

#[test]
fn save_changes_and_a_task_of_its_own() {
    #[derive(Debug, Queryable, Identifiable, AsChangeset)]
    #[diesel(table_name = fixture::documents)]
    struct Titled {
        id: i64,
        title: String,
    }
    run(async {
        let upgrade = blocking(upgrade);
        let mut conn: Hot = connect(&upgrade.url()).await;
        let used: QueryResult<()> = crate::tools::write_and_read_back!(&mut conn);
        assert_eq!(used, Ok(()));
        let task = tokio::spawn(async move {
            let query = fixture::documents::table.select((fixture::documents::id, fixture::documents::title));
            let mut titled: Titled = query.first(&mut conn).await?;
            titled.title = "Another".to_owned();
            titled.save_changes::<Saved>(&mut conn).await
        });
        assert_eq!(task.await.expect("no panic").map(|saved| saved.title), Ok("Another".to_owned()));
    });
}

#[derive(Debug, PartialEq, Queryable)]
struct Saved {
    _id: i64,
    title: String,
    _attributes: fixture::Attributes,
    _status: fixture::Status,
    _code: fixture::Code,
}
