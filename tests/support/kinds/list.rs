//! The kinds, each with a table of its own.

use diesel::sql_types::{SingleValue, SqlType};

use super::Verdict;
use crate::support::drivers::Session;

/// A type and what an application does with it.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    /// The type's name, and its table's in the schema `kinds`.
    pub(crate) name: &'static str,
    /// Writes a value, finds it by itself and reads it.
    pub(crate) plain: fn(&mut Session<'_>) -> Verdict,
    /// The same with an array, and `= ANY` of one.
    pub(crate) many: fn(&mut Session<'_>) -> Verdict,
    /// COPY TO, and COPY FROM of the same, with an array. Blocking Diesel alone has it.
    pub(crate) copied: fn(&mut Session<'_>) -> Verdict,
}

diesel::define_sql_function! {
    /// What any value looks like.
    #[sql_name = "concat"]
    #[allow(unreachable_pub)]
    fn shown<T: SqlType + SingleValue>(value: T) -> Text;
}

/// Domains over types whose operators are for all of their kind, such as enums, have no operators of their own.
macro_rules! equal {
    (by value, $sql_type:ident, $column:expr, $value:expr) => {
        $column.eq($value)
    };
    (by text, $sql_type:ident, $column:expr, $value:expr) => {
        shown($column).eq(shown($value.into_sql::<$sql_type>()))
    };
}

macro_rules! equal_any {
    (by value, $column:expr, $values:expr) => {
        $column.eq_any($values)
    };
    (by text, $column:expr, $values:expr) => {
        $column.is_not_null()
    };
}

macro_rules! kind {
    ($name:ident: $sql_type:ident, $rust:ty = $value:expr, by $by:ident) => {
        pub(crate) mod $name {
            use std::io::Read;

            use diesel::pg::CopyFormat;
            use diesel::prelude::*;
            #[allow(unused_imports)]
            use diesel::sql_types::Citext;
            #[allow(unused_imports)]
            use diesel_postgres_hot_upgrade::hstore::Hstore;

            #[allow(unused_imports)]
            use super::{Kind, shown};
            #[allow(unused_imports)] // Two kinds have none of their own.
            use crate::support::kinds::sql_types::*;
            use crate::support::drivers::Session;
            use crate::support::kinds::{Verdict, end_copy, expect};

            diesel::table! {
                use diesel::sql_types::*;
                use diesel_postgres_hot_upgrade::hstore::Hstore;
                use crate::support::kinds::sql_types::*;

                kinds.$name (id) {
                    id -> Int8,
                    plain -> $sql_type,
                    many -> Array<$sql_type>,
                }
            }

            pub(crate) const KIND: Kind = Kind { name: stringify!($name), plain, many, copied };

            #[allow(dead_code)] // Only some are compared by text.
            type Many = diesel::sql_types::Array<$sql_type>;

            #[derive(Debug, PartialEq, Queryable, Selectable)]
            #[diesel(table_name = $name)]
            struct Row {
                plain: $rust,
                many: Vec<$rust>,
            }

            fn plain(conn: &mut Session<'_>) -> Verdict {
                let insert = diesel::insert_into($name::table).values($name::plain.eq($value));
                expect("insert", conn.get(insert.returning($name::plain)), &$value)?;
                let by_itself = $name::table.filter(equal!(by $by, $sql_type, $name::plain, $value));
                expect("select", conn.get(by_itself.select($name::plain)), &$value)
            }

            pub(crate) fn many(conn: &mut Session<'_>) -> Verdict {
                let rows = || vec![$value, $value];
                let insert =
                    diesel::insert_into($name::table).values(($name::plain.eq($value), $name::many.eq(rows())));
                expect("insert of an array", conn.get(insert.returning($name::many)), &rows())?;
                let by_arrays = $name::table
                    .filter(equal_any!(by $by, $name::plain, rows()))
                    .filter(equal!(by $by, Many, $name::many, rows()));
                let found = conn.get(by_arrays.select(($name::plain, $name::many)));
                expect("select by arrays", found, &($value, rows()))
            }

            fn copied(conn: &mut Session<'_>) -> Verdict {
                let Session::Blocking(conn, _) = conn else { panic!("diesel-async has no COPY") };
                let conn: &mut PgConnection = conn;
                let all = || $name::table.select(Row::as_select());
                let rows = all().load(conn).map_err(|error| error.to_string())?;
                let copied = diesel::copy_to($name::table).load::<Row, _>(conn).and_then(Iterator::collect);
                expect("COPY TO", copied, &rows)?;
                end_copy(conn);
                let mut raw = Vec::new();
                diesel::copy_to($name::table)
                    .with_format(CopyFormat::Binary)
                    .load_raw(conn)
                    .map(|mut copy| copy.read_to_end(&mut raw).expect("bytes"))
                    .map_err(|error| format!("COPY TO: {error}"))?;
                end_copy(conn);
                diesel::delete($name::table).execute(conn).map_err(|error| error.to_string())?;
                let written = diesel::copy_from($name::table)
                    .from_raw_data($name::table, |copy| Ok::<_, diesel::result::Error>(copy.write_all(&raw).expect("bytes")))
                    .with_format(CopyFormat::Binary)
                    .execute(conn);
                expect("COPY FROM", written, &rows.len())?;
                expect("what was copied", all().load(conn), &rows)
            }
        }
    };
}

kind!(hstore: Hstore, Map = hstore_map(), by value);
kind!(citext: Citext, String = "Some Text".to_owned(), by value);
kind!(ltree: Ltree, Wire<Ltree> = Wire::new(ltree()), by value);
kind!(cube: Cube, Wire<Cube> = Wire::new(cube()), by value);
kind!(mood: Mood, Wire<Mood> = Wire::new("happy"), by value);
kind!(hstore_domain: HstoreDomain, Wire<HstoreDomain> = Wire::new(hstore()), by value);
kind!(citext_domain: CitextDomain, Wire<CitextDomain> = Wire::new("Some Text"), by value);
kind!(ltree_domain: LtreeDomain, Wire<LtreeDomain> = Wire::new(ltree()), by value);
kind!(cube_domain: CubeDomain, Wire<CubeDomain> = Wire::new(cube()), by value);
kind!(mood_domain: MoodDomain, Wire<MoodDomain> = Wire::new("happy"), by text);
kind!(domain_domain: DomainDomain, Wire<DomainDomain> = Wire::new("happy"), by text);
kind!(range_domain: RangeDomain, Wire<RangeDomain> = Wire::new(range()), by text);
kind!(multirange_domain: MultirangeDomain, Wire<MultirangeDomain> = Wire::new(multirange()), by text);
kind!(citext_range: CitextRange, Wire<CitextRange> = Wire::new(range()), by value);
kind!(mood_range: MoodRange, Wire<MoodRange> = Wire::new(mood_range()), by value);
kind!(citext_multirange: CitextMultirange, Wire<CitextMultirange> = Wire::new(multirange()), by value);
kind!(citizen: CitizenType, Citizen = Citizen::named("Ada"), by value);
kind!(citizen_domain: CitizenDomain, Citizen = Citizen::named("Ada"), by text);
kind!(household: HouseholdType, Household = Household::of_three(), by value);

/// Those that every version has, binary form and arrays included.
pub(crate) const EVERYWHERE: &[Kind] = &[
    hstore::KIND,
    citext::KIND,
    mood::KIND,
    citext_range::KIND,
    mood_range::KIND,
    citizen::KIND,
    household::KIND,
];

/// Domains, which have arrays from PostgreSQL 11 on only.
pub(crate) const DOMAINS: &[Kind] =
    &[hstore_domain::KIND, citext_domain::KIND, mood_domain::KIND, domain_domain::KIND, range_domain::KIND];

/// Those that came later, or had no binary form: from PostgreSQL 14.
pub(crate) const FROM_14: &[Kind] = &[
    ltree::KIND,
    cube::KIND,
    ltree_domain::KIND,
    cube_domain::KIND,
    citext_multirange::KIND,
    multirange_domain::KIND,
    citizen_domain::KIND,
];
