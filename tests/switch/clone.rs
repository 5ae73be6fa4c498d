//! Clones: copies in which the types of the original have the same OIDs.

use diesel::prelude::*;
use diesel_postgres_hot_upgrade::synchronize;

use crate::support::documents::work;
use crate::support::kinds::moods::{CREATE_MOODS, moods};
use crate::support::pools::upgrade;

/// Of a database that was created from a template, types have the OIDs that they have in the template.
#[test]
fn databases_of_one_template_take_the_name_in_turn() {
    let upgrade = upgrade();
    let [name, second, third] = ["", "_second", "_third"].map(|suffix| format!("{}{suffix}", upgrade.database));
    let mut client = upgrade.old.client("postgres").expect("a connection");
    let mut run = |sql: &str| client.batch_execute(sql).expect(sql);
    run(&format!("CREATE DATABASE {second} TEMPLATE {name}"));
    let on = |database: &str, sql: &str| {
        upgrade.old.client(database).expect("a connection").batch_execute(sql).expect(sql);
    };
    on(&second, CREATE_MOODS);
    run(&format!("CREATE DATABASE {third} TEMPLATE {second}"));
    on(&third, &format!("DROP TABLE moods; DROP TYPE mood; {CREATE_MOODS}"));
    on(&name, "CREATE TABLE larger_than_any_oid_of_the_others (id int8)");

    let mut hot = PgConnection::establish(&upgrade.url()).expect("a connection");
    let mut stock = PgConnection::establish(&upgrade.url()).expect("a connection");
    for number in 1..4 {
        synchronize(&mut hot).expect("nothing changes yet");
        assert_eq!(work(&mut hot, number), Ok(()));
    }
    for (round, next) in [&second, &third].into_iter().enumerate() {
        upgrade.pgbouncer.console(&format!("PAUSE {name}")).expect("no server connections");
        run(&format!("ALTER DATABASE {name} RENAME TO {name}_{round}; ALTER DATABASE {next} RENAME TO {name}"));
        upgrade.pgbouncer.console(&format!("RESUME {name}")).expect("the database is back");
        synchronize(&mut hot).expect("an answer");
        assert_eq!(moods(&mut hot), Ok(()), "{next}");
        assert_eq!(moods(&mut stock).is_ok(), round == 0, "the control");
    }
}
