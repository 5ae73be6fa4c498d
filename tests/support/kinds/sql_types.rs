//! SQL types of every kind, and values of them as they travel.

use std::collections::BTreeMap;
use std::io::Write;
use std::marker::PhantomData;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::internal::derives::as_expression::Bound;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, IsNull, Output, ToSql, WriteTuple};
use diesel::sql_types::{Array, Citext, Record, SingleValue, SqlType};
use diesel_postgres_hot_upgrade::hstore::HstoreMap;

macro_rules! sql_types {
    ($($(#[$attribute:meta])* $sql_type:ident = $name:literal;)*) => {
        $(
            $(#[$attribute])*
            #[derive(Debug, Clone, Copy, PartialEq, diesel::query_builder::QueryId, diesel::sql_types::SqlType)]
            #[diesel(postgres_type(name = $name))]
            #[allow(unreachable_pub)] // The tables that use it are public.
            pub struct $sql_type;
        )*
    };
}
pub(crate) use sql_types;

sql_types! {
    Ltree = "ltree";
    Cube = "cube";
    Isbn = "isbn";
    Mood = "mood";
    HstoreDomain = "hstore_domain";
    CitextDomain = "citext_domain";
    LtreeDomain = "ltree_domain";
    CubeDomain = "cube_domain";
    MoodDomain = "mood_domain";
    RangeDomain = "range_domain";
    MultirangeDomain = "multirange_domain";
    CitizenDomain = "citizen_domain";
    DomainDomain = "domain_domain";
    CitextRange = "citext_range";
    MoodRange = "mood_range";
    CitextMultirange = "citext_multirange";
    CitizenType = "citizen";
    HouseholdType = "household";
}

/// A value as the bytes that travel.
#[derive(Debug, Clone, PartialEq, FromSqlRow)]
#[allow(unreachable_pub)]
pub struct Wire<ST> {
    bytes: Vec<u8>,
    sql_type: PhantomData<ST>,
}

impl<ST> Wire<ST> {
    pub(crate) fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Wire { bytes: bytes.into(), sql_type: PhantomData }
    }
}

impl<ST: SqlType + SingleValue> AsExpression<ST> for Wire<ST> {
    type Expression = Bound<ST, Self>;

    fn as_expression(self) -> Self::Expression {
        Bound::new(self)
    }
}

impl<ST: std::fmt::Debug> ToSql<ST, Pg> for Wire<ST> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(&self.bytes)?;
        Ok(IsNull::No)
    }
}

impl<ST> FromSql<ST, Pg> for Wire<ST> {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Wire::new(value.as_bytes()))
    }
}

/// A length, and what is that long.
fn counted(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("short");
    [&length.to_be_bytes(), bytes].concat()
}

pub(crate) type Map = HstoreMap<BTreeMap<String, Option<String>>>;

pub(crate) fn hstore_map() -> Map {
    HstoreMap(BTreeMap::from([("color".to_owned(), Some("green".to_owned()))]))
}

/// The same as it travels.
pub(crate) fn hstore() -> Vec<u8> {
    [1_u32.to_be_bytes().to_vec(), counted(b"color"), counted(b"green")].concat()
}

pub(crate) fn ltree() -> Vec<u8> {
    b"\x01Top.Science".to_vec()
}

/// A point of two dimensions.
pub(crate) fn cube() -> Vec<u8> {
    [&0x8000_0002_u32.to_be_bytes()[..], &1_f64.to_be_bytes(), &2_f64.to_be_bytes()].concat()
}

const LOWER_BOUND_IS_INCLUDED: u8 = 2;
const UPPER_BOUND_IS_INCLUDED: u8 = 4;

/// `[a,m)`
pub(crate) fn range() -> Vec<u8> {
    [vec![LOWER_BOUND_IS_INCLUDED], counted(b"a"), counted(b"m")].concat()
}

/// `[happy,happy]`
pub(crate) fn mood_range() -> Vec<u8> {
    [vec![LOWER_BOUND_IS_INCLUDED | UPPER_BOUND_IS_INCLUDED], counted(b"happy"), counted(b"happy")].concat()
}

pub(crate) fn multirange() -> Vec<u8> {
    [1_u32.to_be_bytes().to_vec(), counted(&range())].concat()
}

/// A `citizen`: a composite of an extension's type and an enum. In its binary form there is the OID of each.
#[derive(Debug, Clone, PartialEq, AsExpression, FromSqlRow)]
#[diesel(sql_type = CitizenType)]
#[diesel(sql_type = CitizenDomain)]
#[allow(unreachable_pub)]
pub struct Citizen {
    name: String,
    mood: Wire<Mood>,
}

impl Citizen {
    pub(crate) fn named(name: &str) -> Self {
        Citizen { name: name.to_owned(), mood: Wire::new("happy") }
    }
}

impl ToSql<CitizenType, Pg> for Citizen {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        WriteTuple::<(Citext, Mood)>::write_tuple(&(&self.name, &self.mood), &mut out.reborrow())
    }
}

impl FromSql<CitizenType, Pg> for Citizen {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let (name, mood) = FromSql::<Record<(Citext, Mood)>, Pg>::from_sql(value)?;
        Ok(Citizen { name, mood })
    }
}

impl ToSql<CitizenDomain, Pg> for Citizen {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        ToSql::<CitizenType, Pg>::to_sql(self, out)
    }
}

impl FromSql<CitizenDomain, Pg> for Citizen {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        FromSql::<CitizenType, Pg>::from_sql(value)
    }
}

/// A `household`: a composite of composites, alone and in an array.
#[derive(Debug, Clone, PartialEq, AsExpression, FromSqlRow)]
#[diesel(sql_type = HouseholdType)]
#[allow(unreachable_pub)]
pub struct Household {
    head: Citizen,
    others: Vec<Citizen>,
}

impl Household {
    pub(crate) fn of_three() -> Self {
        Household { head: Citizen::named("Ada"), others: vec![Citizen::named("Bob"), Citizen::named("Cy")] }
    }
}

impl ToSql<HouseholdType, Pg> for Household {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        WriteTuple::<(CitizenType, Array<CitizenType>)>::write_tuple(
            &(&self.head, &self.others),
            &mut out.reborrow(),
        )
    }
}

impl FromSql<HouseholdType, Pg> for Household {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let (head, others) = FromSql::<Record<(CitizenType, Array<CitizenType>)>, Pg>::from_sql(value)?;
        Ok(Household { head, others })
    }
}
