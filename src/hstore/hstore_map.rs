//! A map as an expression.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, Output, ToSql};

use super::Hstore;

/// A map where Diesel wants an expression, and Rust's rules keep a map from being one by itself: `eq`, `values`, `set`,
/// and fields of structs that derive `Insertable` or `AsChangeset`.
///
/// `M` is one of the maps that are [values](crate::hstore#values), or a reference to one. Everything else of the map is
/// there too, by [`Deref`].
///
/// ```
/// use std::collections::{BTreeMap, HashMap};
///
/// use diesel::prelude::*;
/// use diesel_postgres_hot_upgrade::hstore::{Hstore, HstoreMap};
/// # diesel::table! {
/// #     use diesel::sql_types::*;
/// #     use diesel_postgres_hot_upgrade::hstore::Hstore;
/// #     products (id) { id -> Int8, attributes -> Hstore, labels -> Nullable<Hstore> }
/// # }
///
/// let green = BTreeMap::from([("color".to_owned(), Some("green".to_owned()))]);
/// let all_green = products::table.filter(products::attributes.eq(HstoreMap(&green)));
/// let paint_it = diesel::update(products::table).set(products::attributes.eq(HstoreMap(green)));
///
/// #[derive(Insertable, AsChangeset, Queryable, Selectable)]
/// #[diesel(table_name = products)]
/// struct Product {
///     attributes: HstoreMap, // of a HashMap, where nothing else is said
///     labels: Option<HstoreMap<BTreeMap<String, Option<String>>>>,
/// }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, AsExpression, FromSqlRow)]
#[diesel(sql_type = Hstore)]
pub struct HstoreMap<M = HashMap<String, Option<String>>>(pub M);

impl<M: ToSql<Hstore, Pg>> ToSql<Hstore, Pg> for HstoreMap<M> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        self.0.to_sql(out)
    }
}

impl<M: FromSql<Hstore, Pg>> FromSql<Hstore, Pg> for HstoreMap<M> {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        M::from_sql(value).map(HstoreMap)
    }
}

impl<M> From<M> for HstoreMap<M> {
    fn from(map: M) -> Self {
        HstoreMap(map)
    }
}

impl<M> Deref for HstoreMap<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.0
    }
}

impl<M> DerefMut for HstoreMap<M> {
    fn deref_mut(&mut self) -> &mut M {
        &mut self.0
    }
}
