//! Narrowing what is watched to what an application binds.

use std::collections::BTreeSet;

use diesel::pg::{Pg, PgMetadataLookup, PgTypeMetadata};
use diesel::sql_types::HasSqlType;

use crate::catalog::table::OID_TABLE;
use crate::catalog::tracked::{self, Key};

/// Watches the SQL type `ST`. **The first call stops watching every type that is not named.** Without any call, every
/// user-defined type of the database is watched.
///
/// Call it in databases with thousands of types: a check compares all that are watched, at 0.5 to 1 µs each on the
/// server. While everything that was named exists, nothing looks for new types. That saving is lost if a named type is
/// missing, or is named with a schema that is in the search path.
///
/// Call it once for each extension type, enum, domain and composite that the application binds, before the pool is
/// built. An array or a nullable type counts as its element, and a built-in type needs no watching.
///
/// A change of the *server* resets everything, whether it was named or not. For a type that was not named, each
/// connection asks the server itself, and if the type is re-created on the same server, open connections do not notice,
/// as with stock Diesel.
///
/// No round trip. After a call, each connection that is open is filled again at its next checkout.
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
    if tracked::add(keys_of::<ST>()) {
        OID_TABLE.clear();
    }
}

fn keys_of<ST>() -> BTreeSet<Key>
where
    Pg: HasSqlType<ST>,
{
    let mut asked = Recorder::default();
    let _ = <Pg as HasSqlType<ST>>::metadata(&mut asked);
    asked.keys
}

/// Stands in for a connection, and notes what it would be asked to look up.
#[derive(Debug, Default)]
struct Recorder {
    keys: BTreeSet<Key>,
}

impl PgMetadataLookup for Recorder {
    fn lookup_type(&mut self, type_name: &str, schema: Option<&str>) -> PgTypeMetadata {
        self.keys.insert((schema.map(str::to_owned), type_name.to_owned()));
        PgTypeMetadata::new(0, 0)
    }
}

#[cfg(test)]
mod tests {
    use diesel::sql_types::{Array, Citext, Nullable, Text};

    use super::*;

    fn keys<ST>() -> Vec<(Option<String>, String)>
    where
        Pg: HasSqlType<ST>,
    {
        keys_of::<ST>().into_iter().collect()
    }

    fn key(schema: Option<&str>, name: &str) -> (Option<String>, String) {
        (schema.map(str::to_owned), name.to_owned())
    }

    #[derive(diesel::sql_types::SqlType)]
    #[diesel(postgres_type(name = "Mood", schema = "of the \"tenant\""))]
    struct Mood;

    #[test]
    fn a_type_is_named_as_diesel_will_ask_for_it() {
        assert_eq!(keys::<Citext>(), [key(None, "citext")]);
        assert_eq!(keys::<Mood>(), [key(Some("of the \"tenant\""), "Mood")]);
        assert_eq!(keys::<Array<Nullable<Mood>>>(), keys::<Mood>());
        assert_eq!(keys::<Nullable<Array<Citext>>>(), [key(None, "citext")]);
        assert_eq!(keys::<Text>(), [], "a built-in type has a static OID");
    }
}
