//! The operators as methods.

use diesel::expression::Expression;
use diesel::sql_types::{Array, Nullable, Text};

use super::grouped::Grouped;
use super::{Hstore, Operand, dsl, operators};

/// hstore's operators, on every expression of the type [`Hstore`] or `Nullable<Hstore>`: columns, and maps after
/// `HstoreMap(map).into_sql::<Hstore>()`.
///
/// Operands on the right are values or expressions: see [`Operand`]. If one of the two is NULL, so is the result.
/// Its SQL type is `Nullable` if an operand's is.
///
/// The examples are about this table:
///
/// ```
/// diesel::table! {
///     use diesel::sql_types::*;
///     use diesel_postgres_hot_upgrade::hstore::Hstore;
///
///     products (id) {
///         id -> Int8,
///         attributes -> Hstore,
///         labels -> Nullable<Hstore>,
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no expression of the type `Hstore` or `Nullable<Hstore>`",
    note = "a map becomes one with `HstoreMap(map).into_sql::<Hstore>()`"
)]
pub trait HstoreExpressionMethods: Expression + Sized {
    /// The value of a key: `attributes -> 'color'`.
    ///
    /// Of the type `Nullable<Text>`: NULL if the key is missing, if its value is NULL, or if an operand is.
    /// [`has_key`](Self::has_key) distinguishes a missing key from a NULL value.
    ///
    /// ```
    /// # use diesel::prelude::*;
    /// # use diesel_postgres_hot_upgrade::hstore::HstoreExpressionMethods;
    /// # diesel::table! {
    /// #     use diesel::sql_types::*;
    /// #     use diesel_postgres_hot_upgrade::hstore::Hstore;
    /// #     products (id) { id -> Int8, attributes -> Hstore, labels -> Nullable<Hstore> }
    /// # }
    /// fn colors(conn: &mut PgConnection) -> QueryResult<Vec<Option<String>>> {
    ///     products::table.select(products::attributes.get("color")).load(conn)
    /// }
    /// ```
    fn get<K, Kind>(self, key: K) -> dsl::Get<Self, K, Kind>
    where
        K: Operand<Text, Kind>,
    {
        Grouped(operators::Get::new(self, key.into_operand()))
    }

    /// The values of several keys, in the order of the keys: `attributes -> ARRAY['color', 'size']`.
    ///
    /// Of the type `Array<Nullable<Text>>`, with NULL in the place of a key that is missing or whose value is NULL.
    ///
    /// ```
    /// # use diesel::prelude::*;
    /// # use diesel_postgres_hot_upgrade::hstore::HstoreExpressionMethods;
    /// # diesel::table! {
    /// #     use diesel::sql_types::*;
    /// #     use diesel_postgres_hot_upgrade::hstore::Hstore;
    /// #     products (id) { id -> Int8, attributes -> Hstore, labels -> Nullable<Hstore> }
    /// # }
    /// fn colors_and_sizes(conn: &mut PgConnection) -> QueryResult<Vec<Vec<Option<String>>>> {
    ///     products::table.select(products::attributes.get_many(vec!["color", "size"])).load(conn)
    /// }
    /// ```
    fn get_many<K, Kind>(self, keys: K) -> dsl::GetMany<Self, K, Kind>
    where
        K: Operand<Array<Text>, Kind>,
    {
        Grouped(operators::GetMany::new(self, keys.into_operand()))
    }

    /// Is the key there? `attributes ? 'color'`.
    ///
    /// A key whose value is NULL is there.
    ///
    /// ```
    /// # use diesel::prelude::*;
    /// # use diesel_postgres_hot_upgrade::hstore::HstoreExpressionMethods;
    /// # diesel::table! {
    /// #     use diesel::sql_types::*;
    /// #     use diesel_postgres_hot_upgrade::hstore::Hstore;
    /// #     products (id) { id -> Int8, attributes -> Hstore, labels -> Nullable<Hstore> }
    /// # }
    /// fn colored(conn: &mut PgConnection) -> QueryResult<i64> {
    ///     products::table.filter(products::attributes.has_key("color")).count().get_result(conn)
    /// }
    /// ```
    fn has_key<K, Kind>(self, key: K) -> dsl::HasKey<Self, K, Kind>
    where
        K: Operand<Text, Kind>,
    {
        Grouped(operators::HasKey::new(self, key.into_operand()))
    }

