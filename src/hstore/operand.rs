//! What stands on the right of an operator.

use diesel::expression::{AsExpression, Expression};
use diesel::sql_types::is_nullable::{IsNullable, NotNull};
use diesel::sql_types::{Array, Nullable, Text};

use super::Hstore;

/// A value or an expression of the SQL type `ST` that stands on the right of one of hstore's operators.
///
/// There is nothing to implement, and the compiler finds `ST` and `Kind` by itself:
///
/// | operand | `Kind` |
/// |---|---|
/// | a value or an expression that Diesel takes for `ST`: `&str` for `Text`, `Vec<String>` for `Array<Text>`, a column | [`NotNull`] |
/// | an expression of `Nullable<ST>`. If it is NULL, so is what the operator returns | [`IsNullable`] |
/// | a map or a reference to one, for [`Hstore`] | [`Map`] |
///
/// ```
/// # use diesel::prelude::*;
/// # use diesel::sql_types::Bool;
/// use diesel_postgres_hot_upgrade::hstore::HstoreExpressionMethods;
///
/// diesel::table! {
///     use diesel::sql_types::*;
///     use diesel_postgres_hot_upgrade::hstore::Hstore;
///
///     products (id) {
///         id -> Int8,
///         attributes -> Hstore,
///         main_key -> Nullable<Text>,
///     }
/// }
///
/// let with_a_color = products::table.filter(products::attributes.has_key("color"));
/// let with_its_main_key = products::table.filter(products::attributes.has_key(products::main_key));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no operand of hstore's operators of the type `{ST}`",
    note = "take a value or an expression of the type, an expression of `Nullable` of it, or for `Hstore` a map"
)]
pub trait Operand<ST, Kind> {
    /// The operand as Diesel's expression.
    type Expression: Expression;

    /// Makes it one.
    fn into_operand(self) -> Self::Expression;
}

/// The kind of [`Operand`] that maps are.
#[derive(Debug, Clone, Copy)]
pub struct Map;

// For the three types that hstore's operators take, and not for any: so the compiler can tell from the value alone
// which one it is.
macro_rules! operands {
    ($($sql_type:ty),*) => {$(
        impl<T: AsExpression<$sql_type>> Operand<$sql_type, NotNull> for T {
            type Expression = T::Expression;

            fn into_operand(self) -> Self::Expression {
                self.as_expression()
            }
        }

        impl<T: Expression<SqlType = Nullable<$sql_type>>> Operand<$sql_type, IsNullable> for T {
            type Expression = T;

            fn into_operand(self) -> Self {
                self
            }
        }
    )*};
}

operands!(Text, Array<Text>, Hstore);
