//! Scenarios on real servers. Where one is switched, the stock `ConnectionManager` is the control that must fail.

mod alternating;
mod bad_input;
mod collision;
mod customizer;
mod ddl;
mod ended_transactions;
mod events;
mod forwarder;
mod kinds;
mod ledger;
mod majors;
mod migrations;
mod other_database;
mod pools;
mod queries;
mod races;
mod replicas;
mod round_trips;
mod search_path;
mod settings;
mod switch;
mod test_transactions;
mod transactions;
mod types;
mod window;
