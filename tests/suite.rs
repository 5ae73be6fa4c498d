//! Scenarios on real servers, in parallel: no test in here relies on what the process has counted, and one that calls
//! `track` runs in a process of its own. The log backend belongs to the process too; they share one
//! (`support::events`). If a server or a type changes, stock Diesel is the control that must fail, or be wrong.

mod permissions;
mod pool;
mod same_server;
mod session_attrs;
mod support;
mod switch;
mod transactions;
