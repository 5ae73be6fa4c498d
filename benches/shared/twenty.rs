//! Twenty types of an application's own, a statement that binds each of them, and one that inserts.

use std::io::Write;

use diesel::expression::AsExpression;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::QueryId;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::SqlType;
use diesel_async::AsyncConnection;

/// The types, and a table that uses some of them.
pub(crate) const SQL: &str = "
    CREATE EXTENSION citext;
    DO $$ BEGIN
        FOR number IN 1..7 LOOP
            EXECUTE format('CREATE TYPE enum_%s AS ENUM (''on'', ''off'')', number);
            EXECUTE format('CREATE DOMAIN domain_%s AS text CHECK (VALUE <> '''')', number);
        END LOOP;
        FOR number IN 1..5 LOOP
            EXECUTE format('CREATE TYPE composite_%s AS (name text, number int4)', number);
        END LOOP;
    END $$;
    CREATE TABLE items (
        id bigserial PRIMARY KEY,
        name citext NOT NULL,
        state enum_1 NOT NULL,
        code domain_1 NOT NULL,
        place composite_1 NOT NULL
    );";

macro_rules! twenty {
    ($($name:ident = $sql_name:literal: $value:expr,)*) => {
        $(
            #[derive(Debug, Clone, Copy, QueryId, SqlType)]
            #[diesel(postgres_type(name = $sql_name))]
            #[allow(unreachable_pub)] // The table's columns are public.
            pub struct $name;

            impl ToSql<$name, Pg> for Binary {
                fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                    out.write_all(self.0)?;
                    Ok(IsNull::No)
                }
            }
        )*

        #[allow(dead_code)] // Criterion's benchmarks do not.
        pub(crate) const NAMES: [&str; 20] = [$($sql_name,)*];

        /// A value as it travels.
        #[derive(Debug, Clone, Copy, AsExpression)]
        $(#[diesel(sql_type = $name)])*
        pub(crate) struct Binary(&'static [u8]);

        /// A statement that binds a value of each type: Diesel needs the OIDs of all of them.
        pub(crate) fn bind_each(conn: &mut PgConnection) -> QueryResult<()> {
            diesel::select(($($value.into_sql::<$name>(),)*)).execute(conn).map(drop)
        }

        /// The same with diesel-async.
        #[allow(dead_code)] // Criterion's benchmarks have none.
        pub(crate) async fn bind_each_async<C: AsyncConnection<Backend = Pg>>(conn: &mut C) -> QueryResult<()> {
            let query = diesel::select(($($value.into_sql::<$name>(),)*));
            diesel_async::RunQueryDsl::execute(query, conn).await.map(drop)
        }

        /// Names each of them to the crate, for all that follows in this process.
        #[allow(dead_code)] // Criterion's benchmarks do not.
        pub(crate) fn track_each() {
            $(diesel_postgres_hot_upgrade::track::<$name>();)*
        }
    };
}

const LABEL: Binary = Binary(b"on");
const TEXT: Binary = Binary(b"some text");
/// Two columns: their types, lengths and bytes.
const ROW: Binary = Binary(b"\0\0\0\x02\0\0\0\x19\0\0\0\x02at\0\0\0\x17\0\0\0\x04\0\0\0\x07");

twenty! {
    Citext = "citext": TEXT,
    Enum1 = "enum_1": LABEL,
    Enum2 = "enum_2": LABEL,
    Enum3 = "enum_3": LABEL,
    Enum4 = "enum_4": LABEL,
    Enum5 = "enum_5": LABEL,
    Enum6 = "enum_6": LABEL,
    Enum7 = "enum_7": LABEL,
    Domain1 = "domain_1": TEXT,
    Domain2 = "domain_2": TEXT,
    Domain3 = "domain_3": TEXT,
    Domain4 = "domain_4": TEXT,
    Domain5 = "domain_5": TEXT,
    Domain6 = "domain_6": TEXT,
    Domain7 = "domain_7": TEXT,
    Composite1 = "composite_1": ROW,
    Composite2 = "composite_2": ROW,
    Composite3 = "composite_3": ROW,
    Composite4 = "composite_4": ROW,
    Composite5 = "composite_5": ROW,
}

diesel::table! {
    use diesel::sql_types::Int8;
    use super::{Citext, Composite1, Domain1, Enum1};

    items (id) {
        id -> Int8,
        name -> Citext,
        state -> Enum1,
        code -> Domain1,
        place -> Composite1,
    }
}

pub(crate) fn insert(conn: &mut PgConnection) -> QueryResult<()> {
    let row = (items::name.eq(TEXT), items::state.eq(LABEL), items::code.eq(TEXT), items::place.eq(ROW));
    diesel::insert_into(items::table).values(row).execute(conn).map(drop)
}

/// The same with diesel-async.
#[allow(dead_code)] // Criterion's benchmarks have none.
pub(crate) async fn insert_async<C: AsyncConnection<Backend = Pg>>(conn: &mut C) -> QueryResult<()> {
    let row = (items::name.eq(TEXT), items::state.eq(LABEL), items::code.eq(TEXT), items::place.eq(ROW));
    let query = diesel::insert_into(items::table).values(row);
    diesel_async::RunQueryDsl::execute(query, conn).await.map(drop)
}

/// Finds nothing by a key of a built-in type.
#[allow(dead_code)] // Criterion's benchmarks have none.
pub(crate) async fn select_by_key_async<C: AsyncConnection<Backend = Pg>>(conn: &mut C) -> QueryResult<()> {
    let query = items::table.filter(items::id.eq(0));
    diesel_async::RunQueryDsl::load::<i64>(query.select(items::id), conn).await.map(drop)
}

/// The same, and by two of the types.
#[allow(dead_code)] // Criterion's benchmarks have none.
pub(crate) async fn select_async<C: AsyncConnection<Backend = Pg>>(conn: &mut C) -> QueryResult<()> {
    let query = items::table.filter(items::id.eq(0)).filter(items::name.eq(TEXT)).filter(items::state.eq(LABEL));
    diesel_async::RunQueryDsl::load::<i64>(query.select(items::id), conn).await.map(drop)
}
