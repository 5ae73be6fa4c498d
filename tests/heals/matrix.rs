//! Every scenario in every way, in verified transactions and by `hot_query`: no failure reaches the application. Stock
//! Diesel fails for ever, if it keeps what went stale.

use diesel::prelude::*;

use crate::client::{Client, In};
use crate::scenarios::{self, Scenario, Stale};
use crate::site::{Site, Way};
use crate::uses::How;

/// As often as it takes to meet each server connection twice.
fn rounds(way: Way) -> usize {
    (2 * way.backends()).max(3)
}

/// What goes wrong in `rounds` uses.
fn problems(rounds: usize, mut used: impl FnMut() -> QueryResult<()>) -> Vec<String> {
    (0..rounds).filter_map(|round| used().err().map(|error| format!("round {round}: {error}"))).collect()
}

/// PgBouncer drops a client whose statement it does not know. A pool replaces the connection at the next checkout;
/// nobody can heal one that is in no pool.
fn drops_clients(stale: Stale, way: Way) -> bool {
    stale == Stale::Names && way == Way::Transactions
}

/// Does stock Diesel keep what this makes stale?
fn goes_stale(stale: Stale, way: Way) -> bool {
    stale == Stale::Types || way != Way::WithoutStatementCache
}

fn heals(scenario: &Scenario, way: Way, within: In) {
    heals_on(Site::start(way), scenario, within);
}

/// On a new site.
pub(crate) fn heals_on(mut site: Site, scenario: &Scenario, within: In) {
    let way = site.way;
    (scenario.prepare)(site.owner()).expect("what the scenario begins with");
    let rounds = rounds(way);
    let mut stock = site.connect();
    let mut clients = Client::all(&site);

    site.on_every_backend(|conn| (scenario.used)(conn, How::Plain));
    assert_eq!(problems(rounds, || (scenario.used)(&mut stock, How::Plain)), [""; 0], "stock, before");
    for client in &mut clients {
        let before = match client {
            Client::NeverAsked(conn) => problems(rounds, || (scenario.used)(conn, How::Plain)),
            _ => problems(rounds, || client.with(|conn| within.run(conn, scenario))),
        };
        assert_eq!(before, [""; 0], "{}, before", client.name());
    }

    (scenario.itself)(&mut stock).expect("what the stock connection does itself");
    for client in &mut clients {
        client.with(scenario.itself).expect("what a protected connection does itself");
    }
    site.run(scenario.change);

    if drops_clients(scenario.stale, way) {
        clients.retain(|client| matches!(client, Client::Pooled(_)));
    }
    clients.push(Client::newcomer(&site));

    let control = problems(rounds, || (scenario.used)(&mut stock, How::Plain));
    let expected = if goes_stale(scenario.stale, way) { rounds } else { 0 };
    assert_eq!(control.len(), expected, "the control: {control:?}");
    for client in &mut clients {
        let after = problems(rounds, || client.with(|conn| within.run(conn, scenario)));
        assert_eq!(after, [""; 0], "{}, after", client.name());
        // Behind a pooler, plans of its server connections may still be stale.
        if way != Way::Transactions {
            let plain = problems(rounds, || client.with(|conn| (scenario.used)(conn, How::Plain)));
            assert_eq!(plain, [""; 0], "{}, plain statements after it was healed", client.name());
        }
    }
}

macro_rules! in_every_way {
    ($($module:ident = $scenario:ident,)*) => {
        $(mod $module {
            use super::*;

            in_every_way! { @ways $scenario
                heals_directly = Direct,
                heals_behind_a_pooler_that_prepares_statements = Transactions,
                heals_behind_a_pooler_without_a_statement_cache = WithoutStatementCache,
                heals_in_session_mode = Sessions,
            }
        })*
    };
    (@ways $scenario:ident $($name:ident = $way:ident,)*) => {
        mod in_a_verified_transaction {
            use super::*;
            $(
                #[test]
                fn $name() {
                    heals(&scenarios::$scenario, Way::$way, In::HotTransaction);
                }
            )*
        }

        mod by_hot_query {
            use super::*;
            $(
                #[test]
                fn $name() {
                    heals(&scenarios::$scenario, Way::$way, In::HotQuery);
                }
            )*
        }
    };
}

in_every_way! {
    a_column_that_became_text = A_COLUMN_BECOMES_TEXT,
    a_column_that_became_wider = A_COLUMN_BECOMES_WIDER,
    a_column_that_was_added = A_COLUMN_IS_ADDED,
    a_recreated_enum_that_is_only_selected = AN_ENUM_IS_RECREATED,
    a_swapped_enum_that_is_only_selected = AN_ENUM_IS_SWAPPED,
    a_recreated_function = A_FUNCTION_IS_RECREATED,
    a_replaced_view = A_VIEW_IS_REPLACED,
    a_recreated_table = A_TABLE_IS_RECREATED,
    a_recreated_table_whose_rows_are_bound = A_TABLE_WHOSE_ROWS_ARE_BOUND_IS_RECREATED,
    a_dropped_table_that_had_hidden_another = A_HIDING_TABLE_IS_DROPPED,
    a_dropped_schema_whose_table_had_hidden_another = A_HIDING_SCHEMA_IS_DROPPED,
    a_renamed_schema_whose_table_had_hidden_another = A_HIDING_SCHEMA_IS_RENAMED,
    a_moved_table_that_had_hidden_another = A_HIDING_TABLE_IS_MOVED_AWAY,
    a_dropped_function_that_had_hidden_another = A_HIDING_FUNCTION_IS_DROPPED,
    a_dropped_type_that_had_hidden_another = A_HIDING_TYPE_IS_DROPPED,
    deallocated_statements = STATEMENTS_ARE_DEALLOCATED,
    a_rolled_back_type_that_was_created_again = A_ROLLED_BACK_TYPE_IS_CREATED,
    a_migration_that_was_redone = A_MIGRATION_IS_REDONE,
}
