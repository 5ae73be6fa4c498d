//! Types of one server that are newer than the snapshot: used, and then no longer what their name means. The control is
//! a stock connection, which goes on with the old one.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::synchronize;
use testbed::Cluster;

use crate::support::diverging::connect;
use crate::support::freshness::wait_until_stale;
use crate::support::meaning::{Label, Verdict, is_wrong, plain};
use crate::support::ways::{ALL, Client, Ways};

/// A database of this name on a server that others use too, whose path begins with a schema that is still empty.
fn database(name: &str) -> (String, PgConnection) {
    let server = Cluster::shared(12);
    let name = format!("{name}_{}", std::process::id());
    server.create_database(&name).expect("a database");
    let url = server.url(&name);
    let mut owner = connect(&url);
    let create = format!(
        "CREATE SCHEMA early; CREATE TYPE known AS ENUM ('x'); ALTER DATABASE {name} SET search_path = early, public"
    );
    owner.batch_execute(&create).expect("a schema");
    let owner = connect(&url);
    (url, owner)
}

/// `create` comes after the snapshot; the type is used; then `change` gives the name to another type. Each way has its
/// own database: what one finds out helps the others.
fn is_found(name: &str, create: &str, change: &str, is_expected: fn(&Verdict) -> bool) {
    for way in ALL {
        let (url, mut owner) = database(&format!("{name}_{way:?}").to_lowercase());
        let (mut client, mut stock) = (Client::connect(way, &url), connect(&url));
        owner.batch_execute(create).expect("types that are newer than the snapshot");
        assert_eq!(client.ask::<Label>(), Ok(()), "{way:?}, before the change");
        assert_eq!(plain::<Label>(&mut stock), Ok(()), "{way:?}, before the change");

        wait_until_stale();
        owner.batch_execute(change).expect("another type of that name");

        assert_eq!(client.ask::<Label>(), Ok(()), "{way:?}, after the change");
        let control = plain::<Label>(&mut stock);
        assert!(is_expected(&control), "the control: {control:?}");
        assert_eq!(client.ask::<Label>(), Ok(()), "{way:?}, again after the change");

        // The new one is newer than any snapshot, too.
        wait_until_stale();
        let once_more = "ALTER TYPE label RENAME TO gone; CREATE TYPE early.label AS ENUM ('x')";
        owner.batch_execute(once_more).expect("a third");
        assert_eq!(client.ask::<Label>(), Ok(()), "{way:?}, after one more change");
    }
}

const CREATE: &str = "CREATE TYPE public.label AS ENUM ('x'); CREATE TYPE public.label_new AS ENUM ('x')";

#[test]
fn a_new_type_is_renamed_away_and_replaced() {
    let replace = "ALTER TYPE label RENAME TO label_old; ALTER TYPE label_new RENAME TO label";
    is_found("renamed", CREATE, replace, is_wrong);
}

#[test]
fn a_new_type_is_shadowed_by_one_in_an_earlier_schema() {
    is_found("shadowed", CREATE, "CREATE TYPE early.label AS ENUM ('x')", is_wrong);
}

#[test]
fn a_new_type_is_shadowed_by_one_that_moves_to_an_earlier_schema() {
    let shadow =
        "CREATE SCHEMA late; CREATE TYPE late.label AS ENUM ('x'); ALTER TYPE late.label SET SCHEMA early";
    is_found("moved", CREATE, shadow, is_wrong);
}

#[test]
fn a_new_type_is_dropped_and_created_again() {
    is_found("created_again", CREATE, "DROP TYPE label; CREATE TYPE label AS ENUM ('x')", Result::is_err);
}

#[test]
fn a_type_appears_in_an_earlier_schema_than_a_known_one() {
    let (url, mut owner) = database("known_shadowed");
    owner.batch_execute("CREATE TYPE public.label AS ENUM ('x')").expect("a type that the snapshot has");
    let mut ways = Ways::connect(&url);
    assert_eq!(ways.wrong::<Label>(), [""; 0]);
    assert_eq!(ways.stock::<Label>(), Ok(()));
    wait_until_stale();
    owner.batch_execute("CREATE TYPE early.label AS ENUM ('x')").expect("a type that shadows it");
    assert_eq!(ways.wrong::<Label>(), [""; 0]);
    let control = ways.stock::<Label>();
    assert!(is_wrong(&control), "{control:?}");
}

#[test]
fn a_type_that_was_looked_up_before_the_first_look_is_compared_too() {
    let (url, mut owner) = database("looked_up_before");
    owner.batch_execute(CREATE).expect("types");
    let [mut conn, mut stock] = [connect(&url), connect(&url)];
    for conn in [&mut conn, &mut stock] {
        assert_eq!(plain::<Label>(conn), Ok(()));
    }
    let replace = "ALTER TYPE label RENAME TO label_old; ALTER TYPE label_new RENAME TO label";
    owner.batch_execute(replace).expect("another type of that name");
    synchronize(&mut conn).expect("a first look");
    assert_eq!(plain::<Label>(&mut conn), Ok(()));
    let control = plain::<Label>(&mut stock);
    assert!(is_wrong(&control), "{control:?}");
}
