//! `diesel-derive-enum`: one enum whose SQL type the derive makes, and one for the SQL type of a schema; and one by the
//! pre-release 3.

use diesel::prelude::*;
use diesel_derive_enum::DbEnum;

use crate::servers::from_14_to_17;
use crate::switch::{Use, Verdict, expect, survives};

#[derive(Debug, Clone, Copy, PartialEq, Eq, DbEnum)]
#[allow(unreachable_pub)] // The table that uses its type is public.
pub enum Mood {
    Happy,
    #[db_rename = "so-so"]
    Middling,
}

/// As `diesel print-schema` writes it.
#[derive(Debug, diesel::query_builder::QueryId, diesel::sql_types::SqlType)]
#[diesel(postgres_type(name = "status"))]
#[allow(unreachable_pub)]
pub struct StatusType;

#[derive(Debug, Clone, Copy, PartialEq, Eq, DbEnum)]
#[ExistingTypePath = "StatusType"]
#[allow(unreachable_pub)]
pub enum Status {
    Away,
    AtHome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, diesel_derive_enum_3::DbEnum)]
#[allow(unreachable_pub)]
pub enum Weather {
    Sunny,
    #[db_enum(rename = "rain+snow")]
    Sleet,
}

diesel::table! {
    use diesel::sql_types::*;
    use super::{MoodMapping, StatusType};

    people (id) {
        id -> Int4,
        mood -> MoodMapping,
        moods -> Array<MoodMapping>,
        status -> Nullable<StatusType>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::WeatherMapping;

    days (id) {
        id -> Int4,
        weather -> WeatherMapping,
    }
}

const CREATE: &str = "CREATE TYPE mood AS ENUM ('happy', 'so-so');
    CREATE TYPE status AS ENUM ('away', 'at_home');
    CREATE TABLE people (id serial PRIMARY KEY, mood mood NOT NULL, moods mood[] NOT NULL, status status);
    INSERT INTO people (mood, moods, status) VALUES
        ('happy', '{}', 'away'), ('so-so', '{happy,so-so}', 'at_home'), ('happy', '{so-so}', NULL);
    CREATE TYPE weather AS ENUM ('sunny', 'rain+snow');
    CREATE TABLE days (id serial PRIMARY KEY, weather weather NOT NULL);
    INSERT INTO days (weather) VALUES ('rain+snow')";

fn inserted(conn: &mut PgConnection) -> Verdict {
    let values = || (Mood::Middling, vec![Mood::Happy, Mood::Happy], None::<Status>);
    let insert = diesel::insert_into(people::table)
        .values((people::mood.eq(values().0), people::moods.eq(values().1), people::status.eq(values().2)))
        .returning((people::mood, people::moods, people::status));
    expect(insert.get_result(conn), &values())?;
    let inserted = people::table.filter(people::moods.eq(values().1));
    expect(diesel::delete(inserted).execute(conn), &1)
}

fn found(conn: &mut PgConnection) -> Verdict {
    let found = people::table.filter(people::mood.eq(Mood::Middling)).select((people::id, people::mood));
    expect(found.load(conn), &vec![(2, Mood::Middling)])
}

fn found_by_any(conn: &mut PgConnection) -> Verdict {
    let found = people::table.filter(people::mood.eq_any([Mood::Happy])).order(people::id).select(people::id);
    expect(found.load(conn), &vec![1, 3])
}

fn greater(conn: &mut PgConnection) -> Verdict {
    let found = people::table.filter(people::mood.gt(Mood::Happy)).select(people::moods);
    expect(found.load(conn), &vec![vec![Mood::Happy, Mood::Middling]])
}

fn found_by_status(conn: &mut PgConnection) -> Verdict {
    let found = people::table.filter(people::status.eq(Status::AtHome)).select((people::id, people::status));
    expect(found.load(conn), &vec![(2, Some(Status::AtHome))])
}

fn inserted_by_3(conn: &mut PgConnection) -> Verdict {
    let insert = diesel::insert_into(days::table).values(days::weather.eq(Weather::Sunny));
    expect(insert.returning(days::weather).get_result(conn), &Weather::Sunny)?;
    expect(diesel::delete(days::table.filter(days::weather.eq(Weather::Sunny))).execute(conn), &1)
}

fn found_by_3(conn: &mut PgConnection) -> Verdict {
    let found = days::table.filter(days::weather.eq_any([Weather::Sleet])).select((days::id, days::weather));
    expect(found.load(conn), &vec![(1, Weather::Sleet)])
}

#[test]
fn derived_enums_survive_a_change_of_server() {
    let upgrade = from_14_to_17(CREATE, &["mood", "status", "weather"]);
    survives(
        &upgrade,
        &[
            Use::of_own_type("insert, with an array", inserted),
            Use::of_own_type("=", found),
            Use::of_own_type("= ANY", found_by_any),
            Use::of_own_type(">", greater),
            Use::of_own_type("= of an existing SQL type", found_by_status),
            Use::of_own_type("insert, pre-release 3", inserted_by_3),
            Use::of_own_type("= ANY, pre-release 3", found_by_3),
        ],
    );
}