    /// Is any of the keys there? `attributes ?| ARRAY['color', 'size']`.
    ///
    /// Of no keys, none is.
    ///
    /// ```
    /// # use diesel::prelude::*;
    /// # use diesel_postgres_hot_upgrade::hstore::HstoreExpressionMethods;
    /// # diesel::table! {
    /// #     use diesel::sql_types::*;
    /// #     use diesel_postgres_hot_upgrade::hstore::Hstore;
    /// #     products (id) { id -> Int8, attributes -> Hstore, labels -> Nullable<Hstore> }
    /// # }
    /// fn described(conn: &mut PgConnection) -> QueryResult<i64> {
    ///     products::table.filter(products::attributes.has_any_key(vec!["color", "size"])).count().get_result(conn)
    /// }
    /// ```
    fn has_any_key<K, Kind>(self, keys: K) -> dsl::HasAnyKey<Self, K, Kind>
    where
        K: Operand<Array<Text>, Kind>,
    {
        Grouped(operators::HasAnyKey::new(self, keys.into_operand()))
    }

    /// Are all of the keys there? `attributes ?& ARRAY['color', 'size']`.
    ///
    /// Of no keys, all are.
    ///
    /// ```
    /// # use diesel::prelude::*;
    /// # use diesel_postgres_hot_upgrade::hstore::HstoreExpressionMethods;
    /// # diesel::table! {
    /// #     use diesel::sql_types::*;
    /// #     use diesel_postgres_hot_upgrade::hstore::Hstore;
    /// #     products (id) { id -> Int8, attributes -> Hstore, labels -> Nullable<Hstore> }
    /// # }
    /// fn fully_described(conn: &mut PgConnection) -> QueryResult<i64> {
    ///     products::table.filter(products::attributes.has_all_keys(vec!["color", "size"])).count().get_result(conn)
    /// }
    /// ```
    fn has_all_keys<K, Kind>(self, keys: K) -> dsl::HasAllKeys<Self, K, Kind>
    where
        K: Operand<Array<Text>, Kind>,
    {
        Grouped(operators::HasAllKeys::new(self, keys.into_operand()))
    }

    /// Are all pairs of the other among these? `attributes @> 'color=>green'`.
    ///
    /// A key with a NULL value is contained if the key is there with NULL, not if it is missing. A GiST or GIN index on
    /// the column is used.
    ///
    /// ```
    /// # use diesel::prelude::*;
    /// # use diesel_postgres_hot_upgrade::hstore::HstoreExpressionMethods;
    /// # diesel::table! {
    /// #     use diesel::sql_types::*;
    /// #     use diesel_postgres_hot_upgrade::hstore::Hstore;
    /// #     products (id) { id -> Int8, attributes -> Hstore, labels -> Nullable<Hstore> }
    /// # }
    /// use std::collections::BTreeMap;
    ///
    /// fn green(conn: &mut PgConnection) -> QueryResult<i64> {
    ///     let wanted = BTreeMap::from([("color".to_owned(), Some("green".to_owned()))]);
    ///     products::table.filter(products::attributes.contains(&wanted)).count().get_result(conn)
    /// }
    /// ```
    fn contains<T, Kind>(self, other: T) -> dsl::Contains<Self, T, Kind>
    where
        T: Operand<Hstore, Kind>,
    {
        Grouped(operators::Contains::new(self, other.into_operand()))
    }

