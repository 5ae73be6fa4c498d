//! `COPY` of Diesel's `PgConnection`.

use std::io::Write;
use std::process;

use diesel::prelude::*;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::{connection::SimpleConnection, expression::AsExpression, pg::Pg};
use testbed::Cluster;

const CREATE: &str = "CREATE TYPE mood AS ENUM ('happy');
    CREATE TABLE moods (id int4 PRIMARY KEY, one mood, many mood[], a int4, b int4);";

#[derive(Debug, diesel::query_builder::QueryId, diesel::sql_types::SqlType)]
#[diesel(postgres_type(name = "mood"))]
#[allow(unreachable_pub)] // The table that uses it is public.
pub struct Mood;

#[derive(Debug, AsExpression)]
#[diesel(sql_type = Mood)]
struct Happy;

impl ToSql<Mood, Pg> for Happy {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(b"happy")?;
        Ok(IsNull::No)
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::Mood;

    moods (id) {
        id -> Int4,
        one -> Nullable<Mood>,
        many -> Nullable<Array<Mood>>,
        a -> Nullable<Int4>,
        b -> Nullable<Int4>,
    }
}

#[derive(Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = moods)]
struct Numbers {
    id: i32,
    a: Option<i32>,
    b: Option<i32>,
}

/// A database with the table, and a connection to it. The name is a test's own.
pub(crate) fn database(name: &str) -> (String, PgConnection) {
    let server = Cluster::shared(17);
    let database = format!("upstream_{name}_{}", process::id());
    server.create_database(&database).expect("a database");
    let url = server.url(&database);
    let mut conn = PgConnection::establish(&url).expect("a connection");
    conn.batch_execute(CREATE).expect("a table");
    (url, conn)
}

#[test]
fn copy_from_of_an_array_of_enums_fails() {
    let (_, mut conn) = database("array");
    let inserted = diesel::insert_into(moods::table).values((moods::id.eq(1), moods::many.eq(vec![Happy])));
    assert_eq!(inserted.execute(&mut conn), Ok(1), "an INSERT can");
    let one = diesel::copy_from(moods::table).from_insertable(vec![(moods::id.eq(2), moods::one.eq(Some(Happy)))]);
    assert_eq!(one.execute(&mut conn), Ok(1), "without the array it can");
    let many =
        diesel::copy_from(moods::table).from_insertable(vec![(moods::id.eq(3), moods::many.eq(vec![Happy]))]);
    let error = many.execute(&mut conn).expect_err("mended");
    assert!(error.to_string().contains("mood"), "{error}");
    assert_eq!(moods::table.count().get_result(&mut conn), Ok(2i64));
}

#[test]
fn copy_to_reads_null_for_each_value_after_a_null() {
    let (_, mut conn) = database("null");
    conn.batch_execute("INSERT INTO moods (id, a, b) VALUES (1, NULL, 2)").expect("a row");
    let right = [Numbers { id: 1, a: None, b: Some(2) }];
    assert_eq!(moods::table.select(Numbers::as_select()).load(&mut conn).as_deref(), Ok(&right[..]), "a SELECT");
    let copied =
        diesel::copy_to(moods::table).load::<Numbers, _>(&mut conn).and_then(Iterator::collect::<Result<_, _>>);
    assert_eq!(copied, Ok(vec![Numbers { id: 1, a: None, b: None }]), "mended");
}
