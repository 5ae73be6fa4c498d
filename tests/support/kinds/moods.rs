//! Enums in small tables: what is created anew, renamed and moved on one server.

use diesel::prelude::*;

use super::sql_types::{Mood, Wire};
use super::{Verdict, expect};

/// What [`moods`] needs.
pub(crate) const CREATE_MOODS: &str =
    "CREATE TYPE mood AS ENUM ('happy'); CREATE TABLE moods (id int8, mood mood)";

macro_rules! table_of_moods {
    ($used:ident: $value:literal in $name:literal, $($table:ident).+ of $module:ident, $sql_type:ident) => {
        mod $module {
            diesel::table! {
                use diesel::sql_types::*;
                use crate::support::kinds::moods::*;
                use crate::support::kinds::sql_types::*;

                #[sql_name = $name]
                $($table).+ (id) {
                    id -> Int8,
                    mood -> $sql_type,
                }
            }
        }

        /// Writes one, finds it and reads it; leaves nothing behind.
        pub(crate) fn $used(conn: &mut PgConnection) -> Verdict {
            use $module::rows as table;

            let mood = || Wire::<$sql_type>::new($value);
            let insert = diesel::insert_into(table::table).values((table::id.eq(1), table::mood.eq(mood())));
            expect("insert", insert.execute(conn), &1)?;
            let found = table::table.filter(table::mood.eq_any(vec![mood()])).select(table::mood);
            expect("select", found.distinct().get_results(conn), &vec![mood()])?;
            diesel::delete(table::table).execute(conn).map(drop).map_err(|error| format!("delete: {error}"))
        }
    };
}

super::sql_types::sql_types! {
    Temper = "temper";
}

/// `one.mood`, whatever the search path.
#[derive(Debug, Clone, Copy, PartialEq, diesel::query_builder::QueryId, diesel::sql_types::SqlType)]
#[diesel(postgres_type(name = "mood", schema = "one"))]
#[allow(unreachable_pub)]
pub struct MoodOfOne;

table_of_moods!(moods: "happy" in "moods", rows of plain, Mood);
table_of_moods!(giddy_moods: "giddy" in "moods", rows of giddy, Mood);
table_of_moods!(tempers: "happy" in "tempers", rows of other, Temper);
table_of_moods!(moods_of_one: "happy" in "moods", one.rows of qualified, MoodOfOne);

/// Reads without binding anything of the type.
pub(crate) fn read_moods(conn: &mut PgConnection) -> Verdict {
    expect("select", plain::rows::table.select(plain::rows::mood).load::<Wire<Mood>>(conn), &Vec::new())
}