    /// Are all of these pairs among the other's? `labels <@ attributes`.
    ///
    /// ```
    /// # use diesel::prelude::*;
    /// # use diesel_postgres_hot_upgrade::hstore::HstoreExpressionMethods;
    /// # diesel::table! {
    /// #     use diesel::sql_types::*;
    /// #     use diesel_postgres_hot_upgrade::hstore::Hstore;
    /// #     products (id) { id -> Int8, attributes -> Hstore, labels -> Nullable<Hstore> }
    /// # }
    /// fn labelled_by_attributes(conn: &mut PgConnection) -> QueryResult<i64> {
    ///     products::table.filter(products::labels.is_contained_by(products::attributes)).count().get_result(conn)
    /// }
    /// ```
    #[allow(clippy::wrong_self_convention)] // It is Diesel's name for this operator.
    fn is_contained_by<T, Kind>(self, other: T) -> dsl::IsContainedBy<Self, T, Kind>
    where
        T: Operand<Hstore, Kind>,
    {
        Grouped(operators::IsContainedBy::new(self, other.into_operand()))
    }

    /// Both together: `attributes || 'color=>green'`. Of a key that both have, the value on the right is taken.
    ///
    /// Where one of them is NULL, all of it is: set a default for the column, or ask for `coalesce` in SQL.
    ///
    /// ```
    /// # use diesel::prelude::*;
    /// # use diesel_postgres_hot_upgrade::hstore::HstoreExpressionMethods;
    /// # diesel::table! {
    /// #     use diesel::sql_types::*;
    /// #     use diesel_postgres_hot_upgrade::hstore::Hstore;
    /// #     products (id) { id -> Int8, attributes -> Hstore, labels -> Nullable<Hstore> }
    /// # }
    /// use std::collections::BTreeMap;
    ///
    /// fn paint_it_all(conn: &mut PgConnection) -> QueryResult<usize> {
    ///     let color = BTreeMap::from([("color".to_owned(), Some("green".to_owned()))]);
    ///     diesel::update(products::table)
    ///         .set(products::attributes.eq(products::attributes.concat(color)))
    ///         .execute(conn)
    /// }
    /// ```
    fn concat<T, Kind>(self, other: T) -> dsl::Concat<Self, T, Kind>
    where
        T: Operand<Hstore, Kind>,
    {
        Grouped(operators::Concat::new(self, other.into_operand()))
    }

    /// Less what is on the right, which is one of
    ///
    /// - a key: `attributes - 'color'`
    /// - an array of keys: `attributes - ARRAY['color', 'size']`
    /// - pairs: `attributes - 'color=>green'`. A key is removed if its value is the same.
    ///
    /// Keys that are not there change nothing.
    ///
    /// ```
    /// # use diesel::prelude::*;
    /// # use diesel_postgres_hot_upgrade::hstore::HstoreExpressionMethods;
    /// # diesel::table! {
    /// #     use diesel::sql_types::*;
    /// #     use diesel_postgres_hot_upgrade::hstore::Hstore;
    /// #     products (id) { id -> Int8, attributes -> Hstore, labels -> Nullable<Hstore> }
    /// # }
    /// use std::collections::BTreeMap;
    ///
    /// fn strip(conn: &mut PgConnection) -> QueryResult<usize> {
    ///     let green = BTreeMap::from([("color".to_owned(), Some("green".to_owned()))]);
    ///     diesel::update(products::table)
    ///         .set((
    ///             products::attributes.eq(products::attributes.remove("weight").remove(vec!["width", "height"])),
    ///             products::labels.eq(products::labels.remove(green)),
    ///         ))
    ///         .execute(conn)
    /// }
    /// ```
    fn remove<T, ST, Kind>(self, other: T) -> dsl::Remove<Self, T, ST, Kind>
    where
        T: Operand<ST, Kind>,
    {
        Grouped(operators::Remove::new(self, other.into_operand()))
    }
}

impl<T> HstoreExpressionMethods for T
where
    T: Expression,
    T::SqlType: HstoreOrNullableHstore,
{
}

/// The SQL types that have [`HstoreExpressionMethods`]: [`Hstore`] and `Nullable<Hstore>`.
#[diagnostic::on_unimplemented(message = "`{Self}` is neither `Hstore` nor `Nullable<Hstore>`")]
pub trait HstoreOrNullableHstore {}

impl HstoreOrNullableHstore for Hstore {}
impl HstoreOrNullableHstore for Nullable<Hstore> {}
