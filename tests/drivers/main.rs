//! One table of scenarios for both drivers, so that they can't drift apart: blocking Diesel in r2d2, and diesel-async in
//! bb8. Each scenario has its control: the same on stock connections of the same driver.

mod catalog;
mod errors;
mod one_load;
mod plans;
mod servers;
mod tenants;
mod uses;

// Other programs use the rest.
#[allow(dead_code, unused_imports)]
#[path = "../support"]
mod support {
    pub(crate) mod diverging;
    pub(crate) mod drivers;
    pub(crate) mod freshness;
    pub(crate) mod meaning;
    pub(crate) mod own_process;
    pub(crate) mod pools;
    pub(crate) mod server;
}

macro_rules! for_both_drivers {
    ($($file:ident: $($scenario:ident)*;)*) => {
        for_both_drivers! { @driver blocking Blocking $($file: $($scenario)*;)* }
        for_both_drivers! { @driver asynchronous Async $($file: $($scenario)*;)* }
    };
    (@driver $module:ident $driver:ident $($file:ident: $($scenario:ident)*;)*) => {
        mod $module {
            use crate::support::drivers::Driver;
            $($(
                #[test]
                fn $scenario() {
                    crate::$file::$scenario(Driver::$driver);
                }
            )*)*
        }
    };
}

for_both_drivers! {
    servers:
        every_connection_survives_each_switch
        every_connection_survives_each_switch_without_a_statement_cache
        a_connection_survives_if_the_pooler_prepares_nothing
        a_connection_survives_if_nobody_prepares_anything
        two_hundred_prepared_statements_survive
        a_held_connection_survives_in_verified_transactions_and_after_synchronize
        a_type_that_took_the_old_oid_gives_no_wrong_answer
        copies_that_diverge_are_told_apart
        copies_with_other_row_types_are_told_apart
        two_servers_in_turn_are_both_right;
    catalog:
        an_enum_that_is_recreated_is_found
        a_column_that_gets_another_type_of_the_same_name_is_right
        extensions_that_are_recreated_are_found
        a_row_type_that_is_recreated_is_found_by_a_verified_transaction
        a_temporary_type_is_right_and_so_is_what_it_hid
        a_query_whose_type_is_not_on_the_new_server_is_healed;
    tenants:
        after_a_path_that_is_set_before_the_probe_the_sessions_types_are_bound
        after_a_path_that_is_set_in_the_closure_the_sessions_types_are_bound
        in_a_plain_transaction_a_tenants_path_is_an_error_that_says_what_to_do;
    plans:
        a_stale_plan_is_healed
        a_stale_plan_of_a_pooler_is_healed;
    one_load:
        sixty_four_at_once_read_a_catalog_once;
    errors:
        a_role_that_may_not_ask_who_the_server_is_stays_right
        a_role_that_may_not_read_the_catalog_stays_right
        a_url_that_leads_nowhere_is_the_stock_error
        a_server_that_is_down_is_an_error_and_a_pool_is_right_once_it_is_back;
}
