//! Rust's maps as values. Every implementation of a foreign trait for them names [`Hstore`] among its parameters: only
//! so may this crate have it. `AsExpression<Hstore>` for them would overlap with Diesel's own for every `Expression`,
//! which a later standard library or Diesel might make of a map: that is what [`HstoreMap`](super::HstoreMap) is for.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;

use diesel::deserialize::{self, FromSql, Queryable};
use diesel::internal::derives::as_expression::Bound;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, Output, ToSql};

use super::operand::{Map, Operand};
use super::{Hstore, binary};

macro_rules! values {
    ([$($generics:tt)*] $map:ty) => {
        impl<$($generics)*> ToSql<Hstore, Pg> for $map {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                binary::encode(self.iter(), out)
            }
        }

        impl<$($generics)*> FromSql<Hstore, Pg> for $map {
            fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
                let mut map = Self::default();
                binary::decode(value.as_bytes(), |key, value| map.insert(key, value).is_none())?;
                Ok(map)
            }
        }

        impl<$($generics)*> Queryable<Hstore, Pg> for $map {
            type Row = Self;

            fn build(row: Self) -> deserialize::Result<Self> {
                Ok(row)
            }
        }

        values!(@operand [$($generics)*] $map);
        values!(@operand ['a, $($generics)*] &'a $map);
    };
    (@operand [$($generics:tt)*] $map:ty) => {
        impl<$($generics)*> Operand<Hstore, Map> for $map {
            type Expression = Bound<Hstore, Self>;

            fn into_operand(self) -> Self::Expression {
                Bound::new(self)
            }
        }
    };
}

values!([S: BuildHasher + Default] HashMap<String, Option<String>, S>);
values!([] BTreeMap<String, Option<String>>);
