//! Narrowing what is watched to what an application binds.

use std::collections::BTreeSet;

use diesel::pg::{Pg, PgMetadataLookup, PgTypeMetadata};
use diesel::sql_types::HasSqlType;

use crate::oid_table::OID_TABLE;
use crate::tracked;

/// Watches the SQL type `ST`. **The first call stops watching every type that is not named**; without any, every
/// user-defined type of the database is watched.
///
/// It is meant for databases with thousands of types, since a probe compares all that are watched, at about 0.5 µs each
/// on the server. Call it once for each extension type, enum, domain and composite that the application binds, before
/// the pool is built. What Diesel will ask the server for is had from the type itself: for an array, or a nullable type,
/// it is that of its element, and a built-in type has nothing to watch.
///
/// A change of the *server* resets everything, whether it was named or not. A type that was not named loses two things:
/// it is looked up by each connection for itself, and if it is created anew on the same server, connections that are
/// open do not notice, as with stock Diesel.
///
/// No round trip. A call after connections were opened makes each of them ask anew at its next checkout.
///
/// # Example
///
/// ```
/// use diesel::sql_types::{Array, Citext};
/// use diesel_postgres_hot_upgrade::track;
///
/// #[derive(diesel::sql_types::SqlType)]
/// #[diesel(postgres_type(name = "mood"))]
/// struct Mood;
///
/// track::<Citext>();
/// track::<Array<Mood>>();
/// ```
pub fn track<ST>()
where
    Pg: HasSqlType<ST>,
{
    if tracked::add(names_of::<ST>()) {
        OID_TABLE.clear();
    }
}

fn names_of<ST>() -> BTreeSet<String>
where
    Pg: HasSqlType<ST>,
{
    let mut asked = Recorder::default();
    let _ = <Pg as HasSqlType<ST>>::metadata(&mut asked);
    asked.names
}

/// Stands in for a connection, and notes which names it would be asked to look up.
#[derive(Debug, Default)]
struct Recorder {
    names: BTreeSet<String>,
}

impl PgMetadataLookup for Recorder {
    fn lookup_type(&mut self, type_name: &str, _schema: Option<&str>) -> PgTypeMetadata {
        self.names.insert(type_name.to_owned());
        PgTypeMetadata::new(0, 0)
    }
}

#[cfg(test)]
mod tests {
    use diesel::sql_types::{Array, Citext, Nullable, Text};

    use super::*;

    fn names<ST>() -> Vec<String>
    where
        Pg: HasSqlType<ST>,
    {
        names_of::<ST>().into_iter().collect()
    }

    #[derive(diesel::sql_types::SqlType)]
    #[diesel(postgres_type(name = "Mood", schema = "of the \"tenant\""))]
    struct Mood;

    #[test]
    fn a_type_is_named_as_diesel_will_ask_for_it() {
        assert_eq!(names::<Citext>(), ["citext"]);
        assert_eq!(names::<Mood>(), ["Mood"]);
        assert_eq!(names::<Array<Nullable<Mood>>>(), ["Mood"]);
        assert_eq!(names::<Nullable<Array<Citext>>>(), ["citext"]);
        assert_eq!(names::<Text>(), [""; 0], "a built-in type has a static OID");
    }
}
