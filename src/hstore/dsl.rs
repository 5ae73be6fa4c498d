//! The types that the methods of [`HstoreExpressionMethods`](super::HstoreExpressionMethods) return, for signatures.
//!
//! `Lhs` is the expression on the left, `Rhs` the [operand](Operand) on the right, and `Kind` says what kind of operand
//! that is.
//!
//! ```
//! # use diesel::prelude::*;
//! # diesel::table! {
//! #     use diesel::sql_types::*;
//! #     use diesel_postgres_hot_upgrade::hstore::Hstore;
//! #     products (id) { id -> Int8, attributes -> Hstore }
//! # }
//! use diesel_postgres_hot_upgrade::hstore::{HstoreExpressionMethods, dsl};
//!
//! fn has_color() -> dsl::HasKey<products::attributes, &'static str> {
//!     products::attributes.has_key("color")
//! }
//! ```

use diesel::sql_types::is_nullable::NotNull;
use diesel::sql_types::{Array, Text};

use super::grouped::Grouped;
use super::{Hstore, Operand, operators};

/// What [`get`](super::HstoreExpressionMethods::get) returns.
pub type Get<Lhs, Rhs, Kind = NotNull> = Grouped<operators::Get<Lhs, <Rhs as Operand<Text, Kind>>::Expression>>;

/// What [`get_many`](super::HstoreExpressionMethods::get_many) returns.
pub type GetMany<Lhs, Rhs, Kind = NotNull> =
    Grouped<operators::GetMany<Lhs, <Rhs as Operand<Array<Text>, Kind>>::Expression>>;

/// What [`has_key`](super::HstoreExpressionMethods::has_key) returns.
pub type HasKey<Lhs, Rhs, Kind = NotNull> =
    Grouped<operators::HasKey<Lhs, <Rhs as Operand<Text, Kind>>::Expression>>;

/// What [`has_any_key`](super::HstoreExpressionMethods::has_any_key) returns.
pub type HasAnyKey<Lhs, Rhs, Kind = NotNull> =
    Grouped<operators::HasAnyKey<Lhs, <Rhs as Operand<Array<Text>, Kind>>::Expression>>;

/// What [`has_all_keys`](super::HstoreExpressionMethods::has_all_keys) returns.
pub type HasAllKeys<Lhs, Rhs, Kind = NotNull> =
    Grouped<operators::HasAllKeys<Lhs, <Rhs as Operand<Array<Text>, Kind>>::Expression>>;

/// What [`contains`](super::HstoreExpressionMethods::contains) returns.
pub type Contains<Lhs, Rhs, Kind = NotNull> =
    Grouped<operators::Contains<Lhs, <Rhs as Operand<Hstore, Kind>>::Expression>>;

/// What [`is_contained_by`](super::HstoreExpressionMethods::is_contained_by) returns.
pub type IsContainedBy<Lhs, Rhs, Kind = NotNull> =
    Grouped<operators::IsContainedBy<Lhs, <Rhs as Operand<Hstore, Kind>>::Expression>>;

/// What [`concat`](super::HstoreExpressionMethods::concat) returns.
pub type Concat<Lhs, Rhs, Kind = NotNull> =
    Grouped<operators::Concat<Lhs, <Rhs as Operand<Hstore, Kind>>::Expression>>;

/// What [`remove`](super::HstoreExpressionMethods::remove) returns. `ST` is the operand's SQL type: `Text`,
/// `Array<Text>` or [`Hstore`].
pub type Remove<Lhs, Rhs, ST = Text, Kind = NotNull> =
    Grouped<operators::Remove<Lhs, <Rhs as Operand<ST, Kind>>::Expression>>;
