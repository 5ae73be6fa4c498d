//! Writers keep writing while connections are cut, and a ledger says what each was told: whatever was acknowledged is there
//! exactly once, whatever failed is not there, and what is unknown is there once or not at all.

mod asynchronous;
mod attack;
mod books;
mod drivers;
mod keep;
mod scenarios;
