//! The operators as Diesel's expressions, without parentheses. All but `->` with one key are NULL if an operand is. //!
//! They are written bare, as Diesel writes its own: they are in the extension's schema, which differs from database to
//! database.

use diesel::pg::Pg;
use diesel::sql_types::{Array, Nullable, Text};

use super::Hstore;

// `infix_operator!` would make a `Nullable<Nullable<Text>>` of this where the left side may be NULL.
diesel::__diesel_infix_operator!(Get, " -> ", ConstantNullability Nullable<Text>, backend: Pg);
diesel::infix_operator!(GetMany, " -> ", Array<Nullable<Text>>, backend: Pg);
diesel::infix_operator!(HasKey, " ? ", backend: Pg);
diesel::infix_operator!(HasAnyKey, " ?| ", backend: Pg);
diesel::infix_operator!(HasAllKeys, " ?& ", backend: Pg);
diesel::infix_operator!(Contains, " @> ", backend: Pg);
diesel::infix_operator!(IsContainedBy, " <@ ", backend: Pg);
diesel::infix_operator!(Concat, " || ", Hstore, backend: Pg);
diesel::infix_operator!(Remove, " - ", Hstore, backend: Pg);
