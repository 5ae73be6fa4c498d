//! The type `hstore`, with Rust's maps as its values and its operators as methods. Needs the cargo feature `hstore`.
//!
//! `hstore` comes with an extension, so its OID differs from server to server: it is among the types that this crate
//! protects. Diesel itself does not have it.
//!
//! ```no_run
//! use std::collections::HashMap;
//!
//! use diesel::prelude::*;
//! use diesel_postgres_hot_upgrade::hstore::{HstoreExpressionMethods, HstoreMap};
//!
//! diesel::table! {
//!     use diesel::sql_types::*;
//!     use diesel_postgres_hot_upgrade::hstore::Hstore;
//!
//!     products (id) {
//!         id -> Int8,
//!         attributes -> Hstore,
//!         labels -> Nullable<Hstore>,
//!     }
//! }
//!
//! #[derive(Debug, Insertable, Queryable, Selectable)]
//! #[diesel(table_name = products)]
//! struct Product {
//!     attributes: HstoreMap,
//!     labels: Option<HstoreMap>,
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let conn = &mut PgConnection::establish("postgres://localhost/shop")?;
//!     let attributes = HashMap::from([
//!         ("color".to_owned(), Some("green".to_owned())),
//!         ("discount".to_owned(), None), // the key is there, its value is NULL
//!     ]);
//!     let chair = Product { attributes: HstoreMap(attributes), labels: None };
//!     diesel::insert_into(products::table).values(&chair).execute(conn)?;
//!
//!     // Structs:
//!     let green: Vec<Product> = products::table
//!         .filter(products::attributes.get("color").eq("green"))
//!         .select(Product::as_select())
//!         .load(conn)?;
//!     // Maps as they are:
//!     let discounted: Vec<HashMap<String, Option<String>>> = products::table
//!         .filter(products::attributes.has_key("discount"))
//!         .select(products::attributes)
//!         .load(conn)?;
//!     println!("{green:?} {discounted:?}");
//!
//!     diesel::update(products::table)
//!         .set(products::attributes.eq(products::attributes.remove("discount")))
//!         .execute(conn)?;
//!     Ok(())
//! }
//! ```
//!
//! # Values
//!
//! `HashMap<String, Option<String>>`, with whatever hasher, and `BTreeMap<String, Option<String>>`. A NULL among the
//! values is `None`; keys are never NULL, and the order of pairs is not kept. For a column of
//! [`Nullable<Hstore>`](diesel::sql_types::Nullable) it is an `Option` of a map, for an
//! [`Array`](diesel::sql_types::Array) a `Vec`.
//!
//! A map is enough for most; for the rest, Rust's rules keep this crate from making Diesel's expression of a type from
//! the standard library, and [`HstoreMap`] around the map, or around a reference to it, is one:
//!
//! | | for `Hstore` | for `Nullable<Hstore>` |
//! |---|---|---|
//! | `load`, `Queryable`, `Selectable`, `QueryableByName` | map | `Option` of a map |
//! | the right side of an operator | map | column or other expression |
//! | `eq`, `values`, `set` | [`HstoreMap`] | `Some(map)`, or [`HstoreMap`] |
//! | a field of a struct that derives `Insertable` or `AsChangeset` | [`HstoreMap`] | `Option` of [`HstoreMap`] |
//!
//! To keep a plain map in a struct that is written: with `#[diesel(serialize_as = HstoreMap)]` on the field such a
//! struct can be inserted by value, not by reference; and with `#[diesel(treat_none_as_default_value = false)]` an
//! `Option` of a map can be inserted: `None` is NULL then, not the column's default.
//!
//! # Errors
//!
//! - A key or a value of 1 GiB or more, or more than [`i32::MAX`] pairs, is an error before anything is sent
//!   ([`SerializationError`](diesel::result::Error::SerializationError)). What is smaller, the server may still refuse,
//!   and it refuses the character `\0`, as in any text.
//! - What is received and is no `hstore` is an error
//!   ([`DeserializationError`](diesel::result::Error::DeserializationError)): cut off, too long, a negative length, a
//!   NULL key, the same key twice, or not UTF-8. It is never a panic, and no memory is reserved for what a corrupt
//!   value only claims to hold.
//! - If the extension is not installed, a query fails with an error that names the type.
//!
//! # With the `diesel` command
//!
//! `diesel print-schema` writes another type `Hstore` into `schema.rs`, which these maps do not fit. This `diesel.toml`
//! makes it use the type of this crate:
//!
//! ```toml
//! [print_schema]
//! import_types = ["diesel::sql_types::*", "diesel_postgres_hot_upgrade::hstore::Hstore"]
//! except_custom_type_definitions = ["^Hstore$"]
//! ```

mod binary;
pub mod dsl;
mod grouped;
mod hstore_map;
mod maps;
mod methods;
mod operand;
mod operators;

use diesel::query_builder::QueryId;
use diesel::sql_types::SqlType;

pub use hstore_map::HstoreMap;
pub use methods::{HstoreExpressionMethods, HstoreOrNullableHstore};
pub use operand::{Map, Operand};

/// The SQL type `hstore`: pairs of a text and a text or NULL, each key once.
///
/// It is looked up by its bare name, so its schema has to be in the `search_path`.
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
///         versions -> Array<Hstore>,
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, Default, QueryId, SqlType)]
#[diesel(postgres_type(name = "hstore"))]
pub struct Hstore;
