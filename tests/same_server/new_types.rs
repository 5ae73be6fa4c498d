//! Types of one server that are newer than the snapshot: used, and then no longer what their name means. The control is
//! a stock connection, which goes on with the old one.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_postgres_hot_upgrade::{HotUpgradeExt, Outcome, synchronize};
use fixture::write_and_read_back;
use log::Level;
use testbed::Cluster;

use crate::support::diverging::connect;
use crate::support::events::{logged, record_log};
use crate::support::freshness::wait_until_stale;
use crate::support::meaning::{Label, PublicLabel, Verdict, is_wrong, plain, verified};
use crate::support::pools::upgrade;
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

#[test]
fn a_new_type_is_compared_by_the_name_that_it_had_in_between() {
    let (url, mut owner) = database("in_between");
    let [mut idle, mut other, mut stock] = [connect(&url), connect(&url), connect(&url)];
    synchronize(&mut idle).expect("a first look");
    owner.batch_execute(CREATE).expect("types that are newer than the snapshot");
    for conn in [&mut idle, &mut stock] {
        assert_eq!(plain::<Label>(conn), Ok(()), "before the change");
    }
    wait_until_stale();
    synchronize(&mut other).expect("a look that finds the type");
    owner.batch_execute("ALTER TYPE label RENAME TO label_old").expect("no type of that name");
    synchronize(&mut other).expect("a look that finds the other name");
    // Nobody has looked since this one was created.
    owner.batch_execute("CREATE TYPE label AS ENUM ('x')").expect("another type of that name");

    synchronize(&mut idle).expect("a checkout");
    assert_eq!(plain::<Label>(&mut idle), Ok(()));
    let control = plain::<Label>(&mut stock);
    assert!(is_wrong(&control), "{control:?}");
}

#[test]
fn a_name_comes_back_after_everybody_has_seen_that_it_was_gone() {
    let (url, mut owner) = database("comes_back");
    owner.batch_execute(CREATE).expect("types that the snapshot has");
    let [mut idle, mut other, mut stock] = [connect(&url), connect(&url), connect(&url)];
    for conn in [&mut idle, &mut other] {
        synchronize(conn).expect("a first look");
    }
    for conn in [&mut idle, &mut stock] {
        assert_eq!(plain::<Label>(conn), Ok(()), "before the change");
    }
    owner.batch_execute("DROP TYPE label").expect("no type of that name");
    synchronize(&mut other).expect("a look that misses it");
    owner.batch_execute("CREATE TYPE label AS ENUM ('x')").expect("another one");

    synchronize(&mut idle).expect("a checkout");
    assert_eq!(plain::<Label>(&mut idle), Ok(()));
    let control = plain::<Label>(&mut stock);
    assert!(control.is_err(), "the control");
}

/// A type is used before anybody sees it, and then seen by another name only. Its name was another type's meanwhile.
#[test]
fn a_name_comes_back_that_was_never_seen_with_the_type_that_was_used() {
    let (url, mut owner) = database("comes_back_unseen");
    let [mut idle, mut other, mut stock] = [connect(&url), connect(&url), connect(&url)];
    for conn in [&mut idle, &mut other] {
        synchronize(conn).expect("a first look");
    }
    owner.batch_execute("CREATE TYPE label AS ENUM ('x')").expect("a type that nobody has seen");
    for conn in [&mut idle, &mut stock] {
        assert_eq!(plain::<Label>(conn), Ok(()), "before the change");
    }
    let replace = "ALTER TYPE label RENAME TO label_old; CREATE TYPE label AS ENUM ('x')";
    owner.batch_execute(replace).expect("another type of that name");
    wait_until_stale();
    synchronize(&mut other).expect("a look that sees both");
    owner.batch_execute("DROP TYPE label; DROP TYPE label_old").expect("no type of that name");
    wait_until_stale();
    synchronize(&mut other).expect("a look that misses them");
    owner.batch_execute("CREATE TYPE label AS ENUM ('x')").expect("a third");

    synchronize(&mut idle).expect("a checkout");
    assert_eq!(plain::<Label>(&mut idle), Ok(()));
    let control = plain::<Label>(&mut stock);
    assert!(control.is_err(), "the control");
}

/// Both are shown without a schema, so it takes more to notice that one moves.
#[test]
fn a_type_moves_within_the_path_and_leaves_its_name_to_another_one() {
    let (url, mut owner) = database("moves_within");
    owner.batch_execute("CREATE TYPE public.label AS ENUM ('x')").expect("a type that the snapshot has");
    let mut ways = Ways::connect(&url);
    let mut own = connect(&url);
    synchronize(&mut own).expect("a first look");
    assert_eq!(ways.wrong::<PublicLabel>(), [""; 0]);
    assert_eq!(ways.stock::<PublicLabel>(), Ok(()));

    let moved = own.hot_transaction(|conn| {
        conn.batch_execute("ALTER TYPE public.label SET SCHEMA early")?;
        synchronize(conn).map(drop)
    });
    assert_eq!(moved, Ok(()));
    owner.batch_execute("CREATE TYPE public.label AS ENUM ('x')").expect("another type where it was");
    assert_eq!(verified::<PublicLabel>(&mut own), Ok(()));
    assert_eq!(ways.wrong::<PublicLabel>(), [""; 0]);
    assert_eq!(ways.wrong::<Label>(), [""; 0]);
    let control = ways.stock::<PublicLabel>();
    assert!(is_wrong(&control), "{control:?}");
}

#[test]
fn new_types_alone_are_no_change() {
    let (url, mut owner) = database("added");
    let mut conn = connect(&url);
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Primed)));
    for create in ["CREATE TABLE newcomer (id int)", "CREATE TYPE label AS ENUM ('x')"] {
        wait_until_stale();
        owner.batch_execute(create).expect("something new");
        for _ in 0..2 {
            assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)), "{create}");
        }
    }
    for ask in [plain::<Label>, verified::<Label>] {
        assert_eq!(ask(&mut conn), Ok(()));
    }
    // The control: what was noticed is watched at once.
    owner.batch_execute("DROP TYPE label; CREATE TYPE label AS ENUM ('x')").expect("another type");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Changed(_))));
}

#[test]
fn a_database_with_thousands_of_types_is_warned_of() {
    record_log();
    let upgrade = upgrade();
    let many =
        "DO $$BEGIN FOR i IN 1..1001 LOOP EXECUTE format('CREATE DOMAIN many_%s AS int', i); END LOOP; END$$";
    upgrade.run_on(upgrade.old, many).expect("many types");
    let mut conn = PgConnection::establish(&upgrade.old.url(&upgrade.database)).expect("a connection");
    synchronize(&mut conn).expect("a first look");
    assert_eq!(write_and_read_back(&mut conn, 1), Ok(()));
    let warnings = logged(Level::Warn, "call `track`");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[test]
fn a_domain_over_an_array_does_not_keep_others_from_being_known() {
    let upgrade = upgrade();
    upgrade.run_on(upgrade.old, "CREATE DOMAIN labels AS text[]").expect("a domain over an array");
    let mut conn = PgConnection::establish(&upgrade.old.url(&upgrade.database)).expect("a connection");
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Primed)));
    assert!(matches!(synchronize(&mut conn), Ok(Outcome::Unchanged)));
    assert_eq!(write_and_read_back(&mut conn, 1), Ok(()));
}
